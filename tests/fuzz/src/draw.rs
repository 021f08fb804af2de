//! An input read as decisions: whatever the fuzzer gives is a valid choice, and what it does not give is zero.

pub(crate) struct Draw<'a>(pub(crate) &'a [u8]);

impl<'a> Draw<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(crate) fn pair(&mut self) -> usize {
        usize::from(u16::from_le_bytes(self.array()))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.bytes(N)) {
            *to = *from;
        }
        array
    }

    /// So many bytes, or as many as are left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A file as someone changed it: each edit is a place and the byte that is added there.
pub(crate) fn edited(original: &[u8], edits: &mut Draw<'_>) -> Vec<u8> {
    let mut bytes = original.to_vec();
    while !edits.is_empty() {
        let (at, added) = (edits.pair(), edits.byte());
        let length = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at % length) {
            *byte = byte.wrapping_add(added);
        }
    }
    bytes
}

/// The input's two files, with a NUL between: text that may hold one is no text.
pub(crate) fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(at);
    (first, rest.get(1..).unwrap_or_default())
}
