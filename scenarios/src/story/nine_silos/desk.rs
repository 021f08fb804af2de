//! The researcher's desk: searches over QUIC as library calls, one after another or a few side by side.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use consilium_cli::{SearchOutcome, Searcher, Told};
use consilium_protocol::query::Filter;
use consilium_protocol::search::{Ranking, SearchDocument, Wanted};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::collections::{PROJECT, PURPOSE};
use crate::story::StoryError;
use crate::story::told::Work;

/// Searches under way at once. A coordinator keeps four open for each researcher.
const AT_ONCE: usize = 3;

/// How long a batch waits for a site.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One search.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) collection: &'static str,
    pub(super) ranking: Ranking,
    pub(super) hits: u16,
    pub(super) filter: Option<Filter>,
    /// Who is asked; all where nobody is named.
    pub(super) sites: &'a [&'a str],
    pub(super) patience: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    /// Documents, best first.
    pub(super) found: Vec<String>,
    pub(super) sites: usize,
    /// Who is missing, and why, in a person's words; a refusal is told with them.
    pub(super) missing: Vec<(String, String)>,
    /// From the call to its return.
    pub(super) took: Duration,
}

impl<'a> Asked<'a> {
    /// The best of every site, with patience.
    pub(super) fn plainly(
        text: &'a str,
        collection: &'static str,
        ranking: Ranking,
        hits: u16,
    ) -> Self {
        Self {
            text,
            collection,
            ranking,
            hits,
            filter: None,
            sites: &[],
            patience: PATIENCE,
        }
    }

    fn document(&self) -> Result<SearchDocument, StoryError> {
        let sites = self.sites.iter().map(|site| site.parse());
        Ok(SearchDocument {
            project: PROJECT.parse().map_err(StoryError::unexpected)?,
            purpose: PURPOSE.parse().map_err(StoryError::unexpected)?,
            collection: self.collection.parse().map_err(StoryError::unexpected)?,
            sites: sites
                .collect::<Result<_, _>>()
                .map_err(StoryError::unexpected)?,
            text: self.text.to_owned(),
            filter: self.filter.clone(),
            wanted: Wanted::Passages {
                hits: self.hits,
                ranking: self.ranking,
            },
        })
    }
}

/// A connection and the runtime that drives it.
pub(super) struct Desk {
    runtime: Runtime,
    searcher: Searcher,
}

impl Desk {
    /// Connects as the member whose home this is.
    ///
    /// # Errors
    /// If there is no connection to be had.
    pub(super) fn open(home: &Path) -> Result<Self, StoryError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StoryError::Disk {
                what: "cannot search".to_owned(),
                source,
            })?;
        let searcher = runtime.block_on(Searcher::connect(home));
        let searcher = searcher.map_err(|failure| StoryError::unexpected(failure.message))?;
        Ok(Self { runtime, searcher })
    }

    /// Asks one search.
    ///
    /// # Errors
    /// If it was refused whole, or the connection failed.
    pub(super) fn ask(&self, asked: &Asked<'_>) -> Result<Answered, StoryError> {
        let document = asked.document()?;
        self.runtime.block_on(async {
            let began = Instant::now();
            let outcome = self.searcher.search(document, asked.patience).await;
            let took = began.elapsed();
            let outcome = outcome.map_err(|failure| {
                StoryError::unexpected(format!(
                    "a search was not answered: {}; {}",
                    failure.message, failure.remedy
                ))
            })?;
            answered(outcome, took)
        })
    }

    /// Takes leave.
    pub(super) fn close(self) {
        let Self { runtime, searcher } = self;
        runtime.block_on(searcher.close());
    }
}

/// What a function gives, and how long it took.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn answered(outcome: SearchOutcome, took: Duration) -> Result<Answered, StoryError> {
    let Told::Passages(hits) = outcome.told else {
        return Err(StoryError::unexpected(
            "whole passages were asked for, and something else was told",
        ));
    };
    let refused = outcome
        .refused
        .iter()
        .map(|(site, refusal)| (site.to_string(), refusal.to_string()));
    let missing = outcome
        .missing
        .iter()
        .map(|(site, cause)| (site.to_string(), cause.sentence().to_owned()));
    Ok(Answered {
        found: hits.into_iter().map(|at| at.hit.document).collect(),
        sites: outcome.answered.len(),
        missing: refused.chain(missing).collect(),
        took,
    })
}

/// Asks many, a few side by side; the answers come in the order of the questions.
///
/// # Errors
/// The first that failed.
pub(super) fn ask_all(
    home: &Path,
    what: &'static str,
    asked: &[Asked<'_>],
) -> Result<Vec<Answered>, StoryError> {
    let queue = Mutex::new(asked.iter().enumerate());
    let made = Mutex::new((Work::of(what, asked.len()), BTreeMap::new()));
    let work = || -> Result<(), StoryError> {
        let desk = Desk::open(home)?;
        loop {
            let next = queue.lock().map_err(StoryError::unexpected)?.next();
            let Some((at, one)) = next else {
                desk.close();
                return Ok(());
            };
            let answer = desk.ask(one)?;
            let mut made = made.lock().map_err(StoryError::unexpected)?;
            made.0.advance();
            made.1.insert(at, answer);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(asked.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let done = |worker: std::thread::ScopedJoinHandle<'_, Result<(), StoryError>>| {
            worker
                .join()
                .unwrap_or_else(|_| Err(StoryError::unexpected("a search's thread broke off")))
        };
        workers
            .into_iter()
            .map(done)
            .collect::<Result<Vec<()>, _>>()
    })?;
    let (_, answers) = made.into_inner().map_err(StoryError::unexpected)?;
    Ok(answers.into_values().collect())
}
