use consilium_protocol::Millis;

use super::*;

const PACE: Pace = Pace {
    every_s: 60,
    every_entries: 1000,
};

#[test]
fn a_checkpoint_is_due_after_a_minute_or_a_thousand_entries_if_there_is_anything_new() {
    let schedule = Schedule::new(PACE, Millis(1_000), 50);
    for (now, size, due) in [
        (1_000, 50, false),
        (10_000_000, 50, false),
        (60_999, 51, false),
        (61_000, 51, true),
        (1_000, 1_049, false),
        (1_000, 1_050, true),
        (1_000, 40, false),
        (0, 51, false),
    ] {
        assert_eq!(schedule.due(Millis(now), size), due, "{now} {size}");
    }
}

#[test]
fn a_checkpoint_that_nobody_witnessed_is_shown_again_later() {
    let schedule = Schedule::again(PACE, Millis(1_000), 50);
    assert!(!schedule.due(Millis(60_999), 50));
    assert!(schedule.due(Millis(61_000), 50));
}

#[test]
fn nothing_is_answered_before_the_comparison_and_nothing_ever_after_a_set_back() {
    let witnessed = Witnessed::unknown();
    assert_eq!(witnessed.stands().unwrap_err().code, RefusalCode::Busy);
    assert_eq!(witnessed.is_not_set_back(), Ok(()));
    witnessed.settle();
    assert_eq!(witnessed.stands(), Ok(()));
    witnessed.set_back("it ends after 8 entries, and 12 were witnessed");
    let refusal = witnessed.stands().unwrap_err();
    assert_eq!(refusal.code, RefusalCode::BehindWitness);
    assert!(refusal.reason.contains("12 were witnessed"));
    witnessed.settle();
    witnessed.set_back("another reason");
    assert_eq!(witnessed.stands(), Err(refusal));
    assert_eq!(Witnessed::unwatched().stands(), Ok(()));
}

/// A site with a certificate, a journal of `entries`, and checkpoints in its folder.
struct Site {
    folder: tempfile::TempDir,
    credentials: Credentials,
}

impl Site {
    fn new(entries: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = consilium_link::wall_clock();
        let authority = consilium_link::CertificateAuthority::create("heart", now).unwrap();
        let key = consilium_link::MemberKey::generate().unwrap();
        let identity =
            consilium_link::Identity::new(consilium_protocol::Role::Site, "va".parse().unwrap());
        let request = key.certificate_request().unwrap();
        let certificate = authority
            .issue(&request, &identity, 86_400_000, now)
            .unwrap();
        let credentials = Credentials::new(key, &certificate, authority.anchor().clone()).unwrap();
        let site = Self {
            folder,
            credentials,
        };
        site.append("before", entries);
        site
    }

    fn journal_folder(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn checkpoints(&self) -> PathBuf {
        self.journal_folder().join(CHECKPOINTS_FOLDER)
    }

    fn append(&self, what: &str, entries: u64) {
        let (journal, _) = Journal::open(&self.journal_folder(), Default::default()).unwrap();
        for number in 0..entries {
            journal
                .append_json(number, "test", &(what, number))
                .unwrap();
        }
    }

    fn opens(&self) -> Testimony {
        let (journal, _) = Journal::open(&self.journal_folder(), Default::default()).unwrap();
        Testimony::open(
            Arc::new(journal),
            &self.journal_folder(),
            &self.folder.path().join("witnessed"),
            &self.credentials,
            &"va".parse().unwrap(),
        )
        .unwrap()
    }

    /// Makes a checkpoint and keeps it, as after a round with the witnesses.
    fn is_witnessed(&self) -> SignedCheckpoint {
        let testimony = self.opens();
        let snapshot = testimony.journal.snapshot().unwrap();
        let checkpoint = testimony.checkpoint(&self.credentials, &snapshot).unwrap();
        let certificate = self.credentials.certificate().to_vec();
        testimony.keep(&checkpoint, &[certificate]).unwrap();
        checkpoint
    }

    /// Puts another journal of so many entries in the place of its own.
    fn is_given_another_journal(&self, entries: u64) {
        for file in std::fs::read_dir(self.journal_folder()).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                std::fs::remove_file(file).unwrap();
            }
        }
        self.append("elsewhere", entries);
    }

    fn standing(&self) -> Result<(), Refusal> {
        self.opens().witnessed().is_not_set_back()
    }
}

#[test]
fn a_journal_that_goes_on_from_its_own_checkpoints_stands() {
    let site = Site::new(5);
    assert_eq!(site.standing(), Ok(()));
    site.is_witnessed();
    site.append("since", 3);
    assert_eq!(site.standing(), Ok(()));
    let certificates = std::fs::read_dir(site.checkpoints()).unwrap();
    let named = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".crt");
    assert_eq!(
        certificates
            .filter(|file| named(file.as_ref().unwrap().file_name()))
            .count(),
        1
    );
}

#[test]
fn a_journal_that_lost_its_end_or_forked_is_found_by_its_own_checkpoints() {
    for (entries, why) in [
        (3, "ends after 3 entries, and 5"),
        (9, "went on from an older state"),
    ] {
        let site = Site::new(5);
        site.is_witnessed();
        site.is_given_another_journal(entries);
        let refusal = site.standing().unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BehindWitness);
        assert!(refusal.reason.contains(why), "{refusal}");
    }
}

#[test]
fn checkpoints_that_are_missing_torn_older_or_of_another_key_stop_nobody() {
    let site = Site::new(5);
    site.is_witnessed();
    let file = site.checkpoints().join("000001.checkpoints");
    let older = std::fs::read(&file).unwrap();
    site.append("since", 2);
    site.is_witnessed();
    let both = std::fs::read(&file).unwrap();
    let foreign = Site::new(50);
    foreign.is_witnessed();
    let foreign = std::fs::read(foreign.checkpoints().join("000001.checkpoints")).unwrap();
    for (what, bytes) in [
        ("torn", both[..both.len() - 7].to_vec()),
        ("older", older.clone()),
        ("of another key", [both.clone(), foreign].concat()),
        ("none", Vec::new()),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(site.standing(), Ok(()), "{what}");
        // And the next one can be kept.
        site.is_witnessed();
    }
    std::fs::remove_dir_all(site.checkpoints()).unwrap();
    assert_eq!(site.standing(), Ok(()));
}

/// One who can write the file can change a note, and cannot sign it.
#[test]
fn a_checkpoint_that_was_changed_is_nobodys() {
    let site = Site::new(5);
    let kept = site.is_witnessed();
    let forged = kept.to_string().replacen("\n5\n", "\n9\n", 1);
    let forged = SignedCheckpoint::parse(forged.as_bytes()).unwrap();
    let testimony = site.opens();
    let snapshot = testimony.journal.snapshot().unwrap();
    let compared = testimony.take_in(&snapshot, &forged, "somebody").unwrap();
    assert_eq!(compared, Compared::NotOurs);
    assert_eq!(testimony.witnessed().is_not_set_back(), Ok(()));
}
