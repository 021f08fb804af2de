//! A refusal: expected, journalled, sent and explained. Never an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{RULES_MAX, SENTENCE_BYTES_MAX};
use crate::wire;

/// Why the answer is no. The names are part of the protocol and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The site has no policy bundle: nothing may leave.
    NoBundle,
    /// The site's policy bundle cannot be read: nothing may leave.
    UnreadableBundle,
    /// The site has no data set of this name.
    UnknownDataset,
    /// No permission covers this ask.
    NotPermitted,
    /// The permission that covers this ask has ended.
    Expired,
    /// The data set holds fewer records than the policy wants.
    TooFewRecords,
    /// The model has more parameters per record than the policy allows.
    TooManyParameters,
    /// The run does not name this site.
    NotNamed,
    /// The run names a site that is no member.
    UnknownSite,
    /// The run names a model, strategy or column that does not exist.
    InvalidRun,
    /// The run file's signature does not belong to its text.
    BadSignature,
    /// There is no such run.
    UnknownRun,
    /// The run is not in the state that this asks for.
    WrongState,
    /// The round is not the one in progress.
    WrongRound,
    /// The update is not what the round asked for.
    BadUpdate,
    /// The token was used, has expired or never was.
    BadToken,
    /// The caller is no member, or not any more.
    NotAMember,
    /// The caller's role may not ask this.
    WrongRole,
    /// The request is not one that this side answers, or is malformed.
    BadRequest,
    /// A limit is reached; try again later.
    Busy,
    /// The budget of the project or the data set does not cover what this would cost.
    BudgetExhausted,
    /// Fewer patients than the policy wants stand behind the answer.
    TooFewPatients,
    /// An officer of the site has to approve this first.
    NeedsApproval,
    /// The result is there, and an officer of the site has to release it.
    AwaitsRelease,
    /// A rule of the site forbids this, whatever else permits it.
    Forbidden,
    /// A rule of the site's policy cannot be evaluated over this ask: nothing may leave.
    BrokenRule,
    /// This was answered before, and the policy wants it asked once.
    AlreadyAnswered,
    /// This was asked and paid for, and its answer was lost before anybody had it: it is never computed twice.
    Spent,
    /// The site's ledger is behind what others have witnessed of it: nothing may leave.
    BehindWitness,
    /// The question names a column, level or range that the data set does not have.
    InvalidQuery,
}

impl RefusalCode {
    const ALL: [Self; 30] = [
        Self::NoBundle,
        Self::UnreadableBundle,
        Self::UnknownDataset,
        Self::NotPermitted,
        Self::Expired,
        Self::TooFewRecords,
        Self::TooManyParameters,
        Self::NotNamed,
        Self::UnknownSite,
        Self::InvalidRun,
        Self::BadSignature,
        Self::UnknownRun,
        Self::WrongState,
        Self::WrongRound,
        Self::BadUpdate,
        Self::BadToken,
        Self::NotAMember,
        Self::WrongRole,
        Self::BadRequest,
        Self::Busy,
        Self::BudgetExhausted,
        Self::TooFewPatients,
        Self::NeedsApproval,
        Self::AwaitsRelease,
        Self::Forbidden,
        Self::BrokenRule,
        Self::AlreadyAnswered,
        Self::Spent,
        Self::BehindWitness,
        Self::InvalidQuery,
    ];

    /// The code as it is written: `too-few-records`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBundle => "no-bundle",
            Self::UnreadableBundle => "unreadable-bundle",
            Self::UnknownDataset => "unknown-dataset",
            Self::NotPermitted => "not-permitted",
            Self::Expired => "expired",
            Self::TooFewRecords => "too-few-records",
            Self::TooManyParameters => "too-many-parameters",
            Self::NotNamed => "not-named",
            Self::UnknownSite => "unknown-site",
            Self::InvalidRun => "invalid-run",
            Self::BadSignature => "bad-signature",
            Self::UnknownRun => "unknown-run",
            Self::WrongState => "wrong-state",
            Self::WrongRound => "wrong-round",
            Self::BadUpdate => "bad-update",
            Self::BadToken => "bad-token",
            Self::NotAMember => "not-a-member",
            Self::WrongRole => "wrong-role",
            Self::BadRequest => "bad-request",
            Self::Busy => "busy",
            Self::BudgetExhausted => "budget-exhausted",
            Self::TooFewPatients => "too-few-patients",
            Self::NeedsApproval => "needs-approval",
            Self::AwaitsRelease => "awaits-release",
            Self::Forbidden => "forbidden",
            Self::BrokenRule => "broken-rule",
            Self::AlreadyAnswered => "already-answered",
            Self::Spent => "spent",
            Self::BehindWitness => "behind-witness",
            Self::InvalidQuery => "invalid-query",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer is no, and this is why and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of no.
    pub code: RefusalCode,
    /// What happened, in a sentence without personal data.
    pub reason: String,
    /// What the person who meets this can do.
    pub remedy: String,
    /// The policy rules that decided, where a policy did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Refusal {
    /// A refusal that no policy rule decided.
    #[must_use]
    pub fn new(code: RefusalCode, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            reason: bounded(reason.into()),
            remedy: bounded(remedy.into()),
            rules: Vec::new(),
        }
    }

    /// The same refusal, naming the rules that decided it.
    #[must_use]
    pub fn by_rules(mut self, rules: Vec<String>) -> Self {
        self.rules = rules;
        self.rules.truncate(RULES_MAX);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)?;
        if !self.rules.is_empty() {
            write!(f, " (rule {})", self.rules.join(", "))?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl From<Refusal> for wire::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.as_str().into(),
            reason: refusal.reason,
            remedy: refusal.remedy,
            rules: refusal.rules,
        }
    }
}

impl From<wire::Refusal> for Refusal {
    /// A code from a newer peer reads as [`RefusalCode::NotPermitted`]: a no stays a no.
    fn from(wire: wire::Refusal) -> Self {
        let code = RefusalCode::ALL
            .into_iter()
            .find(|code| code.as_str() == wire.code)
            .unwrap_or(RefusalCode::NotPermitted);
        Self::new(code, wire.reason, wire.remedy).by_rules(
            wire.rules
                .into_iter()
                .take(RULES_MAX)
                .map(bounded)
                .collect(),
        )
    }
}

/// Cuts a sentence to its limit, at a character.
#[must_use]
pub fn bounded(mut sentence: String) -> String {
    if sentence.len() > SENTENCE_BYTES_MAX {
        let mut end = SENTENCE_BYTES_MAX;
        while !sentence.is_char_boundary(end) {
            end -= 1;
        }
        sentence.truncate(end);
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_an_unknown_one_is_still_a_no() {
        for code in RefusalCode::ALL {
            let refusal = Refusal::new(code, "why", "what to do").by_rules(vec!["p1".into()]);
            assert_eq!(Refusal::from(wire::Refusal::from(refusal.clone())), refusal);
            assert_eq!(
                serde_json::to_value(code).unwrap(),
                serde_json::json!(code.as_str())
            );
        }
        let newer = wire::Refusal {
            code: "from-the-future".into(),
            ..Default::default()
        };
        assert_eq!(Refusal::from(newer).code, RefusalCode::NotPermitted);
    }

    #[test]
    fn a_sentence_is_cut_at_a_character() {
        assert_eq!(bounded("é".repeat(2000)).len(), SENTENCE_BYTES_MAX);
        assert_eq!(
            bounded(format!("a{}", "é".repeat(2000))).len(),
            SENTENCE_BYTES_MAX - 1
        );
    }
}
