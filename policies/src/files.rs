//! The files of a bundle, and the one text that stands for all of them.

use consilium_protocol::Digest;

/// Permits and terms: TOML.
pub const POLICY_FILE: &str = "policy.toml";
/// Rules beside the permits: Cedar.
pub const RULES_FILE: &str = "rules.cedar";
/// What is expected of the two: TOML.
pub const CASES_FILE: &str = "cases.toml";
/// Who signed the three: TOML.
pub const SIGNATURES_FILE: &str = "signatures.toml";

/// A bundle's folder as bytes. An empty file and none are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleFiles {
    /// `policy.toml`.
    pub policy: Vec<u8>,
    /// `rules.cedar`.
    pub rules: Vec<u8>,
    /// `cases.toml`.
    pub cases: Vec<u8>,
    /// `signatures.toml`.
    pub signatures: Vec<u8>,
}

impl BundleFiles {
    /// What officers sign: a line for each file but the signatures, with its SHA-256.
    ///
    /// The names and their order are part of it, so that no file can stand in for another.
    #[must_use]
    pub fn manifest(&self) -> String {
        let line = |name: &str, bytes: &[u8]| format!("{name} {}\n", Digest::of(bytes));
        [
            "consilium policy bundle v1\n".to_owned(),
            line(POLICY_FILE, &self.policy),
            line(RULES_FILE, &self.rules),
            line(CASES_FILE, &self.cases),
        ]
        .concat()
    }

    /// The bundle's name in every journal entry: SHA-256 of its manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_but_the_signatures_is_in_the_digest() {
        let files = BundleFiles {
            policy: b"p".to_vec(),
            rules: b"r".to_vec(),
            cases: b"c".to_vec(),
            signatures: Vec::new(),
        };
        type Change = fn(&mut BundleFiles);
        let changes: [Change; 3] = [
            |files| files.policy.push(b' '),
            |files| files.rules.clear(),
            |files| std::mem::swap(&mut files.rules, &mut files.cases),
        ];
        for change in changes {
            let mut changed = files.clone();
            change(&mut changed);
            assert_ne!(changed.digest(), files.digest());
        }
        let mut signed = files.clone();
        signed.signatures.push(1);
        assert_eq!(signed.digest(), files.digest());
    }
}
