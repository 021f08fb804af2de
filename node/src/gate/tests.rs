//! A small site: a journal in memory that can break and lose power, a folder with an officer's policy, a gate.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use consilium_journal::storage::{Break, Breaking, Memory, Verb};
use consilium_journal::{Entry, Journal, Limits};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED, PASS_RESERVED,
    PassAbandoned, PassFailed, PassRefused, PassReleased, PassReserved,
};
use consilium_policies::{Action, Ask, Facts, Researcher};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{Metrics, Response};
use consilium_protocol::{Digest, Millis, RefusalCode, Role, frame, wire};

use super::*;

const POLICY: &str = r#"
name = "cleveland"
version = 3

[[permit]]
id = "cardiology-training"
researchers = ["ada"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2027-12-31"
minimum-records = 50
maximum-parameters-per-record = 0.33
maximum-rounds = 100
release = ["update", "metrics"]
"#;

const JUNE_2026: Millis = Millis(1_780_272_000_000);
const JUNE_2028: Millis = Millis(1_843_430_400_000);
const FACTS: Facts = Facts {
    dataset_records: Some(199),
    parameters: 14,
};

struct Site {
    folder: tempfile::TempDir,
    disk: Memory,
    storage: Arc<Breaking>,
    gate: Gate,
    opened: Opened,
}

impl Site {
    fn with_policy(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(POLICY_FILE), policy).unwrap();
        Self::start(folder, Memory::default(), JUNE_2026)
    }

    fn cleveland() -> Self {
        Self::with_policy(POLICY)
    }

    fn start(folder: tempfile::TempDir, disk: Memory, now: Millis) -> Self {
        let storage = Arc::new(Breaking::new(Arc::new(disk.clone())));
        let (journal, _) = Journal::open_on(storage.clone(), Limits::default()).unwrap();
        let (gate, opened) =
            Gate::open(Arc::new(journal), folder.path(), folder.path(), now).unwrap();
        Self {
            folder,
            disk,
            storage,
            gate,
            opened,
        }
    }

    /// The process ends without warning and starts again; what lay on disk is there.
    fn killed(self) -> Self {
        let disk = self.disk.after_crash(1);
        self.restarted_on(disk)
    }

    fn restarted_on(self, disk: Memory) -> Self {
        let Self { folder, gate, .. } = self;
        drop(gate);
        Self::start(folder, disk, JUNE_2026)
    }

    fn officer_writes(&self, policy: &str) {
        fs::write(self.folder.path().join(POLICY_FILE), policy).unwrap();
    }

    fn journal_breaks_at_next(&self, verb: Verb) {
        self.storage
            .break_next(verb, 1, Break::Fail(ErrorKind::StorageFull));
    }

    fn entries(&self) -> Vec<Entry> {
        consilium_journal::read_on(Arc::new(self.disk.clone()))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.entries().into_iter().map(|entry| entry.kind).collect()
    }

    fn last<T: serde::de::DeserializeOwned>(&self, kind: &str) -> T {
        let last = self.entries().pop().unwrap();
        assert_eq!(last.kind, kind);
        last.parse().unwrap()
    }

    fn train(&self, round: u32) -> Result<Released<OutgoingUpdate>, NotReleased> {
        self.gate.pass(
            &ada(Action::Train { round, rounds: 15 }),
            &FACTS,
            JUNE_2026,
            |_| Ok(update()),
        )
    }
}

fn ada(action: Action) -> Ask {
    Ask {
        project: "cardiology".parse().unwrap(),
        researcher: Researcher {
            name: "ada".parse().unwrap(),
            role: Role::Researcher,
        },
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        run: "r1".parse().unwrap(),
        run_digest: Digest::of(b"run"),
        action,
    }
}

fn metrics() -> Metrics {
    Metrics {
        records: 104,
        loss: 0.41,
        accuracy: 0.8,
        auc: Some(0.9),
    }
}

fn update() -> TrainedUpdate {
    TrainedUpdate {
        vectors: vec![vec![0.25; 13], vec![-1.5]],
        records: 199,
        training_loss: Some(0.5),
        held_out: Some(metrics()),
    }
}

fn refusal<T>(outcome: Result<T, NotReleased>) -> Refusal {
    match outcome {
        Err(NotReleased::Refused(refusal)) => refusal,
        Err(NotReleased::Failed(fault)) => panic!("failed: {fault}"),
        Ok(_) => panic!("released"),
    }
}

fn fault<T>(outcome: Result<T, NotReleased>) -> GateFault {
    match outcome {
        Err(NotReleased::Failed(fault)) => fault,
        Err(NotReleased::Refused(refusal)) => panic!("refused: {refusal}"),
        Ok(_) => panic!("released"),
    }
}

#[test]
fn a_pass_is_reserved_then_worked_then_released() {
    let site = Site::cleveland();
    let released = site
        .gate
        .pass(
            &ada(Action::Train {
                round: 3,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |permit| {
                assert_eq!(
                    site.kinds(),
                    [BUNDLE_INSTALLED, PASS_RESERVED],
                    "work began before it was reserved"
                );
                assert_eq!(permit.rules()[0].as_str(), "cardiology-training");
                Ok(update())
            },
        )
        .unwrap();
    assert_eq!(
        site.kinds(),
        [BUNDLE_INSTALLED, PASS_RESERVED, PASS_RELEASED]
    );

    let message = released.wire().message();
    assert_eq!(
        (message.tensors.run_id.as_str(), message.tensors.round),
        ("r1", 3)
    );
    assert_eq!((message.records, message.tensors.bytes), (199, 56));
    assert_eq!(
        (message.training_loss, message.held_out),
        (Some(0.5), Some(metrics()))
    );
    assert!(!message.metrics_withheld);

    let entry: PassReleased = site.last(PASS_RELEASED);
    assert_eq!(entry.reserved, 1);
    assert_eq!(
        (entry.ask.run_digest, entry.bundle),
        (Digest::of(b"run"), Digest::of(POLICY.as_bytes()))
    );
    assert_eq!(message.bundle, entry.bundle);
    let frame = frame::encode(&wire::Response::from(Response::Update(message.clone()))).unwrap();
    assert_eq!(entry.receipt.frame, Digest::of(&frame));
    let sent = released.wire().chunk(0).unwrap();
    assert_eq!(
        entry.receipt.tensors.unwrap().blake3,
        blake3::hash(&sent).to_string()
    );
    assert_eq!(message.tensors.blake3, *blake3::hash(&sent).as_bytes());
}

#[test]
fn each_ask_gets_what_it_asked_for() {
    let site = Site::cleveland();
    let dataset_version = Digest::of(b"data");
    let admitted = site
        .gate
        .pass(
            &ada(Action::Admit { rounds: 15 }),
            &FACTS,
            JUNE_2026,
            |_| {
                Ok(Admission {
                    records: 199,
                    dataset_version,
                })
            },
        )
        .unwrap()
        .into_inner();
    assert_eq!(
        (admitted.records, admitted.dataset_version),
        (199, dataset_version)
    );
    let evaluated = site
        .gate
        .pass(&ada(Action::Evaluate), &FACTS, JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        })
        .unwrap()
        .into_inner();
    assert_eq!(evaluated.held_out, metrics());

    let smuggled = site.gate.pass(
        &ada(Action::Admit { rounds: 15 }),
        &FACTS,
        JUNE_2026,
        |_| Ok(update()),
    );
    assert_eq!(refusal(smuggled).code, RefusalCode::NotPermitted);
    let smuggled = site.gate.pass(
        &ada(Action::Train {
            round: 1,
            rounds: 1,
        }),
        &FACTS,
        JUNE_2026,
        |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        },
    );
    assert_eq!(refusal(smuggled).code, RefusalCode::NotPermitted);
}

#[test]
fn refused_asks_do_no_work_and_are_journalled_with_reason_and_rule() {
    let no_work = |_: &Permit| -> Result<TrainedUpdate, WorkError> { panic!("work was done") };
    let training = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let by_mallory = Ask {
        researcher: Researcher {
            name: "mallory".parse().unwrap(),
            role: Role::Researcher,
        },
        ..training.clone()
    };
    let curious = Ask {
        purpose: "CURIOSITY".parse().unwrap(),
        ..training.clone()
    };
    let few = Facts {
        dataset_records: Some(49),
        ..FACTS
    };
    let large = Facts {
        parameters: 1000,
        ..FACTS
    };
    let elsewhere = Facts {
        dataset_records: None,
        ..FACTS
    };
    for (ask, facts, now, code, rules) in [
        (
            &training,
            elsewhere,
            JUNE_2026,
            RefusalCode::UnknownDataset,
            &[][..],
        ),
        (
            &by_mallory,
            FACTS,
            JUNE_2026,
            RefusalCode::NotPermitted,
            &["cardiology-training"],
        ),
        (
            &curious,
            FACTS,
            JUNE_2026,
            RefusalCode::NotPermitted,
            &["cardiology-training"],
        ),
        (
            &training,
            few,
            JUNE_2026,
            RefusalCode::TooFewRecords,
            &["cardiology-training"],
        ),
        (
            &training,
            large,
            JUNE_2026,
            RefusalCode::TooManyParameters,
            &["cardiology-training"],
        ),
        (
            &training,
            FACTS,
            JUNE_2028,
            RefusalCode::Expired,
            &["cardiology-training"],
        ),
    ] {
        let site = Site::cleveland();
        let refusal = refusal(site.gate.pass(ask, &facts, now, no_work));
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(refusal.rules, rules, "{refusal}");
        assert_eq!(site.kinds(), [BUNDLE_INSTALLED, PASS_REFUSED]);
        let entry: PassRefused = site.last(PASS_REFUSED);
        assert_eq!(
            (entry.reserved, &entry.ask, entry.refusal),
            (None, ask, refusal)
        );
    }
}

#[test]
fn a_site_without_a_usable_policy_lets_nothing_leave() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();

    fs::remove_file(site.folder.path().join(POLICY_FILE)).unwrap();
    assert_eq!(refusal(site.train(2)).code, RefusalCode::NoBundle);

    site.officer_writes(&POLICY.replace("\"ada\"", "\"Ada L.\""));
    let refused = refusal(site.train(2));
    assert_eq!(refused.code, RefusalCode::UnreadableBundle);
    assert!(
        refused.reason.contains("line 7, `researchers`"),
        "{refused}"
    );
    assert!(
        !refused.to_string().contains("Ada"),
        "the policy's content went to strangers: {refused}"
    );
    let entry: PassRefused = site.last(PASS_REFUSED);
    assert!(entry.detail.unwrap().contains("Ada L."));

    fs::remove_file(site.folder.path().join(POLICY_FILE)).unwrap();
    fs::create_dir(site.folder.path().join(POLICY_FILE)).unwrap();
    assert_eq!(refusal(site.train(2)).code, RefusalCode::UnreadableBundle);
    fs::remove_dir(site.folder.path().join(POLICY_FILE)).unwrap();

    site.officer_writes(POLICY);
    let _ = site.train(2).unwrap();
    let installed = site
        .kinds()
        .iter()
        .filter(|kind| *kind == BUNDLE_INSTALLED)
        .count();
    assert_eq!(installed, 1, "the same bundle was installed twice");
}

#[test]
fn an_edited_policy_decides_the_next_pass_and_is_journalled_once() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    site.officer_writes(&POLICY.replace("[\"ada\"]", "[\"grace\"]"));
    assert_eq!(refusal(site.train(2)).code, RefusalCode::NotPermitted);
    assert_eq!(refusal(site.train(2)).code, RefusalCode::NotPermitted);
    assert_eq!(
        site.kinds(),
        [
            BUNDLE_INSTALLED,
            PASS_RESERVED,
            PASS_RELEASED,
            BUNDLE_INSTALLED,
            PASS_REFUSED,
            PASS_REFUSED
        ]
    );
    let site = site.killed();
    assert_eq!(refusal(site.train(2)).code, RefusalCode::NotPermitted);
    assert_eq!(
        site.kinds().len(),
        7,
        "a restart installed a bundle that the journal names already"
    );
}

#[test]
fn a_clock_set_back_revives_no_permit() {
    let site = Site::cleveland();
    let train = |now| {
        site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &FACTS,
            now,
            |_| Ok(update()),
        )
    };
    assert_eq!(refusal(train(JUNE_2028)).code, RefusalCode::Expired);
    assert_eq!(refusal(train(JUNE_2026)).code, RefusalCode::Expired);
}

#[test]
fn metrics_that_no_rule_releases_stay_at_home() {
    let site = Site::with_policy(&POLICY.replace("[\"update\", \"metrics\"]", "[\"update\"]"));
    let released = site.train(1).unwrap();
    let message = released.wire().message();
    assert_eq!(
        (
            message.training_loss,
            message.held_out,
            message.metrics_withheld
        ),
        (None, None, true)
    );
    let entry: PassReleased = site.last(PASS_RELEASED);
    assert!(entry.receipt.metrics_withheld);

    let evaluate = site
        .gate
        .pass(&ada(Action::Evaluate), &FACTS, JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        });
    assert_eq!(refusal(evaluate).code, RefusalCode::NotPermitted);
}

#[test]
fn what_is_no_number_never_leaves() {
    let site = Site::cleveland();
    let train = |update| {
        site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |_| Ok(update),
        )
    };
    let far = 3 * 64 * 1024 + 17;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (vector, at) in [(0, 0), (0, far), (1, 1)] {
            let mut update = TrainedUpdate {
                vectors: vec![vec![0.5; far + 1], vec![0.5; 2]],
                ..update()
            };
            update.vectors[vector][at] = bad;
            assert_eq!(refusal(train(update)).code, RefusalCode::BadUpdate);
        }
    }
    assert_eq!(
        refusal(train(TrainedUpdate {
            training_loss: Some(f64::NAN),
            ..update()
        }))
        .code,
        RefusalCode::BadUpdate
    );
    let odd = Metrics {
        auc: Some(f64::NAN),
        ..metrics()
    };
    assert_eq!(
        refusal(train(TrainedUpdate {
            held_out: Some(odd),
            ..update()
        }))
        .code,
        RefusalCode::BadUpdate
    );
    let evaluate = site
        .gate
        .pass(&ada(Action::Evaluate), &FACTS, JUNE_2026, |_| {
            Ok(Evaluation { held_out: odd })
        });
    assert_eq!(refusal(evaluate).code, RefusalCode::BadUpdate);

    assert!(!site.kinds().iter().any(|kind| kind == PASS_RELEASED));
    let entry: PassRefused = site.last(PASS_REFUSED);
    assert!(entry.reserved.is_some());
}

#[test]
fn a_metric_that_stays_at_home_need_not_be_a_number() {
    let site = Site::with_policy(&POLICY.replace("[\"update\", \"metrics\"]", "[\"update\"]"));
    let lost = TrainedUpdate {
        training_loss: Some(f64::NAN),
        ..update()
    };
    let outcome = site.gate.pass(
        &ada(Action::Train {
            round: 1,
            rounds: 15,
        }),
        &FACTS,
        JUNE_2026,
        |_| Ok(lost),
    );
    assert_eq!(outcome.unwrap().wire().message().training_loss, None);
}

#[test]
fn work_that_breaks_is_a_fault_and_work_that_declines_is_a_refusal() {
    let site = Site::cleveland();
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let broken = site.gate.pass(&ask, &FACTS, JUNE_2026, |_| {
        Err::<TrainedUpdate, _>(WorkError::failed("the gpu is lost"))
    });
    let fault = fault(broken);
    assert_eq!(
        fault.to_string(),
        "the work of a pass failed: the gpu is lost"
    );
    assert!(!fault.told_outside().what.contains("gpu"));
    let entry: PassFailed = site.last(PASS_FAILED);
    assert_eq!(
        (entry.reserved, entry.cause.as_str()),
        (1, "the gpu is lost")
    );

    let no_column = Refusal::new(
        RefusalCode::InvalidRun,
        "there is no column `chol`",
        "use another",
    );
    let declined = site.gate.pass(&ask, &FACTS, JUNE_2026, |_| {
        Err::<TrainedUpdate, _>(no_column.clone().into())
    });
    assert_eq!(refusal(declined), no_column);
    let entry: PassRefused = site.last(PASS_REFUSED);
    assert_eq!((entry.reserved, entry.refusal), (Some(3), no_column));
}

#[test]
fn without_a_reservation_work_never_runs() {
    for verb in [Verb::Write, Verb::Sync] {
        let site = Site::cleveland();
        let _ = site.train(1).unwrap();
        site.journal_breaks_at_next(verb);
        let outcome = site.gate.pass(
            &ada(Action::Train {
                round: 2,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |_| -> Result<TrainedUpdate, WorkError> { panic!("work was done") },
        );
        let fault = fault(outcome);
        assert!(
            matches!(
                fault,
                GateFault::Journal {
                    doing: PASS_RESERVED,
                    ..
                }
            ),
            "{fault}"
        );
    }
}

#[test]
fn without_a_settlement_nothing_is_released() {
    for verb in [Verb::Write, Verb::Sync] {
        let site = Site::cleveland();
        let worked = Cell::new(false);
        let outcome = site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |_| {
                worked.set(true);
                site.journal_breaks_at_next(verb);
                Ok(update())
            },
        );
        let fault = fault(outcome);
        assert!(
            matches!(
                fault,
                GateFault::Journal {
                    doing: PASS_RELEASED,
                    ..
                }
            ),
            "{fault}"
        );
        assert!(worked.get());
    }
}

#[test]
fn a_new_policy_that_cannot_be_journalled_decides_nothing() {
    let site = Site::cleveland();
    site.journal_breaks_at_next(Verb::Sync);
    let fault = fault(site.train(1));
    assert!(
        matches!(
            fault,
            GateFault::Journal {
                doing: BUNDLE_INSTALLED,
                ..
            }
        ),
        "{fault}"
    );
}

#[test]
fn a_pass_cut_off_by_a_crash_stays_spent_and_is_told_once() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    let mut at_work = None;
    let _ = site.gate.pass(
        &ada(Action::Train {
            round: 2,
            rounds: 15,
        }),
        &FACTS,
        JUNE_2026,
        |_| {
            at_work = Some(site.disk.after_crash(7));
            Ok(update())
        },
    );

    let site = site.restarted_on(at_work.unwrap());
    assert_eq!(site.opened.abandoned, 1);
    let entry: PassAbandoned = site.last(PASS_ABANDONED);
    assert_eq!(
        (entry.reserved, entry.ask.action),
        (
            3,
            Action::Train {
                round: 2,
                rounds: 15
            }
        )
    );
    let reserved: PassReserved = site.entries()[3].parse().unwrap();
    assert_eq!((reserved.ask, reserved.facts), (entry.ask, FACTS));
    assert_eq!(site.gate.summary().count(Outcome::Abandoned), 1);

    let site = site.killed();
    assert_eq!(
        site.opened.abandoned, 0,
        "the same pass was abandoned twice"
    );
    let _ = site.train(2).unwrap();
}

#[test]
fn work_that_panics_releases_nothing_and_counts_as_abandoned_at_the_next_start() {
    let site = Site::cleveland();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |_| -> Result<TrainedUpdate, WorkError> { panic!("the trainer has a bug") },
        )
    }));
    assert!(outcome.is_err());
    let _ = site.train(1).unwrap();
    let site = site.killed();
    assert_eq!(site.opened.abandoned, 1);
}

#[test]
fn the_summary_is_the_same_whatever_becomes_of_its_index() {
    let mut site = Site::cleveland();
    for round in 1..=3 {
        let _ = site.train(round).unwrap();
    }
    let stranger = Ask {
        project: "oncology".parse().unwrap(),
        ..ada(Action::Evaluate)
    };
    let evaluate = |site: &Site| {
        site.gate.pass(&stranger, &FACTS, JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        })
    };
    refusal(evaluate(&site));
    let expected = site.gate.summary();
    let told: Vec<_> = expected
        .rows()
        .map(|(row, count)| {
            (
                row.project.to_string(),
                row.rules.join(","),
                row.outcome,
                count,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "cardiology".to_owned(),
                "cardiology-training".to_owned(),
                Outcome::Released,
                3
            ),
            ("oncology".to_owned(), String::new(), Outcome::Refused, 1),
        ]
    );

    site = site.killed();
    assert!(
        !site.opened.index_rebuilt,
        "an index that was up to date was not used"
    );
    assert_eq!(site.gate.summary(), expected);

    let index = site.folder.path().join("gate-index");
    for breakage in ["deleted", "damaged", "a file", "ahead"] {
        let mut disk = site.disk.clone();
        match breakage {
            "deleted" => fs::remove_dir_all(&index).unwrap(),
            "damaged" => fs::write(index.join("conf"), b"not sled's").unwrap(),
            "a file" => {
                fs::remove_dir_all(&index).unwrap();
                fs::write(&index, b"").unwrap();
            }
            // The index is ahead of a journal that begins anew.
            _ => disk = Memory::default(),
        }
        site = site.restarted_on(disk);
        assert!(site.opened.index_rebuilt, "{breakage}");
        let expected = if breakage == "ahead" {
            Summary::default()
        } else {
            expected.clone()
        };
        assert_eq!(site.gate.summary(), expected, "{breakage}");
    }
}

#[test]
fn an_index_that_is_behind_catches_up() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    // A pass that never ends stops the index; three more passes follow.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        site.gate.pass(
            &ada(Action::Evaluate),
            &FACTS,
            JUNE_2026,
            |_| -> Result<Evaluation, WorkError> { panic!() },
        )
    }));
    for round in 2..=4 {
        let _ = site.train(round).unwrap();
    }
    let site = site.killed();
    assert!(!site.opened.index_rebuilt);
    assert_eq!(site.gate.summary().count(Outcome::Released), 4);
    assert_eq!(site.gate.summary().count(Outcome::Abandoned), 1);
}

#[test]
fn strangers_cannot_fill_the_summary() {
    let site = Site::cleveland();
    for n in 0..SUMMARY_ROWS_MAX + 3 {
        let ask = Ask {
            project: format!("p{n}").parse().unwrap(),
            ..ada(Action::Evaluate)
        };
        refusal(site.gate.pass(&ask, &FACTS, JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        }));
    }
    let summary = site.gate.summary();
    assert_eq!(
        (summary.rows().count(), summary.not_listed()),
        (SUMMARY_ROWS_MAX, 3)
    );
    let site = site.killed();
    assert_eq!(site.gate.summary(), summary);
}

#[test]
fn passes_side_by_side_each_have_their_bracket() {
    const THREADS: u32 = 8;
    const PASSES: u32 = 20;
    let site = Site::cleveland();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let site = &site;
            scope.spawn(move || {
                for n in 0..PASSES {
                    let round = thread * PASSES / 2 + n / 2;
                    if n % 2 == 0 {
                        let _ = site.train(round.min(15)).unwrap();
                    } else {
                        let ask = Ask {
                            purpose: "DS".parse().unwrap(),
                            ..ada(Action::Evaluate)
                        };
                        let outcome = site.gate.pass(&ask, &FACTS, JUNE_2026, |_| {
                            Ok(Evaluation {
                                held_out: metrics(),
                            })
                        });
                        refusal(outcome);
                    }
                }
            });
        }
    });
    let (mut reserved, mut released) = (BTreeSet::new(), BTreeSet::new());
    for entry in site.entries() {
        match entry.kind.as_str() {
            PASS_RESERVED => assert!(reserved.insert(entry.seq)),
            PASS_RELEASED => {
                assert!(released.insert(entry.parse::<PassReleased>().unwrap().reserved))
            }
            _ => {}
        }
    }
    assert_eq!(reserved, released);
    assert_eq!(released.len(), (THREADS * PASSES / 2) as usize);
    let summary = site.gate.summary();
    assert_eq!(
        summary.count(Outcome::Refused),
        u64::from(THREADS * PASSES / 2)
    );
    let site = site.killed();
    assert!(!site.opened.index_rebuilt);
    assert_eq!((site.opened.abandoned, site.gate.summary()), (0, summary));
}

#[test]
fn the_chunks_of_an_update_are_its_vectors_end_to_end() {
    const CHUNK_VALUES: usize = CHUNK_BYTES_MAX / 4;
    let wide = Facts {
        dataset_records: Some(10_000_000),
        ..FACTS
    };
    for lengths in [
        vec![1],
        vec![CHUNK_VALUES],
        vec![CHUNK_VALUES + 1, 5],
        vec![3, 2 * CHUNK_VALUES, 0, 7],
        vec![0, 0],
    ] {
        let site = Site::cleveland();
        let mut next = 0.0;
        let mut counted = |length: &usize| {
            (0..*length)
                .map(|_| {
                    next += 1.0;
                    next
                })
                .collect::<Vec<f32>>()
        };
        let vectors: Vec<Vec<f32>> = lengths.iter().map(&mut counted).collect();
        let expected: Vec<u8> = vectors
            .iter()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let update = TrainedUpdate {
            vectors,
            ..update()
        };
        let released = site
            .gate
            .pass(
                &ada(Action::Train {
                    round: 1,
                    rounds: 15,
                }),
                &wide,
                JUNE_2026,
                |_| Ok(update),
            )
            .unwrap();
        let update = released.wire();
        let chunks: Vec<_> = (0..update.chunks())
            .map(|index| update.chunk(index).unwrap())
            .collect();
        assert!(
            chunks
                .iter()
                .rev()
                .skip(1)
                .all(|chunk| chunk.len() == CHUNK_BYTES_MAX)
        );
        assert_eq!(chunks.concat(), expected);
        assert_eq!(
            update.message().tensors.blake3,
            *blake3::hash(&expected).as_bytes()
        );
        assert_eq!(update.chunk(update.chunks()), None);
        assert_eq!(update.chunk(u64::MAX), None);
    }
}

#[test]
fn entries_hold_no_value_that_was_computed_from_a_record() {
    let site = Site::cleveland();
    let secret = TrainedUpdate {
        vectors: vec![vec![123.456_f32; 14]],
        training_loss: Some(0.987_654),
        ..update()
    };
    let released = site
        .gate
        .pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &FACTS,
            JUNE_2026,
            |_| Ok(secret),
        )
        .unwrap();
    for entry in site.entries() {
        let text = String::from_utf8(entry.payload).unwrap();
        for value in ["123.4", "0.98", "0.41", "0.8,"] {
            assert!(!text.contains(value), "{text}");
        }
    }
    assert_eq!(format!("{released:?}"), "Released { .. }");
}
