//! This site's side of training rounds, as a machine: what is known of each run, and
//! what an ask of the coordinator leads to.
//!
//! Between rounds a site keeps, for each run, its *local* values: the parameters that
//! stay at the site and, for SCAFFOLD, its control variate. They are kept for the last
//! two rounds, because a coordinator that crashed before it closed a round asks for that
//! round again. From them, the state that the coordinator sends and the run's seed,
//! training on a CPU gives the same update bit for bit; so a crash on either side
//! changes nothing. An update that was released is kept in memory until its round is
//! over, so that an interrupted upload goes on without training again.

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_policies::Researcher;
use consilium_protocol::message::Train;
use consilium_protocol::model::Home;
use consilium_protocol::run::RunSpec;
use consilium_protocol::strategy::Strategy;
use consilium_protocol::{Digest, Machine, Millis, Refusal, RefusalCode, RunId, SiteName};

use crate::planted::{Planted, is_planted};

/// Rounds whose local values are kept: the last, and the one before for a round asked again.
const ROUNDS_KEPT: usize = 2;

/// Runs that one node takes part in at the same time.
pub const RUNS_MAX: usize = 256;

/// Every run that this site takes part in. `U` is a released update, opaque here.
pub struct Participant<U> {
    site: SiteName,
    runs: BTreeMap<RunId, Participation<U>>,
}

struct Participation<U> {
    spec: RunSpec,
    researcher: Researcher,
    /// By round, the values after it; round 0 is before the first.
    local: BTreeMap<u32, LocalValues>,
    kept: Option<Kept<U>>,
}

/// A released update, and the ask that it answers.
struct Kept<U> {
    round: u32,
    state_blake3: [u8; 32],
    update: Arc<U>,
}

/// What stays at the site between rounds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalValues {
    /// Parameters that are not shared.
    pub parameters: Vec<f32>,
    /// SCAFFOLD's cᵢ; empty for every other strategy.
    pub control: Vec<f32>,
}

/// What can happen.
pub enum RoundIn<U> {
    /// The gate admitted a run, or it was admitted before this process began.
    Admitted {
        run_id: RunId,
        spec: Box<RunSpec>,
        researcher: Researcher,
        /// Local values found on disk, by round.
        local: BTreeMap<u32, LocalValues>,
    },
    /// The coordinator asks for a round's update.
    Train(Train),
    /// The coordinator asks how the final state does.
    Evaluate { run_id: RunId, bytes: u64 },
    /// The gate released an update for an ask.
    Released {
        train: Train,
        local: LocalValues,
        update: Arc<U>,
    },
    /// What stays here of a round's released update could not be written down.
    NotPersisted { run_id: RunId, round: u32 },
    /// The coordinator says that the run is over.
    Ended { run_id: RunId },
}

/// What follows.
pub enum RoundOut<U> {
    /// Answer with this.
    Refuse(Refusal),
    /// The update is at hand: send it from the chunk asked for.
    Send(Arc<U>),
    /// Take the state in, then train by this plan.
    Train(Box<Plan>),
    /// Take the state in, then evaluate by this plan.
    Evaluate(Box<Plan>),
    /// Write these local values down, durably, before anything is sent.
    Persist {
        run_id: RunId,
        round: u32,
        local: LocalValues,
        /// Rounds whose values may go.
        forget_before: u32,
    },
    /// Everything about the run may go from disk.
    Forget { run_id: RunId },
}

/// All that a round's work needs but the state and the records.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub spec: RunSpec,
    pub researcher: Researcher,
    pub local: LocalValues,
    /// Decides the order of records at this site.
    pub seed: u64,
    /// Steps taken in earlier rounds.
    pub first_step: u64,
}

impl<U> Participant<U> {
    /// No runs yet.
    #[must_use]
    pub fn new(site: SiteName) -> Self {
        Self {
            site,
            runs: BTreeMap::new(),
        }
    }

    /// Whether another run may be admitted.
    ///
    /// # Errors
    /// [`RefusalCode::Busy`] at the limit.
    pub fn has_room(&self, run_id: &RunId) -> Result<(), Refusal> {
        if self.runs.len() < RUNS_MAX || self.runs.contains_key(run_id) {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::Busy,
            format!("this site takes part in {RUNS_MAX} runs already"),
            "wait until one of them ends",
        ))
    }

    /// Whether the run was admitted and is not over.
    #[must_use]
    pub fn takes_part_in(&self, run_id: &RunId) -> bool {
        self.runs.contains_key(run_id)
    }

    fn train(&self, train: &Train) -> RoundOut<U> {
        let run = match self.run_for(&train.state.run_id, train.state.bytes) {
            Ok(run) => run,
            Err(refusal) => return RoundOut::Refuse(refusal),
        };
        let (round, rounds) = (train.state.round, run.spec.document().rounds);
        if !(1..=rounds).contains(&round) {
            return RoundOut::Refuse(wrong_round(format!(
                "round {round} is none of the run's {rounds}"
            )));
        }
        if let Some(kept) = &run.kept
            && kept.round == round
            && (kept.state_blake3 == train.state.blake3 || is_planted(Planted::KeepForAnyState))
        {
            return RoundOut::Send(kept.update.clone());
        }
        match self.plan(run, round) {
            Ok(plan) => RoundOut::Train(Box::new(plan)),
            Err(refusal) => RoundOut::Refuse(refusal),
        }
    }

    fn evaluate(&self, run_id: &RunId, bytes: u64) -> RoundOut<U> {
        let planned = self
            .run_for(run_id, bytes)
            .and_then(|run| self.plan(run, run.spec.document().rounds + 1));
        match planned {
            Ok(plan) => RoundOut::Evaluate(Box::new(plan)),
            Err(refusal) => RoundOut::Refuse(refusal),
        }
    }

    /// The run, if the tensors announced are what it exchanges: checked before a byte of
    /// them is taken in.
    fn run_for(&self, run_id: &RunId, bytes: u64) -> Result<&Participation<U>, Refusal> {
        let run = self.runs.get(run_id).ok_or_else(|| {
            Refusal::new(
                RefusalCode::UnknownRun,
                format!("this site has not admitted run `{run_id}`"),
                "ask for its admission first",
            )
        })?;
        let wanted = run.spec.bytes_on_the_wire();
        if bytes != wanted {
            return Err(Refusal::new(
                RefusalCode::BadRequest,
                format!("the run's state has {wanted} bytes, and {bytes} are announced"),
                "use the same version on both sides",
            ));
        }
        Ok(run)
    }

    fn plan(&self, run: &Participation<U>, round: u32) -> Result<Plan, Refusal> {
        let before = round - 1;
        let values_before = match is_planted(Planted::NewestLocalValues) {
            true => run.local.values().next_back(),
            false => run.local.get(&before),
        };
        let local = match values_before {
            Some(local) => local.clone(),
            None if before == 0 => first_local(&run.spec),
            None if nothing_local(&run.spec) => LocalValues::default(),
            None => {
                return Err(wrong_round(format!(
                    "this site has no local values of round {before}, so it cannot take part in round {round}"
                )));
            }
        };
        let steps = u64::from(run.spec.document().training.local_steps);
        Ok(Plan {
            spec: run.spec.clone(),
            researcher: run.researcher.clone(),
            local,
            seed: self.seed_of(&run.spec),
            first_step: u64::from(before) * steps,
        })
    }

    /// Every site its own order of records, from the run's one seed.
    fn seed_of(&self, spec: &RunSpec) -> u64 {
        let text = format!("consilium batches\0{}\0{}", spec.document().seed, self.site);
        let [a, b, c, d, e, f, g, h, ..] = Digest::of(text.as_bytes()).0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn released(&mut self, train: Train, local: LocalValues, update: Arc<U>) -> Vec<RoundOut<U>> {
        let Some(run) = self.runs.get_mut(&train.state.run_id) else {
            return Vec::new();
        };
        let round = train.state.round;
        run.kept = Some(Kept {
            round,
            state_blake3: train.state.blake3,
            update: update.clone(),
        });
        let send = RoundOut::Send(update);
        if nothing_local(&run.spec) {
            return vec![send];
        }
        run.local.insert(round, local.clone());
        let rounds_kept = match is_planted(Planted::KeepOneRound) {
            true => 1,
            false => ROUNDS_KEPT,
        };
        while run.local.len() > rounds_kept {
            run.local.pop_first();
        }
        let persist = RoundOut::Persist {
            run_id: train.state.run_id,
            round,
            local,
            forget_before: run.local.keys().next().copied().unwrap_or(round),
        };
        vec![persist, send]
    }
}

impl<U> Machine for Participant<U> {
    type In = RoundIn<U>;
    type Out = RoundOut<U>;

    fn step(&mut self, _now: Millis, input: RoundIn<U>) -> Vec<RoundOut<U>> {
        match input {
            RoundIn::Admitted {
                run_id,
                spec,
                researcher,
                local,
            } => {
                // Admitted again after a coordinator's crash: what is at hand stays.
                self.runs.entry(run_id).or_insert(Participation {
                    spec: *spec,
                    researcher,
                    local,
                    kept: None,
                });
                Vec::new()
            }
            RoundIn::Train(train) => vec![self.train(&train)],
            RoundIn::Evaluate { run_id, bytes } => vec![self.evaluate(&run_id, bytes)],
            RoundIn::Released {
                train,
                local,
                update,
            } => self.released(train, local, update),
            RoundIn::NotPersisted { run_id, round } => {
                // Never sent from memory: the round is trained again when it is asked for again. Nor is the next one
                // trained from values that a restart would not find.
                if let Some(run) = self.runs.get_mut(&run_id) {
                    run.kept = None;
                    if !is_planted(Planted::BuildOnUnpersisted) {
                        run.local.remove(&round);
                    }
                }
                Vec::new()
            }
            RoundIn::Ended { run_id } => match self.runs.remove(&run_id) {
                Some(_) => vec![RoundOut::Forget { run_id }],
                None => Vec::new(),
            },
        }
    }

    fn wake_at(&self) -> Option<Millis> {
        None
    }
}

/// Whether a run keeps nothing at its sites.
fn nothing_local(spec: &RunSpec) -> bool {
    spec.layout().local_len() == 0 && !matches!(spec.document().strategy, Strategy::Scaffold { .. })
}

/// Local values before the first round: drawn like the shared ones, control variates zero.
fn first_local(spec: &RunSpec) -> LocalValues {
    let layout = spec.layout();
    LocalValues {
        parameters: layout
            .initial_values(Home::Local, spec.document().seed)
            .collect(),
        control: match spec.document().strategy {
            Strategy::Scaffold { .. } => vec![0.0; layout.shared_len()],
            _ => Vec::new(),
        },
    }
}

fn wrong_round(reason: String) -> Refusal {
    Refusal::new(
        RefusalCode::WrongRound,
        reason,
        "the run goes on without this site if its quorum allows",
    )
}

#[cfg(test)]
mod tests {
    use consilium_protocol::Role;
    use consilium_protocol::message::TensorsAhead;

    use super::*;

    const RUN: &str = r#"
name = "r"
project = "p"
purpose = "HMB"
dataset = "d"
participants = ["cleveland"]
rounds = 3
model = { kind = "logistic", local = ["intercept"] }
strategy = { name = "FedAvg" }
training = { learning-rate = 0.1, local-steps = 10, batch-size = 4 }
data = { features = [{ column = "a" }, { column = "b" }], label = { column = "y", greater-than = 0 } }
"#;

    fn site(text: &str) -> Participant<&'static str> {
        let mut site = Participant::new("cleveland".parse().unwrap());
        let admitted = RoundIn::Admitted {
            run_id: run_id(),
            spec: Box::new(RunSpec::parse(text.as_bytes()).unwrap()),
            researcher: Researcher {
                name: "ada".parse().unwrap(),
                role: Role::Researcher,
            },
            local: BTreeMap::new(),
        };
        assert!(site.step(Millis(0), admitted).is_empty());
        site
    }

    fn run_id() -> RunId {
        "r1".parse().unwrap()
    }

    fn ask(round: u32) -> Train {
        Train {
            state: TensorsAhead {
                run_id: run_id(),
                round,
                bytes: 8,
                blake3: [round as u8; 32],
            },
            from_chunk: 0,
        }
    }

    fn asked(site: &mut Participant<&'static str>, train: Train) -> RoundOut<&'static str> {
        site.step(Millis(0), RoundIn::Train(train)).pop().unwrap()
    }

    fn plan(site: &mut Participant<&'static str>, round: u32) -> Plan {
        match asked(site, ask(round)) {
            RoundOut::Train(plan) => *plan,
            _ => panic!("round {round} must be planned"),
        }
    }

    fn refusal(out: RoundOut<&'static str>) -> RefusalCode {
        match out {
            RoundOut::Refuse(refusal) => refusal.code,
            _ => panic!("must be refused"),
        }
    }

    fn release(site: &mut Participant<&'static str>, round: u32, intercept: f32) {
        let released = RoundIn::Released {
            train: ask(round),
            local: LocalValues {
                parameters: vec![intercept],
                control: vec![],
            },
            update: Arc::new("update"),
        };
        let out = site.step(Millis(0), released);
        assert!(matches!(&out[0], RoundOut::Persist { round: r, .. } if *r == round));
        assert!(matches!(out[1], RoundOut::Send(_)));
    }

    #[test]
    fn a_round_goes_on_from_the_local_values_of_the_round_before() {
        let mut site = site(RUN);
        assert_eq!(plan(&mut site, 1).first_step, 0);
        release(&mut site, 1, 0.5);
        let second = plan(&mut site, 2);
        assert_eq!(
            (second.local.parameters, second.first_step),
            (vec![0.5], 10)
        );
        assert_eq!(refusal(asked(&mut site, ask(3))), RefusalCode::WrongRound);
    }

    #[test]
    fn a_round_asked_again_gives_the_same_update_or_the_same_plan() {
        let mut site = site(RUN);
        release(&mut site, 1, 0.5);
        let again = |site: &mut _| asked(site, ask(1));
        assert!(matches!(again(&mut site), RoundOut::Send(_)));
        release(&mut site, 2, 0.75);
        // The update is gone, the values before the round are not.
        assert_eq!(plan(&mut site, 1), plan(&mut site, 1));
        assert_eq!(plan(&mut site, 3).local.parameters, [0.75]);
        release(&mut site, 3, 1.0);
        assert_eq!(
            plan(&mut site, 1).first_step,
            0,
            "round 0 can always be made anew"
        );
    }

    #[test]
    fn nothing_is_built_on_values_that_are_on_no_disk() {
        let mut site = site(RUN);
        release(&mut site, 1, 0.5);
        release(&mut site, 2, 0.75);
        let lost = RoundIn::NotPersisted {
            run_id: run_id(),
            round: 2,
        };
        assert!(site.step(Millis(0), lost).is_empty());
        // As after a restart: the round may be trained again, and none that follows it.
        assert_eq!(plan(&mut site, 2).local.parameters, [0.5]);
        assert_eq!(refusal(asked(&mut site, ask(3))), RefusalCode::WrongRound);
        release(&mut site, 2, 0.75);
        assert_eq!(plan(&mut site, 3).local.parameters, [0.75]);
    }

    #[test]
    fn another_state_for_the_same_round_is_trained_anew() {
        let mut site = site(RUN);
        release(&mut site, 1, 0.5);
        let mut other = ask(1);
        other.state.blake3 = [99; 32];
        assert!(matches!(asked(&mut site, other), RoundOut::Train(_)));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_any_tensor_is_taken_in() {
        let mut site = site(RUN);
        assert_eq!(refusal(asked(&mut site, ask(0))), RefusalCode::WrongRound);
        assert_eq!(refusal(asked(&mut site, ask(4))), RefusalCode::WrongRound);
        let mut train = ask(1);
        train.state.bytes = 1 << 40;
        assert_eq!(refusal(asked(&mut site, train)), RefusalCode::BadRequest);
        let mut train = ask(1);
        train.state.run_id = "other".parse().unwrap();
        assert_eq!(refusal(asked(&mut site, train)), RefusalCode::UnknownRun);
    }

    #[test]
    fn a_run_that_ended_is_forgotten_once() {
        let mut site = site(RUN);
        let ended = || RoundIn::Ended { run_id: run_id() };
        assert!(matches!(
            site.step(Millis(0), ended())[..],
            [RoundOut::Forget { .. }]
        ));
        assert!(site.step(Millis(0), ended()).is_empty());
    }

    #[test]
    fn two_sites_see_their_records_in_different_orders() {
        let mut here = site(RUN);
        let mut there = site(RUN);
        there.site = "hungarian".parse().unwrap();
        assert_ne!(plan(&mut here, 1).seed, plan(&mut there, 1).seed);
    }
}
