//! An immutable set of rows, with a graph over them or without.

use std::cell::RefCell;

use super::build::{BuildSettings, build};
use super::error::VectorError;
use super::graph::Graph;
use super::index::{Effort, Hit};
use super::plan::{Plan, Situation, plan};
use super::rows::{Query, Rows, ScanSpace};
use super::rowset::{Allowed, RowId};
use super::top::Scored;
use super::walk::{Score, WalkSpace, walk, walk_admitted};

thread_local! {
    /// Each thread keeps the space of its searches, so that a search allocates next to nothing.
    static SPACE: RefCell<(ScanSpace, WalkSpace)> = RefCell::default();
}

/// Rows as they were published; nothing of it changes but which of them are erased, and that is the index's to know.
pub(super) struct Segment {
    pub(super) rows: Rows,
    /// A short run of new rows has none and is scanned.
    pub(super) graph: Option<Graph>,
}

/// Scores by codes.
pub(super) struct ByCodes<'a> {
    pub(super) rows: &'a Rows,
    pub(super) query: &'a Query<'a>,
}

impl Score for ByCodes<'_> {
    #[inline]
    fn score(&self, nodes: &[u32], products: &mut Vec<i32>, scored: &mut Vec<Scored>) {
        self.rows.approximate(self.query, nodes, products, scored);
    }
}

impl Segment {
    /// A segment without a graph.
    pub(super) fn run(rows: Rows) -> Self {
        Self { rows, graph: None }
    }

    /// A segment with a graph.
    pub(super) fn sealed(rows: Rows, settings: BuildSettings) -> Result<Self, VectorError> {
        let graph = build(&rows, settings)?;
        Ok(Self {
            rows,
            graph: Some(graph),
        })
    }

    /// The `k` allowed rows most similar to the query, or nearly so where a graph is walked; never fewer than there
    /// are.
    pub(super) fn nearest(
        &self,
        query: &Query<'_>,
        k: usize,
        allowed: Allowed<'_>,
        effort: Effort,
    ) -> Vec<Hit> {
        let Some((first, last)) = self.rows.first_and_last() else {
            return Vec::new();
        };
        let present = allowed.count_within(first, last, self.rows.len());
        if present == 0 {
            return Vec::new();
        }
        SPACE.with_borrow_mut(|(scan, steps)| {
            let walked = match (&self.graph, effort) {
                (Some(graph), Effort::Breadth(breadth)) => {
                    let breadth = breadth.max(k);
                    self.by_graph(graph, query, (k, breadth), (allowed, present), scan, steps)
                }
                (None, _) | (_, Effort::Exact) => None,
            };
            // Never short because of the index: a filter's rows may lie where the walk did not come by.
            let best = match walked {
                Some(best) if best.len() >= k.min(present) => best,
                _ => self.rows.scan(query, k, allowed, scan),
            };
            best.iter()
                .map(|scored| Hit {
                    row: RowId(self.rows.id(scored.node)),
                    similarity: scored.similarity,
                })
                .collect()
        })
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
    ) -> Option<Vec<Scored>> {
        let score = ByCodes {
            rows: &self.rows,
            query,
        };
        let lets_in = |node: u32| allowed.admits(self.rows.id(node));
        let admits = |node: u32| lets_in(node) || graph.twins_of(node).any(lets_in);
        let met = match plan(Situation {
            rows: self.rows.len(),
            allowed: present,
            is_filtered: !allowed.is_everything(),
            breadth,
        }) {
            Plan::Scan => return None,
            Plan::Walk => walk(graph, &score, breadth, steps),
            Plan::WalkAdmitted { step, most } => {
                walk_admitted(graph, &score, breadth, (&admits, step, most), steps)?
            }
        };
        let with_twins = met.iter().flat_map(|scored| {
            let twins = graph
                .twins_of(scored.node)
                .map(|node| Scored { node, ..*scored });
            std::iter::once(*scored).chain(twins)
        });
        let mut best = self.rows.judge(
            query,
            k,
            with_twins.filter(|scored| lets_in(scored.node)),
            scan,
        );
        if !graph.orphans.is_empty() {
            let orphans = graph.orphans.iter().copied();
            let orphans =
                orphans.flat_map(|node| std::iter::once(node).chain(graph.twins_of(node)));
            best.extend(orphans.filter(|node| lets_in(*node)).map(|node| Scored {
                similarity: self.rows.similarity(query, node),
                node,
            }));
            best.sort_unstable_by(|a, b| {
                b.similarity
                    .total_cmp(&a.similarity)
                    .then(a.node.cmp(&b.node))
            });
            best.dedup_by_key(|scored| scored.node);
            best.truncate(k);
        }
        Some(best)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + self.graph.as_ref().map_or(0, Graph::bytes)
    }
}
