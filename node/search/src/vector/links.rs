//! Which rows each row of a graph is linked to.
//!
//! The lists that instant-distance laid are kept: they lead everywhere, but past many rows that are near. So each row
//! is searched for, and from what the search met it is given more links as DiskANN does (Subramanya et al., 2019,
//! algorithm 2): the nearest first, and then only what none of the links stands before. The laid lists alone, the
//! nearest rows added whatever stands before them, and DiskANN's choice without the laid lists each failed on one kind
//! of vectors (measured in docs/decisions/0013-vector-index.md).

use super::codes::Codes;
use super::graph::{Graph, Links};
use super::segment::ByCodes;
use super::sketch::Sketches;
use super::top::Scored;
use super::walk::{WalkSpace, walk};

/// A row stands before a candidate that is this many times nearer to it than to the one whose links are chosen, by
/// squared distances. With more, more are chosen that lie one behind the other.
const STANDS_BEFORE: f32 = 1.2;

/// Links of a row at most, laid and chosen.
const CHOSEN_MAX: usize = 48;

/// Links of a row that many others chose.
const LINKS_MAX: usize = 56;

/// Breadth of the walks by which a finished graph is audited: less than searches have unless they say otherwise.
const AUDIT_BREADTH: usize = 48;

/// Parts in which rows are given links, so that later ones are searched for by links that earlier ones have.
const PARTS: usize = 8;

/// How often what no walk finds gets links, each time from what is nearest by then.
const AUDITS: usize = 3;

/// Rows that a row which no walk finds gets links from.
const WAYS_IN: usize = 8;

/// Gives `nodes` links to some of the nearest `breadth` that a search for each meets, there and back.
/// Then searches for each once more. A row that is not found at its own place gets links from the nearest that were; if
/// that does not help, [`AUDITS`] times over, it is an orphan and will be looked at by every search: so every row is
/// found by who asks for it.
pub(super) fn choose_links(codes: &Codes, graph: &mut Graph, nodes: &[u32], breadth: usize) {
    let sketches = Sketches::of(codes);
    let mut finder = Finder {
        codes,
        sketches: &sketches,
        space: WalkSpace::default(),
    };
    let chooser = Chooser {
        codes,
        laid: graph.links.clone(),
    };
    let mut lists: Vec<Vec<u32>> = (0..codes.len() as u32)
        .map(|node| graph.links.of(node).to_vec())
        .collect();
    for part in nodes.chunks(nodes.len().div_ceil(PARTS).max(1)) {
        let chosen = part.iter().map(|node| {
            let candidates = finder.candidates(graph, *node, breadth);
            (*node, chooser.choose(*node, candidates, CHOSEN_MAX))
        });
        chooser.link_both_ways(&mut lists, chosen.collect());
        graph.links = Links::new(lists.iter().map(|list| list.iter().copied()));
    }
    let mut lost = finder.lost(graph, nodes.iter().copied());
    for _ in 0..AUDITS {
        if lost.is_empty() {
            break;
        }
        for Lost { node, ways_in } in &lost {
            for near in ways_in {
                link(&mut lists, *near, *node);
            }
        }
        graph.links = Links::new(lists.iter().map(|list| list.iter().copied()));
        lost = finder.lost(graph, lost.iter().map(|lost| lost.node));
    }
    graph.orphans = lost.into_iter().map(|lost| lost.node).collect();
}

/// A row that a search for it does not meet.
struct Lost {
    node: u32,
    /// The nearest rows that it does meet.
    ways_in: Vec<u32>,
}

/// Searches for rows by their own codes.
struct Finder<'a> {
    codes: &'a Codes,
    sketches: &'a Sketches,
    space: WalkSpace,
}

impl Finder<'_> {
    /// The nearest rows that a search for `node` meets, itself among them unless no walk leads there.
    fn met(&mut self, graph: &Graph, node: u32, breadth: usize) -> Vec<Scored> {
        let query = &self.codes.as_query(node);
        let score = ByCodes::new(self.codes, self.sketches, query);
        walk(graph, &score, breadth, &mut self.space)
    }

    /// Those of `nodes` that a search for them does not meet.
    fn lost(&mut self, graph: &Graph, nodes: impl Iterator<Item = u32>) -> Vec<Lost> {
        nodes
            .filter_map(|node| {
                let met = self.met(graph, node, AUDIT_BREADTH);
                (!is_among(&met, node)).then(|| Lost {
                    node,
                    ways_in: met.iter().take(WAYS_IN).map(|near| near.node).collect(),
                })
            })
            .collect()
    }

    /// Those and the rows that `node` is linked to.
    fn candidates(&mut self, graph: &Graph, node: u32, breadth: usize) -> Vec<Scored> {
        let mut candidates = self.met(graph, node, breadth);
        let met = candidates.len();
        for other in graph.links.of(node) {
            if !is_among(candidates.get(..met).unwrap_or_default(), *other) {
                candidates.push(Scored {
                    similarity: self.codes.similarity(node, *other),
                    node: *other,
                });
            }
        }
        candidates
    }
}

/// Chooses links beside those that were laid.
struct Chooser<'a> {
    codes: &'a Codes,
    laid: Links,
}

impl Chooser<'_> {
    /// What `node` is linked to: the laid links, and until there are `most`, candidates that no link stands before.
    fn choose(&self, node: u32, mut candidates: Vec<Scored>, most: usize) -> Vec<u32> {
        candidates.sort_unstable_by(nearest_first);
        let mut chosen = self.laid.of(node).to_vec();
        for candidate in candidates {
            if chosen.len() >= most {
                break;
            }
            // Half the squared distance of unit vectors.
            let distance = 1.0 - candidate.similarity;
            let stands_before = |other: &u32| {
                *other == candidate.node
                    || STANDS_BEFORE * (1.0 - self.codes.similarity(*other, candidate.node))
                        <= distance
            };
            if candidate.node != node && !chosen.iter().any(stands_before) {
                chosen.push(candidate.node);
            }
        }
        chosen
    }

    /// Gives rows the links that were chosen for them, and links the chosen back. Whose links are then too many chooses
    /// among them.
    fn link_both_ways(&self, lists: &mut [Vec<u32>], chosen_for: Vec<(u32, Vec<u32>)>) {
        for (node, chosen) in &chosen_for {
            if let Some(list) = lists.get_mut(*node as usize) {
                list.clone_from(chosen);
            }
        }
        for (node, chosen) in &chosen_for {
            for other in chosen {
                link(lists, *other, *node);
            }
        }
        for (node, list) in (0..).zip(lists.iter_mut()) {
            if list.len() > LINKS_MAX {
                let candidates = list.iter().map(|other| Scored {
                    similarity: self.codes.similarity(node, *other),
                    node: *other,
                });
                *list = self.choose(node, candidates.collect(), LINKS_MAX);
            }
        }
    }
}

fn link(lists: &mut [Vec<u32>], from: u32, to: u32) {
    if let Some(list) = lists.get_mut(from as usize)
        && !list.contains(&to)
    {
        list.push(to);
    }
}

fn is_among(scored: &[Scored], node: u32) -> bool {
    scored.iter().any(|scored| scored.node == node)
}

fn nearest_first(a: &Scored, b: &Scored) -> std::cmp::Ordering {
    b.similarity
        .total_cmp(&a.similarity)
        .then(a.node.cmp(&b.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser<'a>(codes: &'a Codes, laid: &[&[u32]]) -> Chooser<'a> {
        let laid = Links::new(laid.iter().map(|list| list.iter().copied()));
        Chooser { codes, laid }
    }

    /// Three rows on a line through the first, and one beside it: who stands behind another is not linked to.
    #[test]
    fn a_row_behind_another_is_not_chosen() {
        let at = |angle: f32, aside: f32| {
            let (sin, cos) = angle.sin_cos();
            [cos * aside.cos(), sin * aside.cos(), aside.sin()]
        };
        let rows = [
            at(0.0, 0.0),
            at(0.1, 0.0),
            at(0.2, 0.0),
            at(0.3, 0.0),
            at(0.0, 0.15),
        ];
        let codes = Codes::of(3, &[0, 1, 2, 3, 4], rows.as_flattened());
        let candidates = || {
            let scored = |node| Scored {
                similarity: codes.similarity(0, node),
                node,
            };
            (0..5).rev().map(scored).collect::<Vec<_>>()
        };
        let without = chooser(&codes, &[&[], &[], &[], &[], &[]]);
        assert_eq!(without.choose(0, candidates(), 48), [1, 4]);
        assert_eq!(without.choose(0, candidates(), 1), [1]);
        let laid = chooser(&codes, &[&[3], &[], &[], &[], &[]]);
        assert_eq!(laid.choose(0, candidates(), 48), [3, 1, 4]);
    }

    #[test]
    fn links_lead_back() {
        let codes = Codes::of(2, &[0, 1, 2], &[1.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
        let mut lists = vec![vec![2], vec![], vec![0]];
        chooser(&codes, &[&[], &[], &[]]).link_both_ways(&mut lists, vec![(0, vec![1, 2])]);
        assert_eq!(lists, [vec![1, 2], vec![0], vec![0]]);
    }
}
