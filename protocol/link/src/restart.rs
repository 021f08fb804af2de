//! How a coordinator that was killed and came back tells its peers so.
//!
//! A peer goes on sending on a connection that the new process knows nothing of. QUIC
//! answers with a stateless reset (RFC 9000, section 10.3), which the peer believes only
//! if it carries a token made with the same secret as before. With a secret that outlives
//! the process, a node reconnects at its next keep-alive; without, it would wait out the
//! whole idle limit.

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator};

/// Bytes of a connection id, as quinn's own.
const CONNECTION_ID_BYTES: usize = 8;

/// Makes the same reset tokens in every process that has the same secret.
pub(crate) struct ResetKey(pub(crate) [u8; blake3::KEY_LEN]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = blake3::keyed_hash(&self.0, data);
        for (to, from) in signature_out.iter_mut().zip(signature.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // BLAKE3 compares in constant time.
        match blake3::keyed_hash(&self.0, data) == *signature {
            true => Ok(()),
            false => Err(CryptoError),
        }
    }
}

/// Random connection ids. quinn's own drop packets whose id another process made, and so
/// would never answer them with a reset.
pub(crate) struct ConnectionIds {
    seed: [u8; blake3::KEY_LEN],
    made: u64,
}

impl ConnectionIds {
    /// Ids from a random seed that no other endpoint has.
    pub(crate) fn new(seed: [u8; blake3::KEY_LEN]) -> Self {
        Self { seed, made: 0 }
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made += 1;
        let id = blake3::keyed_hash(&self.seed, &self.made.to_le_bytes());
        ConnectionId::new(
            id.as_bytes()
                .first_chunk::<CONNECTION_ID_BYTES>()
                .unwrap_or(&[0; _]),
        )
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
