//! The plain index is the oracle.

use std::sync::Arc;
use std::thread;

use consilium_search::vector::{
    Change, Effort, Folder, Hit, Memory, Question, Reach, RowId, RowSet, VectorIndex,
};
use proptest::prelude::*;

use crate::world::{DAY_MS, Pair, nearest, open, open_with, rows, units};

#[derive(Debug, Clone)]
enum Deed {
    Add(usize),
    Erase(Vec<u32>),
    Maintain,
    ADayPasses,
    OpenAgain(Memory),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1usize..120).prop_map(Deed::Add),
        3 => prop::collection::vec(0u32..500, 1..40).prop_map(Deed::Erase),
        2 => Just(Deed::Maintain),
        1 => Just(Deed::ADayPasses),
        1 => prop_oneof![Just(Memory::Small), Just(Memory::Fast)].prop_map(Deed::OpenAgain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is done to it, and however it is asked.
    #[test]
    fn an_exact_search_equals_the_plain_index(
        deeds in prop::collection::vec(deed(), 1..14),
        filter in prop::collection::btree_set(0u32..900, 0..300),
        k in 1usize..40,
        least in -1.1f32..1.0,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let disk = || Folder::at(folder.path()).unwrap();
        let mut pair = Pair::on(disk());
        let filter: RowSet = filter.into_iter().map(RowId).collect();
        let asked = units(3, 99);
        for (nth, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Add(count) => pair.add(units(count, nth as u64)),
                Deed::Erase(rows) => pair.erase(rows),
                Deed::Maintain => pair.maintain(),
                Deed::ADayPasses => pair.now = pair.now.plus_ms(DAY_MS),
                Deed::OpenAgain(memory) => pair.index = open_with(memory, disk()).unwrap(),
            }
            for asked in &asked {
                pair.check(asked, k, None);
                pair.check(asked, k, Some(&filter));
                pair.check_scan(asked, None, least);
                pair.check_scan(asked, Some(&filter), least);
            }
        }
    }

    /// A walk may miss a neighbour, but never gives fewer rows than there are, nor a forbidden or erased one, nor a
    /// wrong similarity.
    #[test]
    fn a_walk_is_never_short(
        share in 1u32..100,
        erased in prop::collection::btree_set(0u32..3_000, 0..200),
        k in 1usize..60,
        breadth in 1usize..80,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
        pair.add(units(3_000, 1));
        pair.maintain();
        pair.erase(erased);
        let filter: RowSet = (0..3_000).filter(|row| row * 7_919 % 100 < share).map(RowId).collect();
        for vector in &units(5, 99) {
            for allowed in [None, Some(&filter)] {
                let effort = Effort::Breadth(breadth);
                let hits = pair.index.nearest(&Question { vector, k, allowed, effort }).unwrap();
                let all = nearest(&pair.flat, vector, 3_000, allowed);
                prop_assert_eq!(hits.len(), k.min(all.len()));
                prop_assert!(hits.iter().all(|hit| all.contains(hit)));
                prop_assert!(hits.is_sorted_by(|a, b| a.similarity >= b.similarity && a.row != b.row));
            }
        }
    }
}

/// Filters of every share: at least 95 of 100 true neighbours, though the default breadth is far from all rows.
#[test]
fn filtered_searches_find_the_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let count = 6_000;
    pair.add(units(count, 1));
    pair.maintain();
    let asked = units(50, 99);
    for one_in in [1, 2, 3, 10, 50, 1_000] {
        let scattered: RowSet = (0..count as u32)
            .filter(|row| row * 7_919 % one_in == 0)
            .map(RowId)
            .collect();
        let together = RowSet::below(count as u32 / one_in);
        for allowed in [&scattered, &together] {
            let (mut found, mut expected) = (0, 0);
            for vector in &asked {
                let (k, effort, allowed) = (10, Effort::default(), Some(allowed));
                let best = rows(&nearest(&pair.flat, vector, k, allowed));
                let hits = pair
                    .index
                    .nearest(&Question {
                        vector,
                        k,
                        allowed,
                        effort,
                    })
                    .unwrap();
                found += hits.iter().filter(|hit| best.contains(&hit.row.0)).count();
                expected += best.len();
            }
            assert!(
                found * 100 >= expected * 95,
                "1 in {one_in}: {found} of {expected}"
            );
        }
    }
}

/// A filter that lets in only what lies far from the query: the walk does not come by, and must say so.
#[test]
fn a_filter_against_the_query_is_answered_rightly() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let count = 4_000;
    pair.add(units(count, 1));
    pair.maintain();
    for vector in &units(10, 99) {
        let by_nearness = rows(&nearest(&pair.flat, vector, count, None));
        for far in [&by_nearness[count / 2..], &by_nearness[count - 30..]] {
            let allowed: RowSet = far.iter().copied().map(RowId).collect();
            let (k, allowed, effort) = (10, Some(&allowed), Effort::default());
            let hits = rows(
                &pair
                    .index
                    .nearest(&Question {
                        vector,
                        k,
                        allowed,
                        effort,
                    })
                    .unwrap(),
            );
            let right = hits.iter().filter(|row| far[..10].contains(row)).count();
            assert!(right >= 9, "{right} of 10");
        }
    }
}

#[test]
fn equal_vectors_are_all_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let mut vectors = units(300, 1);
    let template = vectors[4].clone();
    vectors.extend(std::iter::repeat_n(template.clone(), 200));
    pair.add(vectors);
    pair.maintain();
    let (vector, effort) = (&template, Effort::Breadth(10));
    let hits = pair
        .index
        .nearest(&Question {
            vector,
            k: 201,
            allowed: None,
            effort,
        })
        .unwrap();
    assert_eq!(
        rows(&hits),
        std::iter::once(4).chain(300..500).collect::<Vec<_>>()
    );
    let only: RowSet = [RowId(450)].into_iter().collect();
    assert_eq!(rows(&nearest(&pair.index, vector, 3, Some(&only))), [450]);
}

/// Searches hold no lock while they look: they go on during changes and rewrites, and each sees one state.
#[test]
fn searches_during_changes_see_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(open(Folder::at(folder.path()).unwrap()).unwrap());
    let vectors = units(50, 1);
    let batch = |nth: u32| -> Change {
        let added = (nth * 50..).map(RowId).zip(vectors.clone()).collect();
        let erased = (nth.saturating_sub(1) * 50..nth * 50).map(RowId).collect();
        Change { added, erased }
    };
    let now = consilium_protocol::Millis(0);
    index.apply(batch(0), now).unwrap();
    let searcher = {
        let (index, vector) = (Arc::clone(&index), vectors[0].clone());
        thread::spawn(move || {
            let mut last = 0;
            while last < 39 {
                let hits = rows(&nearest(index.as_ref(), &vector, 100, None));
                assert_eq!(hits.len(), 50, "a change is seen whole or not at all");
                let of_batch = hits[0] / 50;
                assert!(hits.iter().all(|row| row / 50 == of_batch) && of_batch >= last);
                last = of_batch;
            }
        })
    };
    for nth in 1..40 {
        index.apply(batch(nth), now).unwrap();
        if nth % 5 == 0 {
            index.maintain(now, 0).unwrap();
        }
    }
    searcher.join().unwrap();
}

/// What is exactly as similar as was asked is near enough, by whichever of the two ways it is decided.
#[test]
fn a_row_at_the_very_bar_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    pair.add(units(400, 1));
    pair.maintain();
    let vector = &units(1, 99)[0];
    for hit in nearest(&pair.flat, vector, 400, None).iter().step_by(7) {
        pair.check_scan(vector, None, hit.similarity);
        pair.check_scan(vector, None, hit.similarity.next_up());
    }
}

/// A search may be made of what a scan is just visiting.
#[test]
fn a_scan_can_search() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let vectors = units(50, 1);
    pair.add(vectors.clone());
    let (vector, least, mut seen) = (&vectors[0], -1.0, 0);
    let reach = Reach {
        vector,
        allowed: None,
        least,
    };
    let mut visit = |hit: Hit| {
        let own = &vectors[hit.row.0 as usize];
        assert_eq!(rows(&nearest(&pair.index, own, 1, None)), [hit.row.0]);
        seen += 1;
    };
    pair.index.scan(&reach, &mut visit).unwrap();
    assert_eq!(seen, 50);
}
