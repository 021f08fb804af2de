//! The vectors of one segment, exact and in short.
//!
//! Each vector is kept twice: as it was given (f32), and as one byte a coordinate with one scale a row. Candidates are
//! found by the bytes and judged by the floats. How far a byte product can lie from the exact one is known, so a scan
//! by bytes returns exactly what a scan by floats would.

use super::kernel;
use super::rowset::{Allowed, bits};
use super::top::{Scored, Top};

/// Allowance for what floating-point additions lose, for products of unit vectors of at most 4,096 coordinates.
const ROUNDING: f32 = 1e-4;

/// Rows that are scored in one go: their products stay in the first cache.
const BATCH: usize = 256;

/// Rows in ascending order of their ids; node `n` is the `n`-th of them.
pub(super) struct Rows {
    dimension: usize,
    ids: Vec<u32>,
    /// `dimension` coordinates a row.
    exact: Vec<f32>,
    /// `dimension` codes a row; a coordinate is about its code times the row's scale.
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// No row lies further than this from what its codes say.
    residual: f32,
}

/// A query in both forms.
pub(super) struct Query<'a> {
    exact: &'a [f32],
    codes: Vec<i8>,
    scale: f32,
    residual: f32,
}

/// Space that a search needs and that the next one can use again.
#[derive(Default)]
pub(super) struct ScanSpace {
    nodes: Vec<u32>,
    products: Vec<i32>,
    kept: Vec<Scored>,
    top: Top,
}

impl<'a> Query<'a> {
    pub(super) fn new(exact: &'a [f32]) -> Self {
        let mut codes = Vec::with_capacity(exact.len());
        let (scale, residual) = quantise(exact, &mut codes);
        Self {
            exact,
            codes,
            scale,
            residual,
        }
    }
}

impl Rows {
    /// From ascending row ids and as many vectors of `dimension` coordinates.
    pub(super) fn new(dimension: usize, ids: Vec<u32>, exact: Vec<f32>) -> Self {
        let mut codes = Vec::with_capacity(exact.len());
        let mut scales = Vec::with_capacity(ids.len());
        let mut residual = 0f32;
        for row in exact.chunks_exact(dimension) {
            let (scale, off) = quantise(row, &mut codes);
            scales.push(scale);
            residual = residual.max(off);
        }
        Self {
            dimension,
            ids,
            exact,
            codes,
            scales,
            residual,
        }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) fn all_exact(&self) -> &[f32] {
        &self.exact
    }

    #[inline]
    pub(super) fn id(&self, node: u32) -> u32 {
        self.ids.get(node as usize).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn exact(&self, node: u32) -> &[f32] {
        let start = node as usize * self.dimension;
        self.exact
            .get(start..start + self.dimension)
            .unwrap_or_default()
    }

    pub(super) fn codes(&self, node: u32) -> &[i8] {
        let start = node as usize * self.dimension;
        self.codes
            .get(start..start + self.dimension)
            .unwrap_or_default()
    }

    #[inline]
    pub(super) fn scale(&self, node: u32) -> f32 {
        self.scales.get(node as usize).copied().unwrap_or(0.0)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        4 * self.ids.len() + 4 * self.exact.len() + self.codes.len() + 4 * self.scales.len()
    }

    pub(super) fn similarity(&self, query: &Query<'_>, node: u32) -> f32 {
        kernel::dot(query.exact, self.exact(node))
    }

    /// How far a product of codes can lie from the product that it stands for: for q ≈ q̂ and x ≈ x̂,
    /// |q·x − q̂·x̂| ≤ |q·(x − x̂)| + |(q − q̂)·x̂| ≤ ‖x − x̂‖ + ‖q − q̂‖ ‖x̂‖, and ‖x̂‖ ≤ 1 + ‖x − x̂‖.
    pub(super) fn doubt(&self, query: &Query<'_>) -> f32 {
        self.residual + query.residual * (1.0 + self.residual) + ROUNDING
    }

    /// About how similar `nodes` are to the query, appended to `scored` in their order.
    #[inline]
    pub(super) fn approximate(
        &self,
        query: &Query<'_>,
        nodes: &[u32],
        products: &mut Vec<i32>,
        scored: &mut Vec<Scored>,
    ) {
        kernel::dot_codes_of(&query.codes, &self.codes, nodes, products);
        scored.extend(
            nodes
                .iter()
                .zip(products.iter())
                .map(|(node, product)| Scored {
                    similarity: *product as f32 * (query.scale * self.scale(*node)),
                    node: *node,
                }),
        );
    }

    /// The `k` allowed rows most similar to the query, exactly.
    pub(super) fn scan(
        &self,
        query: &Query<'_>,
        k: usize,
        allowed: Allowed<'_>,
        space: &mut ScanSpace,
    ) -> Vec<Scored> {
        let ScanSpace {
            nodes,
            products,
            kept,
            top,
        } = space;
        top.empty(k);
        kept.clear();
        let margin = 2.0 * self.doubt(query);
        let mut judge = |nodes: &[u32], products: &[i32]| {
            for (node, product) in nodes.iter().zip(products) {
                let similarity = *product as f32 * (query.scale * self.scale(*node));
                if similarity >= top.bar() - margin {
                    let scored = Scored {
                        similarity,
                        node: *node,
                    };
                    kept.push(scored);
                    top.offer(scored);
                }
            }
        };
        if allowed.is_everything() {
            let codes = self.codes.chunks(BATCH * self.dimension);
            for (nth, codes) in codes.enumerate() {
                kernel::dot_codes_all(&query.codes, codes, products);
                nodes.clear();
                let start = (nth * BATCH) as u32;
                nodes.extend(start..start + products.len() as u32);
                judge(nodes, products);
            }
        } else {
            nodes.clear();
            self.for_each_allowed(allowed, |node| {
                nodes.push(node);
                if nodes.len() == BATCH {
                    kernel::dot_codes_of(&query.codes, &self.codes, nodes, products);
                    judge(nodes, products);
                    nodes.clear();
                }
            });
            kernel::dot_codes_of(&query.codes, &self.codes, nodes, products);
            judge(nodes, products);
        }
        // What was kept early, under a lower bar, is looked at again.
        let bar = top.bar() - margin;
        top.empty(k);
        for candidate in kept.iter().filter(|candidate| candidate.similarity >= bar) {
            top.offer(Scored {
                similarity: self.similarity(query, candidate.node),
                node: candidate.node,
            });
        }
        top.best().to_vec()
    }

    /// The exact best `k` of candidates that stand in order of their codes' similarity: looks no further than where
    /// even the largest error of the codes could not bring one in.
    pub(super) fn judge(
        &self,
        query: &Query<'_>,
        k: usize,
        candidates: impl Iterator<Item = Scored>,
        space: &mut ScanSpace,
    ) -> Vec<Scored> {
        let doubt = self.doubt(query);
        space.top.empty(k);
        for candidate in candidates {
            if candidate.similarity + doubt < space.top.bar() {
                break;
            }
            space.top.offer(Scored {
                similarity: self.similarity(query, candidate.node),
                node: candidate.node,
            });
        }
        space.top.best().to_vec()
    }

    pub(super) fn first_and_last(&self) -> Option<(u32, u32)> {
        Some((*self.ids.first()?, *self.ids.last()?))
    }

    fn for_each_allowed(&self, allowed: Allowed<'_>, mut visit: impl FnMut(u32)) {
        let (Some((first, last)), Some(of)) = (self.first_and_last(), allowed.of) else {
            let nodes = self.ids.iter().zip(0u32..);
            nodes
                .filter(|(id, _)| allowed.admits(**id))
                .for_each(|(_, node)| visit(node));
            return;
        };
        let without_gaps = (last - first) as usize + 1 == self.ids.len();
        let mut from = 0;
        for (start, word) in allowed.filtered_words(of, first, last) {
            for row in bits(word).map(|bit| start + bit) {
                if without_gaps {
                    visit(row - first);
                    continue;
                }
                let rest = self.ids.get(from..).unwrap_or_default();
                from += ascending_position(rest, row);
                if self.ids.get(from) == Some(&row) {
                    visit(from as u32);
                }
            }
        }
    }
}

/// Where `row` stands, or would stand, in ascending `ids`: looked for by growing steps, for it is mostly near.
fn ascending_position(ids: &[u32], row: u32) -> usize {
    let mut step = 1;
    while ids.get(step).is_some_and(|id| *id < row) {
        step *= 2;
    }
    let within = ids.get(..ids.len().min(step + 1)).unwrap_or_default();
    within.partition_point(|id| *id < row)
}

/// Symmetric quantisation to one byte a coordinate. Gives the scale, and the Euclidean length of what was lost.
fn quantise(exact: &[f32], codes: &mut Vec<i8>) -> (f32, f32) {
    let largest = exact.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let mut lost = 0f64;
    for x in exact {
        let code = (x / scale).round().clamp(-127.0, 127.0);
        lost += f64::from(x - code * scale).powi(2);
        codes.push(code as i8);
    }
    (scale, lost.sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::rowset::{RowId, RowSet};
    use crate::vector::unit::UnitVector;

    fn units(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
        let unit = prop::collection::vec(-1f32..1.0, 7).prop_filter_map("no direction", |x| {
            UnitVector::parse(&x)
                .ok()
                .map(|unit| unit.coordinates().to_vec())
        });
        prop::collection::vec(unit, count)
    }

    proptest! {
        /// The scan judges by bytes first; the answer is the floats' all the same.
        #[test]
        fn a_scan_is_exact(
            vectors in units(2..60),
            gap in 1u32..4,
            k in 1usize..12,
            filter in prop::collection::vec(any::<bool>(), 240),
            erased in prop::collection::vec(any::<bool>(), 240),
            with in (any::<bool>(), any::<bool>()),
        ) {
            let chosen = |flags: &[bool]| -> RowSet {
                flags.iter().zip(0..).filter(|(flag, _)| **flag).map(|(_, row)| RowId(row)).collect()
            };
            let (filter, erased) = (chosen(&filter), chosen(&erased));
            let allowed = Allowed { of: with.0.then_some(&filter), erased: with.1.then_some(&erased) };
            let (asked, stored) = vectors.split_first().unwrap();
            let ids: Vec<u32> = (0..stored.len() as u32).map(|nth| nth * gap + 3).collect();
            let rows = Rows::new(7, ids.clone(), stored.concat());
            let query = Query::new(asked);
            let mut expected: Vec<Scored> = (0..stored.len() as u32)
                .filter(|node| allowed.admits(ids[*node as usize]))
                .map(|node| Scored { similarity: rows.similarity(&query, node), node })
                .collect();
            expected.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.node.cmp(&b.node)));
            expected.truncate(k);
            prop_assert_eq!(rows.scan(&query, k, allowed, &mut ScanSpace::default()), expected);
        }

        #[test]
        fn codes_are_as_near_as_is_said(vectors in units(2..20)) {
            let (asked, stored) = vectors.split_first().unwrap();
            let rows = Rows::new(7, (0..stored.len() as u32).collect(), stored.concat());
            let query = Query::new(asked);
            let nodes: Vec<u32> = (0..stored.len() as u32).collect();
            let mut scored = Vec::new();
            rows.approximate(&query, &nodes, &mut Vec::new(), &mut scored);
            for near in scored {
                prop_assert!((near.similarity - rows.similarity(&query, near.node)).abs() <= rows.doubt(&query));
            }
        }
    }
}
