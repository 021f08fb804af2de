//! Masks that cancel: each two sites of a query agree on a stream of bits, both add it, and in the sum over all sites
//! modulo 2 every stream is there twice (Bonawitz et al. 2017, "Practical Secure Aggregation", section 4, over GF(2)
//! and without recovery: if a site is missing, the sum stays masked).
//!
//! Each site makes an X25519 key for one query and signs it with its member key, so that whoever passes the keys on can
//! exchange none; a key is used once. The sites' linkage key goes into each stream too: the authority's key lies at
//! the coordinator, and a certificate made there in a site's name is not enough.

use std::collections::BTreeMap;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use consilium_protocol::message::{LINKAGE_ID_BYTES, SketchKey};
use consilium_protocol::{Digest, Millis, SiteName};
use zeroize::Zeroizing;

use crate::anchor::TrustAnchor;
use crate::credentials::{Credentials, verify_sketch_key};
use crate::error::IdentityError;
use crate::linkage::LinkageKey;

/// X25519 keys are 32 bytes (RFC 7748).
const PUBLIC_KEY_BYTES: usize = 32;

/// A site's key for the masks of one query. Has no `Debug`.
pub struct MaskKey {
    query: Digest,
    private: PrivateKey,
    public: [u8; PUBLIC_KEY_BYTES],
}

/// The keys of every site that a query names, each proved to be that site's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteKeys {
    query: Digest,
    by_site: BTreeMap<SiteName, [u8; PUBLIC_KEY_BYTES]>,
    linkage: [u8; LINKAGE_ID_BYTES],
}

/// Keys with which nothing can be masked.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the keys are not one of each site that the query names")]
    OtherSites,
    #[error("`{site}` has another linkage key than the other sites")]
    OtherLinkage { site: SiteName },
}

impl MaskKey {
    /// A new key for this query.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(query: Digest) -> Result<Self, IdentityError> {
        let failed = |_| IdentityError::cryptography("no X25519 key could be made");
        let private = PrivateKey::generate(&X25519).map_err(failed)?;
        let public = private.compute_public_key().map_err(failed)?;
        let public: [u8; PUBLIC_KEY_BYTES] = public
            .as_ref()
            .try_into()
            .map_err(|_| IdentityError::cryptography("an X25519 key has another length"))?;
        Ok(Self {
            query,
            private,
            public,
        })
    }

    /// The key that others see.
    #[must_use]
    pub fn public(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.public
    }

    /// The same, signed by its site.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn signed(
        &self,
        credentials: &Credentials,
        linkage: &LinkageKey,
    ) -> Result<SketchKey, IdentityError> {
        let linkage = linkage.id();
        Ok(SketchKey {
            public_key: self.public,
            linkage,
            certificate: credentials.certificate().to_vec(),
            signature: credentials.sign_sketch_key(&signed_text(
                self.query,
                &self.public,
                &linkage,
            ))?,
        })
    }

    /// Adds this site's masks to `bits`, modulo 2. Uses the key up: two different tables under one mask would tell
    /// their difference.
    ///
    /// # Errors
    /// This key is not among `keys`, or one of the others is none.
    pub fn mask(
        self,
        site: &SiteName,
        keys: &SiteKeys,
        linkage: &LinkageKey,
        bits: &mut [u8],
    ) -> Result<(), MaskError> {
        keys.fit(&self, site, linkage)?;
        let stream = self.stream(site, keys, linkage, bits.len())?;
        bits.iter_mut()
            .zip(stream.iter())
            .for_each(|(bit, mask)| *bit ^= mask);
        Ok(())
    }

    /// The sum of the streams that this site has with each other one.
    pub(crate) fn stream(
        &self,
        site: &SiteName,
        keys: &SiteKeys,
        linkage: &LinkageKey,
        bytes: usize,
    ) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let secret = linkage.for_masks(self.query);
        let session = keys.digest();
        let mut sum = Zeroizing::new(vec![0; bytes]);
        let mut stream = Zeroizing::new(vec![0; bytes]);
        for (other, public) in keys.by_site.iter().filter(|(other, _)| *other != site) {
            let pair = [site.min(other).as_str(), site.max(other).as_str()];
            let agreed = |shared: &[u8]| {
                let mut hasher =
                    blake3::Hasher::new_derive_key("consilium-link 1 mask of a sketch");
                hasher.update(shared).update(&*secret).update(&session.0);
                for name in pair {
                    hasher.update(&[0]).update(name.as_bytes());
                }
                hasher.finalize_xof().fill(&mut stream);
                Ok(())
            };
            let peer = UnparsedPublicKey::new(&X25519, public);
            let failed = IdentityError::cryptography("a site's key is no X25519 key");
            agree(&self.private, peer, failed, agreed)?;
            sum.iter_mut()
                .zip(stream.iter())
                .for_each(|(sum, mask)| *sum ^= mask);
        }
        Ok(sum)
    }
}

impl SiteKeys {
    /// Proves that these are the keys of exactly these sites, for this query, under one linkage key.
    ///
    /// # Errors
    /// A certificate or signature is not what it should be; a site is missing, there twice or not named; or one of them
    /// has another linkage key.
    pub fn prove(
        query: Digest,
        sites: impl IntoIterator<Item = SiteName>,
        keys: &[SketchKey],
        anchor: &TrustAnchor,
        now: Millis,
    ) -> Result<Self, MaskError> {
        let mut by_site = BTreeMap::new();
        let linkage = keys.first().ok_or(MaskError::OtherSites)?.linkage;
        for key in keys {
            let text = signed_text(query, &key.public_key, &key.linkage);
            let identity = verify_sketch_key(&text, &key.signature, &key.certificate, anchor, now)?;
            let site: SiteName = identity.name.into();
            if key.linkage != linkage {
                return Err(MaskError::OtherLinkage { site });
            }
            if by_site.insert(site, key.public_key).is_some() {
                return Err(MaskError::OtherSites);
            }
        }
        match by_site.keys().cloned().eq(sites) {
            true => Ok(Self {
                query,
                by_site,
                linkage,
            }),
            false => Err(MaskError::OtherSites),
        }
    }

    /// Whether a site can mask with these keys: its own is among them, and it has the same linkage key as the others.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn fit(
        &self,
        own: &MaskKey,
        site: &SiteName,
        linkage: &LinkageKey,
    ) -> Result<(), MaskError> {
        if self.query != own.query || self.by_site.get(site) != Some(&own.public) {
            return Err(MaskError::OtherSites);
        }
        if self.linkage != linkage.id() {
            return Err(MaskError::OtherLinkage { site: site.clone() });
        }
        Ok(())
    }

    /// All of it in one hash: sites that were shown different keys make masks that do not cancel.
    fn digest(&self) -> Digest {
        let mut text = self.query.0.to_vec();
        text.extend(self.linkage);
        for (site, public) in &self.by_site {
            text.extend(site.as_str().as_bytes());
            text.push(0);
            text.extend(public);
        }
        Digest::of(&text)
    }
}

fn signed_text(
    query: Digest,
    public: &[u8; PUBLIC_KEY_BYTES],
    linkage: &[u8; LINKAGE_ID_BYTES],
) -> Vec<u8> {
    [query.0.as_slice(), public, linkage].concat()
}
