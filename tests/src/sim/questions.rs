//! Questions that cost something, asked of every site beside the run: a few, again and again, with power lost in
//! between.
//!
//! A question is put to the gate as a round's training is, with a price and patients. Its work answers something
//! else each time it runs, so that a second sample shows. Beside the gate the oracle keeps what truly left a site,
//! who was behind it and what it cost, and after each start compares: the books are never below, and above by no
//! more than what was lost on its way.

use std::collections::BTreeMap;

use consilium_node::gate::{
    Egress, Gate, GateFault, NotReleased, Touches, TrainedUpdate, WorkError,
};
use consilium_policies::{Action, Ask, Facts};
use consilium_privacy::ledger::Cohort;
use consilium_privacy::{Budget, Cost};
use consilium_protocol::{Digest, Millis, RefusalCode};

use super::dice::Dice;
use super::disk::{Disk, Mount};
use super::journals;
use super::mutation::ShellFault;
use super::property::{Property, Step, broken, must};
use super::site::NodeProcess;
use super::world::{Happening, World, parsed, researcher};

/// Different questions.
const QUESTIONS: u64 = 6;
/// Patients of a site that are asked about.
const PATIENTS: u32 = 12;
/// Asks in one life of a node.
const ASKS_MAX: u32 = 14;
/// Changes to the disks in one charged pass, and two more.
const CHANGES_OF_A_PASS: u64 = 10;
/// What one answer costs.
const EPSILON: f64 = 0.5;
/// The same in pico-nats.
const EPSILON_PICO: u64 = 500_000_000_000;
/// What a patient may have spent on them.
pub const EPSILON_PATIENT: f64 = 1.5;
/// What all questions of a site may spend.
pub const EPSILON_DATASET: f64 = 40.0;

/// A question under one policy's terms: what the policy lets out makes another question.
type Key = (u64, bool);

/// What was asked of one site, and what truly came of it.
#[derive(Default)]
pub struct Asked {
    /// The answer that left, by question.
    answers: BTreeMap<Key, Vec<u8>>,
    /// Who was behind each sample that was drawn.
    samples: BTreeMap<Vec<u8>, Cohort>,
    /// How many answers left that each patient was behind.
    behind: BTreeMap<u32, u64>,
    /// Asks that were begun and of which no answer left then.
    lost: u64,
    /// Asks in the life of the process.
    asks: u32,
    drawn: u32,
}

impl Asked {
    /// A process starts.
    pub(super) fn another_life(&mut self) {
        self.asks = 0;
    }

    fn left(&mut self, question: Key, bytes: Vec<u8>) -> Step {
        match self.answers.get(&question) {
            Some(before) => must(*before == bytes, Property::OneAnswer, || {
                format!(
                    "question {} was answered twice, and not the same",
                    question.0
                )
            }),
            None => {
                let behind = self
                    .samples
                    .get(&bytes)
                    .ok_or_else(|| broken(Property::OneAnswer, "an answer that no work gave"))?;
                for patient in behind.iter() {
                    *self.behind.entry(patient).or_default() += 1;
                }
                self.answers.insert(question, bytes);
                self.nobody_is_overdrawn()
            }
        }
    }

    fn nobody_is_overdrawn(&self) -> Step {
        let most = self.behind.values().max().copied().unwrap_or(0);
        let holds = most as f64 * EPSILON <= EPSILON_PATIENT;
        must(holds, Property::NobodyOverdrawn, || {
            format!("a patient was behind {most} answers")
        })
    }

    /// The books of a gate against the truth.
    pub(super) fn is_covered_by(&self, gate: &Gate) -> Step {
        let ledger = gate.ledger(&parsed("d")?);
        // Every cost is a pure one: the infinite order, which is the last, is their plain sum.
        let paid = ledger.project("p").spent().points().last();
        let paid = paid.map_or(0, |(_, pico)| pico / EPSILON_PICO);
        let left = self.answers.len() as u64;
        must(paid >= left, Property::SpentCoversLeft, || {
            format!("{left} answers left and {paid} are paid for")
        })?;
        must(paid <= left + self.lost, Property::SpentCoversLeft, || {
            format!(
                "{paid} are paid for, {left} left and {} were lost",
                self.lost
            )
        })?;
        let cost = cost()?;
        for (patient, behind) in &self.behind {
            let below = Budget::new(*behind as f64 * EPSILON + EPSILON / 2.0, 1e-12);
            let below =
                below.map_err(|error| broken(Property::NoFaultOfItsOwn, error.to_string()))?;
            let alone = cohort([*patient])?;
            let spared = !ledger.active(&alone, &cost, &below).is_empty();
            must(!spared, Property::SpentCoversLeft, || {
                format!("a patient was behind {behind} answers and is charged for fewer")
            })?;
        }
        Ok(())
    }
}

/// One question on its way through the gate.
struct Question<'a> {
    gate: &'a Gate,
    mount: &'a Mount,
    disk: &'a Disk,
    ask: Ask,
    facts: Facts,
    touches: Touches,
    now: Millis,
    dies_in_work: bool,
    looks_at_all: bool,
    sample: f32,
}

/// What the work of a question saw: a violation, or a sample and who is behind it.
type Drawn = Option<Step<(Vec<u8>, Cohort)>>;

impl Question<'_> {
    fn through(self) -> (Result<Vec<u8>, NotReleased>, Drawn) {
        let mut drawn: Drawn = None;
        let all = cohort_of(&self.ask);
        let released = self.gate.pass_touching(
            &self.ask,
            &self.facts,
            &self.touches,
            self.now,
            |_permit, active| {
                if let Err(violation) = journals::is_reserved(self.disk.durable(), &self.ask) {
                    drawn = Some(Err(violation.clone()));
                    return Err(WorkError::failed(violation));
                }
                if self.dies_in_work {
                    self.mount.kill();
                    return Err(WorkError::failed("power is lost"));
                }
                let update = || TrainedUpdate {
                    vectors: vec![vec![self.sample; 600]],
                    records: 100,
                    training_loss: None,
                    held_out: None,
                };
                let behind = match (self.looks_at_all, all) {
                    (true, Ok(all)) => all,
                    _ => active.clone(),
                };
                let bytes = self.sample.to_le_bytes().to_vec();
                drawn = Some(Ok((bytes, behind)));
                Ok(update())
            },
        );
        // Beside the message, which names the bundle, the values are the sample.
        let bytes = released.and_then(|released| {
            TrainedUpdate::keep(released.wire()).map_err(|error| {
                GateFault::Work {
                    cause: Box::new(error),
                }
                .into()
            })
        });
        let sample = bytes.map(|bytes| {
            bytes
                .last_chunk::<4>()
                .map(|b| b.to_vec())
                .unwrap_or_default()
        });
        (sample, drawn)
    }
}

impl World {
    /// A question comes to a site, and another after it.
    pub(super) fn question(&mut self, index: usize, life: u64) -> Step {
        if !self.site(index)?.is_up(life) {
            return Ok(());
        }
        let asks = self.site(index)?.asked.asks;
        self.site(index)?.asked.asks += 1;
        let mut dice = self.site(index)?.questions.split();
        let number = dice.below(QUESTIONS);
        self.put(index, number, &mut dice)?;
        if asks < ASKS_MAX && self.is_stormy() {
            let wait_ms = dice.between(300, 9_000);
            self.after(wait_ms, Happening::Question { site: index, life });
        }
        Ok(())
    }

    fn put(&mut self, index: usize, number: u64, dice: &mut Dice) -> Step {
        let stormy = self.is_stormy();
        let permille = self.plan.crash_permille * 4;
        let dies_in_work = stormy && dice.permille(permille);
        let dies_at = (stormy && dice.permille(permille)).then(|| dice.below(CHANGES_OF_A_PASS));
        let faults = [
            ShellFault::ForgetPatients,
            ShellFault::LookAtEverybody,
            ShellFault::PriceHalf,
            ShellFault::AskAnew,
        ];
        let [forgets, looks_at_all, prices_half, asks_anew] =
            faults.map(|fault| self.has_shell_fault(fault));
        let now = self.site_now(index)?;
        let site = self.site(index)?;
        site.requests += 1;
        site.asked.drawn += 1;
        let sample = site.asked.drawn;
        let Some(process) = &site.process else {
            return Ok(());
        };
        if let Some(changes) = dies_at {
            process.mount.lose_power_after(changes);
        }
        let ask = ask_of(number)?;
        let patients = match forgets {
            true => Cohort::default(),
            false => cohort_of(&ask)?,
        };
        let version = if asks_anew {
            sample.to_string()
        } else {
            "v1".into()
        };
        let question = Question {
            gate: &process.gate,
            mount: &process.mount,
            disk: &site.disk,
            facts: Facts {
                dataset_records: Some(100),
                dataset_patients: Some(100),
                parameters: 1,
                cost: match prices_half {
                    true => Cost::Pure {
                        epsilon_pico: EPSILON_PICO / 2,
                    },
                    false => cost()?,
                },
                ..Facts::default()
            },
            touches: Touches {
                dataset_version: Digest::of(version.as_bytes()),
                state: None,
                patients,
            },
            ask,
            now,
            dies_in_work,
            looks_at_all: looks_at_all || forgets,
            sample: sample as f32,
        };
        let (outcome, drawn) = question.through();
        self.weigh(index, number, outcome, drawn)
    }

    /// What left against what left before, and why nothing did.
    fn weigh(
        &mut self,
        index: usize,
        number: u64,
        outcome: Result<Vec<u8>, NotReleased>,
        drawn: Drawn,
    ) -> Step {
        let troubles = self.report.disk_troubles;
        let site = self.site(index)?;
        let question = (number, site.tells_metrics());
        if let Some(drawn) = drawn {
            let (bytes, behind) = drawn?;
            site.asked.samples.insert(bytes, behind);
        }
        let life = site.lives;
        let Some(NodeProcess { mount, journal, .. }) = &site.process else {
            return Ok(());
        };
        if mount.is_dead() {
            site.asked.lost += 1;
            self.report.questions_lost += 1;
            return self.site_crashes(index);
        }
        site.acknowledged = Some(journal.head());
        match outcome {
            Ok(bytes) => {
                let is_first = !site.asked.answers.contains_key(&question);
                site.asked.left(question, bytes)?;
                match is_first {
                    true => self.report.answers += 1,
                    false => self.report.answers_again += 1,
                }
                Ok(())
            }
            Err(NotReleased::Refused(refusal)) => {
                let is_spent = refusal.code == RefusalCode::Spent;
                let kept = site.asked.answers.contains_key(&question);
                self.report.questions_spent += u64::from(is_spent);
                must(!(is_spent && kept), Property::OneAnswer, || {
                    format!("question {number} was answered, and its answer is lost")
                })
            }
            Err(NotReleased::Failed(fault)) => {
                site.asked.lost += 1;
                let disk_broke =
                    matches!(fault, GateFault::Journal { .. } | GateFault::Vault { .. });
                must(
                    disk_broke && troubles > 0,
                    Property::NoFaultOfItsOwn,
                    || format!("a question failed at site {index}: {fault}"),
                )?;
                let wait_ms = self.dice.between(500, 20_000);
                self.after(wait_ms, Happening::SiteStops { site: index, life });
                Ok(())
            }
        }
    }

    /// When all is over, every question once more: the answer that left, or none.
    pub(super) fn ask_everything_again(&mut self) -> Step {
        for index in 0..self.sites.len() {
            let is_sound =
                self.site(index)?.process.as_ref().is_some_and(|process| {
                    !process.mount.is_broken() && !process.vault.is_broken()
                });
            if !is_sound {
                continue;
            }
            for number in 0..QUESTIONS {
                let mut dice = Dice::new(number);
                self.put(index, number, &mut dice)?;
            }
            let site = self.site(index)?;
            if let Some(process) = &site.process {
                site.asked.is_covered_by(&process.gate)?;
            }
        }
        Ok(())
    }
}

fn ask_of(number: u64) -> Step<Ask> {
    Ok(Ask {
        project: parsed("p")?,
        researcher: researcher()?,
        purpose: "HMB"
            .parse()
            .map_err(|_| broken(Property::NoFaultOfItsOwn, "HMB is no purpose"))?,
        dataset: parsed("d")?,
        run: Some(parsed(&format!("question-{number}"))?),
        run_digest: Digest::of(&number.to_le_bytes()),
        action: Action::Train {
            round: 1,
            rounds: 1,
        },
    })
}

/// Who is behind a question: some eight of the patients, by its text.
fn cohort_of(ask: &Ask) -> Step<Cohort> {
    let Digest(bytes) = ask.run_digest;
    let among = (0..PATIENTS).zip(bytes).filter(|(_, byte)| byte % 3 > 0);
    cohort(among.map(|(patient, _)| patient))
}

fn cohort(patients: impl IntoIterator<Item = u32>) -> Step<Cohort> {
    Cohort::of(patients).map_err(|error| broken(Property::NoFaultOfItsOwn, error.to_string()))
}

fn cost() -> Step<Cost> {
    Cost::pure(EPSILON).map_err(|error| broken(Property::NoFaultOfItsOwn, error.to_string()))
}
