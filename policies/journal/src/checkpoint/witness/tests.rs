//! A witness and the journals it is shown: that go on, that were set back, that fork; and what a crash leaves of its
//! memory.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use consilium_protocol::signature::Signature;

use super::*;
use crate::checkpoint::{Checkpoint, coordinator_key_name, site_key_name};
use crate::storage::{Break, Breaking, Memory, Verb};
use crate::{Journal, Limits};

/// A site with a key and a journal in memory.
struct Site {
    pair: Ed25519KeyPair,
    memory: Memory,
    journal: Journal,
}

impl Site {
    fn new(seed: u8) -> Self {
        Self::with(seed, Memory::default())
    }

    fn with(seed: u8, memory: Memory) -> Self {
        let (journal, _) = Journal::open_on(Arc::new(memory.clone()), Limits::default()).unwrap();
        Self {
            pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            memory,
            journal,
        }
    }

    /// The same site on a copy of its disk.
    fn copied(&self, seed: u8) -> Self {
        Self::with(seed, self.memory.copied())
    }

    fn key(&self) -> PublicKey {
        PublicKey::from_bytes(self.pair.public_key().as_ref()).unwrap()
    }

    fn sign(&self, bytes: &[u8]) -> Result<Signature, ()> {
        Signature::from_bytes(self.pair.sign(bytes).as_ref()).ok_or(())
    }

    fn append(&self, what: &str, entries: u64) {
        for number in 0..entries {
            self.journal
                .append_json(number, "test", &(what, number))
                .unwrap();
        }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        let checkpoint = Checkpoint {
            origin: site_key_name("heart", &"cleveland".parse().unwrap()),
            head: self.journal.snapshot().unwrap().tree_head(),
        };
        checkpoint.sign(self.key(), |text| self.sign(text)).unwrap()
    }

    /// Shows its checkpoint with a proof from what the witness says it saw last.
    fn shown_to(&self, witness: &Witness) -> Seen {
        let checkpoint = self.checkpoint();
        let last = witness.last(self.key()).map_or(0, |last| last.head().size);
        let snapshot = self.journal.snapshot().unwrap();
        let proof = snapshot
            .prove_consistency(last.min(checkpoint.head().size), checkpoint.head().size)
            .unwrap();
        witness.see(self.key(), &checkpoint, last, &proof).unwrap()
    }
}

fn witness() -> (Witness, Memory) {
    let memory = Memory::default();
    let witness = Witness::open_on(Arc::new(memory.clone())).unwrap();
    (witness, memory)
}

fn remembered(memory: &Memory, site: &Site) -> Option<u64> {
    let witness = Witness::open_on(Arc::new(memory.clone())).unwrap();
    witness.last(site.key()).map(|last| last.head().size)
}

#[test]
fn a_journal_that_goes_on_is_seen_to_continue() {
    let (site, (witness, memory)) = (Site::new(1), witness());
    for entries in [3, 1, 0, 300, 7] {
        site.append("on", entries);
        assert_eq!(site.shown_to(&witness), Seen::Continues);
        assert_eq!(remembered(&memory, &site), Some(site.journal.head().seq));
    }
    assert_eq!(memory.names().unwrap().len(), 1);
}

#[test]
fn a_journal_that_was_set_back_is_told_what_it_had_said() {
    let (site, (witness, _)) = (Site::new(1), witness());
    site.append("before", 8);
    let yesterday = site.copied(1);
    site.append("since", 4);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    let last = site.checkpoint();
    assert_eq!(
        yesterday.shown_to(&witness),
        Seen::NotFromLast(Box::new(last.clone()))
    );
    last.verify(yesterday.key()).unwrap();
}

#[test]
fn a_fork_is_not_cosigned_however_long_it_grows() {
    let (site, (witness, _)) = (Site::new(1), witness());
    site.append("before", 8);
    let fork = site.copied(1);
    site.append("here", 4);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    for _ in 0..3 {
        fork.append("there", 5);
        assert!(matches!(fork.shown_to(&witness), Seen::NotFromLast(_)));
    }
    site.append("here", 1);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
}

#[test]
fn a_proof_from_anywhere_else_than_the_last_is_asked_for_again() {
    let (site, (witness, _)) = (Site::new(1), witness());
    site.append("on", 5);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    site.append("on", 5);
    let proof = site.journal.snapshot().unwrap().prove_consistency(3, 10);
    let seen = witness.see(site.key(), &site.checkpoint(), 3, &proof.unwrap());
    assert!(matches!(seen, Ok(Seen::NotFromLast(_))));
    let nothing = ConsistencyProof::new(Vec::new());
    let seen = witness.see(site.key(), &site.checkpoint(), 0, &nothing);
    assert!(matches!(seen, Ok(Seen::NotFromLast(_))));
}

#[test]
fn a_checkpoint_that_another_key_signed_is_not_looked_at() {
    let (site, other, (witness, _)) = (Site::new(1), Site::new(2), witness());
    site.append("on", 5);
    let nothing = ConsistencyProof::new(Vec::new());
    let seen = witness.see(other.key(), &site.checkpoint(), 0, &nothing);
    assert!(matches!(seen, Err(WitnessError::Note(_))));
    assert_eq!(witness.last(other.key()), None);
}

#[test]
fn a_site_with_a_new_key_begins_a_new_log() {
    let (site, (witness, _)) = (Site::new(1), witness());
    site.append("on", 5);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    let anew = Site::new(2);
    anew.append("anew", 1);
    assert_eq!(anew.shown_to(&witness), Seen::Continues);
    assert!(matches!(
        Site::new(1).shown_to(&witness),
        Seen::NotFromLast(_)
    ));
}

#[test]
fn cosignatures_are_remembered_under_the_checkpoint_they_belong_to() {
    let (site, coordinator, (witness, memory)) = (Site::new(1), Site::new(9), witness());
    site.append("on", 5);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    let checkpoint = site.checkpoint();
    let name = coordinator_key_name("heart");
    let line = checkpoint
        .cosign(&name, coordinator.key(), 77, |bytes| {
            coordinator.sign(bytes)
        })
        .unwrap();
    witness.add(site.key(), &checkpoint, line.clone()).unwrap();
    let again = Witness::open_on(Arc::new(memory)).unwrap();
    let last = again.last(site.key()).unwrap();
    assert_eq!(last.cosigned_at(&name, coordinator.key()), Ok(77));
    site.append("on", 1);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    witness.add(site.key(), &checkpoint, line).unwrap();
    assert_eq!(witness.last(site.key()).unwrap().cosignatures(), 0);
}

/// What was seen to continue is remembered after any failure and loss of power; a failure never makes it forget.
#[test]
fn whatever_breaks_nothing_that_was_seen_is_forgotten() {
    for verb in [
        Verb::Create,
        Verb::Write,
        Verb::Sync,
        Verb::SyncNames,
        Verb::Remove,
        Verb::SetLen,
        Verb::Len,
    ] {
        for nth in 1..6 {
            for how in [
                Break::Fail(std::io::ErrorKind::StorageFull),
                Break::Tear {
                    bytes: 40,
                    kind: std::io::ErrorKind::Other,
                },
            ] {
                let memory = Memory::default();
                let storage = Arc::new(Breaking::new(Arc::new(memory.clone())));
                let witness = Witness::open_on(storage.clone()).unwrap();
                storage.break_next(verb, nth, how);
                let site = Site::new(1);
                let mut seen = 0;
                for _ in 0..5 {
                    site.append("on", 2);
                    let last = witness.last(site.key()).map_or(0, |last| last.head().size);
                    let snapshot = site.journal.snapshot().unwrap();
                    let checkpoint = site.checkpoint();
                    let size = checkpoint.head().size;
                    let proof = snapshot.prove_consistency(last, size).unwrap();
                    if let Ok(Seen::Continues) = witness.see(site.key(), &checkpoint, last, &proof)
                    {
                        seen = size;
                    }
                }
                assert!(seen >= 8, "{verb:?} {nth}: it went on");
                memory.forget_unsynced();
                let found = remembered(&memory, &site).unwrap_or(0);
                assert!(found >= seen, "{verb:?} {nth}: saw {seen}, found {found}");
            }
        }
    }
}

#[test]
fn a_file_that_somebody_changed_holds_no_checkpoint() {
    let (site, (witness, memory)) = (Site::new(1), witness());
    site.append("on", 5);
    assert_eq!(site.shown_to(&witness), Seen::Continues);
    let name = memory.names().unwrap().remove(0);
    let mut bytes = memory.bytes(&name).unwrap();
    let at = bytes.iter().position(|&byte| byte == b'5').unwrap();
    bytes[at] = b'1';
    memory.put(&name, bytes);
    assert_eq!(remembered(&memory, &site), None);
    memory.put("notes.txt", b"not ours".to_vec());
    memory.put("a-b-c.checkpoint", b"not ours".to_vec());
    assert_eq!(remembered(&memory, &site), None);
}
