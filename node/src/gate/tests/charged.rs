//! What has a cost: charged before it is worked, kept before it leaves, and never sampled twice.

use consilium_privacy::Cost;

use super::*;

fn count() -> Facts {
    Facts {
        cost: Cost::pure(0.5).unwrap(),
        ..facts()
    }
}

fn touching(patients: u32) -> Touches {
    Touches {
        dataset_version: Digest::of(b"version"),
        state: None,
        patients: Cohort::first(patients).unwrap(),
    }
}

impl Site {
    /// An ask that costs something, whose answer is another one each time it is worked.
    fn sample(
        &self,
        round: u32,
        sample: &Cell<u32>,
    ) -> Result<Released<OutgoingUpdate>, NotReleased> {
        self.gate.pass_touching(
            &ada(Action::Train { round, rounds: 15 }),
            &count(),
            &touching(100),
            JUNE_2026,
            |_, patients| {
                assert_eq!(patients.len(), 100);
                sample.set(sample.get() + 1);
                Ok(TrainedUpdate {
                    vectors: vec![vec![sample.get() as f32; 14]],
                    ..update()
                })
            },
        )
    }

    fn spent(&self) -> f64 {
        let ask = ada(Action::Evaluate);
        let spent = self.gate.books.open().spent(&ask);
        assert_eq!(spent.project, spent.dataset);
        // Where there is a pure cost only, the infinite order is its plain sum.
        let (_, pico) = spent.project.spent().points().last().unwrap();
        pico as f64 / 1e12
    }
}

fn bytes(released: &Released<OutgoingUpdate>) -> Vec<u8> {
    TrainedUpdate::keep(released.wire()).unwrap()
}

#[test]
fn a_charge_is_in_the_vault_before_the_journal_names_it_and_the_answer_too() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let sample = Cell::new(0);
    let released = site.sample(1, &sample).unwrap();
    assert!(!released.is_repeated());
    assert_eq!(
        site.kinds(),
        [BUNDLE_INSTALLED, PASS_RESERVED, PASS_RELEASED]
    );
    let vault: Vec<Entry> = consilium_journal::read_on(Arc::new(site.vault.clone()))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let kinds: Vec<&str> = vault.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["vault-begun", "patients-charged", "answer"]);
    let reserved: PassReserved = site.entries()[1].parse().unwrap();
    assert_eq!(reserved.vault, Some(vault[1].hash));
    assert_eq!(reserved.facts.cost, Cost::pure(0.5).unwrap());
    let release: PassReleased = site.entries()[2].parse().unwrap();
    assert_eq!(release.answer, Some(vault[2].hash));
    assert!(vault[2].payload.ends_with(&bytes(&released)));
}

#[test]
fn the_same_ask_gets_the_same_bytes_at_no_cost_and_no_work() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let sample = Cell::new(0);
    let first = bytes(&site.sample(1, &sample).unwrap());
    let again = site.sample(1, &sample).unwrap();
    assert!(again.is_repeated());
    assert_eq!(
        (bytes(&again), sample.get(), site.spent()),
        (first.clone(), 1, 0.5)
    );
    let entry: PassRepeated = site.last(PASS_REPEATED);
    assert_eq!((entry.reserved, entry.receipt.what.as_str()), (1, "update"));

    // Another process, with its index lost.
    fs::remove_dir_all(site.folder.path().join("gate-index")).unwrap();
    let site = site.killed();
    let again = site.sample(1, &sample).unwrap();
    assert_eq!((bytes(&again), sample.get(), site.spent()), (first, 1, 0.5));
    assert_eq!(site.gate.summary().count(Outcome::Released), 1);
    assert_eq!(site.gate.summary().count(Outcome::Repeated), 2);

    // Another question is another sample, and is charged.
    let _ = site.sample(2, &sample).unwrap();
    assert_eq!((sample.get(), site.spent()), (2, 1.0));
}

#[test]
fn what_the_answer_depends_on_makes_another_question() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let worked = Cell::new(0);
    let pass = |ask: &Ask, touches: &Touches| {
        let released = site
            .gate
            .pass_touching(ask, &count(), touches, JUNE_2026, |_, _| {
                worked.set(worked.get() + 1);
                Ok(update())
            });
        drop(released.unwrap());
    };
    let by_another_of_the_project = Ask {
        researcher: Researcher {
            name: "ada".parse().unwrap(),
            role: Role::Researcher,
        },
        ..ask.clone()
    };
    pass(&ask, &touching(100));
    pass(&by_another_of_the_project, &touching(100));
    assert_eq!(worked.get(), 1);
    let newer = Touches {
        dataset_version: Digest::of(b"newer"),
        ..touching(100)
    };
    let from_another_state = Touches {
        state: Some(Digest::of(b"state")),
        ..touching(100)
    };
    let another_text = Ask {
        run_digest: Digest::of(b"another run"),
        ..ask.clone()
    };
    pass(&ask, &newer);
    pass(&ask, &from_another_state);
    pass(&another_text, &touching(100));
    assert_eq!((worked.get(), site.spent()), (4, 2.0));
}

#[test]
fn the_same_ask_meanwhile_is_told_to_wait() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let sample = Cell::new(0);
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let released = site
        .gate
        .pass_touching(&ask, &count(), &touching(100), JUNE_2026, |_, _| {
            assert_eq!(refusal(site.sample(1, &sample)).code, RefusalCode::Busy);
            Ok(update())
        });
    let _ = released.unwrap();
    assert!(site.sample(1, &sample).unwrap().is_repeated());
    assert_eq!(sample.get(), 0);
}

#[test]
fn work_that_fails_declines_or_panics_is_spent_and_not_tried_again() {
    for how in ["fails", "declines", "panics"] {
        let site = Site::with_policy(&with_budgets(40.0, 40.0));
        let sample = Cell::new(0);
        let ask = ada(Action::Train {
            round: 1,
            rounds: 15,
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            site.gate
                .pass_touching(
                    &ask,
                    &count(),
                    &touching(100),
                    JUNE_2026,
                    |_, _| match how {
                        "fails" => Err::<TrainedUpdate, _>(WorkError::failed("the gpu is lost")),
                        "declines" => {
                            Err(Refusal::new(RefusalCode::BadUpdate, "astray", "").into())
                        }
                        _ => panic!("the trainer has a bug"),
                    },
                )
                .is_ok()
        }));
        assert_ne!(outcome.ok(), Some(true));
        assert_eq!(
            refusal(site.sample(1, &sample)).code,
            RefusalCode::Spent,
            "{how}"
        );
        let site = site.killed();
        assert_eq!(
            refusal(site.sample(1, &sample)).code,
            RefusalCode::Spent,
            "{how}"
        );
        assert_eq!((sample.get(), site.spent()), (0, 0.5));
    }
}

#[test]
fn a_budget_ends_and_a_patient_whose_own_ends_is_left_out_before_it() {
    let site = Site::with_policy(&with_budgets(4.0, 1.0));
    let worked = Cell::new(0);
    let pass = |round, patients: &[u32]| {
        let touches = Touches {
            patients: Cohort::of(patients.iter().copied()).unwrap(),
            ..touching(0)
        };
        let ask = ada(Action::Train { round, rounds: 15 });
        let released =
            site.gate
                .pass_touching(&ask, &count(), &touches, JUNE_2026, |_, patients| {
                    worked.set(patients.len());
                    Ok(update())
                });
        released.map(|_| worked.get())
    };
    assert_eq!(pass(1, &[0, 1, 2, 3]).unwrap(), 4);
    assert_eq!(pass(2, &[0, 1]).unwrap(), 2);
    assert_eq!(
        pass(3, &[0, 1, 2, 3]).unwrap(),
        2,
        "two patients paid twice"
    );
    assert_eq!(
        pass(4, &[0, 1, 2, 3, 4, 5]).unwrap(),
        2,
        "four patients paid twice"
    );
    let reserved: PassReserved = site.entries()[7].parse().unwrap();
    assert_eq!(reserved.facts.cohort_patients, None);
    for round in 5..=8 {
        assert_eq!(pass(round, &[]).unwrap(), 0);
    }
    let refused = refusal(pass(9, &[7, 8]));
    assert_eq!(refused.code, RefusalCode::BudgetExhausted);
    // Told twice, it is the same; and the refusal cost nothing.
    assert_eq!(refusal(pass(9, &[7, 8])), refused);
    assert_eq!(site.spent(), 4.0);
    let site = site.killed();
    assert_eq!(site.spent(), 4.0);
}

#[test]
fn a_cost_without_patients_is_a_fault() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let outcome = site.gate.pass(&ask, &count(), JUNE_2026, |_| Ok(update()));
    assert!(matches!(fault(outcome), GateFault::CostWithoutPatients));
}

#[test]
fn without_its_vault_a_node_does_not_open_and_says_what_to_do() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let sample = Cell::new(0);
    let _ = site.sample(1, &sample).unwrap();
    let yesterday = site.vault.copied();
    let _ = site.sample(2, &sample).unwrap();
    let Site {
        folder,
        disk,
        vault,
        gate,
        ..
    } = site;
    drop(gate);
    let open = |vault: Memory| {
        let records = records_on(Arc::new(disk.clone()), Arc::new(vault));
        Gate::open(records, folder.path(), folder.path(), JUNE_2026).map(|_| ())
    };
    for (vault, lacks) in [(Memory::default(), 4), (yesterday, 2)] {
        let error = open(vault).unwrap_err();
        assert!(
            matches!(&error, GateFault::VaultLost { count, .. } if *count == lacks),
            "{error}"
        );
        let told = error.to_string();
        assert!(
            told.contains("heart-disease") && told.contains("put back"),
            "{told}"
        );
    }
    open(vault).unwrap();
}

#[test]
fn a_patient_keeps_their_number_and_the_journal_never_hears_of_them() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let name: DatasetName = "heart-disease".parse().unwrap();
    let keys = ["DOE^JANE", "ROE^RICHARD", "DOE^JANE"];
    let number = |site: &Site, keys: &[&str]| {
        let keys = keys.iter().map(|key| key.as_bytes());
        site.gate.numbers(&name, keys, JUNE_2026).unwrap()
    };
    assert_eq!(number(&site, &keys), [0, 1, 0]);
    let touches = Touches {
        patients: Cohort::of([0]).unwrap(),
        ..touching(0)
    };
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let released =
        site.gate
            .pass_touching(&ask, &count(), &touches, JUNE_2026, |_, _| Ok(update()));
    let _ = released.unwrap();
    for disk in [&site.disk, &site.vault] {
        for entry in consilium_journal::read_on(Arc::new(disk.clone())).unwrap() {
            let text = String::from_utf8_lossy(&entry.unwrap().payload).into_owned();
            assert!(!text.contains("DOE") && !text.contains("ROE"), "{text}");
        }
    }
    let site = site.killed();
    assert_eq!(
        number(&site, &["NEW", "ROE^RICHARD", "DOE^JANE"]),
        [2, 1, 0]
    );
    let books = site.gate.books.open();
    let everyone = Cohort::first(3).unwrap();
    let half = consilium_privacy::Budget::new(0.7, 1e-6).unwrap();
    let active = books.active(&ask, &everyone, &Cost::pure(0.5).unwrap(), &half);
    assert_eq!(active, Cohort::of([1, 2]).unwrap());
}

#[test]
fn a_large_answer_is_kept_in_parts_and_read_again_from_the_vault() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let large = || TrainedUpdate {
        vectors: vec![vec![0.5; 700_000], vec![1.5; 3]],
        ..update()
    };
    let pass = |site: &Site| {
        let released = site.gate.pass_touching(
            &ask,
            &count(),
            &touching(100),
            JUNE_2026,
            |_, _| Ok(large()),
        );
        bytes(&released.unwrap())
    };
    let first = pass(&site);
    assert_eq!(first.len() / (1 << 20), 2);
    assert_eq!(pass(&site), first);
    let site = site.killed();
    assert_eq!(pass(&site), first);
    let too_large = Facts {
        parameters: 100_000_000,
        dataset_records: Some(1 << 40),
        ..count()
    };
    let ask = ada(Action::Train {
        round: 2,
        rounds: 15,
    });
    let outcome = site
        .gate
        .pass_touching(&ask, &too_large, &touching(100), JUNE_2026, |_, _| {
            Ok(large())
        });
    assert_eq!(refusal(outcome).code, RefusalCode::TooManyParameters);
}

#[test]
fn asks_side_by_side_are_all_charged() {
    let site = Site::with_policy(&with_budgets(40.0, 40.0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let site = &site;
            scope.spawn(move || {
                for n in 0..8 {
                    let sample = Cell::new(0);
                    let _ = site.sample(1 + thread * 8 + n, &sample).unwrap();
                    let _ = site.sample(1 + thread * 8 + n, &sample).unwrap();
                    assert_eq!(sample.get(), 1);
                }
            });
        }
    });
    assert_eq!(site.spent(), 16.0);
    let site = site.killed();
    assert_eq!(site.spent(), 16.0);
}
