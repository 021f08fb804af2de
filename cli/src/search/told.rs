//! What was found, for people and for programs.

use consilium_protocol::message::{BUCKETS, DisclosedHit, Figure, PassageHit};
use consilium_protocol::search::Search;
use consilium_protocol::search::merge::At;
use serde_json::{Value, json};

use super::searcher::{SearchOutcome, Told};
use crate::ending::NoAnswer;
use crate::output::Answer;

/// A count below this is told as "fewer than": noise has its say first, and what is shown of it is our choice.
const SHOWN_FROM: f64 = 20.0;

/// Characters of a passage that a person is shown.
const SHOWN_CHARS: usize = 300;

pub(super) fn told(search: &Search, outcome: &SearchOutcome) -> Result<Answer, NoAnswer> {
    let data = data_of(search, outcome);
    if outcome.answered.is_empty() {
        return Err(NoAnswer::NoSiteAnswered {
            why: coverage(outcome).join("; "),
            data: Box::new(data),
        });
    }
    let mut text = match &outcome.told {
        Told::Figures(figures) => figures_told(figures),
        Told::Disclosed(hits) => disclosed_told(hits),
        Told::Passages(hits) => passages_told(hits),
    };
    text.push('\n');
    for line in coverage(outcome) {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Answer { data, text })
}

/// Who answered, who refused and why, who is missing and why: a line each.
fn coverage(outcome: &SearchOutcome) -> Vec<String> {
    let asked = outcome.answered.len() + outcome.refused.len() + outcome.missing.len();
    let missing = outcome
        .missing
        .iter()
        .map(|(site, cause)| format!("{site} {}", in_short(*cause)));
    let short: Vec<String> = missing.collect();
    let mut first = format!("{} of {asked} sites", outcome.answered.len());
    if !short.is_empty() {
        first = format!("{first}; {}", short.join("; "));
    }
    let refused = outcome
        .refused
        .iter()
        .map(|(site, refusal)| format!("{site} refused: {refusal}"));
    std::iter::once(first).chain(refused).collect()
}

fn in_short(cause: consilium_protocol::message::Missing) -> &'static str {
    use consilium_protocol::message::Missing;
    match cause {
        Missing::Late => "timed out",
        other => other.sentence(),
    }
}

fn figures_told(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let value = figure.value.unwrap_or(0.0);
        let line = match value < SHOWN_FROM {
            true => format!("{}: fewer than {SHOWN_FROM}, or none\n", figure.name),
            false => format!(
                "{}: about {value:.0} (95 % between {:.0} and {:.0})\n",
                figure.name,
                figure.low.max(0.0),
                figure.high
            ),
        };
        text.push_str(&line);
    }
    text
}

fn disclosed_told(hits: &[At<DisclosedHit>]) -> String {
    if hits.is_empty() {
        return "nothing found, or too few patients to tell; the sites do not say which\n"
            .to_owned();
    }
    let mut text = String::new();
    for (rank, at) in hits.iter().enumerate() {
        let DisclosedHit {
            handle,
            bucket,
            snippet,
        } = &at.hit;
        text.push_str(&format!(
            "{:>3}  {bucket:>2}/{BUCKETS}  {}  {}\n",
            rank + 1,
            at.site,
            hex(handle)
        ));
        if !snippet.is_empty() {
            text.push_str(&format!("     {snippet}\n"));
        }
    }
    text
}

fn passages_told(hits: &[At<PassageHit>]) -> String {
    if hits.is_empty() {
        return "nothing found\n".to_owned();
    }
    let mut text = String::new();
    for (rank, at) in hits.iter().enumerate() {
        let hit = &at.hit;
        let shown: String = hit.text.chars().take(SHOWN_CHARS).collect();
        let more = if shown.len() < hit.text.len() {
            " …"
        } else {
            ""
        };
        text.push_str(&format!(
            "{:>3}  {:.4}  {}  {}\n     {}\n     {shown}{more}\n",
            rank + 1,
            at.score,
            at.site,
            hit.document,
            hit.title,
        ));
    }
    text
}

/// The hits' names in one line, best first.
pub(super) fn line(outcome: &SearchOutcome) -> String {
    let names: Vec<String> = match &outcome.told {
        Told::Figures(figures) => figures
            .iter()
            .map(|figure| format!("{}={:.0}", figure.name, figure.value.unwrap_or(0.0)))
            .collect(),
        Told::Disclosed(hits) => hits.iter().map(|at| hex(&at.hit.handle)).collect(),
        Told::Passages(hits) => hits.iter().map(|at| at.hit.document.clone()).collect(),
    };
    names.join("\t")
}

pub(super) fn data_of(search: &Search, outcome: &SearchOutcome) -> Value {
    let question: Value = serde_json::from_str(search.text()).unwrap_or_default();
    let refused = outcome
        .refused
        .iter()
        .map(|(site, refusal)| json!({ "site": site, "refusal": refusal }));
    let missing = outcome
        .missing
        .iter()
        .map(|(site, cause)| json!({ "site": site, "cause": cause }));
    let found: Value = match &outcome.told {
        Told::Figures(figures) => json!({ "figures": figures }),
        Told::Disclosed(hits) => {
            json!({ "hits": hits.iter().map(disclosed_data).collect::<Vec<_>>() })
        }
        Told::Passages(hits) => {
            json!({ "hits": hits.iter().map(passage_data).collect::<Vec<_>>() })
        }
    };
    json!({
        "search_sha256": outcome.search,
        "question": question,
        "found": found,
        "answered": outcome.answered,
        "refused": refused.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
    })
}

fn disclosed_data(at: &At<DisclosedHit>) -> Value {
    json!({
        "site": at.site,
        "handle": hex(&at.hit.handle),
        "nearness_of_16": at.hit.bucket,
        "snippet": at.hit.snippet,
    })
}

fn passage_data(at: &At<PassageHit>) -> Value {
    json!({
        "site": at.site,
        "document": at.hit.document,
        "passage": at.hit.passage,
        "title": at.hit.title,
        "text": at.hit.text,
        "score": at.score,
        "similarity": at.hit.similarity,
        "words": at.hit.words,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use consilium_protocol::message::{AnsweredBy, Missing, Noise};
    use consilium_protocol::search::{Ranking, SearchDocument, Wanted};
    use consilium_protocol::{Digest, Refusal, RefusalCode, SiteName};

    use super::*;

    fn search() -> Search {
        Search::new(SearchDocument {
            project: "p".parse().unwrap(),
            purpose: "HMB".parse().unwrap(),
            collection: "medquad".parse().unwrap(),
            sites: [].into(),
            text: "gout".into(),
            filter: None,
            wanted: Wanted::Passages {
                hits: 10,
                ranking: Ranking::Both,
            },
        })
        .unwrap()
    }

    fn outcome(told: Told) -> SearchOutcome {
        let by = |site: &str| AnsweredBy {
            site: site.parse().unwrap(),
            noise: Noise::None,
            bundle: Digest([0; 32]),
        };
        SearchOutcome {
            search: search().digest(),
            told,
            answered: (0..8).map(|at| by(&format!("s{at}"))).collect(),
            refused: Vec::new(),
            missing: vec![("ninds".parse().unwrap(), Missing::Late)],
        }
    }

    #[test]
    fn a_person_reads_hits_with_their_place_and_who_is_missing() {
        let site: SiteName = "niddk".parse().unwrap();
        let hit = PassageHit {
            document: "niddk:1".into(),
            passage: 0,
            title: "What is gout ?".into(),
            text: "Gout is a kind of arthritis.".into(),
            similarity: Some(0.75),
            words: None,
        };
        let hits = vec![At {
            site,
            hit,
            score: 0.75,
        }];
        let answer = told(&search(), &outcome(Told::Passages(hits))).unwrap();
        assert_eq!(
            answer.text,
            "  1  0.7500  niddk  niddk:1\n     What is gout ?\n     Gout is a kind of arthritis.\n\n\
             8 of 9 sites; ninds timed out\n"
        );
        assert_eq!(answer.data["found"]["hits"][0]["document"], "niddk:1");
    }

    #[test]
    fn a_small_count_is_told_as_small() {
        let figure = |name: &str, value: f64| Figure {
            name: name.into(),
            value: Some(value),
            low: value - 19.0,
            high: value + 19.0,
            suppressed_at: 0,
        };
        let figures = vec![figure("patients", 19.4), figure("gout", 60.2)];
        let answer = told(&search(), &outcome(Told::Figures(figures))).unwrap();
        assert!(answer.text.starts_with(
            "patients: fewer than 20, or none\ngout: about 60 (95 % between 41 and 79)\n"
        ));
    }

    #[test]
    fn where_nobody_answers_it_is_no_result() {
        let refusal = Refusal::new(RefusalCode::NotPermitted, "no", "ask the officer");
        let nobody = SearchOutcome {
            answered: Vec::new(),
            refused: vec![("a".parse().unwrap(), refusal)],
            ..outcome(Told::Passages(Vec::new()))
        };
        match told(&search(), &nobody) {
            Err(NoAnswer::NoSiteAnswered { why, .. }) => assert_eq!(
                why,
                "0 of 2 sites; ninds timed out; a refused: not-permitted: no; ask the officer"
            ),
            other => panic!("{other:?}"),
        }
    }
}
