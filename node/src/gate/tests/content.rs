//! What is in an update that leaves, and what never is.

use super::*;

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
        .pass(&ada(Action::Evaluate), &facts(), JUNE_2026, |_| {
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
            &facts(),
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
        .pass(&ada(Action::Evaluate), &facts(), JUNE_2026, |_| {
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
        &facts(),
        JUNE_2026,
        |_| Ok(lost),
    );
    assert_eq!(outcome.unwrap().wire().message().training_loss, None);
}

#[test]
fn the_chunks_of_an_update_are_its_vectors_end_to_end() {
    const CHUNK_VALUES: usize = CHUNK_BYTES_MAX / 4;
    let wide = Facts {
        dataset_records: Some(10_000_000),
        ..facts()
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
            &facts(),
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
