//! The walk over a segment's graph.
//!
//! It is the search of instant-distance (algorithms 2 and 5 of Malkov and Yashunin, 2018) with what that one lacks: a
//! breadth for each query, a filter inside, and neighbours that are scored a list at a time.

use std::collections::BinaryHeap;

use super::graph::{Graph, Links};
use super::top::{Scored, Top};

/// Neighbours' neighbours that are scored for one node of a two-step walk at most.
const TWO_STEPS_MAX: usize = 96;

/// Scores nodes against a query: by codes in the product, exactly where a test compares with instant-distance.
pub(super) trait Score {
    /// Appends to `scored`, in the order of `nodes`; may leave out what is hardly more similar than `bar`.
    fn score(&self, nodes: &[u32], bar: f32, space: &mut ScoreSpace, scored: &mut Vec<Scored>);

    /// A node that will be scored soon.
    fn ask_for(&self, _node: u32) {}
}

/// Space to score in.
#[derive(Default)]
pub(super) struct ScoreSpace {
    pub(super) kept: Vec<u32>,
    pub(super) products: Vec<i32>,
}

/// How a filtered walk gets past rows that the filter forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Over them: forbidden rows are scored and walked, and not returned.
    Over,
    /// Past them: forbidden rows are not scored; their neighbours are (ACORN-1, Patel et al., 2024).
    Past,
}

/// Space that a walk needs and that the next one can use again.
#[derive(Default)]
pub(super) struct WalkSpace {
    seen: Seen,
    batch: Vec<u32>,
    scoring: ScoreSpace,
    scored: Vec<Scored>,
    pool: Vec<Walked>,
    ahead: BinaryHeap<Nearest>,
    top: Top,
    /// Rows that the last walk scored.
    pub(super) evaluated: usize,
}

/// A place in the pool of an unfiltered walk.
#[derive(Clone, Copy)]
struct Walked {
    scored: Scored,
    is_left: bool,
}

/// Walks without a filter, and calls `found` with the `breadth` best rows it met, best first.
pub(super) fn walk(
    graph: &Graph,
    score: &impl Score,
    breadth: usize,
    space: &mut WalkSpace,
) -> Vec<Scored> {
    let Some(start) = descend(graph, score, space) else {
        return Vec::new();
    };
    let WalkSpace {
        seen,
        batch,
        scoring,
        scored,
        pool,
        evaluated,
        ..
    } = space;
    seen.forget(graph.links.nodes());
    seen.insert(start.node);
    pool.clear();
    pool.push(Walked {
        scored: start,
        is_left: false,
    });
    let mut next = 0;
    while let Some(here) = pool.get_mut(next) {
        next += 1;
        if here.is_left {
            continue;
        }
        here.is_left = true;
        batch.clear();
        batch.extend(
            graph
                .links
                .of(here.scored.node)
                .iter()
                .filter(|node| seen.insert(**node))
                .inspect(|node| score.ask_for(**node)),
        );
        let rest = pool.get(next..).unwrap_or_default();
        if let Some(coming) = rest.iter().find(|step| !step.is_left) {
            graph.links.ask_for(coming.scored.node);
        }
        scored.clear();
        let bar = match pool.last() {
            Some(last) if pool.len() >= breadth => last.scored.similarity,
            _ => f32::NEG_INFINITY,
        };
        score.score(batch, bar, scoring, scored);
        *evaluated += batch.len();
        for newcomer in scored.iter() {
            if pool.len() >= breadth {
                match pool.last() {
                    Some(last) if newcomer.is_before(&last.scored) => pool.pop(),
                    _ => continue,
                };
            }
            let at = pool.partition_point(|other| other.scored.is_before(newcomer));
            pool.insert(
                at,
                Walked {
                    scored: *newcomer,
                    is_left: false,
                },
            );
            next = next.min(at);
        }
    }
    pool.iter().map(|step| step.scored).collect()
}

/// Walks for the `breadth` best rows that `admits` lets in, best first; `None` when that took more than `most` scores:
/// the rows that are let in lie elsewhere than the query's neighbours, and a scan will be quicker.
pub(super) fn walk_admitted(
    graph: &Graph,
    score: &impl Score,
    breadth: usize,
    (admits, step, most): (&impl Fn(u32) -> bool, Step, usize),
    space: &mut WalkSpace,
) -> Option<Vec<Scored>> {
    let Some(start) = descend(graph, score, space) else {
        return Some(Vec::new());
    };
    let WalkSpace {
        seen,
        batch,
        scoring,
        scored,
        ahead,
        top,
        evaluated,
        ..
    } = space;
    seen.forget(graph.links.nodes());
    seen.insert(start.node);
    top.empty(breadth);
    ahead.clear();
    ahead.push(Nearest(start));
    if admits(start.node) {
        top.offer(start);
    }
    while let Some(Nearest(here)) = ahead.pop() {
        if here.similarity < top.bar() {
            break;
        }
        if *evaluated > most {
            return None;
        }
        batch.clear();
        match step {
            Step::Over => batch.extend(
                graph
                    .links
                    .of(here.node)
                    .iter()
                    .filter(|node| seen.insert(**node)),
            ),
            Step::Past => past_the_forbidden(&graph.links, here.node, admits, seen, batch),
        }
        batch.iter().for_each(|node| score.ask_for(*node));
        scored.clear();
        score.score(batch, top.bar(), scoring, scored);
        *evaluated += batch.len();
        for newcomer in scored
            .iter()
            .filter(|newcomer| newcomer.similarity > top.bar())
        {
            ahead.push(Nearest(*newcomer));
        }
        for newcomer in scored.iter().filter(|newcomer| admits(newcomer.node)) {
            top.offer(*newcomer);
        }
    }
    Some(top.best().to_vec())
}

/// Down through the upper layers, in each to the row nearest to the query, to where the lowest layer is entered.
fn descend(graph: &Graph, score: &impl Score, space: &mut WalkSpace) -> Option<Scored> {
    let WalkSpace {
        batch,
        scoring,
        scored,
        evaluated,
        ..
    } = space;
    let entry = *graph.members.first()?;
    scored.clear();
    score.score(&[entry], f32::NEG_INFINITY, scoring, scored);
    *evaluated = 1;
    let mut best = *scored.first()?;
    let mut member = 0;
    for upper in &graph.uppers {
        loop {
            let links = upper.links.of(member);
            batch.clear();
            batch.extend(
                links
                    .iter()
                    .filter_map(|link| graph.members.get(*link as usize))
                    .inspect(|node| score.ask_for(**node)),
            );
            scored.clear();
            score.score(batch, best.similarity, scoring, scored);
            *evaluated += batch.len();
            let before = best;
            for newcomer in scored.iter() {
                if newcomer.is_before(&best) {
                    best = *newcomer;
                }
            }
            let at = batch.iter().position(|node| *node == best.node);
            member = at.and_then(|at| links.get(at)).copied().unwrap_or(member);
            if best == before {
                break;
            }
        }
    }
    Some(best)
}

fn past_the_forbidden(
    links: &Links,
    node: u32,
    admits: &impl Fn(u32) -> bool,
    seen: &mut Seen,
    batch: &mut Vec<u32>,
) {
    for near in links.of(node) {
        if !seen.insert(*near) {
            continue;
        }
        if admits(*near) {
            batch.push(*near);
            continue;
        }
        for far in links.of(*near) {
            if batch.len() >= TWO_STEPS_MAX {
                return;
            }
            if !seen.contains(*far) && admits(*far) {
                seen.insert(*far);
                batch.push(*far);
            }
        }
    }
}

/// Which nodes a walk has met: one byte a node, forgotten by counting up.
#[derive(Default)]
struct Seen {
    marks: Vec<u8>,
    mark: u8,
}

impl Seen {
    fn forget(&mut self, nodes: usize) {
        if self.marks.len() < nodes {
            self.marks.resize(nodes, 0);
        }
        self.mark = match self.mark.checked_add(1) {
            Some(mark) => mark,
            None => {
                self.marks.fill(0);
                1
            }
        };
    }

    /// True the first time; false for a node that is not there.
    #[inline]
    fn insert(&mut self, node: u32) -> bool {
        match self.marks.get_mut(node as usize) {
            Some(mark) if *mark != self.mark => {
                *mark = self.mark;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn contains(&self, node: u32) -> bool {
        self.marks
            .get(node as usize)
            .is_none_or(|mark| *mark == self.mark)
    }
}

/// Ordered for a heap that gives the most similar first.
#[derive(Clone, Copy, PartialEq)]
struct Nearest(Scored);

impl Eq for Nearest {}

impl Ord for Nearest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_similarity = self.0.similarity.total_cmp(&other.0.similarity);
        by_similarity.then(other.0.node.cmp(&self.0.node))
    }
}

impl PartialOrd for Nearest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
