//! The best few of many, in order.

/// A node of a segment and how similar it is to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub(super) similarity: f32,
    pub(super) node: u32,
}

impl Scored {
    /// Whether this one stands before the other: more similar, or as similar and added earlier.
    #[inline]
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.similarity > other.similarity
            || (self.similarity == other.similarity && self.node < other.node)
    }
}

/// The `room` best of what it was offered, best first.
#[derive(Debug, Default)]
pub(super) struct Top {
    room: usize,
    best: Vec<Scored>,
}

impl Top {
    pub(super) fn empty(&mut self, room: usize) {
        self.room = room;
        self.best.clear();
    }

    /// Keeps `scored` if it is among the best; where it stands, if so.
    #[inline]
    pub(super) fn offer(&mut self, scored: Scored) -> Option<usize> {
        if self.best.len() >= self.room {
            match self.best.last() {
                Some(last) if scored.is_before(last) => self.best.pop(),
                _ => return None,
            };
        }
        let at = self.best.partition_point(|other| other.is_before(&scored));
        self.best.insert(at, scored);
        Some(at)
    }

    /// What a newcomer must exceed; minus infinity while there is room.
    #[inline]
    pub(super) fn bar(&self) -> f32 {
        match self.best.last() {
            Some(last) if self.best.len() >= self.room => last.similarity,
            _ => f32::NEG_INFINITY,
        }
    }

    pub(super) fn best(&self) -> &[Scored] {
        &self.best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_kept_in_order(values in prop::collection::vec(-5i8..5, 0..60), room in 1usize..20) {
            let offered: Vec<Scored> = values
                .iter()
                .enumerate()
                .map(|(node, value)| Scored { similarity: f32::from(*value), node: node as u32 })
                .collect();
            let mut top = Top::default();
            top.empty(room);
            for scored in &offered {
                top.offer(*scored);
            }
            let mut expected = offered;
            expected.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.node.cmp(&b.node)));
            expected.truncate(room);
            prop_assert_eq!(top.best(), &expected[..]);
        }
    }
}
