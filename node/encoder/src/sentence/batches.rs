//! Texts of like length computed together, so that little of a batch is padding.

use crate::limits;

/// Some texts as token ids, padded to one length with id 0; padding is masked, so its id does not matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where each text stood in the call.
    pub(super) places: Vec<usize>,
    /// `[texts, length]`.
    pub(super) ids: Vec<i32>,
    /// Tokens of each text; none is 0.
    pub(super) lengths: Vec<usize>,
    /// The longest text's tokens.
    pub(super) length: usize,
}

/// Splits texts into batches of up to `tokens_max` tokens, padding included; a longer text is a batch of its own.
/// Longest first: what runs last is short, so cores finish together.
pub(super) fn batches(texts: &[Vec<i32>], tokens_max: usize) -> Vec<Batch> {
    let mut order: Vec<(usize, &Vec<i32>)> = texts.iter().enumerate().collect();
    order.sort_by_key(|(place, ids)| (std::cmp::Reverse(ids.len()), *place));
    let mut made = Vec::new();
    let mut open: Vec<(usize, &Vec<i32>)> = Vec::new();
    let mut padding = 0;
    for (place, ids) in order {
        let length = open.first().map_or(ids.len(), |(_, first)| first.len());
        let tokens = length * (open.len() + 1);
        let waste = padding + length - ids.len();
        if tokens > tokens_max || waste * limits::PADDING_PART_MIN > tokens {
            made.extend(closed(&open));
            open.clear();
            padding = 0;
        } else {
            padding = waste;
        }
        open.push((place, ids));
    }
    made.extend(closed(&open));
    made
}

fn closed(texts: &[(usize, &Vec<i32>)]) -> Option<Batch> {
    let (_, first) = texts.first()?;
    let length = first.len();
    let mut ids = Vec::with_capacity(texts.len() * length);
    for (_, own) in texts {
        ids.extend_from_slice(own);
        ids.resize(ids.len() + length - own.len(), 0);
    }
    Some(Batch {
        places: texts.iter().map(|(place, _)| *place).collect(),
        lengths: texts.iter().map(|(_, own)| own.len()).collect(),
        ids,
        length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_text_is_in_one_batch_and_padding_is_little(
            lengths in prop::collection::vec(1usize..300, 0..200),
            tokens_max in 1usize..2000,
        ) {
            let texts: Vec<Vec<i32>> = (1i32..)
                .zip(&lengths)
                .map(|(id, length)| vec![id; *length])
                .collect();
            let mut seen = vec![false; texts.len()];
            for batch in batches(&texts, tokens_max) {
                let tokens = batch.ids.len();
                prop_assert_eq!(tokens, batch.length * batch.lengths.len());
                prop_assert!(tokens <= tokens_max || batch.lengths.len() == 1);
                let padding = tokens - batch.lengths.iter().sum::<usize>();
                prop_assert!(padding * limits::PADDING_PART_MIN <= tokens);
                for (row, place) in batch.places.iter().enumerate() {
                    prop_assert!(!std::mem::replace(&mut seen[*place], true));
                    let own = &batch.ids[row * batch.length..][..batch.lengths[row]];
                    prop_assert_eq!(own, texts[*place].as_slice());
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
