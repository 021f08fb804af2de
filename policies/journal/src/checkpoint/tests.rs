//! Notes and checkpoints, from outside.

use proptest::prelude::*;

use super::*;
use crate::JournalError;
use crate::storage::{Break, Breaking, Memory, Storage, Verb};
use std::sync::Arc;

/// RFC 8032, section 7.1, test 1: a public key whose private half this crate could not use anyway.
fn key() -> PublicKey {
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        .parse()
        .unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: site_key_name("heart", &"cleveland".parse().unwrap()),
        head: TreeHead {
            size,
            root: Digest::of(&size.to_le_bytes()),
            chain: Digest::of(b"chain"),
        },
    }
}

/// Signed with a made-up signature: here it is the form that counts.
fn signed(size: u64) -> SignedCheckpoint {
    checkpoint(size)
        .sign(key(), |_| {
            Signature::from_bytes(&[7; 64]).ok_or("no signature")
        })
        .unwrap()
}

#[test]
fn a_checkpoint_is_four_lines_and_reads_back() {
    let checkpoint = checkpoint(1204);
    let text = checkpoint.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["consilium/heart/cleveland", "1204"]);
    assert_eq!(lines.len(), 4);
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
    for changed in [
        text.replace("1204", "01204"),
        text.replace("1204", "+1204"),
        text.replace("chain ", "chain  "),
        format!("{text}more\n"),
        text.trim_end().to_owned(),
        lines[..3].join("\n"),
        String::new(),
    ] {
        assert!(Checkpoint::parse(&changed).is_err(), "{changed:?}");
    }
}

#[test]
fn names_that_a_consortium_may_have_become_names_that_a_key_may_have() {
    let site: SiteName = "cleveland".parse().unwrap();
    let name = site_key_name("Heart + Lung/EU", &site);
    assert_eq!(name.as_str(), "consilium/Heart---Lung-EU/cleveland");
    assert_eq!(name.as_str().parse(), Ok(name.clone()));
    assert_eq!(name.last_part(), "cleveland");
    assert_eq!(
        coordinator_key_name("").as_str().parse(),
        Ok(coordinator_key_name(""))
    );
}

/// The key, note and cosignature of the specification's example are checked in full: C2SP `signed-note` and
/// Go's `sumdb/note` use this one.
#[test]
fn the_key_of_the_go_checksum_database_reads_back() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!(key.name.as_str(), "PeterNeumann");
    assert_eq!(key.kind, KeyKind::Log);
    assert_eq!(key.to_string(), text);
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\
                \n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let read = SignedNote::parse(note.as_bytes()).unwrap();
    assert_eq!(read.verify(&key), Ok(0));
    assert_eq!(read.to_string(), note);
    let changed = note.replace("answer", "Answer");
    let read = SignedNote::parse(changed.as_bytes()).unwrap();
    assert!(matches!(
        read.verify(&key),
        Err(NoteError::WrongSignature { .. })
    ));
    assert!(
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
            .parse::<VerifierKey>()
            .is_err()
    );
}

#[test]
fn a_note_of_somebody_else_is_not_signed_by_us() {
    let signed = signed(7);
    assert!(matches!(
        signed.verify(key()),
        Err(NoteError::WrongSignature { .. })
    ));
    let other = PublicKey::from_bytes(&[9; 32]).unwrap();
    assert!(matches!(
        signed.verify(other),
        Err(NoteError::NotSignedBy { .. })
    ));
    let witness = coordinator_key_name("heart");
    assert!(signed.cosigned_at(&witness, key()).is_err());
}

#[test]
fn cosignatures_are_added_replaced_and_limited() {
    let mut signed = signed(7);
    let sign = |_: &[u8]| Signature::from_bytes(&[1; 64]).ok_or("no signature");
    let coordinator = coordinator_key_name("heart");
    for at_s in [100, 200] {
        let cosignature = signed.cosign(&coordinator, key(), at_s, sign).unwrap();
        assert_eq!(cosignature.to_string().parse(), Ok(cosignature.clone()));
        signed.add(cosignature).unwrap();
    }
    assert_eq!(signed.cosignatures(), 1);
    let again = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
    assert_eq!(again, signed);
    for number in 0..20 {
        let name = KeyName::of_parts(&["witness", &number.to_string()]);
        let cosignature = signed.cosign(&name, key(), 1, sign).unwrap();
        assert_eq!(signed.add(cosignature).is_ok(), number < 14);
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let note = signed(3).to_string();
    for (at, bad) in [
        "".to_owned(),
        "text\n".into(),
        "text\n\n".into(),
        note.trim_end().to_owned(),
        note.replace('\u{2014}', "-"),
        note.replace("\n\n", "\n"),
        note.replace("1", "\u{7}1"),
        format!("{note}\u{2014} x\n"),
        format!("{note}\u{2014} x y+z\n"),
        format!("{}{}", note, "\u{2014} a AAAAAAAA\n".repeat(17)),
        "x".repeat(NOTE_BYTES_MAX + 1),
    ]
    .iter()
    .enumerate()
    {
        assert!(
            SignedCheckpoint::parse(bad.as_bytes()).is_err(),
            "case {at}"
        );
    }
}

fn sizes(memory: &Memory) -> Vec<u64> {
    let (_, opened) = CheckpointFile::open_on(Arc::new(memory.clone())).unwrap();
    opened.newest.iter().map(|note| note.head().size).collect()
}

#[test]
fn the_newest_note_is_found_again() {
    let memory = Memory::default();
    let (mut file, opened) = CheckpointFile::open_on(Arc::new(memory.clone())).unwrap();
    assert_eq!(opened, OpenedCheckpoints::default());
    for size in 1..=5 {
        file.append(&signed(size)).unwrap();
        assert_eq!(sizes(&memory), [size]);
    }
}

#[test]
fn a_note_cut_at_any_byte_is_removed_and_the_one_before_is_the_newest() {
    let memory = Memory::default();
    let (mut file, _) = CheckpointFile::open_on(Arc::new(memory.clone())).unwrap();
    file.append(&signed(1)).unwrap();
    let name = memory.names().unwrap().remove(0);
    let whole = memory.len(&name).unwrap();
    file.append(&signed(2)).unwrap();
    let both = memory.bytes(&name).unwrap();
    for cut in whole + 1..both.len() as u64 {
        let torn = Memory::default();
        torn.create(&name).unwrap();
        torn.write_at(&name, 0, &both[..cut as usize]).unwrap();
        let (mut file, opened) = CheckpointFile::open_on(Arc::new(torn.clone())).unwrap();
        assert_eq!(opened.torn_bytes, cut - whole);
        assert_eq!(opened.newest.unwrap().head().size, 1);
        file.append(&signed(3)).unwrap();
        assert_eq!(sizes(&torn), [3]);
    }
}

#[test]
fn a_changed_note_before_others_is_reported_and_not_written_over() {
    let memory = Memory::default();
    let (mut file, _) = CheckpointFile::open_on(Arc::new(memory.clone())).unwrap();
    (1..=3).for_each(|size| file.append(&signed(size)).unwrap());
    let name = memory.names().unwrap().remove(0);
    let before = memory.bytes(&name).unwrap();
    memory.write_at(&name, 60, b"#").unwrap();
    let (mut file, opened) = CheckpointFile::open_on(Arc::new(memory.clone())).unwrap();
    assert_eq!(opened.damaged, ["000001.checkpoints, byte 0"]);
    assert_eq!(opened.newest, None);
    file.append(&signed(4)).unwrap();
    assert_eq!(sizes(&memory), [4]);
    assert_eq!(memory.len(&name).unwrap(), before.len() as u64);
}

#[test]
fn whatever_verb_fails_no_note_that_was_kept_is_lost() {
    for verb in [Verb::Create, Verb::Write, Verb::Sync, Verb::SyncNames] {
        for nth in 1..8 {
            let memory = Memory::default();
            let storage = Arc::new(Breaking::new(Arc::new(memory.clone())));
            storage.break_next(verb, nth, Break::Fail(std::io::ErrorKind::StorageFull));
            let mut kept = 0;
            if let Ok((mut file, _)) = CheckpointFile::open_on(storage) {
                for size in 1..=6 {
                    match file.append(&signed(size)) {
                        Ok(()) => kept = size,
                        Err(error) => assert!(matches!(error, JournalError::Full { .. })),
                    }
                }
            }
            memory.forget_unsynced();
            let found = sizes(&memory).first().copied().unwrap_or(0);
            assert!(found >= kept, "{verb:?} {nth}: kept {kept}, found {found}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_fail(bytes: Vec<u8>, text: String) {
        drop(SignedCheckpoint::parse(&bytes));
        drop(Checkpoint::parse(&text));
        drop(text.parse::<VerifierKey>());
        drop(text.parse::<NoteSignature>());
    }

    #[test]
    fn a_note_changed_in_one_byte_is_another_note_or_none(at in any::<prop::sample::Index>(), byte: u8) {
        let note = signed(12).to_string();
        let mut changed = note.clone().into_bytes();
        let place = at.index(changed.len());
        prop_assume!(changed[place] != byte);
        changed[place] = byte;
        if let Ok(read) = SignedCheckpoint::parse(&changed) {
            prop_assert_ne!(read.to_string(), note);
        }
    }
}
