//! The proof that something may leave.

/// What may leave this node, and the proof that it may: the gate decided, and the journal holds it.
///
/// Only [`Gate::pass`](super::Gate::pass) makes one. Whatever sends takes one.
#[must_use = "what was released is charged and journalled; send it"]
pub struct Released<T> {
    wire: T,
    is_repeated: bool,
}

impl<T> Released<T> {
    /// What may leave.
    pub fn wire(&self) -> &T {
        &self.wire
    }

    /// What may leave, by itself.
    pub fn into_inner(self) -> T {
        self.wire
    }

    /// It was paid for and kept before, and no work was done for it now.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    pub(in crate::gate) fn settled(wire: T) -> Self {
        Self {
            wire,
            is_repeated: false,
        }
    }

    pub(in crate::gate) fn again(wire: T) -> Self {
        Self {
            wire,
            is_repeated: true,
        }
    }
}

/// Says nothing of the content: an update is computed from patients' records.
impl<T> std::fmt::Debug for Released<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Released").finish_non_exhaustive()
    }
}
