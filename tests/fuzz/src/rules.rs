//! Rules in Cedar and signatures, as they lie beside a policy.

use consilium_policies::{Bundle, BundleFiles, Officer};

use crate::Target;
use crate::draw::halves;

/// A policy with a data set and a permit, so that rules have something to be about.
const POLICY: &[u8] = b"name = \"h\"\nversion = 1\n[dataset.heart-disease]\nduo = [\"HMB\"]\nunit = \"patient\"\n\
    floor-patients = 11\n[[permit]]\nid = \"p\"\nresearchers = [\"*\"]\nprojects = [\"*\"]\npurposes = [\"HMB\"]\n\
    actions = [\"statistics\"]\ndataset = \"*\"\nuntil = \"2027-12-31\"\nrelease = [\"exact-statistics\"]\n";

/// A key that signed nothing here (RFC 8032, section 7.1, test 1).
const STRANGER: &str = "olga:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// The room for the fuzzer. Cedar's reader builds a syntax tree, and keeps the text of each rule.
pub const TARGET: Target = Target {
    name: "rules",
    holds,
    memory_bytes_max: 32 << 20,
    memory_per_byte_max: 64 << 10,
};

/// Rules before the first NUL, signatures behind it: what is accepted has a name and a line for every rule, an error
/// points into the text, and nobody's signature is believed who did not sign.
pub fn holds(bytes: &[u8]) {
    let (rules, signatures) = halves(bytes);
    let files = BundleFiles {
        policy: POLICY.to_vec(),
        rules: rules.to_vec(),
        signatures: signatures.to_vec(),
        ..BundleFiles::default()
    };
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count() + 1;
    match Bundle::read("", &files) {
        Ok(bundle) => {
            assert_eq!(bundle.digest(), files.digest());
            for rule in bundle.cedar().written() {
                assert!((1..=lines(rules)).contains(&rule.line));
            }
            let officer: Result<Officer, _> = STRANGER.parse();
            let officers: Vec<Officer> = officer.into_iter().collect();
            assert_eq!(officers.len(), 1);
            assert!(bundle.verify(&officers, 1).is_err());
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let most = lines(rules).max(lines(signatures));
            assert!(error.line.is_none_or(|line| (1..=most).contains(&line)));
        }
    }
}
