//! What instant-distance 0.6.1 does that is written nowhere. If one of these fails after an update, `vector/build.rs`
//! guards against something that is gone, or no longer against what is there.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use consilium_search::vector::made::clustered;
use instant_distance::{Builder, Heuristic, Hnsw, Point, PointId, Search};
use serde::Serialize;
use serde_json::Value;

const LINKS: usize = 32;

#[derive(Clone, Serialize)]
struct Vector(Vec<f32>);

impl Point for Vector {
    fn distance(&self, other: &Self) -> f32 {
        self.0
            .iter()
            .zip(&other.0)
            .map(|(x, y)| (x - y).powi(2))
            .sum()
    }
}

fn vectors(count: usize) -> Vec<Vector> {
    clustered(count, 8, 10, 1)
        .chunks(8)
        .map(|row| Vector(row.to_vec()))
        .collect()
}

fn heuristic(extend_candidates: bool, keep_pruned: bool) -> Option<Heuristic> {
    Some(Heuristic {
        extend_candidates,
        keep_pruned,
    })
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

fn built(builder: Builder, points: Vec<Vector>) -> Hnsw<Vector> {
    on_threads(1, || builder.build_hnsw(points).0)
}

/// Lists of links without the unused ones: the lowest layer, and the number of nodes of each layer above.
fn graph(hnsw: &Hnsw<Vector>) -> (Vec<Vec<u64>>, Vec<usize>) {
    let all = serde_json::to_value(hnsw).unwrap();
    let list = |node: &Value| -> Vec<u64> {
        let links = node
            .as_array()
            .unwrap()
            .iter()
            .map(|link| link.as_u64().unwrap());
        links.filter(|link| *link != u64::from(u32::MAX)).collect()
    };
    let zero = all["zero"].as_array().unwrap().iter().map(list).collect();
    let layers = all["layers"].as_array().unwrap();
    (
        zero,
        layers
            .iter()
            .map(|layer| layer.as_array().unwrap().len())
            .collect(),
    )
}

#[test]
fn the_default_ratio_of_layers_is_not_the_papers() {
    let count = 4_000;
    let (_, layers) = graph(&built(Builder::default().seed(1), vectors(count)));
    let ratio = 1.0 / (LINKS as f32).ln();
    let first = (count as f32 * ratio) as usize;
    assert_eq!(layers[..2], [first, (first as f32 * ratio) as usize]);
    let (_, layers) = graph(&built(
        Builder::default().seed(1).ml(1.0 / 32.0),
        vectors(count),
    ));
    assert_eq!(layers, [count / LINKS]);
}

#[test]
fn keeping_the_pruned_fills_the_lists() {
    let mean = |keep_pruned| {
        let builder = Builder::default()
            .seed(1)
            .select_heuristic(heuristic(false, keep_pruned));
        let (zero, _) = graph(&built(builder, vectors(2_000)));
        zero.iter().map(Vec::len).sum::<usize>() / zero.len()
    };
    assert!(
        mean(true) > 3 * mean(false),
        "{} and {}",
        mean(true),
        mean(false)
    );
}

#[test]
fn one_thread_gives_the_same_graph_for_the_same_seed() {
    let once = || graph(&built(Builder::default().seed(3), vectors(1_000)));
    assert_eq!(once(), once());
}

/// Two threads that link to the same node lose one of the two links. Whether they meet is chance, so the test only
/// shows that what is lost is a link and not more: every link still points to a node.
#[test]
fn two_threads_may_lose_links_and_nothing_else() {
    let count = 2_000;
    let hnsw = on_threads(2, || {
        Builder::default().seed(3).build_hnsw(vectors(count)).0
    });
    let (zero, _) = graph(&hnsw);
    assert_eq!(zero.len(), count);
    assert!(zero.iter().flatten().all(|link| (*link as usize) < count));
    assert!(
        zero.iter()
            .all(|list| list.iter().collect::<HashSet<_>>().len() == list.len())
    );
}

/// It holds a lock and asks for it again. The thread is left to wait; it ends with the process.
#[test]
fn extending_candidates_waits_for_itself() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let builder = Builder::default()
            .seed(1)
            .select_heuristic(heuristic(true, true));
        built(builder, vectors(200));
        done.send(()).ok();
    });
    let waited = is_done.recv_timeout(Duration::from_secs(2));
    assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout));
}

#[test]
fn a_breadth_below_65_shortens_the_lists() {
    let longest = |breadth| {
        let (zero, _) = graph(&built(
            Builder::default().seed(1).ef_construction(breadth),
            vectors(1_000),
        ));
        zero.iter().map(Vec::len).max().unwrap()
    };
    assert!(longest(20) < 40, "{}", longest(20));
    assert_eq!(longest(65), 64);
}

#[test]
fn the_breadth_of_building_does_not_follow_that_of_searching() {
    let (breadth, ..) = Builder::default().ef_search(300).into_parts();
    assert_eq!(breadth, 300);
    let (_, breadth, ..) = Builder::default().ef_search(300).into_parts();
    assert_eq!(breadth, 100);
}

#[test]
fn points_are_shuffled() {
    let points = vectors(500);
    let (hnsw, places) = on_threads(1, || Builder::default().seed(1).build_hnsw(points.clone()));
    assert_ne!(places, (0..500).map(PointId::from).collect::<Vec<_>>());
    assert!(
        places
            .iter()
            .zip(&points)
            .all(|(place, point)| hnsw[*place].0 == point.0)
    );
}

/// 300 copies of one vector fill each other's lists and nobody else is in them: who gets in does not get out.
#[test]
fn many_equal_vectors_are_an_island() {
    let copies = 300;
    let mut points = vec![vectors(1)[0].clone(); copies];
    points.extend(vectors(400).into_iter().skip(1));
    let (hnsw, places) = on_threads(1, || Builder::default().seed(1).build_hnsw(points));
    let (zero, _) = graph(&hnsw);
    let is_copy: HashSet<u64> = places[..copies]
        .iter()
        .map(|place| u64::from(place.into_inner()))
        .collect();
    let closed = is_copy.iter().filter(|copy| {
        zero[**copy as usize]
            .iter()
            .all(|link| is_copy.contains(link))
    });
    assert!(closed.count() > copies / 2);
}

#[test]
fn a_vector_that_is_no_number_is_taken() {
    let mut points = vectors(200);
    points[7].0[0] = f32::NAN;
    let query = points[7].clone();
    let hnsw = built(Builder::default().seed(1), points);
    let mut search = Search::default();
    assert!(
        hnsw.search(&query, &mut search)
            .all(|item| item.distance.is_nan())
    );
}

#[test]
fn no_points_are_no_fault() {
    let hnsw = built(Builder::default().seed(1), Vec::new());
    assert_eq!(hnsw.search(&vectors(1)[0], &mut Search::default()).len(), 0);
}
