//! Nine sites answer one question as one place would, and what privacy costs of it.
//!
//! | file | what |
//! |---|---|
//! | `silos` | MedQuAD's nine silos and their rows |
//! | `collections` | what operators declare and officers permit |
//! | `ingest` | `consilium-node ingest` and its report |
//! | `questions` | known items, a file of own questions, the run file |
//! | `desk` | the researcher's searches, as library calls |
//! | `prompt` | questions that a person types |
//! | `central` | one place that holds everything, by definition |
//! | `parity` | federated against central, and how well known items are found |
//! | `filters`, `latency`, `outage`, `stages` | the chapters that have figures of their own |
//! | `measures` | recall, nDCG, percentiles |
//! | `findings`, `tables`, `page` | everything that was found; as tables; as a page with charts |

mod central;
mod collections;
mod desk;
mod filters;
mod findings;
mod ingest;
mod latency;
mod measures;
mod outage;
mod page;
mod parity;
mod prompt;
mod questions;
mod silos;
mod stages;
mod tables;

use std::path::{Path, PathBuf};

use consilium_encoder::{Encoder, EncoderChoice};
use consilium_link::wall_clock;
use consilium_protocol::search::{HITS_MAX, Ranking};

use self::central::Central;
use self::collections::{ANSWERS, Declared, REDACTED, of_centre, of_site};
use self::desk::{Asked, Desk, ask_all};
use self::findings::Findings;
use self::ingest::Ingested;
use self::parity::{SENTENCE_WAYS, WAYS, Way};
pub use self::questions::Sample;
use self::questions::{Question, known_items, run_file};
use self::silos::{Holdings, Row, SILOS};
use crate::house::{Consortium, Household, Member, Site, write};
use crate::story::StoryError;
use crate::story::stage::{check_writable, settle_in, wait_until};
use crate::story::told::{Work, step};

/// What was asked for on the command line.
pub struct Options {
    pub json: Option<PathBuf>,
    /// Anybody's own questions.
    pub questions: Option<PathBuf>,
    /// Where the ranked documents of each question go.
    pub run: Option<PathBuf>,
    /// A sentence encoder's folder.
    pub minilm: Option<PathBuf>,
    pub sample: Sample,
    /// So many rows of each silo; all when left out.
    pub rows: Option<usize>,
    pub report: PathBuf,
    /// Where everything stays; a folder that goes when left out.
    pub keep: Option<PathBuf>,
}

/// Whose folder holds everything in one place. Its node never runs.
const CENTRE: &str = "central";

/// Known items with which all but the comparison itself is measured, at most.
const FEW: usize = 1000;

/// Tells the story to its end.
///
/// # Errors
/// What went wrong, after every process was ended.
pub fn tell(options: &Options) -> Result<(), StoryError> {
    let began = wall_clock();
    // Before minutes of work, and not after them.
    let asked_for = Wishes::of(options)?;
    let (root, household) = settle_in(options.keep.as_deref())?;
    let (consortium, mut findings) = tell_in(&root, household, &asked_for)?;
    findings.took_ms = wall_clock().since_ms(began);
    step("All processes are ended; every journal is verified offline.");
    write(&options.report, &page::page(&findings)?)?;
    if let Some(path) = &options.json {
        write(path, &format!("{:#}\n", findings.json()))?;
    }
    if let Some(path) = &options.run {
        write(path, &format!("{:#}\n", run_file(&findings.run)))?;
    }
    tables::print(&findings);
    tables::print_where_things_are(&findings, options, &consortium);
    Ok(())
}

/// What was asked for, read and checked.
struct Wishes {
    holdings: Holdings,
    own: Vec<Question>,
    sentences: Option<PathBuf>,
    sample: Sample,
}

impl Wishes {
    fn of(options: &Options) -> Result<Self, StoryError> {
        let own = match &options.questions {
            Some(path) => questions::read(path)?,
            None => Vec::new(),
        };
        let sentences = match &options.minilm {
            Some(folder) => Some(encoder_folder(folder)?),
            None => None,
        };
        let written = [(&options.json, "--json"), (&options.run, "--run")];
        for (path, option) in written {
            path.iter()
                .try_for_each(|path| check_writable(path, option))?;
        }
        check_writable(&options.report, "--report")?;
        Ok(Self {
            holdings: Holdings::read(options.rows)?,
            own,
            sentences,
            sample: options.sample,
        })
    }
}

/// The folder, if an encoder can be read from it.
fn encoder_folder(folder: &Path) -> Result<PathBuf, StoryError> {
    let found = folder
        .canonicalize()
        .map_err(|error| StoryError::NotUsable {
            path: folder.to_owned(),
            what: error.to_string(),
            remedy: "name a folder as sentence-transformers writes it",
        })?;
    let choice = EncoderChoice::Folder(found.clone());
    // Read again by every node: here it is only found out whether that will do.
    Encoder::open(&choice, &consilium_encoder::cpu()).map_err(StoryError::unexpected)?;
    Ok(found)
}

fn tell_in(
    root: &Path,
    household: Household,
    asked_for: &Wishes,
) -> Result<(Consortium, Findings), StoryError> {
    step("Founding a consortium: a coordinator and nine sites, each a process of its own.");
    let consortium = Consortium::found(root, household, "medquad")?;
    let told = with_everybody(&consortium, asked_for);
    if let (Err(_), fallen) = (&told, consortium.fallen()) {
        fallen.iter().for_each(|line| step(line));
    }
    consortium.end();
    let mut findings = told?;
    let sites: Vec<&str> = SILOS.iter().map(|silo| silo.site).collect();
    findings.journals = consortium.verify_journals(&sites)?;
    Ok((consortium, findings))
}

fn with_everybody(consortium: &Consortium, asked_for: &Wishes) -> Result<Findings, StoryError> {
    let holdings = &asked_for.holdings;
    let mut findings = Findings {
        rows: holdings.rows().count(),
        marked: holdings.marked,
        ..Findings::default()
    };
    findings.ingested = everybody_ingests(consortium, asked_for)?;
    let ada = consortium.researcher("ada")?;
    all_are_up(&ada)?;
    step("Ada, a researcher, asks at the prompt:");
    prompt::talk(&ada)?;

    let folder = consortium.folder(CENTRE);
    let central = Central::open(&folder, ANSWERS, holdings)?;
    let items = known_items(holdings, asked_for.sample);
    let few = known_items(holdings, asked_for.sample.at_most(FEW));
    findings.known_items = items.len();
    step(&format!(
        "In batch: {} known items by each order, beside one place that holds everything.",
        items.len()
    ));
    let mut ways = |ways: &[Way], central: &Central| -> Result<(), StoryError> {
        for way in ways {
            let found = parity::compare(&ada, central, *way, &items)?;
            step(&format!(
                "  {}: nDCG@10 {:.4}; {} of {} answers differ from those of one place",
                way.name,
                found.federated.ndcg_10(),
                found.mismatches,
                items.len()
            ));
            findings.found.push(found);
        }
        Ok(())
    };
    ways(&WAYS, &central)?;
    if asked_for.sentences.is_some() {
        ways(
            &SENTENCE_WAYS,
            &Central::open(&folder, collections::SENTENCES, holdings)?,
        )?;
    }
    findings.run = ranked(&ada, asked_for, &findings)?;
    findings.own_questions = asked_for.own.len();

    step("Filters by semantic type, from frequent to rare.");
    findings.filtered = filters::measure(&ada, &central, holdings, &few)?;
    step("Latency: one search after another.");
    findings.latency = latency::measure(consortium, &ada, holdings, &few)?;
    step("A site goes down in the middle of a batch.");
    findings.outage = outage::happens(consortium, &ada, &central, &few)?;
    step(&format!(
        "What each privacy stage costs, on {} of the known items.",
        few.len()
    ));
    let redacted = Central::open(&folder, REDACTED, holdings)?;
    findings.costs = stages::measure(holdings, &central, &redacted, &few)?;
    Ok(findings)
}

/// What was ingested in one folder: each collection by name.
type InFolder = Vec<(&'static str, Ingested)>;

/// Every site in its own folder, then one folder with everything.
fn everybody_ingests(
    consortium: &Consortium,
    asked_for: &Wishes,
) -> Result<Vec<(&'static str, InFolder)>, StoryError> {
    let holdings = &asked_for.holdings;
    let (of_site, of_centre) = (
        of_site(asked_for.sentences.as_deref()),
        of_centre(asked_for.sentences.as_deref()),
    );
    step(&format!(
        "Each site ingests its own rows; then one folder ingests all {}, to compare with.",
        holdings.rows().count()
    ));
    let mut work = Work::of(
        "collections ingested",
        SILOS.len() * of_site.len() + of_centre.len(),
    );
    let mut ingested = Vec::new();
    for (silo, rows) in SILOS.iter().zip(&holdings.silos) {
        let of_it = sets_up(consortium, silo.site, &of_site, &mut rows.iter(), &mut work)?;
        consortium.open(silo.site)?;
        ingested.push((silo.site, of_it));
    }
    ingested.push((
        CENTRE,
        sets_up(
            consortium,
            CENTRE,
            &of_centre,
            &mut holdings.rows(),
            &mut work,
        )?,
    ));
    drop(work);
    for (site, collections) in &ingested {
        let of_it = collections.iter().map(|(name, of)| {
            format!(
                "{name} {} documents in {} passages",
                of.documents, of.passages
            )
        });
        step(&format!(
            "  {site}: {}",
            of_it.collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(ingested)
}

/// A site's folder with its rows, ingested.
fn sets_up(
    consortium: &Consortium,
    name: &'static str,
    declared: &[Declared<'_>],
    rows: &mut dyn Iterator<Item = &Row>,
    work: &mut Work,
) -> Result<InFolder, StoryError> {
    consortium.set_up(&Site {
        name,
        officers: &[],
        policy: &collections::policy(name, declared),
        files: &[],
        datasets: &collections::declarations(declared),
    })?;
    collections::lay_out(&consortium.folder(name), declared, rows)?;
    let one = |declared: &Declared<'_>| {
        let ingested = ingest::ingest(consortium, name, declared.name)?;
        work.advance();
        Ok((declared.name, ingested))
    };
    declared.iter().map(one).collect()
}

/// Waits until all nine answer.
fn all_are_up(ada: &Member) -> Result<(), StoryError> {
    wait_until("nine sites that answer", || {
        let desk = Desk::open(ada.home())?;
        // Before any site is connected, nobody holds the collection, and that is an error.
        let answer = desk.ask(&Asked::plainly("gout", ANSWERS, Ranking::Words, 1));
        desk.close();
        Ok(answer.is_ok_and(|answer| answer.sites == SILOS.len()))
    })
}

/// What the run file holds: of one's own questions the first hundred, or of the known items the first ten.
fn ranked(
    ada: &Member,
    asked_for: &Wishes,
    findings: &Findings,
) -> Result<Vec<(String, Vec<String>)>, StoryError> {
    if asked_for.own.is_empty() {
        let both = findings
            .found
            .iter()
            .find(|found| found.way.ranking == Ranking::Both);
        return Ok(both.map(|found| found.rankings.clone()).unwrap_or_default());
    }
    step(&format!(
        "{} questions of somebody's own, by both orders, to a hundred hits.",
        asked_for.own.len()
    ));
    let asked: Vec<Asked<'_>> = asked_for
        .own
        .iter()
        .map(|question| Asked::plainly(&question.text, ANSWERS, Ranking::Both, HITS_MAX as u16))
        .collect();
    let answers = ask_all(ada.home(), "own questions", &asked)?;
    let found = asked_for.own.iter().zip(answers);
    Ok(found
        .map(|(question, answer)| (question.qid.clone(), answer.found))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoders_folder_that_lacks_a_file_says_which_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let said = encoder_folder(folder.path()).unwrap_err().to_string();
        assert!(said.contains("config.json` cannot be read"), "{said}");
        assert!(
            said.contains("an encoder folder holds config.json, tokenizer.json"),
            "{said}"
        );
        let said = encoder_folder(&folder.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("name a folder as sentence-transformers writes it"),
            "{said}"
        );
    }
}
