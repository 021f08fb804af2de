//! A query on its way to the sites, and its answers on their way back.

use serde::{Deserialize, Serialize};

use super::{MessageError, parse};
use crate::digest::Digest;
use crate::ids::SiteName;
use crate::limits::PARTICIPANTS_MAX;
use crate::query::limits::{CELLS_MAX, QUERY_BYTES_MAX, TEXT_BYTES_MAX};
use crate::refusal::Refusal;
use crate::wire;

/// Cells of one answer: those that a query names, and what lies beside them.
pub const ANSWER_CELLS_MAX: usize = CELLS_MAX + 3;

/// Longest that a researcher may wait for the sites.
pub const QUERY_TIMEOUT_MS_MAX: u64 = 10 * 60 * 1000;

/// A query in its canonical text, with proof of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedQuery {
    /// Canonical JSON, byte for byte.
    pub text: Vec<u8>,
    /// The researcher's certificate, DER.
    pub certificate: Vec<u8>,
    pub signature: Vec<u8>,
}

/// What a site lets out about one query.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteAnswer {
    /// The cells' keys, where the query leaves it to the site to find them; else none.
    pub keys: Vec<String>,
    /// In the order of the keys. `None`: kept back, because it is small or would tell another that is.
    pub values: Vec<Option<f64>>,
    /// Of each value's noise; 0 where there is none. For Laplace noise b, for Gaussian noise σ, in the value's unit.
    pub scales: Vec<f64>,
    pub noise: Noise,
    /// Exact values are multiples of this; 0 where they are not rounded.
    pub rounding: u32,
    /// The policy under which it left.
    pub bundle: Digest,
}

/// The kind of noise in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    None,
    Laplace,
    Gaussian,
    /// Cells of a sketch that show themselves through coins.
    Coins,
}

/// Why a site is missing from a result although it did not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It was not connected when the query was asked.
    NotConnected,
    /// Its connection ended before it had answered.
    Lost,
    /// It had not answered when time was up.
    Late,
    /// It answered something that is no answer, or something broke there.
    Faulty,
}

/// What the consortium says to a query, and who is missing from it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    pub query: Digest,
    pub figures: Vec<Figure>,
    pub answered: Vec<AnsweredBy>,
    pub refused: Vec<(SiteName, Refusal)>,
    pub missing: Vec<(SiteName, Missing)>,
}

/// One figure over the sites that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// Absent where every site kept it back, or where noise leaves nothing to say.
    pub value: Option<f64>,
    /// The true figure over the values that were given lies from here …
    pub low: f64,
    /// … to here in at least 95 of 100 cases, as far as noise and rounding go.
    pub high: f64,
    /// Sites that kept it back.
    pub suppressed_at: u32,
}

/// A site that answered, and under which policy with which noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnsweredBy {
    pub site: SiteName,
    pub noise: Noise,
    pub bundle: Digest,
}

impl Noise {
    const ALL: [Self; 4] = [Self::None, Self::Laplace, Self::Gaussian, Self::Coins];

    /// The kind as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Laplace => "laplace",
            Self::Gaussian => "gaussian",
            Self::Coins => "coins",
        }
    }

    fn parse(text: &str) -> Result<Self, MessageError> {
        Self::ALL
            .into_iter()
            .find(|noise| noise.as_str() == text)
            .ok_or_else(|| not_a_word("noise"))
    }
}

impl Missing {
    const ALL: [Self; 4] = [Self::NotConnected, Self::Lost, Self::Late, Self::Faulty];

    /// The cause as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not-connected",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Faulty => "faulty",
        }
    }

    /// The cause as a person reads it.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotConnected => "not connected",
            Self::Lost => "its connection was lost",
            Self::Late => "did not answer in time",
            Self::Faulty => "its answer could not be used",
        }
    }

    fn parse(text: &str) -> Result<Self, MessageError> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .ok_or_else(|| not_a_word("cause"))
    }
}

fn not_a_word(field: &'static str) -> MessageError {
    MessageError::Invalid {
        field,
        problem: "is none of the known words".into(),
    }
}

pub(super) fn timeout(timeout_ms: u64) -> Result<u64, MessageError> {
    parse::at_most("timeout_ms", timeout_ms, QUERY_TIMEOUT_MS_MAX)?;
    Ok(timeout_ms.max(1))
}

impl From<SignedQuery> for wire::SignedQuery {
    fn from(query: SignedQuery) -> Self {
        Self {
            text: query.text.into(),
            certificate: query.certificate.into(),
            signature: query.signature.into(),
        }
    }
}

impl TryFrom<wire::SignedQuery> for SignedQuery {
    type Error = MessageError;

    fn try_from(wire: wire::SignedQuery) -> Result<Self, MessageError> {
        Ok(Self {
            text: parse::bytes("text", &wire.text, QUERY_BYTES_MAX)?,
            certificate: parse::der("certificate", &wire.certificate)?,
            signature: parse::der("signature", &wire.signature)?,
        })
    }
}

impl From<SiteAnswer> for wire::SiteAnswer {
    fn from(answer: SiteAnswer) -> Self {
        let suppressed = (0_u32..).zip(&answer.values);
        Self {
            keys: answer.keys,
            suppressed: suppressed
                .filter(|(_, value)| value.is_none())
                .map(|(at, _)| at)
                .collect(),
            values: answer
                .values
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
            scales: answer.scales,
            noise: answer.noise.as_str().into(),
            rounding: answer.rounding,
            bundle_sha256: answer.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::SiteAnswer> for SiteAnswer {
    type Error = MessageError;

    fn try_from(wire: wire::SiteAnswer) -> Result<Self, MessageError> {
        let cells = wire.values.len();
        parse::at_most("values", cells as u64, ANSWER_CELLS_MAX as u64)?;
        let not_one_each = |field| MessageError::Invalid {
            field,
            problem: "must be one for each value".into(),
        };
        if wire.scales.len() != cells {
            return Err(not_one_each("scales"));
        }
        if !wire.keys.is_empty() && wire.keys.len() != cells {
            return Err(not_one_each("keys"));
        }
        for &scale in &wire.scales {
            if parse::finite("scales", scale)? < 0.0 {
                return Err(MessageError::Invalid {
                    field: "scales",
                    problem: "a scale is never below 0".into(),
                });
            }
        }
        let mut values = Vec::with_capacity(cells);
        for value in wire.values {
            values.push(Some(parse::finite("values", value)?));
        }
        for at in wire.suppressed {
            match values.get_mut(at as usize) {
                Some(value) => *value = None,
                None => return Err(not_one_each("suppressed")),
            }
        }
        Ok(Self {
            keys: names("keys", wire.keys)?,
            values,
            scales: wire.scales,
            noise: Noise::parse(&wire.noise)?,
            rounding: wire.rounding,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

fn names(field: &'static str, names: Vec<String>) -> Result<Vec<String>, MessageError> {
    // A bin's name is two numbers.
    names
        .into_iter()
        .map(|name| parse::text(field, name, TEXT_BYTES_MAX))
        .collect()
}

impl From<QueryResult> for wire::QueryResult {
    fn from(result: QueryResult) -> Self {
        let figures = result.figures;
        let absent = (0_u32..).zip(&figures);
        Self {
            query_sha256: result.query.0.to_vec().into(),
            absent: absent
                .filter(|(_, figure)| figure.value.is_none())
                .map(|(at, _)| at)
                .collect(),
            values: figures
                .iter()
                .map(|f| f.value.unwrap_or_default())
                .collect(),
            lows: figures.iter().map(|f| f.low).collect(),
            highs: figures.iter().map(|f| f.high).collect(),
            suppressed_at: figures.iter().map(|f| f.suppressed_at).collect(),
            names: figures.into_iter().map(|f| f.name).collect(),
            answered: result.answered.into_iter().map(Into::into).collect(),
            refused: result.refused.into_iter().map(Into::into).collect(),
            missing: result.missing.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::QueryResult> for QueryResult {
    type Error = MessageError;

    fn try_from(wire: wire::QueryResult) -> Result<Self, MessageError> {
        let count = wire.names.len();
        parse::at_most("names", count as u64, ANSWER_CELLS_MAX as u64)?;
        let lengths = [
            wire.values.len(),
            wire.lows.len(),
            wire.highs.len(),
            wire.suppressed_at.len(),
        ];
        if lengths.iter().any(|length| *length != count) {
            return Err(MessageError::Invalid {
                field: "values",
                problem: "must be one for each name".into(),
            });
        }
        let absent: std::collections::BTreeSet<u32> = wire.absent.into_iter().collect();
        let mut figures = Vec::with_capacity(count);
        let rows = names("names", wire.names)?
            .into_iter()
            .zip(wire.values)
            .zip(wire.lows)
            .zip(wire.highs)
            .zip(wire.suppressed_at);
        for (at, ((((name, value), low), high), suppressed_at)) in (0_u32..).zip(rows) {
            let value = parse::finite("values", value)?;
            figures.push(Figure {
                name,
                value: (!absent.contains(&at)).then_some(value),
                low: parse::finite("lows", low)?,
                high: parse::finite("highs", high)?,
                suppressed_at,
            });
        }
        Ok(Self {
            query: parse::digest("query_sha256", &wire.query_sha256)?,
            figures,
            answered: parse::list("answered", wire.answered, PARTICIPANTS_MAX)?,
            refused: parse::list("refused", wire.refused, PARTICIPANTS_MAX)?
                .into_iter()
                .map(|RefusedBy(refused)| refused)
                .collect(),
            missing: parse::list("missing", wire.missing, PARTICIPANTS_MAX)?
                .into_iter()
                .map(|MissingSite(missing)| missing)
                .collect(),
        })
    }
}

impl From<AnsweredBy> for wire::AnsweredBy {
    fn from(by: AnsweredBy) -> Self {
        Self {
            site: by.site.to_string(),
            noise: by.noise.as_str().into(),
            bundle_sha256: by.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::AnsweredBy> for AnsweredBy {
    type Error = MessageError;

    fn try_from(wire: wire::AnsweredBy) -> Result<Self, MessageError> {
        Ok(Self {
            site: parse::id("site", &wire.site)?,
            noise: Noise::parse(&wire.noise)?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

impl From<(SiteName, Refusal)> for wire::RefusedBy {
    fn from((site, refusal): (SiteName, Refusal)) -> Self {
        Self {
            site: site.to_string(),
            refusal: Some(refusal.into()),
        }
    }
}

pub(super) struct RefusedBy(pub(super) (SiteName, Refusal));

impl TryFrom<wire::RefusedBy> for RefusedBy {
    type Error = MessageError;

    fn try_from(wire: wire::RefusedBy) -> Result<Self, MessageError> {
        let refusal = parse::present("refusal", wire.refusal)?;
        Ok(Self((parse::id("site", &wire.site)?, refusal.into())))
    }
}

impl From<(SiteName, Missing)> for wire::MissingSite {
    fn from((site, cause): (SiteName, Missing)) -> Self {
        Self {
            site: site.to_string(),
            cause: cause.as_str().into(),
        }
    }
}

pub(super) struct MissingSite(pub(super) (SiteName, Missing));

impl TryFrom<wire::MissingSite> for MissingSite {
    type Error = MessageError;

    fn try_from(wire: wire::MissingSite) -> Result<Self, MessageError> {
        Ok(Self((
            parse::id("site", &wire.site)?,
            Missing::parse(&wire.cause)?,
        )))
    }
}
