use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use consilium_protocol::signature::signed_bytes;
use proptest::prelude::*;

use super::*;
use crate::bundle::tests::WITH_TERMS;
use crate::files::BundleFiles;

struct Signer {
    officer: Officer,
    pair: Ed25519KeyPair,
}

fn signer(name: &str, seed: u8) -> Signer {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let key = PublicKey::from_bytes(pair.public_key().as_ref()).unwrap();
    let name = name.parse().unwrap();
    let officer = Officer { name, key };
    Signer { officer, pair }
}

impl Signer {
    fn signs(&self, context: &str, bundle: &Bundle) -> Signature {
        let bytes = signed_bytes(context, bundle.manifest().as_bytes());
        Signature::from_bytes(self.pair.sign(&bytes).as_ref()).unwrap()
    }
}

fn files() -> BundleFiles {
    BundleFiles {
        policy: WITH_TERMS.as_bytes().to_vec(),
        ..BundleFiles::default()
    }
}

fn signed_by(signers: &[&Signer]) -> Bundle {
    let mut files = files();
    let bundle = Bundle::read("", &files).unwrap();
    let mut signatures = Signatures::default();
    for signer in signers {
        let signature = signer.signs(SIGNING_CONTEXT, &bundle);
        signatures.put(signer.officer.name.clone(), signature);
    }
    files.signatures = signatures.to_toml().into_bytes();
    Bundle::read("", &files).unwrap()
}

#[test]
fn two_officers_are_enough_and_one_is_not() {
    let (olga, otto) = (signer("olga", 1), signer("otto", 2));
    let officers = [olga.officer.clone(), otto.officer.clone()];
    let both = signed_by(&[&olga, &otto]).verify(&officers, 2).unwrap();
    assert_eq!(both, [olga.officer.name.clone(), otto.officer.name.clone()]);
    let one = signed_by(&[&olga]).verify(&officers, 2).unwrap_err();
    assert_eq!(
        one.to_string(),
        "the bundle needs the signatures of 2 officers and has 1: `olga` signed"
    );
    let nobody = signed_by(&[]).verify(&officers, 2).unwrap_err().to_string();
    assert!(nobody.ends_with("has 0: nobody signed"), "{nobody}");
    // Not even when the node asks for none.
    assert!(signed_by(&[]).verify(&officers, 0).is_err());
}

#[test]
fn strangers_other_keys_and_one_key_under_two_names_do_not_count() {
    let (olga, otto) = (signer("olga", 1), signer("otto", 2));
    let officers = [olga.officer.clone(), otto.officer.clone()];
    let stranger = signed_by(&[&olga, &signer("eve", 3)]).verify(&officers, 2);
    assert!(
        stranger
            .unwrap_err()
            .to_string()
            .contains("`eve` is no officer")
    );
    let other_key = signed_by(&[&olga, &signer("otto", 3)]).verify(&officers, 2);
    assert!(
        other_key
            .unwrap_err()
            .to_string()
            .contains("`otto` signed something else")
    );
    let same_key = [olga.officer.clone(), signer("otto", 1).officer];
    let twice = signed_by(&[&olga, &signer("otto", 1)]).verify(&same_key, 2);
    assert!(twice.unwrap_err().to_string().contains("same key"));
}

#[test]
fn a_signature_is_over_these_files_for_this_purpose() {
    let (olga, otto) = (signer("olga", 1), signer("otto", 2));
    let officers = [olga.officer.clone(), otto.officer.clone()];
    let signatures = signed_by(&[&olga, &otto]).signatures().to_toml();
    let changed = BundleFiles {
        policy: WITH_TERMS
            .replace("floor-patients = 11", "floor-patients = 5")
            .into_bytes(),
        signatures: signatures.into_bytes(),
        ..BundleFiles::default()
    };
    assert!(
        Bundle::read("", &changed)
            .unwrap()
            .verify(&officers, 2)
            .is_err()
    );
    let mut elsewhere = files();
    let bundle = Bundle::read("", &elsewhere).unwrap();
    let mut signatures = Signatures::default();
    for signer in [&olga, &otto] {
        signatures.put(
            signer.officer.name.clone(),
            signer.signs("consilium run file v1", &bundle),
        );
    }
    elsewhere.signatures = signatures.to_toml().into_bytes();
    assert!(
        Bundle::read("", &elsewhere)
            .unwrap()
            .verify(&officers, 2)
            .is_err()
    );
}

#[test]
fn an_officer_is_pinned_by_name_and_key() {
    let olga = signer("olga", 1).officer;
    assert_eq!(olga.to_string().parse(), Ok(olga));
    for text in ["", "olga", "olga:12", ":", "Olga Smith:00"] {
        let error = text.parse::<Officer>().unwrap_err();
        assert!(
            error.to_string().contains("64 hexadecimal digits"),
            "{error}"
        );
    }
}

#[test]
fn signatures_that_cannot_be_read_are_an_error() {
    for text in [
        "signature = 1",
        "[[signature]]\nofficer = \"olga\"",
        "[[signature]]\nofficer = \"olga\"\nsignature = \"00\"",
        "[[signature]]\nofficer = \"olga\"\nsignature = \"\u{e9}\"\nmore = 1",
    ] {
        assert!(
            Signatures::parse("signatures.toml", text.as_bytes()).is_err(),
            "{text}"
        );
    }
    let one = signed_by(&[&signer("olga", 1)]).signatures().to_toml();
    let twice = format!("{one}{}", one.split_once("\n\n").unwrap().1);
    let error = Signatures::parse("signatures.toml", twice.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("signs twice"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_signatures_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Signatures::parse("signatures.toml", &bytes);
    }
}
