//! Lays the graph of a segment with instant-distance.
//!
//! What its 0.6.1 does that is written nowhere, each held by a test in `tests/hazards.rs`, and what is done about it:
//! its default ratio of layers is not the paper's (we give 1/32); two threads lose links of each other's (a build
//! runs on one thread, several segments beside each other); `extend_candidates` waits for itself (never set); a
//! breadth below 65 shortens lists in silence ([`LAYING_BREADTH`] is more); more than 64 equal vectors become an
//! island (equal ones are built once and are each other's twins); a vector that is no number poisons the graph (none
//! gets here).

use std::collections::HashMap;

use instant_distance::{Builder, Heuristic, Point};
use serde::{Serialize, Serializer};

use super::codes::Codes;
use super::error::VectorError;
use super::graph::{Graph, Links, Upper};
use super::lift::{Lifted, NO_LINK, UPPER_LINKS, ZERO_LINKS, lift};
use super::links::choose_links;

/// Breadth at which instant-distance lays the graph. It is only the way to the candidates of [`choose_links`]; more
/// takes longer and finds the same (docs/decisions/0013-vector-index.md).
const LAYING_BREADTH: usize = 80;

/// Rows of a graph from which on links are chosen among twice as many candidates: among a million rows that found 0.966
/// of the neighbours for 0.930 at the same breadth of search; among fewer it finds a little more, and the build takes
/// half as long again.
const MANY_ROWS: usize = 500_000;

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildSettings {
    /// Rows among which the links of each are chosen (the paper's efConstruction); twice as many in a graph of
    /// half a million rows or more.
    pub breadth: usize,
    /// The same rows, settings and seed give the same graph.
    pub seed: u64,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            breadth: 200,
            seed: 0,
        }
    }
}

/// The graph over the rows of `codes`, by the distances of their codes. Blocks for as long as it takes, on a thread of
/// its own.
pub(super) fn build(codes: &Codes, settings: BuildSettings) -> Result<Graph, VectorError> {
    let (firsts, twins) = without_twins(codes);
    let handles: Vec<Handle<'_>> = firsts
        .iter()
        .map(|node| Handle { codes, node: *node })
        .collect();
    let heuristic = Heuristic {
        extend_candidates: false,
        keep_pruned: false,
    };
    let builder = Builder::default()
        .ef_construction(LAYING_BREADTH)
        .ml(1.0 / UPPER_LINKS as f32)
        .select_heuristic(Some(heuristic))
        .seed(settings.seed);
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|_| VectorError::Build("the system gave no thread"))?;
    let (hnsw, places) = one_thread.install(|| builder.build_hnsw(handles));
    let lifted = lift(&hnsw).ok_or(VectorError::Build("this is not instant-distance 0.6.1"))?;
    drop(hnsw);
    let mut by_insertion = vec![0; firsts.len()];
    for (node, place) in firsts.iter().zip(&places) {
        if let Some(slot) = by_insertion.get_mut(place.into_inner() as usize) {
            *slot = *node;
        }
    }
    let mut graph = assemble(codes.len(), &lifted, &by_insertion, twins);
    drop(lifted);
    let breadth = match firsts.len() < MANY_ROWS {
        true => settings.breadth,
        false => settings.breadth.saturating_mul(2),
    };
    choose_links(codes, &mut graph, &firsts, breadth);
    Ok(graph)
}

/// Rows of different codes, each the first of its kind, and the others, each with its first.
fn without_twins(codes: &Codes) -> (Vec<u32>, Vec<(u32, u32)>) {
    let mut first_of: HashMap<&[i8], u32> = HashMap::with_capacity(codes.len());
    let (mut firsts, mut twins) = (Vec::with_capacity(codes.len()), Vec::new());
    for node in 0..codes.len() as u32 {
        match first_of.entry(codes.row(node)) {
            std::collections::hash_map::Entry::Occupied(first) => twins.push((*first.get(), node)),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(node);
                firsts.push(node);
            }
        }
    }
    twins.sort_unstable();
    (firsts, twins)
}

/// Renumbers the lowest layer from order of insertion to order of rows: the filter's bits, the vectors and the links
/// of one document then lie near each other.
fn assemble(nodes: usize, lifted: &Lifted, by_insertion: &[u32], twins: Vec<(u32, u32)>) -> Graph {
    let row_of = |place: &u32| by_insertion.get(*place as usize).copied();
    let mut place_of = vec![NO_LINK; nodes];
    for (place, node) in by_insertion.iter().enumerate() {
        if let Some(slot) = place_of.get_mut(*node as usize) {
            *slot = place as u32;
        }
    }
    let lists = place_of.iter().map(|place| {
        let start = (*place as usize).saturating_mul(ZERO_LINKS);
        let list = lifted
            .zero
            .get(start..start.saturating_add(ZERO_LINKS))
            .unwrap_or_default();
        list.iter()
            .take_while(|link| **link != NO_LINK)
            .filter_map(row_of)
    });
    let links = Links::new(lists);
    let upper = |layer: &Vec<u32>| Upper {
        links: Links::new(
            layer
                .chunks(UPPER_LINKS)
                .map(|list| list.iter().copied().take_while(|link| *link != NO_LINK)),
        ),
    };
    let uppers: Vec<Upper> = lifted.uppers.iter().rev().map(upper).collect();
    let largest = uppers.last().map_or(1, |upper| upper.links.nodes());
    Graph {
        links,
        uppers,
        members: by_insertion
            .get(..largest.min(by_insertion.len()))
            .unwrap_or_default()
            .to_vec(),
        orphans: Vec::new(),
        twins,
    }
}

/// A row, in sixteen bytes: instant-distance clones its points.
#[derive(Clone)]
struct Handle<'a> {
    codes: &'a Codes,
    node: u32,
}

impl Point for Handle<'_> {
    fn distance(&self, other: &Self) -> f32 {
        1.0 - self.codes.similarity(self.node, other.node)
    }
}

impl Serialize for Handle<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[cfg(test)]
mod tests {
    use instant_distance::{Hnsw, Search};

    use super::*;
    use crate::vector::kernel;
    use crate::vector::made::clustered;
    use crate::vector::top::Scored;
    use crate::vector::walk::{Score, ScoreSpace, WalkSpace, walk};

    /// A row by its exact distances, as instant-distance's own search will use them.
    #[derive(Clone)]
    struct Exactly<'a>(&'a [f32], Vec<f32>);

    impl Point for Exactly<'_> {
        fn distance(&self, other: &Self) -> f32 {
            1.0 - kernel::dot(&self.1, &other.1)
        }
    }

    impl Serialize for Exactly<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    impl Score for Exactly<'_> {
        fn score(&self, nodes: &[u32], _: f32, _: &mut ScoreSpace, scored: &mut Vec<Scored>) {
            scored.extend(nodes.iter().map(|node| Scored {
                similarity: kernel::dot(&self.1, &self.0[*node as usize * 24..][..24]),
                node: *node,
            }));
        }
    }

    /// The oracle of the walk: the search that the graph's builder brings along.
    #[test]
    fn the_walk_finds_what_instant_distance_finds() {
        let (count, breadth) = (3_000, 40);
        let exact = clustered(count + 100, 24, 30, 1);
        let (asked, stored) = exact.split_at(100 * 24);
        let points = stored
            .chunks(24)
            .map(|row| Exactly(stored, row.to_vec()))
            .collect();
        let builder = Builder::default()
            .ml(1.0 / 32.0)
            .seed(5)
            .ef_construction(100)
            .ef_search(breadth);
        let (hnsw, places): (Hnsw<Exactly<'_>>, _) = builder.build_hnsw(points);
        let mut by_insertion = vec![0; count];
        for (node, place) in places.iter().enumerate() {
            by_insertion[place.into_inner() as usize] = node as u32;
        }
        let graph = assemble(count, &lift(&hnsw).unwrap(), &by_insertion, Vec::new());
        assert!(!graph.uppers.is_empty());
        let mut space = WalkSpace::default();
        for asked in asked.chunks(24) {
            let query = Exactly(stored, asked.to_vec());
            let mut search = Search::default();
            let theirs: Vec<(u32, f32)> = hnsw
                .search(&query, &mut search)
                .map(|item| (by_insertion[item.pid.into_inner() as usize], item.distance))
                .take(breadth)
                .collect();
            let ours: Vec<(u32, f32)> = walk(&graph, &query, breadth, &mut space)
                .iter()
                .map(|scored| (scored.node, 1.0 - scored.similarity))
                .collect();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_graph() {
        let ids: Vec<u32> = (0..2_000).collect();
        let rows = Codes::of(16, &ids, &clustered(2_000, 16, 20, 3));
        let settings = BuildSettings::default();
        assert_eq!(
            build(&rows, settings).unwrap(),
            build(&rows, settings).unwrap()
        );
        let other = BuildSettings {
            seed: 1,
            ..settings
        };
        assert_ne!(
            build(&rows, settings).unwrap(),
            build(&rows, other).unwrap()
        );
    }

    #[test]
    fn equal_vectors_are_built_once() {
        let mut exact = clustered(50, 8, 5, 1);
        let copied = exact[..8].to_vec();
        for _ in 0..200 {
            exact.extend_from_slice(&copied);
        }
        let ids: Vec<u32> = (0..250).collect();
        let rows = Codes::of(8, &ids, &exact);
        let graph = build(&rows, BuildSettings::default()).unwrap();
        assert_eq!(
            graph.twins_of(0).collect::<Vec<_>>(),
            (50..250).collect::<Vec<_>>()
        );
        assert_eq!(graph.twins_of(1).count(), 0);
        assert_eq!(graph.orphans, Vec::<u32>::new());
    }
}
