//! The vectors of one segment: in short, by which candidates are found, and exact, by which they are judged.

use super::codes::{Between, Codes, Query};
use super::error::VectorError;
use super::exact::{Exact, Opened};
use super::kernel;
use super::rowset::{Allowed, bits};
use super::top::{Scored, Top};

/// Rows that are scored in one go: their products stay in the first cache.
const BATCH: usize = 256;

/// Rows in ascending order of their ids; node `n` is the `n`-th of them.
pub(super) struct Rows {
    pub(super) codes: Codes,
    pub(super) exact: Exact,
}

/// Space that a search needs and that the next one can use again.
#[derive(Default)]
pub(super) struct ScanSpace {
    nodes: Vec<u32>,
    products: Vec<i32>,
    kept: Vec<Candidate>,
    top: Top,
    pub(super) opened: Opened,
}

/// A row that may be among the best.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    node: u32,
    most: f32,
}

/// Rows that may be among the best, by what their codes leave possible.
struct Met {
    top: Top,
    kept: Vec<Candidate>,
}

impl Met {
    fn meet(&mut self, node: u32, between: Between) {
        if between.most >= self.top.bar() {
            let (similarity, most) = (between.least, between.most);
            self.kept.push(Candidate { node, most });
            self.top.offer(Scored { similarity, node });
        }
    }
}

impl ScanSpace {
    /// Space for the `k` best.
    fn begin(&mut self, k: usize) -> Met {
        let (mut top, mut kept) = (
            std::mem::take(&mut self.top),
            std::mem::take(&mut self.kept),
        );
        top.empty(k);
        kept.clear();
        Met { top, kept }
    }

    /// What was kept early, under a lower bar, goes.
    fn end(&mut self, met: Met) {
        let Met { top, mut kept } = met;
        kept.retain(|candidate| candidate.most >= top.bar());
        (self.top, self.kept) = (top, kept);
    }
}

/// What a scan is to tell of the rows that reach a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Their exact similarities: each is looked at exactly.
    Similarity,
    /// That they reach it: where the codes leave no doubt, the exact vector is not looked at.
    Membership,
}

impl Rows {
    pub(super) fn new(codes: Codes, exact: Exact) -> Self {
        Self { codes, exact }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.codes.bytes() + self.exact.bytes()
    }

    pub(super) fn similarity(
        &self,
        query: &Query<'_>,
        node: u32,
        space: &mut Opened,
    ) -> Result<f32, VectorError> {
        Ok(kernel::dot(query.exact(), self.exact.row(node, space)?))
    }

    /// The `k` allowed rows most similar to the query, exactly.
    pub(super) fn scan(
        &self,
        query: &Query<'_>,
        k: usize,
        allowed: Allowed<'_>,
        space: &mut ScanSpace,
    ) -> Result<Vec<Scored>, VectorError> {
        let mut met = space.begin(k);
        self.each_allowed(query, allowed, space, &mut |node, between| {
            met.meet(node, between);
            Ok(())
        })?;
        space.end(met);
        self.best_of_kept(query, k, space)
    }

    /// The exact best `k` of candidates, none twice.
    pub(super) fn judge(
        &self,
        query: &Query<'_>,
        k: usize,
        candidates: impl Iterator<Item = Scored>,
        space: &mut ScanSpace,
    ) -> Result<Vec<Scored>, VectorError> {
        let mut met = space.begin(k);
        for Scored { similarity, node } in candidates {
            met.meet(node, self.codes.around(query, node, similarity));
        }
        space.end(met);
        self.best_of_kept(query, k, space)
    }

    /// Narrows down what is known of the kept candidates, and then looks at them exactly, no further than where even
    /// the largest error of the codes could not bring one in.
    fn best_of_kept(
        &self,
        query: &Query<'_>,
        k: usize,
        space: &mut ScanSpace,
    ) -> Result<Vec<Scored>, VectorError> {
        let ScanSpace {
            kept, top, opened, ..
        } = space;
        for candidate in kept.iter_mut() {
            candidate.most = self.codes.nearly(query, candidate.node).most;
        }
        kept.sort_unstable_by(|a, b| b.most.total_cmp(&a.most).then(a.node.cmp(&b.node)));
        top.empty(k);
        for candidate in kept.iter() {
            if candidate.most < top.bar() {
                break;
            }
            top.offer(Scored {
                similarity: self.similarity(query, candidate.node, opened)?,
                node: candidate.node,
            });
        }
        Ok(top.best().to_vec())
    }

    /// Every allowed row whose similarity is at least `least`, in ascending order, exactly.
    pub(super) fn at_least(
        &self,
        query: &Query<'_>,
        least: f32,
        (allowed, tell): (Allowed<'_>, Tell),
        space: &mut ScanSpace,
        visit: &mut dyn FnMut(Scored),
    ) -> Result<(), VectorError> {
        let mut opened = std::mem::take(&mut space.opened);
        let is_in = |between: Between| tell == Tell::Membership && between.least >= least;
        let walked = self.each_allowed(query, allowed, space, &mut |node, between| {
            if between.most < least {
                return Ok(());
            }
            let mut similarity = between.least;
            if !is_in(between) {
                let nearly = self.codes.nearly(query, node);
                if nearly.most < least {
                    return Ok(());
                }
                similarity = match is_in(nearly) {
                    true => nearly.least,
                    false => self.similarity(query, node, &mut opened)?,
                };
            }
            if similarity >= least {
                visit(Scored { similarity, node });
            }
            Ok(())
        });
        space.opened = opened;
        walked
    }

    /// Calls `visit` with each allowed row in ascending order and what its similarity lies between.
    fn each_allowed(
        &self,
        query: &Query<'_>,
        allowed: Allowed<'_>,
        space: &mut ScanSpace,
        visit: &mut impl FnMut(u32, Between) -> Result<(), VectorError>,
    ) -> Result<(), VectorError> {
        let ScanSpace {
            nodes, products, ..
        } = space;
        if allowed.is_everything() {
            for first in (0..self.codes.len()).step_by(BATCH) {
                self.codes.products_from(query, first, BATCH, products);
                for (node, product) in (first as u32..).zip(products.iter()) {
                    visit(node, self.codes.between(query, node, *product))?;
                }
            }
            return Ok(());
        }
        let mut score = |nodes: &mut Vec<u32>| -> Result<(), VectorError> {
            self.codes.products_of(query, nodes, products);
            for (node, product) in nodes.drain(..).zip(products.iter()) {
                visit(node, self.codes.between(query, node, *product))?;
            }
            Ok(())
        };
        nodes.clear();
        let mut fault = Ok(());
        self.for_each_allowed(allowed, |node| {
            nodes.push(node);
            if nodes.len() == BATCH && fault.is_ok() {
                fault = score(nodes);
            }
        });
        fault?;
        score(nodes)
    }

    fn for_each_allowed(&self, allowed: Allowed<'_>, mut visit: impl FnMut(u32)) {
        let (Some((first, last)), Some(of)) = (self.codes.first_and_last(), allowed.of) else {
            let nodes = self.codes.ids().iter().zip(0u32..);
            nodes
                .filter(|(id, _)| allowed.admits(**id))
                .for_each(|(_, node)| visit(node));
            return;
        };
        let without_gaps = (last - first) as usize + 1 == self.codes.ids().len();
        let mut from = 0;
        for (start, word) in allowed.filtered_words(of, first, last) {
            for row in bits(word).map(|bit| start + bit) {
                if without_gaps {
                    visit(row - first);
                    continue;
                }
                let rest = self.codes.ids().get(from..).unwrap_or_default();
                from += ascending_position(rest, row);
                if self.codes.ids().get(from) == Some(&row) {
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
            let exact = Exact::Held { dimension: 7, floats: stored.concat() };
            let rows = Rows::new(Codes::of(7, &ids, &stored.concat()), exact);
            let mut space = ScanSpace::default();
            let query = Query::new(asked);
            let mut expected: Vec<Scored> = (0..stored.len() as u32)
                .filter(|node| allowed.admits(ids[*node as usize]))
                .map(|node| Scored { similarity: rows.similarity(&query, node, &mut Opened::default()).unwrap(), node })
                .collect();
            expected.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.node.cmp(&b.node)));
            let least = expected.get(k).map_or(0.1, |scored| scored.similarity);
            for tell in [Tell::Similarity, Tell::Membership] {
                let mut told = Vec::new();
                rows.at_least(&query, least, (allowed, tell), &mut space, &mut |scored| told.push(scored)).unwrap();
                let mut reach: Vec<Scored> = expected.iter().copied().filter(|one| one.similarity >= least).collect();
                reach.sort_by_key(|scored| scored.node);
                let nodes = |scored: &[Scored]| scored.iter().map(|one| one.node).collect::<Vec<_>>();
                prop_assert_eq!(nodes(&told), nodes(&reach));
                prop_assert!(tell == Tell::Membership || told == reach);
            }
            expected.truncate(k);
            prop_assert_eq!(rows.scan(&query, k, allowed, &mut space).unwrap(), expected);
        }
    }
}
