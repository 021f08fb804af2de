//! What leaves as the answer to a search, by its level: counts with noise; handles and buckets; short redacted parts;
//! whole passages of public collections. Vectors are not among them.

use consilium_policies::entry::Receipt;
use consilium_policies::{Action, Permit, Redaction, Release};
use consilium_privacy::Cost;
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::message::{
    Disclosed, DisclosedHit, FoundPassages, HANDLE_BYTES, PassageHit, Response, SNIPPET_CHARS_MAX,
    SearchAnswer,
};
use consilium_protocol::query::{Accuracy, Statistic};
use consilium_protocol::{Digest, Refusal, RefusalCode, wire};

use super::egress::{NotKept, keep_response, kept_response, sealed::Sealed};
use super::{Egress, PriceError, StatisticsAnswer, price};
use crate::query::Tally;
use crate::retrieval::disclosure::bucket;

/// What a search found. No `Debug`: it has not complied yet.
pub enum SearchFinding {
    /// Patients, a count for each cell; a patient stands in one at most. `level` is 0 or 1.
    Counted {
        level: u8,
        counts: Vec<u64>,
        accuracy: Accuracy,
    },
    /// Passages of patients' records, best first, one of a patient at most. `level` is 2 or 3.
    Private { level: u8, hits: Vec<PrivateHit> },
    /// Passages of a public collection.
    Public {
        hits: Vec<PassageHit>,
        encoder: String,
    },
}

/// One private passage as it was found.
pub struct PrivateHit {
    pub handle: [u8; HANDLE_BYTES],
    pub similarity: f32,
    /// Redacted, and at most [`SNIPPET_CHARS_MAX`] long.
    pub snippet: String,
}

/// What an answer at level 0 or 1 costs each patient at most.
///
/// # Errors
/// There is no such noise.
pub fn count_price(accuracy: Accuracy) -> Result<Cost, PriceError> {
    price(&Statistic::Count, accuracy)
}

impl Sealed for SearchFinding {}

impl Egress for SearchFinding {
    type Wire = SearchAnswer;

    fn comply(self, permit: &Permit) -> Result<SearchAnswer, Refusal> {
        let level = match &self {
            Self::Counted { level, .. } | Self::Private { level, .. } => *level,
            Self::Public { .. } => 4,
        };
        let is_permitted = Release::search(level).is_some_and(|word| permit.releases(word));
        if permit.action() != (Action::Search { level }) || !is_permitted {
            return Err(not_what_was_permitted());
        }
        let bundle = permit.bundle();
        match self {
            Self::Counted {
                counts, accuracy, ..
            } => counted(counts, accuracy, bundle),
            Self::Private { level, hits } => {
                let hits = hits.into_iter().map(|hit| told(hit, level)).collect();
                Ok(SearchAnswer::Disclosed(Disclosed { hits, bundle }))
            }
            // Text leaves as it is only from what the policy says needs no redaction.
            Self::Public { .. } if permit.terms().redaction != Redaction::None => {
                Err(Refusal::new(
                    RefusalCode::NotPermitted,
                    "the policy says that this collection's texts are redacted, so whole passages of it do not leave",
                    "search at a lower level, or ask the officer whether the collection is public: redaction = \"none\"",
                ))
            }
            Self::Public { hits, encoder } => Ok(SearchAnswer::Passages(FoundPassages {
                hits,
                encoder,
                bundle,
            })),
        }
    }

    fn receipt(answer: &SearchAnswer) -> Result<Receipt, FrameError> {
        let frame = frame::encode(&wire::Response::from(Response::SearchAnswer(
            answer.clone(),
        )))?;
        Ok(Receipt {
            what: match answer {
                SearchAnswer::Counts(_) => "search-counts",
                SearchAnswer::Disclosed(_) | SearchAnswer::Sealed(_) => "search-disclosures",
                SearchAnswer::Passages(_) => "search-passages",
            }
            .to_owned(),
            frame: Digest::of(&frame),
            tensors: None,
            // How many patients it is about is the answer itself.
            records: 0,
            metrics_withheld: false,
        })
    }

    fn keep(answer: &SearchAnswer) -> Result<Vec<u8>, FrameError> {
        keep_response(Response::SearchAnswer(answer.clone()))
    }

    fn kept(bytes: &[u8]) -> Result<SearchAnswer, NotKept> {
        match kept_response(bytes)? {
            Response::SearchAnswer(answer) => Ok(answer),
            _ => Err(NotKept::OtherKind),
        }
    }
}

fn counted(counts: Vec<u64>, accuracy: Accuracy, bundle: Digest) -> Result<SearchAnswer, Refusal> {
    let no_noise = |reason: String| {
        Refusal::new(
            RefusalCode::InvalidQuery,
            reason,
            "ask with another epsilon or rho",
        )
    };
    let price = count_price(accuracy).map_err(|error| no_noise(error.to_string()))?;
    if price.is_none() {
        return Err(not_what_was_permitted());
    }
    let answer = StatisticsAnswer {
        tally: Tally::Counts(counts),
        statistic: Statistic::Count,
        accuracy,
        cohort_patients: 0,
    };
    let told = answer
        .with_noise(&price)
        .map_err(|error| no_noise(error.to_string()))?;
    Ok(SearchAnswer::Counts(
        consilium_protocol::message::SiteAnswer { bundle, ..told },
    ))
}

fn told(hit: PrivateHit, level: u8) -> DisclosedHit {
    DisclosedHit {
        handle: hit.handle,
        bucket: bucket(hit.similarity),
        snippet: match level {
            3 => hit.snippet.chars().take(SNIPPET_CHARS_MAX).collect(),
            _ => String::new(),
        },
    }
}

fn not_what_was_permitted() -> Refusal {
    Refusal::new(
        RefusalCode::NotPermitted,
        "what was found is not what was permitted",
        "ask for what the permit releases",
    )
}
