//! Memory that is read all over the place.
//!
//! A walk leaps through hundreds of megabytes. On pages of 4 KiB nearly every leap also misses the table of pages; on
//! pages of 2 MiB hardly any does (measured in docs/decisions/0013-vector-index.md). Linux gives such pages to whoever
//! asks; elsewhere it is memory like any other.

use std::ops::Deref;

use memmap2::MmapMut;
use pulp::bytemuck::{Pod, cast_slice, cast_slice_mut};

/// Below this the pages do not matter.
const LARGE_BYTES: usize = 4 << 20;

/// A growing array, in large pages where it is large.
pub(super) struct Pages<T> {
    held: Held<T>,
}

enum Held<T> {
    Small(Vec<T>),
    Large { map: MmapMut, len: usize },
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self {
            held: Held::Small(Vec::new()),
        }
    }
}

impl<T: Pod> Pages<T> {
    /// Room for `capacity`; it grows beyond.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let large = (capacity * size_of::<T>() >= LARGE_BYTES)
            .then(|| large(capacity * size_of::<T>()))
            .flatten();
        Self {
            held: match large {
                Some(map) => Held::Large { map, len: 0 },
                None => Held::Small(Vec::with_capacity(capacity)),
            },
        }
    }

    pub(super) fn extend_from_slice(&mut self, more: &[T]) {
        match &mut self.held {
            Held::Small(items) => items.extend_from_slice(more),
            Held::Large { map, len } => {
                let room = cast_slice_mut::<u8, T>(map).get_mut(*len..*len + more.len());
                match room {
                    Some(room) => {
                        room.copy_from_slice(more);
                        *len += more.len();
                    }
                    None => self.outgrow(more),
                }
            }
        }
    }

    /// Into memory that is twice as large.
    fn outgrow(&mut self, more: &[T]) {
        let mut larger = Self::with_capacity(2 * (self.len() + more.len()));
        larger.extend_from_slice(self);
        larger.extend_from_slice(more);
        *self = larger;
    }
}

impl<T: Pod> From<Vec<T>> for Pages<T> {
    fn from(items: Vec<T>) -> Self {
        if size_of_val(items.as_slice()) < LARGE_BYTES {
            return Self {
                held: Held::Small(items),
            };
        }
        let mut pages = Self::with_capacity(items.len());
        pages.extend_from_slice(&items);
        pages
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match &self.held {
            Held::Small(items) => items,
            Held::Large { map, len } => cast_slice(map).get(..*len).unwrap_or_default(),
        }
    }
}

impl<T: Pod> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self::from(self.to_vec())
    }
}

impl<T: Pod + PartialEq> PartialEq for Pages<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Pages<T> {}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// `None` where the system has no such memory; the other kind then serves, or says that there is none.
fn large(bytes: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    if map.advise(memmap2::Advice::HugePage).is_err() {
        // A kernel without large pages: the memory serves all the same.
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_whatever_its_size() {
        for (room, count) in [(0, 10), (10, 3_000_000), (2_000_000, 5_000_000)] {
            let expected: Vec<u32> = (0..count).collect();
            let mut pages = Pages::with_capacity(room);
            for part in expected.chunks(70_001) {
                pages.extend_from_slice(part);
            }
            assert_eq!(*pages, *expected);
            assert_eq!(*Pages::from(expected.clone()), *expected);
        }
    }

    #[test]
    fn words_of_a_line_lie_in_one_line() {
        let pages: Pages<[u64; 8]> = Pages::with_capacity(1 << 20);
        assert_eq!(pages.as_ptr().align_offset(64), 0);
    }
}
