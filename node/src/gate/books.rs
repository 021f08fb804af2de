//! The books: the ledger of every data set, and which questions were asked before. What the gate's lock guards.
//!
//! All of it is made anew at each start: patients' accounts from the vault, all else from the journal. A
//! reservation counts as spent however its pass ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use consilium_journal::{Entry, Head, JournalError};
use consilium_policies::entry::{PASS_RELEASED, PASS_REPEATED, PASS_RESERVED};
use consilium_policies::{Ask, Permit, Release, Spent};
use consilium_privacy::ledger::{Cohort, Ledger};
use consilium_privacy::{Account, Budget, Cost};
use consilium_protocol::{DatasetName, Digest, ProjectName};
use serde::{Deserialize, Serialize};

use super::vault::{self, Vault};
use super::{GateFault, Touches};

/// The books behind the gate's one lock. It is held while an ask is decided and charged, and across no fsync.
#[derive(Default)]
pub(super) struct BooksLock(Mutex<Books>);

impl BooksLock {
    pub(super) fn new(books: Books) -> Self {
        Self(Mutex::new(books))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Books> {
        // A panic under it leaves at worst a cost charged that nothing was released for.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is spent, and what was asked.
#[derive(Default)]
pub(super) struct Books {
    ledgers: BTreeMap<DatasetName, Ledger>,
    requests: HashMap<Digest, Standing>,
}

/// The books on their way: made anew from what the vault said, and the journal's entries in order.
pub(super) struct Reading {
    books: Books,
    /// What the journal may name.
    hashes: BTreeSet<Digest>,
    missing: Missing,
    /// The request of each reservation that has one.
    asked: BTreeMap<u64, Digest>,
    /// After the entries that were read.
    head: Head,
    /// What was read that changed anything.
    lines: Vec<Line>,
}

impl Reading {
    pub(super) fn new(found: vault::Found) -> Self {
        let vault::Found { ledgers, hashes } = found;
        Self {
            books: Books {
                ledgers,
                requests: HashMap::new(),
            },
            hashes,
            missing: Missing::default(),
            asked: BTreeMap::new(),
            head: Head::EMPTY,
            lines: Vec::new(),
        }
    }

    /// After the entries that were read.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// All that was read and changed anything, in order.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Takes in what a copy holds of the journal up to `head`. Before anything else is read.
    pub(super) fn copied(&mut self, head: Head, lines: Vec<Line>) {
        lines.into_iter().for_each(|line| self.line(line));
        self.head = head;
    }

    /// Takes one more entry in; one that was read before changes nothing.
    ///
    /// # Errors
    /// It is of the books and cannot be read.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), JournalError> {
        if entry.seq < self.head.seq {
            return Ok(());
        }
        self.head = Head {
            seq: entry.seq + 1,
            hash: entry.hash,
        };
        if is_of_the_books(entry) {
            self.line(Line {
                seq: entry.seq,
                reserves: entry.kind == PASS_RESERVED,
                ..entry.parse()?
            });
        }
        Ok(())
    }

    fn line(&mut self, line: Line) {
        let named = line.vault.or(line.answer);
        if named.is_some_and(|named| !self.hashes.contains(&named)) {
            self.missing.add(line.seq, &line.ask.dataset);
        }
        if line.reserves {
            self.books.reserve_again(&line);
            if let Some(request) = line.request {
                self.asked.insert(line.seq, request);
                self.books.requests.insert(request, Standing::Ended);
            }
            self.lines.push(line);
        } else if let Some(request) = line.reserved.and_then(|at| self.asked.get(&at)) {
            let before = self.books.requests.insert(*request, Standing::Answered);
            // What was answered before names no other answer when it is answered again.
            if before != Some(Standing::Answered) {
                self.lines.push(line);
            }
        }
    }

    /// The books, once the whole journal was read.
    ///
    /// # Errors
    /// The journal names what the vault does not have.
    pub(super) fn finish(self, vault: &Vault) -> Result<Books, GateFault> {
        self.missing.none()?;
        let mut books = self.books;
        // The vault's charge is durable before the journal names it. One that it never named still stands as spent,
        // and an answer has a reservation before it, so nothing is to do for it here.
        for request in vault.requests() {
            books.requests.entry(request).or_insert(Standing::Ended);
        }
        Ok(books)
    }
}

/// How a question that was paid for stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its pass has not ended.
    UnderWay,
    /// Its pass ended, and nobody has had its answer, if there is one.
    Ended,
    /// Its answer left.
    Answered,
}

impl Books {
    /// The ledgers of a node's folders, for a look. A node may be appending to them meanwhile.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(super) fn look(
        journal_folder: &Path,
        vault_folder: &Path,
    ) -> Result<BTreeMap<DatasetName, Ledger>, GateFault> {
        let read = || GateFault::journal("read the journal");
        let mut reading = Reading::new(vault::Found {
            ledgers: vault::read_ledgers(vault_folder)?,
            hashes: BTreeSet::new(),
        });
        for entry in consilium_journal::read(journal_folder).map_err(read())? {
            reading.entry(&entry.map_err(read())?).map_err(read())?;
        }
        Ok(reading.books.ledgers)
    }

    /// What was spent on the ask's data set.
    pub(super) fn spent(&self, ask: &Ask) -> Spent {
        let Some(ledger) = self.ledgers.get(&ask.dataset) else {
            return Spent::default();
        };
        Spent {
            project: ledger.project(ask.project.as_str()),
            dataset: *ledger.dataset(),
        }
    }

    /// Those patients whose budget covers the cost.
    pub(super) fn active(
        &self,
        ask: &Ask,
        cohort: &Cohort,
        cost: &Cost,
        budget: &Budget,
    ) -> Cohort {
        match self.ledgers.get(&ask.dataset) {
            Some(ledger) => ledger.active(cohort, cost, budget),
            None => Ledger::default().active(cohort, cost, budget),
        }
    }

    /// Spends it.
    pub(super) fn spend(&mut self, ask: &Ask, cohort: &Cohort, cost: &Cost) {
        let ledger = self.ledgers.entry(ask.dataset.clone()).or_default();
        ledger.charge(cohort, cost);
        ledger.reserve(ask.project.as_str(), cost);
    }

    /// How a question stands.
    pub(super) fn standing(&self, request: Digest) -> Option<Standing> {
        self.requests.get(&request).copied()
    }

    /// A question's pass begins or ends.
    pub(super) fn set_standing(&mut self, request: Digest, standing: Standing) {
        self.requests.insert(request, standing);
    }

    /// A question was let go before anything was reserved for it.
    pub(super) fn forget(&mut self, request: Digest) {
        self.requests.remove(&request);
    }

    /// What a project spent on a data set.
    pub(super) fn project(&self, dataset: &DatasetName, project: &ProjectName) -> Account {
        let ledger = self.ledgers.get(dataset);
        ledger.map_or_else(Account::default, |ledger| ledger.project(project.as_str()))
    }

    /// The ledger of a data set.
    pub(super) fn ledger(&self, dataset: &DatasetName) -> Ledger {
        self.ledgers.get(dataset).cloned().unwrap_or_default()
    }

    fn reserve_again(&mut self, line: &Line) {
        if line.facts.cost.is_none() {
            return;
        }
        let ledger = self.ledgers.entry(line.ask.dataset.clone()).or_default();
        ledger.reserve(line.ask.project.as_str(), &line.facts.cost);
    }
}

/// What makes two asks the same question: everything that its answer depends on, and who it is for. Not who signed it:
/// another researcher of the project gets the same answer.
pub(super) fn request_digest(ask: &Ask, touches: &Touches, permit: &Permit) -> Digest {
    const RELEASES: [Release; 6] = [
        Release::Update,
        Release::Metrics,
        Release::NoisyUpdate,
        Release::ExactStatistics,
        Release::NoisyStatistics,
        Release::DistinctSketch,
    ];
    let released: Vec<Release> = RELEASES
        .into_iter()
        .filter(|release| permit.releases(*release))
        .collect();
    let (terms, Ask { action, run, .. }) = (permit.terms(), ask);
    // Lengths before texts, so that no two asks run together.
    let text = format!(
        "consilium request v1\n{}\n{}\n{}\n{run:?}\n{}\n{action:?}\n{:?}\n{:?}\n{released:?}\n{} {} {}\n",
        ask.project,
        ask.purpose,
        ask.dataset,
        ask.run_digest,
        touches.dataset_version,
        touches.state,
        terms.floor_patients,
        terms.rounding,
        terms.redaction.as_str(),
    );
    Digest::of(text.as_bytes())
}

/// What the vault lacks.
#[derive(Default)]
struct Missing {
    count: u64,
    first: Option<u64>,
    datasets: BTreeSet<DatasetName>,
}

impl Missing {
    fn add(&mut self, seq: u64, dataset: &DatasetName) {
        self.count += 1;
        self.first.get_or_insert(seq);
        self.datasets.insert(dataset.clone());
    }

    fn none(self) -> Result<(), GateFault> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(GateFault::VaultLost {
                count: self.count,
                first,
                datasets: self.datasets.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

/// What the books take of an entry; most entries have none of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Line {
    /// Its place in the journal. Of an entry itself, its place is not in it.
    #[serde(default)]
    seq: u64,
    /// Whether it is a reservation.
    #[serde(default)]
    reserves: bool,
    ask: LineAsk,
    #[serde(default)]
    facts: LineFacts,
    #[serde(default)]
    request: Option<Digest>,
    #[serde(default)]
    vault: Option<Digest>,
    #[serde(default)]
    answer: Option<Digest>,
    #[serde(default)]
    reserved: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LineAsk {
    project: ProjectName,
    dataset: DatasetName,
}

#[derive(Default, Serialize, Deserialize)]
struct LineFacts {
    #[serde(default)]
    cost: Cost,
}

/// Whether an entry says any of it, without reading it whole: what is kept has a request, and an answer. A name may
/// hold these words, and that costs a parse.
fn is_of_the_books(entry: &Entry) -> bool {
    let word = match entry.kind.as_str() {
        PASS_RESERVED => "\"request\"",
        PASS_RELEASED | PASS_REPEATED => "\"answer\"",
        _ => return false,
    };
    str::from_utf8(&entry.payload).is_ok_and(|text| text.contains(word))
}
