use proptest::prelude::*;

use super::*;

fn index(passages: &[(u32, &str, &str)]) -> LexicalIndex {
    let index = LexicalIndex::new().expect("an index in memory");
    let added: Vec<_> = passages
        .iter()
        .map(|(row, title, body)| (RowId(*row), *title, *body))
        .collect();
    index.apply(&added, &[]).expect("applied");
    index
}

fn rows(index: &LexicalIndex, question: &str, k: usize, allowed: Option<&RowSet>) -> Vec<u32> {
    index
        .best(question, k, allowed)
        .expect("an answer")
        .into_iter()
        .map(|hit| hit.row.0)
        .collect()
}

const WARD: &[(u32, &str, &str)] = &[
    (1, "Gout", "Gout is a painful arthritis of the big toe."),
    (2, "", "Arthritis of the knees, not painful."),
    (3, "Migraine", "Migraines are headaches with an aura."),
    (
        4,
        "",
        "Gout was ruled out. The toes are well, the knees are well, the hands are well, all joints are well.",
    ),
];

#[test]
fn the_title_and_the_rare_word_decide() {
    let ward = index(WARD);
    assert_eq!(rows(&ward, "What is gout?", 10, None), [1, 4]);
    assert_eq!(rows(&ward, "painful knee arthritis", 2, None), [2, 1]);
    assert_eq!(rows(&ward, "what is it", 10, None), Vec::<u32>::new());
}

#[test]
fn a_question_is_words_and_no_query() {
    let ward = index(WARD);
    for question in [
        "-gout",
        "row:1 gout",
        "\"gout",
        "gout AND NOT toe",
        "(gout",
        "gout~9^3",
        "[* TO gout]",
        "gout\u{0}",
    ] {
        assert_eq!(rows(&ward, question, 1, None), [1], "{question:?}");
    }
    let long = format!("{} gout", "x y z ".repeat(100_000));
    assert_eq!(
        rows(&ward, &long, 10, None),
        Vec::<u32>::new(),
        "only the beginning is read"
    );
    assert!(matches!(
        ward.best("gout", 0, None),
        Err(LexicalError::KOutOfRange { found: 0 })
    ));
    assert!(matches!(
        ward.best("gout", 1_000_000, None),
        Err(LexicalError::KOutOfRange { .. })
    ));
}

#[test]
fn what_is_erased_is_not_found_and_what_is_put_in_again_is_found_once() {
    let ward = index(WARD);
    ward.apply(&[(RowId(9), "Gout", "New.")], &[RowId(1), RowId(77)])
        .expect("applied");
    assert_eq!(rows(&ward, "gout", 10, None), [9, 4]);
    ward.apply(&[(RowId(4), "", "Nothing of that kind.")], &[])
        .expect("applied");
    assert_eq!(rows(&ward, "gout", 10, None), [9]);
    ward.purge().expect("purged");
    assert_eq!(rows(&ward, "gout", 10, None), [9]);
    assert_eq!(ward.len(), 4);
    assert!(matches!(
        ward.apply(&[(RowId(u32::MAX), "", "")], &[]),
        Err(LexicalError::RowOutOfRange { row: u32::MAX })
    ));
}

#[test]
fn an_empty_index_answers_with_nothing() {
    let empty = LexicalIndex::new().expect("an index in memory");
    assert!(empty.is_empty());
    assert_eq!(rows(&empty, "gout", 10, None), Vec::<u32>::new());
}

#[test]
fn many_small_changes_leave_few_parts() {
    let index = LexicalIndex::new().expect("an index in memory");
    for row in 0..60 {
        index
            .apply(&[(RowId(row), "", "gout")], &[])
            .expect("applied");
    }
    assert!(index.reader.searcher().segment_readers().len() <= SEGMENTS_MAX + 1);
    assert_eq!(rows(&index, "gout", 100, None), (0..60).collect::<Vec<_>>());
}

const WORDS: &[&str] = &[
    "gout", "toe", "knee", "aura", "headache", "the", "insulin", "qqx", "renal", "fever",
];

fn passages() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = |most| {
        prop::collection::vec(prop::sample::select(WORDS), 0..most)
            .prop_map(|words| words.join(" "))
    };
    prop::collection::vec((text(3), text(25)), 1..40)
}

fn numbered(passages: &[(String, String)]) -> Vec<(u32, &str, &str)> {
    (0..)
        .zip(passages)
        .map(|(row, (title, body))| (row, title.as_str(), body.as_str()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The promise to a federation: sites merged by score and row are one index, to the bit, however the rows are
    /// split, in however many changes they came.
    #[test]
    fn several_sites_merged_are_one_central_index(
        passages in passages(),
        sites in prop::collection::vec(0usize..3, 40),
        question in prop::collection::vec(prop::sample::select(WORDS), 1..6),
        k in 1usize..12,
    ) {
        let question = question.join(" ");
        let all = numbered(&passages);
        let central = index(&all);
        let mut merged: Vec<(u64, u32)> = Vec::new();
        for site in 0..3 {
            let part: Vec<_> = all.iter().filter(|(row, ..)| sites[*row as usize] == site).copied().collect();
            let one = LexicalIndex::new().expect("an index in memory");
            for chunk in part.chunks(7) {
                let added: Vec<_> = chunk.iter().map(|(row, title, body)| (RowId(*row), *title, *body)).collect();
                one.apply(&added, &[]).expect("applied");
            }
            let hits = one.best(&question, k, None).expect("an answer");
            merged.extend(hits.into_iter().map(|hit| (hit.score.to_bits(), hit.row.0)));
        }
        merged.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        merged.truncate(k);
        let expected: Vec<_> =
            central.best(&question, k, None).expect("an answer").iter().map(|hit| (hit.score.to_bits(), hit.row.0)).collect();
        prop_assert_eq!(merged, expected);
    }

    /// A filter is applied inside: the answer is that of an index that holds the allowed rows alone.
    #[test]
    fn a_filter_gives_k_hits_whenever_k_exist(
        passages in passages(),
        kept in prop::collection::vec(any::<bool>(), 40),
        k in 1usize..12,
    ) {
        let all = numbered(&passages);
        let few: Vec<_> = all.iter().filter(|(row, ..)| kept[*row as usize]).copied().collect();
        let allowed: RowSet = few.iter().map(|(row, ..)| RowId(*row)).collect();
        let question = "gout knee fever";
        prop_assert_eq!(rows(&index(&all), question, k, Some(&allowed)), rows(&index(&few), question, k, None));
    }
}
