//! One search has one text; nothing hostile gets in; what is merged is what one place would have found.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::merge::{At, could_be_told, disclosed, passages};
use super::*;
use crate::message::{DisclosedHit, PassageHit};

fn document() -> SearchDocument {
    SearchDocument {
        project: "library".parse().unwrap(),
        purpose: "HMB".parse().unwrap(),
        collection: "medquad".parse().unwrap(),
        sites: BTreeSet::new(),
        text: "what causes  gout?".into(),
        filter: None,
        wanted: Wanted::Passages {
            hits: 10,
            ranking: Ranking::Both,
        },
    }
}

#[test]
fn a_search_has_one_text_and_only_that_is_read() {
    let search = Search::new(document()).unwrap();
    assert_eq!(
        search.text(),
        r#"{"collection":"medquad","project":"library","purpose":"HMB","text":"what causes gout?","wanted":{"passages":{"hits":10,"ranking":"both"}}}"#
    );
    assert_eq!(Search::parse(search.text().as_bytes()), Ok(search.clone()));
    let spaced = search.text().replace("gout?", "gout? ");
    assert_eq!(
        Search::parse(spaced.as_bytes()),
        Err(QueryError::NotCanonical)
    );
}

#[test]
fn what_no_site_could_answer_is_no_search() {
    type Breaks = fn(&mut SearchDocument);
    let broken: Vec<(&str, Breaks)> = vec![
        ("text", |d| d.text = "  ".into()),
        ("text", |d| d.text = "a ".repeat(SEARCH_WORDS_MAX + 1)),
        ("text", |d| d.text = "a".repeat(SEARCH_TEXT_BYTES_MAX + 1)),
        ("text", |d| d.text = "a\u{0}b".into()),
        ("hits", |d| {
            d.wanted = Wanted::Handles {
                hits: 0,
                ranking: Ranking::Both,
            };
        }),
        ("hits", |d| {
            d.wanted = Wanted::Passages {
                hits: 101,
                ranking: Ranking::Words,
            };
        }),
        ("accuracy", |d| {
            d.wanted = Wanted::Count {
                nearness: 50,
                accuracy: Accuracy::Exact,
            };
        }),
        ("nearness", |d| {
            d.wanted = Wanted::Count {
                nearness: 101,
                accuracy: Accuracy::Rho(0.005),
            };
        }),
        ("candidates", |d| {
            d.wanted = Wanted::Votes {
                nearness: 50,
                column: "code".into(),
                candidates: Vec::new(),
                accuracy: Accuracy::Rho(0.005),
            };
        }),
    ];
    for (field, breaks) in broken {
        let mut document = document();
        breaks(&mut document);
        match Search::new(document) {
            Err(QueryError::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

fn hit(document: u32, similarity: Option<f32>, words: Option<f64>) -> PassageHit {
    PassageHit {
        document: format!("d{document:04}"),
        passage: 0,
        title: String::new(),
        text: String::new(),
        similarity,
        words,
    }
}

/// A site's answer: its best in each order.
fn best_of(hits: &[PassageHit]) -> Vec<PassageHit> {
    let cut = |mut scored: Vec<(f64, PassageHit)>| {
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.document.cmp(&b.1.document)));
        scored.truncate(RANK_DEPTH);
        scored
    };
    let near = cut(hits
        .iter()
        .filter_map(|h| Some((f64::from(h.similarity?), h.clone())))
        .collect());
    let worded = cut(hits
        .iter()
        .filter_map(|h| Some((h.words?, h.clone())))
        .collect());
    let mut best: BTreeMap<String, PassageHit> = BTreeMap::new();
    for (_, hit) in near {
        let kept = PassageHit { words: None, ..hit };
        best.insert(kept.document.clone(), kept);
    }
    for (score, hit) in worded {
        best.entry(hit.document.clone())
            .or_insert(PassageHit {
                similarity: None,
                words: None,
                ..hit
            })
            .words = Some(score);
    }
    best.into_values().collect()
}

fn names(found: &[At<PassageHit>]) -> Vec<&str> {
    found.iter().map(|at| at.hit.document.as_str()).collect()
}

proptest! {
    /// Whichever way documents are spread over sites, the merged order is that of one place.
    #[test]
    fn what_sites_find_together_is_what_one_place_finds(
        scores in proptest::collection::vec((0_u8..40, proptest::option::of(0_u8..40), 0_usize..4), 1..400),
        hits in 1_usize..20,
    ) {
        let all: Vec<(usize, PassageHit)> = (0..).zip(&scores)
            .map(|(at, (near, words, site))| (*site, hit(at, Some(f32::from(*near)), words.map(f64::from))))
            .collect();
        let name = |site: usize| format!("site-{site}").parse::<SiteName>().unwrap();
        for ranking in [Ranking::Vectors, Ranking::Words, Ranking::Both] {
            let together: Vec<PassageHit> = all.iter().map(|(_, hit)| hit.clone()).collect();
            let central = passages(BTreeMap::from([(name(9), best_of(&together))]), ranking, hits);
            let mut sites: BTreeMap<SiteName, Vec<PassageHit>> = BTreeMap::new();
            for (site, hit) in &all {
                sites.entry(name(*site)).or_default().push(hit.clone());
            }
            let sites = sites.into_iter().map(|(site, hits)| (site, best_of(&hits))).collect();
            let sites: BTreeMap<SiteName, Vec<PassageHit>> = sites;
            let federated = passages(sites.clone(), ranking, hits);
            prop_assert_eq!(names(&federated), names(&central));
            // Whose text is not sent is not wanted.
            for (site, found) in sites {
                let told = could_be_told(&found, ranking, hits);
                let told = found.iter().zip(told).filter(|(_, is_told)| *is_told);
                let told: Vec<&str> = told.map(|(hit, _)| hit.document.as_str()).collect();
                let wanted = federated.iter().filter(|at| at.site == site);
                prop_assert!(wanted.into_iter().all(|at| told.contains(&at.hit.document.as_str())));
            }
        }
    }
}

#[test]
fn of_equal_buckets_the_sites_take_turns() {
    let site = |name: &str| name.parse::<SiteName>().unwrap();
    let found = |buckets: &[u8]| -> Vec<DisclosedHit> {
        buckets
            .iter()
            .map(|bucket| DisclosedHit {
                handle: [0; 16],
                bucket: *bucket,
                snippet: String::new(),
            })
            .collect()
    };
    let merged = disclosed(
        BTreeMap::from([(site("a"), found(&[9, 9, 3])), (site("b"), found(&[9, 4]))]),
        4,
    );
    let order: Vec<(&str, u8)> = merged
        .iter()
        .map(|at| (at.site.as_str(), at.hit.bucket))
        .collect();
    assert_eq!(order, [("a", 9), ("b", 9), ("a", 9), ("b", 4)]);
}
