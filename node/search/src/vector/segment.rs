//! An immutable set of rows, with a graph over them or without.

use std::cell::RefCell;

use super::codes::{Codes, Query};
use super::error::VectorError;
use super::graph::Graph;
use super::index::{Effort, Hit};
use super::plan::{Plan, Situation, plan};
use super::rows::{Rows, ScanSpace, Tell};
use super::rowset::{Allowed, RowId};
use super::sketch::{Asked, Sketches};
use super::top::Scored;
use super::walk::{Score, ScoreSpace, WalkSpace, walk, walk_admitted};

thread_local! {
    /// Each thread keeps the space of its searches, so that a search allocates next to nothing.
    static SPACE: RefCell<(ScanSpace, WalkSpace)> = RefCell::default();
}

/// Rows as they were published; nothing of it changes but which of them are erased, and that is the index's to know.
pub(super) struct Segment {
    pub(super) rows: Rows,
    /// A short run of new rows has none and is scanned.
    pub(super) graph: Option<Graph>,
    /// Of the rows where there is a graph.
    sketches: Sketches,
}

/// Scores by codes those that sketches leave a chance.
pub(super) struct ByCodes<'a> {
    codes: &'a Codes,
    sketches: &'a Sketches,
    query: &'a Query<'a>,
    asked: Asked,
}

impl<'a> ByCodes<'a> {
    pub(super) fn new(codes: &'a Codes, sketches: &'a Sketches, query: &'a Query<'a>) -> Self {
        Self {
            codes,
            sketches,
            query,
            asked: sketches.asked(query),
        }
    }
}

impl Score for ByCodes<'_> {
    #[inline]
    fn score(&self, nodes: &[u32], bar: f32, space: &mut ScoreSpace, scored: &mut Vec<Scored>) {
        let ScoreSpace { kept, products } = space;
        let nodes = if bar > f32::NEG_INFINITY {
            self.sketches
                .sift(self.codes, &self.asked, nodes, bar, kept);
            kept
        } else {
            nodes
        };
        self.codes.approximate(self.query, nodes, products, scored);
    }

    #[inline]
    fn ask_for(&self, node: u32) {
        self.sketches.ask_for(node);
    }
}

impl Segment {
    pub(super) fn new(rows: Rows, graph: Option<Graph>) -> Self {
        let sketches = match &graph {
            Some(_) => Sketches::of(&rows.codes),
            None => Sketches::default(),
        };
        Self {
            rows,
            graph,
            sketches,
        }
    }

    /// The `k` allowed rows most similar to the query, or nearly so where a graph is walked; never fewer than there
    /// are.
    pub(super) fn nearest(
        &self,
        query: &Query<'_>,
        k: usize,
        allowed: Allowed<'_>,
        effort: Effort,
    ) -> Result<Vec<Hit>, VectorError> {
        let present = self.present(allowed);
        if present == 0 {
            return Ok(Vec::new());
        }
        SPACE.with_borrow_mut(|(scan, steps)| {
            let walked = match (&self.graph, effort) {
                (Some(graph), Effort::Breadth(breadth)) => {
                    let breadth = breadth.max(k);
                    self.by_graph(graph, query, (k, breadth), (allowed, present), scan, steps)?
                }
                (None, _) | (_, Effort::Exact) => None,
            };
            // Never short because of the index: a filter's rows may lie where the walk did not come by.
            let best = match walked {
                Some(best) if best.len() >= k.min(present) => best,
                _ => self.rows.scan(query, k, allowed, scan)?,
            };
            Ok(best.iter().map(|scored| self.hit(*scored)).collect())
        })
    }

    /// Every allowed row whose similarity is at least `least`, in ascending order.
    pub(super) fn at_least(
        &self,
        query: &Query<'_>,
        least: f32,
        (allowed, tell): (Allowed<'_>, Tell),
        visit: &mut dyn FnMut(Hit),
    ) -> Result<(), VectorError> {
        if self.present(allowed) == 0 {
            return Ok(());
        }
        // Not the thread's own space: `visit` may search.
        let (space, visit) = (&mut ScanSpace::default(), &mut |scored| {
            visit(self.hit(scored))
        });
        self.rows
            .at_least(query, least, (allowed, tell), space, visit)
    }

    fn present(&self, allowed: Allowed<'_>) -> usize {
        let codes = &self.rows.codes;
        let Some((first, last)) = codes.first_and_last() else {
            return 0;
        };
        allowed.count_within(first, last, codes.len())
    }

    fn hit(&self, scored: Scored) -> Hit {
        Hit {
            row: RowId(self.rows.codes.id(scored.node)),
            similarity: scored.similarity,
        }
    }

    /// `None` where the rows had better be scanned.
    fn by_graph(
        &self,
        graph: &Graph,
        query: &Query<'_>,
        (k, breadth): (usize, usize),
        (allowed, present): (Allowed<'_>, usize),
        scan: &mut ScanSpace,
        steps: &mut WalkSpace,
    ) -> Result<Option<Vec<Scored>>, VectorError> {
        let codes = &self.rows.codes;
        let score = || ByCodes::new(codes, &self.sketches, query);
        let lets_in = |node: u32| allowed.admits(codes.id(node));
        let admits = |node: u32| lets_in(node) || graph.twins_of(node).any(lets_in);
        let mut met = match plan(Situation {
            rows: codes.len(),
            allowed: present,
            is_filtered: !allowed.is_everything(),
            breadth,
        }) {
            Plan::Scan => return Ok(None),
            Plan::Walk => walk(graph, &score(), breadth, steps),
            Plan::WalkAdmitted { step, most } => {
                match walk_admitted(graph, &score(), breadth, (&admits, step, most), steps) {
                    Some(met) => met,
                    None => return Ok(None),
                }
            }
        };
        // A walk may come by an orphan all the same.
        met.retain(|scored| graph.orphans.binary_search(&scored.node).is_err());
        let mut unmet = graph.orphans.clone();
        let met_nodes = met.iter().map(|scored| scored.node);
        let firsts = met_nodes.chain(graph.orphans.iter().copied());
        unmet.extend(firsts.flat_map(|node| graph.twins_of(node)));
        codes.approximate(query, &unmet, &mut Vec::new(), &mut met);
        let admitted = met.into_iter().filter(|scored| lets_in(scored.node));
        self.rows.judge(query, k, admitted, scan).map(Some)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + self.sketches.bytes() + self.graph.as_ref().map_or(0, Graph::bytes)
    }
}
