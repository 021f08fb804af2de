//! Answers that only the asker can open: the coordinator carries them and reads nothing.
//!
//! HPKE (RFC 9180) in base mode, with X25519, HKDF-SHA256 and AES-256-GCM. Base mode says nothing of who sealed, so the
//! site signs what it sealed, for this search: a coordinator can neither make an answer nor pass one off as another
//! site's or another search's.
//!
//! How long a sealed answer is tells nothing: it is padded to a length that follows from the question alone.

use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::message::{
    Disclosed, MessageError, REPLY_KEY_BYTES, SNIPPET_BYTES_MAX, SealedAnswer, SignedSearch,
};
use consilium_protocol::search::{Search, Wanted};
use consilium_protocol::{Digest, Millis, Role, SiteName, wire};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use crate::anchor::TrustAnchor;
use crate::credentials::{self, Credentials};
use crate::error::IdentityError;

const INFO: &[u8] = b"consilium sealed answer v1";

/// The length goes before the answer, and blanks behind it.
const LENGTH_BYTES: usize = 4;

/// What a hit takes besides its snippet, in a frame: its handle, its bucket, lengths and tags.
const HIT_BYTES_MAX: usize = 32;

/// What an answer takes besides its hits.
const ANSWER_BYTES: usize = 64;

/// An asker's key for one search. Its private half is wiped when it is dropped, and was on no disk.
pub struct ReplyKey {
    public: [u8; REPLY_KEY_BYTES],
    private: HpkePrivateKey,
}

/// Something could not be sealed, or does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the key to which answers are to be sealed is none")]
    BadKey,
    #[error("nothing was asked that is answered under a seal")]
    NotSealed,
    #[error("the answer is longer than any to this search")]
    TooLong,
    #[error("the answer was signed by {found}, and came as that of `{expected}`")]
    OtherSite { expected: SiteName, found: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the seal does not open: the answer was changed, or is to another search")]
    Broken,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the answer under the seal is malformed: {0}")]
    Message(#[from] MessageError),
}

impl ReplyKey {
    /// A new key.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn generate() -> Result<Self, SealError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| SealError::BadKey)?;
        Ok(Self {
            public: public.0.try_into().map_err(|_| SealError::BadKey)?,
            private,
        })
    }

    /// The half that goes with the search.
    #[must_use]
    pub fn public(&self) -> [u8; REPLY_KEY_BYTES] {
        self.public
    }

    /// Opens what `site` sealed in answer to `search`.
    ///
    /// # Errors
    /// It is not that site's, not to this search, or no answer.
    pub fn open(
        &self,
        search: &Search,
        site: &SiteName,
        sealed: &SealedAnswer,
        anchor: &TrustAnchor,
        now: Millis,
    ) -> Result<Disclosed, SealError> {
        let said = bound(search.digest(), &self.public, sealed);
        let (signature, certificate) = (&sealed.signature, &sealed.certificate);
        let signer = credentials::verify_sealed(&said, signature, certificate, anchor, now)?;
        if signer.role != Role::Site || signer.name.as_str() != site.as_str() {
            return Err(SealError::OtherSite {
                expected: site.clone(),
                found: signer.to_string(),
            });
        }
        let secret = EncapsulatedSecret(sealed.encapsulated_key.clone());
        let aad = search.digest().0;
        let padded = SUITE
            .open(&secret, INFO, &aad, &sealed.ciphertext, &self.private)
            .map_err(|_| SealError::Broken)?;
        let (length, rest) = padded
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(SealError::Broken)?;
        let length = u32::from_be_bytes(*length) as usize;
        let framed = rest.get(..length).ok_or(SealError::Broken)?;
        Ok(frame::decode::<wire::Disclosed>(framed)?.try_into()?)
    }
}

impl std::fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyKey").finish_non_exhaustive()
    }
}

/// Seals a site's answer for whoever searched.
///
/// # Errors
/// The asker's key is none, or the answer is no answer to this search.
pub fn seal(
    site: &Credentials,
    signed: &SignedSearch,
    search: &Search,
    answer: &Disclosed,
) -> Result<SealedAnswer, SealError> {
    let framed = frame::encode(&wire::Disclosed::from(answer.clone()))?;
    let length = padded_bytes(search).ok_or(SealError::NotSealed)?;
    if framed.len() + LENGTH_BYTES > length {
        return Err(SealError::TooLong);
    }
    let mut padded = Vec::with_capacity(length);
    padded.extend((framed.len() as u32).to_be_bytes());
    padded.extend_from_slice(&framed);
    padded.resize(length, 0);
    let key = HpkePublicKey(signed.reply_key.to_vec());
    let (secret, ciphertext) = SUITE
        .seal(INFO, &search.digest().0, &padded, &key)
        .map_err(|_| SealError::BadKey)?;
    let mut sealed = SealedAnswer {
        encapsulated_key: secret.0,
        ciphertext,
        certificate: site.certificate().to_vec(),
        signature: Vec::new(),
    };
    sealed.signature = site.sign_sealed(&bound(search.digest(), &signed.reply_key, &sealed))?;
    Ok(sealed)
}

/// What the site signs: the search, for whom, and what it sealed; all but the last of a fixed length.
fn bound(search: Digest, reply_key: &[u8; REPLY_KEY_BYTES], sealed: &SealedAnswer) -> Vec<u8> {
    let mut said = search.0.to_vec();
    said.extend(reply_key);
    said.extend((sealed.encapsulated_key.len() as u32).to_be_bytes());
    said.extend(&sealed.encapsulated_key);
    said.extend(&sealed.ciphertext);
    said
}

/// How long every answer to this search is before it is sealed; `None` where it is not sealed.
fn padded_bytes(search: &Search) -> Option<usize> {
    let (hits, _) = search.document().wanted.hits()?;
    let snippet = match search.document().wanted {
        Wanted::Handles { .. } => 0,
        Wanted::Snippets { .. } => SNIPPET_BYTES_MAX,
        _ => return None,
    };
    Some(LENGTH_BYTES + ANSWER_BYTES + hits * (HIT_BYTES_MAX + snippet))
}

#[cfg(test)]
mod tests {
    use consilium_protocol::message::DisclosedHit;
    use consilium_protocol::search::{Ranking, SearchDocument};

    use super::*;
    use crate::authority::CertificateAuthority;
    use crate::identity::Identity;
    use crate::member_key::MemberKey;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn member(ca: &CertificateAuthority, role: Role, name: &str) -> Credentials {
        let key = MemberKey::generate().unwrap();
        let request = key.certificate_request().unwrap();
        let name = name.parse().unwrap();
        let identity = Identity { role, name };
        let certificate = ca.issue(&request, &identity, 1000, NOW).unwrap();
        Credentials::new(key, &certificate, ca.anchor().clone()).unwrap()
    }

    fn search(text: &str, hits: u16) -> Search {
        Search::new(SearchDocument {
            project: "p".parse().unwrap(),
            purpose: "HMB".parse().unwrap(),
            collection: "notes".parse().unwrap(),
            sites: [].into(),
            text: text.into(),
            filter: None,
            wanted: Wanted::Snippets {
                hits,
                ranking: Ranking::Both,
            },
        })
        .unwrap()
    }

    fn answer(hits: usize, snippet: &str) -> Disclosed {
        let hit = DisclosedHit {
            handle: [255; 16],
            bucket: 15,
            snippet: snippet.into(),
        };
        Disclosed {
            hits: vec![hit; hits],
            bundle: Digest([255; 32]),
        }
    }

    fn signed(search: &Search, key: &ReplyKey) -> SignedSearch {
        SignedSearch {
            text: search.text().as_bytes().to_vec(),
            reply_key: key.public(),
            expires_at_ms: NOW.0,
            certificate: Vec::new(),
            signature: Vec::new(),
        }
    }

    #[test]
    fn the_asker_alone_opens_it_and_its_length_tells_nothing() {
        let ca = CertificateAuthority::create("c", NOW).unwrap();
        let site = member(&ca, Role::Site, "north");
        let (search, key) = (search("gout", 3), ReplyKey::generate().unwrap());
        let signed = signed(&search, &key);
        let full = answer(3, &"\u{10FFFF}".repeat(240));
        let sealed = seal(&site, &signed, &search, &full).unwrap();
        let north = "north".parse().unwrap();
        let opened = key.open(&search, &north, &sealed, ca.anchor(), NOW);
        assert_eq!(opened.unwrap(), full);
        let empty = seal(&site, &signed, &search, &answer(0, "")).unwrap();
        assert_eq!(sealed.ciphertext.len(), empty.ciphertext.len());
        let other = ReplyKey::generate().unwrap();
        assert!(
            other
                .open(&search, &north, &sealed, ca.anchor(), NOW)
                .is_err()
        );
    }

    #[test]
    fn whoever_carries_it_can_change_nothing() {
        let ca = CertificateAuthority::create("c", NOW).unwrap();
        let (site, other) = (
            member(&ca, Role::Site, "north"),
            member(&ca, Role::Site, "south"),
        );
        let (search, key) = (search("gout", 3), ReplyKey::generate().unwrap());
        let signed = signed(&search, &key);
        let sealed = seal(&site, &signed, &search, &answer(1, "text")).unwrap();
        let north: SiteName = "north".parse().unwrap();
        let open = |search: &Search, site: &SiteName, sealed: &SealedAnswer| {
            key.open(search, site, sealed, ca.anchor(), NOW)
        };
        let mut flipped = sealed.clone();
        flipped.ciphertext[9] ^= 1;
        assert!(open(&search, &north, &flipped).is_err());
        let forged = seal(&other, &signed, &search, &answer(1, "forged")).unwrap();
        assert!(matches!(
            open(&search, &north, &forged),
            Err(SealError::OtherSite { .. })
        ));
        let asked_otherwise = self::search("asthma", 3);
        assert!(open(&asked_otherwise, &north, &sealed).is_err());
        assert!(open(&search, &north, &sealed).is_ok());
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_cut() {
        let ca = CertificateAuthority::create("c", NOW).unwrap();
        let site = member(&ca, Role::Site, "north");
        let (search, key) = (search("gout", 1), ReplyKey::generate().unwrap());
        let long = answer(2, &"a".repeat(900));
        assert!(matches!(
            seal(&site, &signed(&search, &key), &search, &long),
            Err(SealError::TooLong)
        ));
    }
}
