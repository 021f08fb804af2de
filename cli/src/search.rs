//! Searches over the federation: a text typed, scrubbed, signed, asked, and what was found told.

pub(crate) mod arguments;
mod searcher;
mod told;

use std::io::Read;
use std::path::Path;

use consilium_protocol::query::parse;
use consilium_protocol::search::{Search, SearchDocument};
use consilium_search::redaction::Redactor;
use serde::Deserialize;
use serde_json::json;

pub use searcher::{SearchOutcome, Searcher, Told};

use crate::arguments::Format;
use crate::ending::{CliError, NoAnswer};
use crate::home::Home;
use crate::output::{Answer, Streams};
use arguments::{SearchAsked, Show};

/// A file of questions.
const BATCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Asks the sites one search, or those of a file one after another.
pub(crate) async fn ask(
    home: &Home,
    asked: SearchAsked,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let filter = match &asked.filter {
        None => None,
        Some(text) => Some(parse::filter(text).map_err(CliError::Filter)?),
    };
    let document = |text: &str| SearchDocument {
        project: asked.project.clone(),
        purpose: asked.purpose.clone(),
        collection: asked.collection.clone(),
        sites: asked.sites.iter().cloned().collect(),
        text: text.to_owned(),
        filter: filter.clone(),
        wanted: asked.wanted(),
    };
    let redactor = Redactor::new();
    // What is public is searched for as it is typed: names of diseases are names of people too.
    let scrubbed = |text: &str| match asked.show {
        Show::Passages => text.to_owned(),
        _ => redactor.redact(text).text,
    };
    if let Some(file) = &asked.batch {
        let questions = questions(file)?;
        let searches = questions
            .iter()
            .map(|question| Search::new(document(&scrubbed(&question.text))))
            .collect::<Result<Vec<_>, _>>()
            .map_err(CliError::Query)?;
        return batch(home, &asked, &questions, &searches, streams).await;
    }
    let typed = asked.text.clone().unwrap_or_default();
    let text = scrubbed(&typed);
    if text != typed && format == Format::Text {
        streams.note("what identifies someone was taken out before anything was sent");
    }
    let search = Search::new(document(&text)).map_err(CliError::Query)?;
    let searcher = Searcher::begin(home).await?;
    let outcome = searcher.ask(&search, asked.timeout).await;
    searcher.close().await;
    told::told(&search, &outcome?)
}

/// One question of a file.
#[derive(Deserialize)]
struct Question {
    qid: String,
    text: String,
}

fn questions(file: &Path) -> Result<Vec<Question>, CliError> {
    let path = file.to_owned();
    let not_read = |source| CliError::NotRead {
        path: path.clone(),
        source,
    };
    let mut text = String::new();
    let mut limited = std::fs::File::open(file)
        .map_err(not_read)?
        .take(BATCH_BYTES_MAX + 1);
    limited.read_to_string(&mut text).map_err(not_read)?;
    let wrong = |message: String| CliError::Questions {
        path: path.clone(),
        message,
    };
    if text.len() as u64 > BATCH_BYTES_MAX {
        return Err(wrong(format!("it has more than {BATCH_BYTES_MAX} bytes")));
    }
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

async fn batch(
    home: &Home,
    asked: &SearchAsked,
    questions: &[Question],
    searches: &[Search],
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let searcher = Searcher::begin(home).await?;
    let mut results = Vec::with_capacity(searches.len());
    let mut text = String::new();
    for (at, (question, search)) in questions.iter().zip(searches).enumerate() {
        let outcome = match searcher.ask(search, asked.timeout).await {
            Ok(outcome) => outcome,
            Err(error) => {
                searcher.close().await;
                return Err(error);
            }
        };
        if (at + 1) % 100 == 0 {
            streams.note(&format!(
                "{} of {} searches answered",
                at + 1,
                searches.len()
            ));
        }
        text.push_str(&format!("{}\t{}\n", question.qid, told::line(&outcome)));
        results.push(json!({ "qid": question.qid, "result": told::data_of(search, &outcome) }));
    }
    searcher.close().await;
    Ok(Answer {
        data: json!({ "results": results }),
        text,
    })
}
