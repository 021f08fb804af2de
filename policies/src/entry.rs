//! What a node's journal keeps of every pass: the kinds of entries and their payloads.
//!
//! A pass is one ask's way through the gate. It is *reserved* durably before any work, and then ends as *released*,
//! *refused* or *failed*; one that a crash cut off is *abandoned* at the next start. An ask that is refused at the
//! door has one entry only. Each ending repeats the ask, so that it can be read alone.
//!
//! Entries hold names, digests, counts and times; no row, no parameter, no metric. Their names are never reused
//! for anything else, and fields are only ever added: a journal is read by versions that come years later.

use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Refusal};
use serde::{Deserialize, Serialize};

use crate::ask::{Ask, Facts, Researcher};
use crate::bundle::RuleId;

/// Kind of a [`PassReserved`].
pub const PASS_RESERVED: &str = "pass-reserved";
/// Kind of a [`PassReleased`].
pub const PASS_RELEASED: &str = "pass-released";
/// Kind of a [`PassRefused`].
pub const PASS_REFUSED: &str = "pass-refused";
/// Kind of a [`PassFailed`].
pub const PASS_FAILED: &str = "pass-failed";
/// Kind of a [`PassAbandoned`].
pub const PASS_ABANDONED: &str = "pass-abandoned";
/// Kind of a [`BundleInstalled`].
pub const BUNDLE_INSTALLED: &str = "bundle-installed";
/// Kind of a [`BundleRefused`].
pub const BUNDLE_REFUSED: &str = "bundle-refused";
/// Kind of a [`PassRepeated`].
pub const PASS_REPEATED: &str = "pass-repeated";

/// Kind of a [`BudgetTold`].
pub const BUDGET_TOLD: &str = "budget-told";

/// An ask was permitted; its work has not begun. What it costs is spent from here on, whatever follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassReserved {
    /// Who wants what.
    pub ask: Ask,
    /// What it was decided on.
    pub facts: Facts,
    /// The rules that permitted it.
    pub rules: Vec<RuleId>,
    /// The bundle that they stand in.
    pub bundle: Digest,
    /// What makes another ask the same as this one, where its answer is kept; see [`crate::Ask`] for who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The entry of the site's vault that says which patients are charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Digest>,
    /// The officer who approved it, where the policy wants one to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<MemberName>,
}

/// What was computed may leave. Once this is durable, and not before, it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassReleased {
    /// The entry that reserved it.
    pub reserved: u64,
    /// Who wanted what.
    pub ask: Ask,
    /// The rules that permitted it.
    pub rules: Vec<RuleId>,
    /// The bundle that they stand in.
    pub bundle: Digest,
    /// What left.
    pub receipt: Receipt,
    /// The entry of the site's vault that keeps the answer, where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Digest>,
}

/// What leaves in one pass, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// What it is: `admission`, `update` or `evaluation`.
    pub what: String,
    /// SHA-256 of the response frame, byte for byte as it is sent.
    pub frame: Digest,
    /// BLAKE3 of the tensors sent after it, in hexadecimal digits, and how many bytes they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<TensorReceipt>,
    /// Records that it was computed from.
    pub records: u64,
    /// Loss and metrics were held back, as no rule releases them.
    pub metrics_withheld: bool,
}

/// Tensors that leave, without their content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TensorReceipt {
    /// BLAKE3, in hexadecimal digits.
    pub blake3: String,
    /// How many.
    pub bytes: u64,
}

/// Nothing leaves, and somebody decided so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassRefused {
    /// The entry that had reserved it, where the refusal came after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u64>,
    /// Who wanted what.
    pub ask: Ask,
    /// What it was decided on.
    pub facts: Facts,
    /// The bundle that decided, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// The answer as it was sent.
    pub refusal: Refusal,
    /// What the site's own people should know and the answer does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Nothing leaves, and nobody decided so: something broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassFailed {
    /// The entry that had reserved it.
    pub reserved: u64,
    /// Who wanted what.
    pub ask: Ask,
    /// The rules that had permitted it.
    pub rules: Vec<RuleId>,
    /// The bundle that they stand in.
    pub bundle: Digest,
    /// What broke.
    pub cause: String,
}

/// The process ended between reservation and ending. Nothing left; what was reserved stays spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassAbandoned {
    /// The entry that had reserved it.
    pub reserved: u64,
    /// Who wanted what.
    pub ask: Ask,
    /// The rules that had permitted it.
    pub rules: Vec<RuleId>,
    /// The bundle that they stand in.
    pub bundle: Digest,
}

/// The same question was asked before and paid for, and gets the answer that was kept. It costs nothing. A pass that a
/// crash cut off after its answer was kept releases it so, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassRepeated {
    /// The entry that reserved, and paid for, the answer.
    pub reserved: u64,
    /// Who wanted what, again.
    pub ask: Ask,
    /// The rules that permit it.
    pub rules: Vec<RuleId>,
    /// The bundle that they stand in.
    pub bundle: Digest,
    /// What left again.
    pub receipt: Receipt,
    /// The entry of the site's vault that keeps it.
    pub answer: Digest,
    /// The officer who released it from the outbox, where the policy wants one to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<MemberName>,
}

/// A researcher asked what a project has left of its budgets. It has no part in any sum of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BudgetTold {
    /// SHA-256 of exactly what the researcher signed.
    pub question: Digest,
    /// Whose budgets.
    pub project: ProjectName,
    /// Who signed it.
    pub researcher: Researcher,
    /// The data sets of which it was told; none where it was refused.
    pub datasets: Vec<DatasetName>,
    /// The bundle that decided, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// The answer as it was sent, where it was no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// A bundle came in and is not taken up; what was in force stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleRefused {
    /// Its digest, where its files could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why.
    pub reason: String,
}

/// From here on, asks are decided by this bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleInstalled {
    /// Its name.
    pub name: String,
    /// Its version, as its officer counts.
    pub version: u32,
    /// The digest of its manifest; of a bundle of the first version, of its text.
    pub digest: Digest,
    /// The officers whose signatures it was taken up with; none where the node takes unsigned ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub officers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old bytes are read for ever. If this fails, add a field; never change one.
    #[test]
    fn an_entry_of_the_first_version_reads_back() {
        const RELEASED: &str = r#"{"reserved":7,"ask":{"project":"cardiology","researcher":{"name":"ada","role":"researcher"},"purpose":"HMB","dataset":"heart-disease","run":"r1","run-digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","action":{"kind":"train","round":3,"rounds":15}},"rules":["cardiology-training"],"bundle":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","receipt":{"what":"update","frame":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tensors":{"blake3":"00","bytes":56},"records":199,"metrics-withheld":true}}"#;
        let entry: PassReleased = serde_json::from_str(RELEASED).unwrap();
        assert_eq!(
            entry.ask.action,
            crate::Action::Train {
                round: 3,
                rounds: 15
            }
        );
        assert_eq!(serde_json::to_string(&entry).unwrap(), RELEASED);
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        const REFUSED: &str = r#"{"ask":{"project":"p","researcher":{"name":"ada","role":"researcher"},"purpose":"HMB","dataset":"d","run":"r1","run-digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","action":{"kind":"evaluate"}},"facts":{"dataset-records":null,"parameters":14},"refusal":{"code":"unknown-dataset","reason":"r","remedy":""},"added-in-a-later-version":1}"#;
        let entry: PassRefused = serde_json::from_str(REFUSED).unwrap();
        assert_eq!(
            (entry.reserved, entry.bundle, entry.detail),
            (None, None, None)
        );
    }
}
