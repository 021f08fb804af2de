//! Who gets what, in which order, and what the journal says of it.

use super::*;

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
            &facts(),
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
        (Digest::of(b"run"), digest_of(POLICY))
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
            &facts(),
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
        .pass(&ada(Action::Evaluate), &facts(), JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        })
        .unwrap()
        .into_inner();
    assert_eq!(evaluated.held_out, metrics());

    let smuggled = site.gate.pass(
        &ada(Action::Admit { rounds: 15 }),
        &facts(),
        JUNE_2026,
        |_| Ok(update()),
    );
    assert_eq!(refusal(smuggled).code, RefusalCode::NotPermitted);
    let smuggled = site.gate.pass(
        &ada(Action::Train {
            round: 1,
            rounds: 1,
        }),
        &facts(),
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
        ..facts()
    };
    let large = Facts {
        parameters: 1000,
        ..facts()
    };
    let elsewhere = Facts {
        dataset_records: None,
        ..facts()
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
            facts(),
            JUNE_2026,
            RefusalCode::NotPermitted,
            &["cardiology-training"],
        ),
        (
            &curious,
            facts(),
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
            facts(),
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
            &facts(),
            now,
            |_| Ok(update()),
        )
    };
    assert_eq!(refusal(train(JUNE_2028)).code, RefusalCode::Expired);
    assert_eq!(refusal(train(JUNE_2026)).code, RefusalCode::Expired);
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
                        let outcome = site.gate.pass(&ask, &facts(), JUNE_2026, |_| {
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
