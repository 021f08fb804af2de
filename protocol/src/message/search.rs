//! A search on its way to the sites, and what they found on its way back.

use super::query::{MissingSite, RefusedBy};
use super::{AnsweredBy, Figure, MessageError, Missing, QueryResult, SiteAnswer, parse};
use crate::digest::Digest;
use crate::ids::SiteName;
use crate::limits::PARTICIPANTS_MAX;
use crate::refusal::Refusal;
use crate::search::merge::At;
use crate::search::{HITS_MAX, RANK_DEPTH, SEARCH_BYTES_MAX};
use crate::wire;

/// A key of X25519.
pub const REPLY_KEY_BYTES: usize = 32;

/// The name of a passage that means nothing outside its site.
pub const HANDLE_BYTES: usize = 16;

/// Buckets of a similarity: it is told to a sixteenth.
pub const BUCKETS: u8 = 16;

/// A passage with its title, as public collections let it out.
pub const PASSAGE_BYTES_MAX: usize = 16 * 1024;
/// See [`PASSAGE_BYTES_MAX`].
pub const TITLE_BYTES_MAX: usize = 2 * 1024;
/// A document's name at its site.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 256;

/// A redacted part of a passage, in characters.
pub const SNIPPET_CHARS_MAX: usize = 240;
/// The same in bytes.
pub const SNIPPET_BYTES_MAX: usize = 4 * SNIPPET_CHARS_MAX;

/// A sealed answer: of the most hits with the longest snippets.
pub const SEALED_BYTES_MAX: usize = 256 * 1024;

/// A search in its canonical text, with proof of who asks and the key to which answers are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSearch {
    /// Canonical JSON, byte for byte.
    pub text: Vec<u8>,
    /// Fresh for each asking; the asker alone can open what is sealed to it.
    pub reply_key: [u8; REPLY_KEY_BYTES],
    /// Milliseconds since 1970 after which no site answers it any more.
    pub expires_at_ms: u64,
    /// The researcher's certificate, DER.
    pub certificate: Vec<u8>,
    /// Over all of the above but the certificate.
    pub signature: Vec<u8>,
}

/// What a site found, as far as it lets it out.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchAnswer {
    /// Levels 0 and 1: patients, with noise.
    Counts(SiteAnswer),
    /// Levels 2 and 3, before it is sealed; never on the network.
    Disclosed(Disclosed),
    /// Levels 2 and 3, to be opened by the asker alone.
    Sealed(SealedAnswer),
    /// Level 4.
    Passages(FoundPassages),
}

/// Whole passages of a public collection.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPassages {
    /// The best in each order that was asked for, in no order of their own.
    pub hits: Vec<PassageHit>,
    /// The encoder that made the vectors: scores of different ones do not compare.
    pub encoder: String,
    pub bundle: Digest,
}

/// The passage by which a document was found.
#[derive(Debug, Clone, PartialEq)]
pub struct PassageHit {
    /// The document's name at its site.
    pub document: String,
    /// Which of its passages.
    pub passage: u32,
    /// Both empty where it cannot be among the hits that were wanted, and stands here for its ranks alone.
    pub title: String,
    pub text: String,
    /// The cosine with what was searched for, where it is among the site's nearest.
    pub similarity: Option<f32>,
    /// Its BM25 score, where it is among the site's best by words.
    pub words: Option<f64>,
}

/// What is told of private passages.
#[derive(Debug, Clone, PartialEq)]
pub struct Disclosed {
    /// Best first.
    pub hits: Vec<DisclosedHit>,
    pub bundle: Digest,
}

/// What is told of one private passage.
#[derive(Debug, Clone, PartialEq)]
pub struct DisclosedHit {
    pub handle: [u8; HANDLE_BYTES],
    /// The similarity in sixteenths, from 0 to [`BUCKETS`] − 1.
    pub bucket: u8,
    /// Empty where no text is told.
    pub snippet: String,
}

/// An answer that only the asker can open (HPKE, RFC 9180), by the site that signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAnswer {
    pub encapsulated_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
    /// The site's certificate, DER.
    pub certificate: Vec<u8>,
    pub signature: Vec<u8>,
}

/// What the consortium says to a search, and who is missing from it.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    pub search: Digest,
    pub found: Found,
    pub answered: Vec<AnsweredBy>,
    pub refused: Vec<(SiteName, Refusal)>,
    pub missing: Vec<(SiteName, Missing)>,
}

/// What was found over all sites that answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Figures(Vec<Figure>),
    /// One for each site that answered; the asker opens and merges them.
    Sealed(Vec<(SiteName, SealedAnswer)>),
    /// Merged, best first.
    Passages(Vec<At<PassageHit>>),
}

impl From<SignedSearch> for wire::SignedSearch {
    fn from(search: SignedSearch) -> Self {
        Self {
            text: search.text.into(),
            reply_key: search.reply_key.to_vec().into(),
            expires_at_ms: search.expires_at_ms,
            certificate: search.certificate.into(),
            signature: search.signature.into(),
        }
    }
}

impl TryFrom<wire::SignedSearch> for SignedSearch {
    type Error = MessageError;

    fn try_from(wire: wire::SignedSearch) -> Result<Self, MessageError> {
        Ok(Self {
            text: parse::bytes("text", &wire.text, SEARCH_BYTES_MAX)?,
            reply_key: array("reply_key", &wire.reply_key)?,
            expires_at_ms: wire.expires_at_ms,
            certificate: parse::der("certificate", &wire.certificate)?,
            signature: parse::der("signature", &wire.signature)?,
        })
    }
}

fn array<const N: usize>(
    field: &'static str,
    value: &bytes::Bytes,
) -> Result<[u8; N], MessageError> {
    value
        .as_ref()
        .try_into()
        .map_err(|_| MessageError::Invalid {
            field,
            problem: format!("must have {N} bytes"),
        })
}

impl From<SearchAnswer> for wire::SearchAnswer {
    fn from(answer: SearchAnswer) -> Self {
        use wire::search_answer::Kind;
        Self {
            kind: Some(match answer {
                SearchAnswer::Counts(counts) => Kind::Counts(counts.into()),
                SearchAnswer::Disclosed(disclosed) => Kind::Disclosed(disclosed.into()),
                SearchAnswer::Sealed(sealed) => Kind::Sealed(sealed.into()),
                SearchAnswer::Passages(found) => Kind::Passages(found.into()),
            }),
        }
    }
}

impl TryFrom<wire::SearchAnswer> for SearchAnswer {
    type Error = MessageError;

    fn try_from(wire: wire::SearchAnswer) -> Result<Self, MessageError> {
        use wire::search_answer::Kind;
        Ok(match wire.kind.ok_or(MessageError::Unknown)? {
            Kind::Counts(counts) => Self::Counts(counts.try_into()?),
            Kind::Disclosed(disclosed) => Self::Disclosed(disclosed.try_into()?),
            Kind::Sealed(sealed) => Self::Sealed(sealed.try_into()?),
            Kind::Passages(found) => Self::Passages(found.try_into()?),
        })
    }
}

impl From<FoundPassages> for wire::FoundPassages {
    fn from(found: FoundPassages) -> Self {
        Self {
            hits: found.hits.into_iter().map(Into::into).collect(),
            encoder: found.encoder,
            bundle_sha256: found.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::FoundPassages> for FoundPassages {
    type Error = MessageError;

    fn try_from(wire: wire::FoundPassages) -> Result<Self, MessageError> {
        Ok(Self {
            hits: parse::list("hits", wire.hits, 2 * RANK_DEPTH)?,
            encoder: parse::sentence("encoder", wire.encoder)?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

impl From<PassageHit> for wire::PassageHit {
    fn from(hit: PassageHit) -> Self {
        Self {
            document: hit.document,
            passage: hit.passage,
            title: hit.title,
            text: hit.text,
            similarity: hit.similarity,
            words: hit.words,
        }
    }
}

impl TryFrom<wire::PassageHit> for PassageHit {
    type Error = MessageError;

    fn try_from(wire: wire::PassageHit) -> Result<Self, MessageError> {
        let similarity = wire.similarity.map(f64::from);
        for (field, score) in [("similarity", similarity), ("words", wire.words)] {
            parse::finite(field, score.unwrap_or(0.0))?;
        }
        Ok(Self {
            document: parse::text("document", wire.document, DOCUMENT_NAME_BYTES_MAX)?,
            passage: wire.passage,
            title: parse::text("title", wire.title, TITLE_BYTES_MAX)?,
            text: parse::text("text", wire.text, PASSAGE_BYTES_MAX)?,
            similarity: wire.similarity,
            words: wire.words,
        })
    }
}

impl From<Disclosed> for wire::Disclosed {
    fn from(disclosed: Disclosed) -> Self {
        let hit = |hit: DisclosedHit| wire::DisclosedHit {
            handle: hit.handle.to_vec().into(),
            bucket: hit.bucket.into(),
            snippet: hit.snippet,
        };
        Self {
            hits: disclosed.hits.into_iter().map(hit).collect(),
            bundle_sha256: disclosed.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::Disclosed> for Disclosed {
    type Error = MessageError;

    fn try_from(wire: wire::Disclosed) -> Result<Self, MessageError> {
        Ok(Self {
            hits: parse::list("hits", wire.hits, HITS_MAX)?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

impl TryFrom<wire::DisclosedHit> for DisclosedHit {
    type Error = MessageError;

    fn try_from(wire: wire::DisclosedHit) -> Result<Self, MessageError> {
        parse::at_most("bucket", wire.bucket.into(), u64::from(BUCKETS) - 1)?;
        Ok(Self {
            handle: array("handle", &wire.handle)?,
            bucket: wire.bucket as u8,
            snippet: parse::text("snippet", wire.snippet, SNIPPET_BYTES_MAX)?,
        })
    }
}

impl From<SealedAnswer> for wire::SealedAnswer {
    fn from(sealed: SealedAnswer) -> Self {
        Self {
            encapsulated_key: sealed.encapsulated_key.into(),
            ciphertext: sealed.ciphertext.into(),
            certificate: sealed.certificate.into(),
            signature: sealed.signature.into(),
        }
    }
}

impl TryFrom<wire::SealedAnswer> for SealedAnswer {
    type Error = MessageError;

    fn try_from(wire: wire::SealedAnswer) -> Result<Self, MessageError> {
        let key = &wire.encapsulated_key;
        Ok(Self {
            encapsulated_key: parse::bytes("encapsulated_key", key, REPLY_KEY_BYTES)?,
            ciphertext: parse::bytes("ciphertext", &wire.ciphertext, SEALED_BYTES_MAX)?,
            certificate: parse::der("certificate", &wire.certificate)?,
            signature: parse::der("signature", &wire.signature)?,
        })
    }
}

impl From<SearchResult> for wire::SearchResult {
    fn from(result: SearchResult) -> Self {
        let mut wire = Self {
            search_sha256: result.search.0.to_vec().into(),
            answered: result.answered.into_iter().map(Into::into).collect(),
            refused: result.refused.into_iter().map(Into::into).collect(),
            missing: result.missing.into_iter().map(Into::into).collect(),
            ..Self::default()
        };
        match result.found {
            Found::Figures(figures) => {
                let figures = QueryResult {
                    query: result.search,
                    figures,
                    answered: Vec::new(),
                    refused: Vec::new(),
                    missing: Vec::new(),
                };
                wire.figures = Some(figures.into());
            }
            Found::Sealed(sealed) => {
                let at = |(site, sealed): (SiteName, SealedAnswer)| wire::SealedBy {
                    site: site.to_string(),
                    sealed: Some(sealed.into()),
                };
                wire.sealed = sealed.into_iter().map(at).collect();
            }
            Found::Passages(passages) => {
                let at = |at: At<PassageHit>| wire::PassageAt {
                    site: at.site.to_string(),
                    hit: Some(at.hit.into()),
                    score: at.score,
                };
                wire.passages = passages.into_iter().map(at).collect();
            }
        }
        wire
    }
}

impl TryFrom<wire::SearchResult> for SearchResult {
    type Error = MessageError;

    fn try_from(wire: wire::SearchResult) -> Result<Self, MessageError> {
        let sealed: Vec<SealedBy> = parse::list("sealed", wire.sealed, PARTICIPANTS_MAX)?;
        let passages: Vec<PassageAt> = parse::list("passages", wire.passages, HITS_MAX)?;
        let found = match (wire.figures, sealed.is_empty()) {
            (Some(figures), _) => Found::Figures(QueryResult::try_from(figures)?.figures),
            (None, false) => Found::Sealed(sealed.into_iter().map(|SealedBy(by)| by).collect()),
            (None, true) => Found::Passages(passages.into_iter().map(|PassageAt(at)| at).collect()),
        };
        Ok(Self {
            search: parse::digest("search_sha256", &wire.search_sha256)?,
            found,
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

struct SealedBy((SiteName, SealedAnswer));

impl TryFrom<wire::SealedBy> for SealedBy {
    type Error = MessageError;

    fn try_from(wire: wire::SealedBy) -> Result<Self, MessageError> {
        let sealed = parse::present("sealed", wire.sealed)?.try_into()?;
        Ok(Self((parse::id("site", &wire.site)?, sealed)))
    }
}

struct PassageAt(At<PassageHit>);

impl TryFrom<wire::PassageAt> for PassageAt {
    type Error = MessageError;

    fn try_from(wire: wire::PassageAt) -> Result<Self, MessageError> {
        Ok(Self(At {
            site: parse::id("site", &wire.site)?,
            hit: parse::present("hit", wire.hit)?.try_into()?,
            score: parse::finite("score", wire.score)?,
        }))
    }
}
