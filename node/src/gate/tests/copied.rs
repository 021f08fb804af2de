//! The books are the same whatever becomes of their copy.

use consilium_privacy::Cost;

use super::*;

/// Passes that are enough for a copy to be written at the next start: two entries each.
const PASSES: u64 = 520;

fn asked(site: &Site, number: u64) -> Result<Released<OutgoingUpdate>, NotReleased> {
    let ask = Ask {
        run_digest: Digest::of(&number.to_le_bytes()),
        ..ada(Action::Train {
            round: 1,
            rounds: 15,
        })
    };
    let facts = Facts {
        cost: Cost::pure(0.01).unwrap(),
        ..facts()
    };
    let touches = Touches {
        dataset_version: Digest::of(b"version"),
        state: None,
        patients: Cohort::first(70).unwrap(),
    };
    let work = |_: &Permit, _: &Cohort| Ok(update());
    site.gate
        .pass_touching(&ask, &facts, &touches, JUNE_2026, work)
}

fn spent(site: &Site) -> Ledger {
    site.gate.ledger(&"heart-disease".parse().unwrap())
}

fn copy_of(site: &Site) -> std::path::PathBuf {
    site.folder.path().join("gate-books")
}

#[test]
fn the_books_are_the_same_whatever_becomes_of_their_copy() {
    let mut site = Site::with_policy(&with_budgets(400.0, 400.0));
    for number in 0..PASSES {
        let _ = asked(&site, number).unwrap();
    }
    let before = spent(&site);
    site = site.killed();
    let copy = fs::read(copy_of(&site)).unwrap();
    assert_eq!(spent(&site), before);
    for change in ["as it is", "torn", "changed", "empty", "gone", "old"] {
        let path = copy_of(&site);
        match change {
            "torn" => fs::write(&path, &copy[..copy.len() / 2]).unwrap(),
            "changed" => {
                // A cost made smaller: the seal finds it.
                let text = String::from_utf8_lossy(&copy[32..]).replacen("10000000000", "1", 1);
                fs::write(&path, [&copy[..32], text.as_bytes()].concat()).unwrap();
            }
            "empty" => fs::write(&path, b"").unwrap(),
            "gone" => fs::remove_file(&path).unwrap(),
            // Older than the journal, which has gone on.
            "old" => {
                fs::write(&path, &copy).unwrap();
                let _ = asked(&site, PASSES).unwrap();
            }
            _ => {}
        }
        let before = spent(&site);
        site = site.killed();
        assert_eq!(spent(&site), before, "{change}");
        // What was answered is answered still, and not paid for again.
        for number in [0, PASSES - 1] {
            assert!(asked(&site, number).unwrap().is_repeated(), "{change}");
        }
        assert_eq!(spent(&site), before, "{change}");
    }
}

#[test]
fn a_copy_of_another_journal_is_none() {
    let site = Site::with_policy(&with_budgets(400.0, 400.0));
    for number in 0..PASSES {
        let _ = asked(&site, number).unwrap();
    }
    let site = site.killed();
    let copy = fs::read(copy_of(&site)).unwrap();
    // Another vault and another journal, as long as this one.
    let other = Site::with_policy(&with_budgets(400.0, 400.0));
    for number in 0..PASSES {
        let _ = asked(&other, number + PASSES).unwrap();
    }
    let before = spent(&other);
    fs::write(copy_of(&other), &copy).unwrap();
    let other = other.killed();
    assert_eq!(spent(&other), before);
    assert!(!asked(&other, 0).unwrap().is_repeated());
    // This vault, and a journal that begins anew: the copy is ahead of it, and the vault's charges stay.
    let charged = spent(&site).patients().clone();
    let site = site.restarted_on(Memory::default());
    assert_eq!(*spent(&site).patients(), charged);
    assert_eq!(spent(&site).reservations(), 0);
}

/// A vault that was set back lacks what the journal names, also where the copy names it.
#[test]
fn a_copy_hides_no_lost_vault() {
    let site = Site::with_policy(&with_budgets(400.0, 400.0));
    for number in 0..PASSES {
        let _ = asked(&site, number).unwrap();
    }
    let site = site.killed();
    assert!(copy_of(&site).exists());
    let Site {
        folder, disk, gate, ..
    } = site;
    drop(gate);
    let records = records_on(Arc::new(disk.after_crash(1)), Arc::new(Memory::default()));
    let opened = Gate::open(records, folder.path(), folder.path(), JUNE_2026);
    assert!(matches!(opened, Err(GateFault::VaultLost { .. })));
}
