//! A node, mirrored where it is a shell: its process, its disk, what it does with a request.
//!
//! As `node/src/session.rs` and `node/src/work.rs`, in their order: the machine's word, the state taken in, the pass
//! through the gate, local values written down, the update sent. The participant and the gate are the real ones.
//! Run files and local values lie in maps that stand for files written, synced and renamed: there or not, never half.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_journal::{Head, Journal, Limits};
use consilium_node::data::Batchable;
use consilium_node::gate::{Gate, HeldPolicy, OutgoingUpdate, Records, Released, VAULT_LIMITS};
use consilium_node::round::{LocalValues, Participant, Plan, RoundIn, RoundOut};
use consilium_policies::Bundle;
use consilium_protocol::message::{Fault, Response, TensorsAhead, Train};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Machine, Millis, RunId};

use super::clock::WallClock;
use super::dice::Dice;
use super::disk::{Disk, DiskLie, Mount};
use super::journals::{self, Counts};
use super::mutation::ShellFault;
use super::plan::{SitePlan, policy_text};
use super::property::{Property, Step, broken, must};
use super::questions::Asked;
use super::work::rows_of;
use super::world::{Happening, World, researcher};

/// A released update, ready to send.
pub(super) type ReleasedUpdate = Released<OutgoingUpdate>;

/// One institution.
pub struct Site {
    pub(super) plan: SitePlan,
    pub(super) data: Batchable,
    pub(super) disk: Disk,
    /// The folder of the vault, on the same machine.
    pub(super) vault: Disk,
    pub(super) clock: WallClock,
    pub(super) policy: Arc<Mutex<Option<Vec<u8>>>>,
    pub(super) policy_version: u32,
    /// Run files and local values: durable.
    pub(super) store: BTreeMap<RunId, StoredRun>,
    /// So many of the next writes to the store fail.
    pub(super) store_failures: u32,
    pub(super) acknowledged: Option<Head>,
    pub(super) is_evicted: bool,
    pub(super) lives: u64,
    pub(super) requests: u64,
    /// What costs something, and what came of it.
    pub(super) asked: Asked,
    pub(super) questions: Dice,
    pub(super) process: Option<NodeProcess>,
}

/// A run as it lies on a site's disk.
#[derive(Clone)]
pub struct StoredRun {
    spec: RunSpec,
    pub(super) local: BTreeMap<u32, LocalValues>,
}

/// A node's process.
pub struct NodeProcess {
    pub(super) mount: Arc<Mount>,
    /// The vault's folder, on the same machine.
    pub(super) vault: Arc<Mount>,
    pub(super) journal: Arc<Journal>,
    pub(super) gate: Gate,
    pub(super) participant: Participant<ReleasedUpdate>,
    /// The one ask that is worked on: the run's lock is held for it.
    pub(super) turn: Option<Turn>,
    pub(super) waiting: VecDeque<Waiting>,
    /// States that came before their turn.
    pub(super) states: BTreeMap<u64, Arc<Vec<u8>>>,
    /// Streams that ended before their turn.
    pub(super) ended: BTreeSet<u64>,
}

/// An ask that is worked on.
pub struct Turn {
    pub(super) stream: u64,
    pub(super) epoch: u64,
    pub(super) task: Task,
    pub(super) plan: Box<Plan>,
    pub(super) received: Option<Vec<f32>>,
}

/// What a turn is for.
#[derive(Clone)]
pub enum Task {
    Train(Train),
    Evaluate(TensorsAhead),
    End(RunId),
}

/// An ask that waits for the one before it.
pub(super) struct Waiting {
    pub(super) stream: u64,
    pub(super) epoch: u64,
    pub(super) task: Task,
}

impl Site {
    /// With an empty disk and its policy in place, not running.
    ///
    /// # Errors
    /// A defect of the simulator.
    pub fn new(
        index: usize,
        plan: SitePlan,
        [lie, vault_lie]: [Option<DiskLie>; 2],
        questions: Dice,
    ) -> Step<Self> {
        let policy = policy_text(1, plan.until, "p", "\"update\", \"metrics\"");
        Ok(Self {
            data: rows_of(index, plan.rows)?,
            disk: Disk::new(lie),
            vault: Disk::new(vault_lie),
            clock: WallClock::default(),
            policy: Arc::new(Mutex::new(Some(policy.into_bytes()))),
            policy_version: 1,
            store: BTreeMap::new(),
            store_failures: 0,
            acknowledged: None,
            is_evicted: false,
            lives: 0,
            requests: 0,
            asked: Asked::default(),
            questions,
            process: None,
            plan,
        })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_up(&self, life: u64) -> bool {
        self.process.is_some() && self.lives == life
    }

    /// Its journal's chain.
    ///
    /// # Errors
    /// It is broken.
    pub fn verify(&self) -> Step {
        journals::verify(
            self.disk.as_read(),
            self.plan.name.as_str(),
            self.acknowledged,
        )
    }

    /// Everything that its journal says.
    ///
    /// # Errors
    /// What must not be said.
    pub fn audit(&self, policies: &BTreeMap<Digest, Bundle>) -> Step<Counts> {
        journals::audit_node(self.disk.as_read(), policies)
    }

    /// Whether the policy that lies there now lets metrics leave.
    pub(super) fn tells_metrics(&self) -> bool {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let text = policy.as_deref().unwrap_or_default();
        String::from_utf8_lossy(text).contains("\"metrics\"")
    }

    fn held_policy(&self) -> HeldPolicy {
        let policy = self.policy.clone();
        Arc::new(move || {
            policy
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
    }
}

impl World {
    pub(super) fn site(&mut self, site: usize) -> Step<&mut Site> {
        let missing = || {
            broken(
                Property::NoFaultOfItsOwn,
                format!("there is no site {site}"),
            )
        };
        self.sites.get_mut(site).ok_or_else(missing)
    }

    /// Every policy that a site was given and that is one.
    pub(super) fn knows_policy(&mut self, text: &[u8]) {
        if let Ok(bundle) = Bundle::parse("policy.toml", text) {
            self.policies.insert(bundle.digest(), bundle);
        }
    }

    pub(super) fn site_starts(&mut self, index: usize) -> Step {
        let misfiles = self.has_shell_fault(ShellFault::MisfileLocalValues);
        let forgets = self.has_shell_fault(ShellFault::ForgetAdmission);
        let loses_the_vault = self.has_shell_fault(ShellFault::LoseTheVault);
        let now_ms = self.now_ms;
        let site = self.site(index)?;
        if site.process.is_some() {
            return Ok(());
        }
        site.verify()?;
        site.lives += 1;
        let is_first = site.lives == 1;
        let mount = site.disk.mount();
        let opened = Journal::open_on(mount.clone(), Limits::default());
        let (journal, _) = opened.map_err(|error| {
            broken(
                Property::JournalSurvives,
                format!(
                    "the journal of `{}` cannot be opened: {error}",
                    site.plan.name
                ),
            )
        })?;
        let journal = Arc::new(journal);
        let now = Millis(site.clock.now_ms(now_ms));
        if loses_the_vault && !is_first {
            site.vault = Disk::new(None);
        }
        let vault = site.vault.mount_beside(&mount);
        let opened = Journal::open_on(vault.clone(), VAULT_LIMITS);
        let (vault_journal, _) = opened.map_err(|error| {
            broken(
                Property::JournalSurvives,
                format!(
                    "the vault of `{}` cannot be opened: {error}",
                    site.plan.name
                ),
            )
        })?;
        let records = Records {
            journal: journal.clone(),
            vault: Arc::new(vault_journal),
            new_secret: [7; 32],
        };
        let gate = Gate::open_without_disk(records, site.held_policy(), now);
        let (gate, _) = gate.map_err(|fault| {
            broken(
                Property::JournalSurvives,
                format!("the gate of `{}` cannot be opened: {fault}", site.plan.name),
            )
        })?;
        let mut participant = Participant::new(site.plan.name.clone());
        for (run_id, stored) in &site.store {
            let mut local = stored.local.clone();
            if misfiles {
                local = local.into_iter().map(|(round, l)| (round + 1, l)).collect();
            }
            if !forgets {
                let admitted = RoundIn::Admitted {
                    run_id: run_id.clone(),
                    spec: Box::new(stored.spec.clone()),
                    researcher: researcher()?,
                    local,
                };
                drop(participant.step(now, admitted));
            }
        }
        site.asked.another_life();
        site.asked.is_covered_by(&gate)?;
        site.acknowledged = Some(journal.head());
        site.process = Some(NodeProcess {
            mount,
            vault,
            journal,
            gate,
            participant,
            turn: None,
            waiting: VecDeque::new(),
            states: BTreeMap::new(),
            ended: BTreeSet::new(),
        });
        let life = site.lives;
        if is_first {
            let text = policy_text(1, site.plan.until, "p", "\"update\", \"metrics\"");
            self.knows_policy(text.as_bytes());
        }
        let wait_ms = self.site(index)?.questions.between(100, 6_000);
        self.after(wait_ms, Happening::Question { site: index, life });
        let wait_ms = self.dice.between(1, 1_000);
        self.after(wait_ms, Happening::Dial { site: index, life });
        Ok(())
    }

    pub(super) fn site_stops(&mut self, index: usize, life: u64) -> Step {
        match self.site(index)?.is_up(life) {
            true => self.site_crashes(index),
            false => Ok(()),
        }
    }

    /// The process is gone, and with it what was not synced.
    pub(super) fn site_crashes(&mut self, index: usize) -> Step {
        let mut dice = self.dice.split();
        let site = self.site(index)?;
        if site.process.take().is_none() {
            return Ok(());
        }
        site.disk.lose_power(&mut dice);
        site.vault.lose_power(&mut dice);
        site.verify()?;
        self.report.site_crashes += 1;
        self.cut_link(index);
        if let Some(link) = self.links.get_mut(index) {
            link.at_site = None;
        }
        let wait_ms = dice.between(100, 8_000);
        self.after(wait_ms, Happening::SiteStarts(index));
        Ok(())
    }

    pub(super) fn site_loses_link(&mut self, index: usize, _epoch: u64) -> Step {
        let site = self.site(index)?;
        let life = site.lives;
        let is_evicted = site.is_evicted;
        let mut waits_for_state = false;
        if let Some(process) = &mut site.process {
            process.waiting.clear();
            process.states.clear();
            process.ended.clear();
            waits_for_state = process.turn.as_ref().is_some_and(|t| t.received.is_none());
        }
        if waits_for_state {
            self.next_turn(index)?;
        }
        if !is_evicted || self.dice.permille(700) {
            let wait_ms = self.dice.between(200, 3_000);
            self.after(wait_ms, Happening::Dial { site: index, life });
        }
        Ok(())
    }

    /// Writes an admitted run down; false where the disk fails.
    pub(super) fn save_run(&mut self, index: usize, run_id: &RunId, spec: &RunSpec) -> Step<bool> {
        let site = self.site(index)?;
        if site.store_failures > 0 {
            site.store_failures -= 1;
            return Ok(false);
        }
        let stored = StoredRun {
            spec: spec.clone(),
            local: BTreeMap::new(),
        };
        site.store.entry(run_id.clone()).or_insert(stored);
        Ok(true)
    }

    /// Does what the machine wants done on disk, as `session::carry_out`; false where the disk fails.
    pub(super) fn persist(&mut self, index: usize, out: RoundOut<ReleasedUpdate>) -> Step<bool> {
        let RoundOut::Persist {
            run_id,
            round,
            local,
            forget_before,
        } = out
        else {
            return Ok(true);
        };
        let site = self.site(index)?;
        if site.store_failures > 0 {
            site.store_failures -= 1;
            return Ok(false);
        }
        let Some(stored) = site.store.get_mut(&run_id) else {
            return Ok(false);
        };
        let before = round.saturating_sub(1);
        let had_before = stored.local.contains_key(&before);
        stored.local.insert(round, local);
        stored.local.retain(|&old, _| old >= forget_before);
        let kept = stored.local.len();
        // A coordinator that lost the round asks for it again, and it is trained from these.
        let has_before = stored.local.contains_key(&before);
        must(!had_before || has_before, Property::LocalIsDurable, || {
            format!("site {index} threw away what round {round} is trained from")
        })?;
        must(kept <= 2, Property::Bounded, || {
            format!("site {index} keeps local values of {kept} rounds")
        })?;
        Ok(true)
    }

    pub(super) fn site_now(&mut self, index: usize) -> Step<Millis> {
        let now_ms = self.now_ms;
        Ok(Millis(self.site(index)?.clock.now_ms(now_ms)))
    }

    /// What `session::failed` answers.
    pub(super) fn failed() -> Response {
        Response::Fault(Fault {
            what: "the site could not do its part".into(),
            remedy: "its operator finds the cause in the node's log".into(),
        })
    }
}
