//! Statistics over the federation: a question typed, signed, asked, and its figures told.

pub(crate) mod arguments;

use consilium_protocol::SiteName;
use consilium_protocol::message::{
    Figure, QUERY_TIMEOUT_MS_MAX, QueryResult, Request, Response, SignedQuery,
};
use consilium_protocol::query::limits::SKETCH_SITES_MIN;
use consilium_protocol::query::{Accuracy, Query, QueryDocument, Statistic, parse};
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::ending::{CliError, NoAnswer};
use crate::home::Home;
use crate::output::{Answer, Streams, table};
use crate::session::Session;
use arguments::{Question, StatsCommand};

/// Asks the sites one question.
pub(crate) async fn ask(
    home: &Home,
    command: StatsCommand,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let (statistic, question) = command.parts();
    let filter = match &question.filter {
        None => None,
        Some(text) => Some(parse::filter(text).map_err(|error| {
            if format == Format::Text {
                streams.note(text);
                streams.note(&format!("{:>width$}", '^', width = error.at));
            }
            CliError::Filter(error)
        })?),
    };
    let query = Query::new(QueryDocument {
        accuracy: question.accuracy(),
        project: question.project.clone(),
        purpose: question.purpose.clone(),
        dataset: question.dataset.clone(),
        sites: question.sites.iter().cloned().collect(),
        statistic,
        filter,
    })
    .map_err(CliError::Query)?;
    let result = Session::with(home, async |session| {
        let text = query.text().as_bytes().to_vec();
        let signed = SignedQuery {
            certificate: session.credentials().certificate().to_vec(),
            signature: session.credentials().sign_query(&text)?,
            text,
        };
        let request = Request::Query {
            query: signed,
            timeout_ms: timeout_ms(&question),
        };
        match session.ask(request).await? {
            Response::QueryResult(result) => Ok(result),
            _ => Err(CliError::Unexpected { asked: "query" }.into()),
        }
    })
    .await?;
    if result.query != query.digest() {
        let what = "the result of another query";
        return Err(CliError::Untrustworthy { what }.into());
    }
    told(&query, &result)
}

fn timeout_ms(question: &Question) -> u64 {
    let asked = u64::try_from(question.timeout.as_millis()).unwrap_or(u64::MAX);
    asked.clamp(1, QUERY_TIMEOUT_MS_MAX)
}

fn told(query: &Query, result: &QueryResult) -> Result<Answer, NoAnswer> {
    let data = data_of(query, result);
    let is_distinct = matches!(query.document().statistic, Statistic::Distinct { .. });
    if result.answered.is_empty() {
        let why = match is_distinct {
            true => not_unmasked(query, result),
            false => coverage_of(result).join("; "),
        };
        return Err(NoAnswer::NoSiteAnswered {
            why,
            data: Box::new(data),
        });
    }
    let rows: Vec<[String; 5]> = result.figures.iter().map(row_of).collect();
    let mut text = table(["", "figure", "95 % from", "to", "kept back by"], &rows);
    text.push('\n');
    for line in coverage_of(result) {
        text.push_str(&line);
        text.push('\n');
    }
    if is_distinct {
        text.push_str(
            "a patient of several sites counts once; patients without an identifier, or with no budget left, do not count\n",
        );
        if result.figures.iter().all(|figure| figure.value.is_none()) {
            text.push_str(
                "the noise leaves nothing to say: ask fewer sites, with a larger --epsilon or --about\n",
            );
        }
    }
    text.push_str(&accuracy_of(query.document().accuracy));
    Ok(Answer { data, text })
}

/// Why nobody can be counted: each site that stands in the way, and how to go on without it.
fn not_unmasked(query: &Query, result: &QueryResult) -> String {
    let refused = result.refused.iter();
    let mut lines: Vec<String> = refused
        .map(|(site, refusal)| format!("{site} refused: {refusal}"))
        .collect();
    for (site, cause) in &result.missing {
        lines.push(format!("{site} is missing: {}", cause.sentence()));
    }
    let refused = result.refused.iter().map(|(site, _)| site);
    let away: Vec<&SiteName> = refused
        .chain(result.missing.iter().map(|(site, _)| site))
        .collect();
    let others: Vec<&str> = query
        .document()
        .sites
        .iter()
        .filter(|site| !away.contains(site))
        .map(SiteName::as_str)
        .collect();
    if others.len() >= SKETCH_SITES_MIN {
        lines.push(format!("without them: --sites {}", others.join(",")));
    }
    format!(
        "what the sites send can be read only if all of them answer; {}",
        lines.join("; ")
    )
}

fn row_of(figure: &Figure) -> [String; 5] {
    let name = figure.name.clone();
    let kept_back = match figure.suppressed_at {
        0 => String::new(),
        1 => "1 site".to_owned(),
        sites => format!("{sites} sites"),
    };
    match figure.value {
        Some(value) => [
            name,
            number(value),
            number(figure.low),
            number(figure.high),
            kept_back,
        ],
        None => [name, "-".into(), "-".into(), "-".into(), kept_back],
    }
}

/// As a person reads it: four digits after the point at most, and none that say nothing.
fn number(value: f64) -> String {
    let rounded = format!("{value:.4}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    match short {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

/// Who answered, who refused and why, who is missing and why: a line each.
fn coverage_of(result: &QueryResult) -> Vec<String> {
    let asked = result.answered.len() + result.refused.len() + result.missing.len();
    let names: Vec<String> = result
        .answered
        .iter()
        .map(|by| by.site.to_string())
        .collect();
    let mut lines = vec![match names.is_empty() {
        true => format!("0 of {asked} sites answered"),
        false => format!(
            "{} of {asked} sites answered: {}",
            names.len(),
            names.join(", ")
        ),
    }];
    for (site, refusal) in &result.refused {
        lines.push(format!("{site} refused: {refusal}"));
    }
    for (site, cause) in &result.missing {
        lines.push(format!("{site} is missing: {}", cause.sentence()));
    }
    lines
}

fn accuracy_of(accuracy: Accuracy) -> String {
    match accuracy {
        Accuracy::Exact => {
            "exact above each site's floor, rounded; small groups are hidden\n".to_owned()
        }
        Accuracy::Epsilon(epsilon) => {
            format!("cost at each site: epsilon {epsilon} for each patient\n")
        }
        Accuracy::Rho(rho) => format!("cost at each site: rho {rho} for each patient\n"),
    }
}

fn data_of(query: &Query, result: &QueryResult) -> Value {
    let question: Value = serde_json::from_str(query.text()).unwrap_or_default();
    let refused = result
        .refused
        .iter()
        .map(|(site, refusal)| json!({ "site": site, "refusal": refusal }));
    let missing = result
        .missing
        .iter()
        .map(|(site, cause)| json!({ "site": site, "cause": cause }));
    json!({
        "query_sha256": result.query,
        "question": question,
        "figures": result.figures,
        "answered": result.answered,
        "refused": refused.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use consilium_protocol::message::{AnsweredBy, Missing, Noise};
    use consilium_protocol::{Digest, Refusal, RefusalCode};

    use super::*;

    fn query() -> Query {
        Query::new(QueryDocument {
            project: "cardiology".parse().unwrap(),
            purpose: "HMB".parse().unwrap(),
            dataset: "heart-disease".parse().unwrap(),
            sites: BTreeSet::new(),
            statistic: Statistic::Count,
            filter: Some(parse::filter("age >= 60").unwrap()),
            accuracy: Accuracy::Epsilon(1.0),
        })
        .unwrap()
    }

    fn result() -> QueryResult {
        QueryResult {
            query: query().digest(),
            figures: vec![
                Figure {
                    name: "patients".into(),
                    value: Some(188.0),
                    low: 182.25,
                    high: 193.75,
                    suppressed_at: 0,
                },
                Figure {
                    name: "4".into(),
                    value: None,
                    low: 0.0,
                    high: 0.0,
                    suppressed_at: 2,
                },
            ],
            answered: vec![AnsweredBy {
                site: "cleveland".parse().unwrap(),
                noise: Noise::Laplace,
                bundle: Digest([1; 32]),
            }],
            refused: vec![(
                "va".parse().unwrap(),
                Refusal::new(
                    RefusalCode::NotPermitted,
                    "no permit covers the purpose HMB",
                    "ask the officer",
                ),
            )],
            missing: vec![("hungarian".parse().unwrap(), Missing::NotConnected)],
        }
    }

    #[test]
    fn a_person_reads_figures_with_their_interval_and_who_is_missing() {
        let answer = told(&query(), &result()).unwrap();
        let expected = "          figure  95 % from  to      kept back by\n\
            patients  188     182.25     193.75\n\
            4         -       -          -       2 sites\n\n\
            1 of 3 sites answered: cleveland\n\
            va refused: not-permitted: no permit covers the purpose HMB; ask the officer\n\
            hungarian is missing: not connected\n\
            cost at each site: epsilon 1 for each patient\n";
        let trimmed = |text: &str| {
            text.lines()
                .map(str::trim_end)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(trimmed(&answer.text), trimmed(expected));
    }

    #[test]
    fn a_program_reads_the_same() {
        let data = told(&query(), &result()).unwrap().data;
        assert_eq!(data["figures"][0]["value"], 188.0);
        assert_eq!(data["figures"][1]["value"], Value::Null);
        assert_eq!(data["answered"][0]["noise"], "laplace");
        assert_eq!(data["refused"][0]["refusal"]["code"], "not-permitted");
        assert_eq!(data["missing"][0]["cause"], "not-connected");
        assert_eq!(data["question"]["statistic"]["kind"], "count");
    }

    #[test]
    fn where_nobody_answers_it_is_no_result() {
        let nobody = QueryResult {
            answered: Vec::new(),
            figures: Vec::new(),
            ..result()
        };
        match told(&query(), &nobody) {
            Err(NoAnswer::NoSiteAnswered { why, data }) => {
                assert!(
                    why.starts_with("0 of 2 sites answered; va refused"),
                    "{why}"
                );
                assert_eq!(data["missing"][0]["site"], "hungarian");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_count_of_distinct_patients_that_fails_names_who_stands_in_the_way() {
        let sites = ["cleveland", "hungarian", "va"].map(|site| site.parse().unwrap());
        let query = Query::new(QueryDocument {
            sites: sites.into_iter().collect(),
            statistic: Statistic::Distinct { cells: 1024 },
            filter: None,
            ..query().document().clone()
        })
        .unwrap();
        let nobody = QueryResult {
            query: query.digest(),
            answered: Vec::new(),
            figures: Vec::new(),
            refused: Vec::new(),
            ..result()
        };
        match told(&query, &nobody) {
            Err(NoAnswer::NoSiteAnswered { why, .. }) => assert_eq!(
                why,
                "what the sites send can be read only if all of them answer; hungarian is missing: not connected; \
                 without them: --sites cleveland,va"
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        for (value, text) in [
            (3.0, "3"),
            (0.5, "0.5"),
            (-0.00001, "0"),
            (54.438_94, "54.4389"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
