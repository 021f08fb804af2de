//! A private round at the gate: it leaves by a permit for noisy updates, at its cost, and with nothing beside it.

use consilium_privacy::Cost;

use super::*;

fn private_round(site: &Site) -> Result<Released<OutgoingUpdate>, NotReleased> {
    let facts = Facts {
        noisy_update: true,
        cost: Cost::subsampled_gaussian(0.1, 2.0, 20).unwrap(),
        ..facts()
    };
    let touches = Touches {
        dataset_version: Digest::of(b"version"),
        state: Some(Digest::of(b"state")),
        patients: Cohort::first(199).unwrap(),
    };
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    site.gate
        .pass_touching(&ask, &facts, &touches, JUNE_2026, |_, _| {
            Ok(PrivateUpdate {
                change: vec![0.5; 14],
                records: 199,
            })
        })
}

#[test]
fn a_private_update_leaves_without_a_loss_or_a_metric_and_again_with_the_same_bytes() {
    // The permit releases metrics as well, and still none goes with it.
    let site = Site::with_policy(&with_budgets(4.0, 4.0));
    let first = private_round(&site).unwrap();
    let message = first.wire().message();
    assert!(message.metrics_withheld);
    assert_eq!((message.training_loss, message.held_out), (None, None));
    let released: PassReleased = site.last(PASS_RELEASED);
    assert_eq!(released.receipt.what, "noisy update");
    let again = private_round(&site).unwrap();
    assert!(again.is_repeated());
    let bytes = |update: &Released<OutgoingUpdate>| PrivateUpdate::keep(update.wire()).unwrap();
    assert_eq!(bytes(&again), bytes(&first));
}

#[test]
fn a_permit_for_one_kind_of_update_lets_no_other_leave() {
    let site = Site::with_policy(POLICY);
    let refused = refusal(private_round(&site));
    assert_eq!(refused.code, RefusalCode::NotPermitted);

    let noisy_only = with_budgets(4.0, 4.0).replace("\"update\", \"metrics\", ", "");
    let site = Site::with_policy(&noisy_only);
    assert_eq!(refusal(site.train(1)).code, RefusalCode::NotPermitted);
    drop(private_round(&site).unwrap());
}
