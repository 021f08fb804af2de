//! Encryption at rest: a key for each segment, wrapped by the node's.
//!
//! AES-256-GCM throughout, whose one rule is that no nonce serves twice under one key:
//! - A segment's key is drawn at random, seals that segment's file once, and no other. Its nonces are the numbers of
//!   the file's rows and of its blocks, told apart by a byte.
//! - The node's key wraps segment keys and seals the manifest, each under 96 random bits. NIST SP 800-38D §8.3 allows
//!   2^32 of them under one key; an index that changes every second needs two for each change and has a century.
//!
//! To forget a segment it is enough to forget its key, which stands in the manifest alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::error::VectorError;

const KEY_BYTES: usize = 32;

/// What sealing adds to a text: the tag.
pub(crate) const TAG_BYTES: usize = 16;

/// What [`NodeKey::seal`] adds to a text: nonce and tag.
pub(crate) const SEALED_EXTRA_BYTES: usize = NONCE_LEN + TAG_BYTES;

/// The key of one node, from a file that only the node can read. Has no `Debug`.
pub struct NodeKey(LessSafeKey);

/// The key of one segment.
pub(crate) struct SegmentKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    key: LessSafeKey,
}

/// What of a segment's file is sealed by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    Block(u32),
    Row(u32),
}

impl NodeKey {
    /// From 32 secret bytes.
    ///
    /// # Errors
    /// The cryptography's.
    pub fn new(secret: &[u8; 32]) -> Result<Self, VectorError> {
        Ok(Self(key_of(secret)?))
    }

    /// Reads the key file, 64 hexadecimal digits; makes one of mode 0600 where there is none.
    ///
    /// # Errors
    /// A file that cannot be read or made, or holds something else.
    pub fn at(path: &Path) -> Result<Self, VectorError> {
        let disk = |doing| {
            let file = path.display().to_string();
            move |source| VectorError::Disk {
                doing,
                file,
                source,
            }
        };
        match fs::read_to_string(path) {
            Ok(text) => {
                let secret = parse_hex(&Zeroizing::new(text)).ok_or(VectorError::KeyFile)?;
                Self::new(&secret)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = random::<KEY_BYTES>()?;
                let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
                write_secret(path, &Zeroizing::new(digits)).map_err(disk("write"))?;
                Self::new(&secret)
            }
            Err(error) => Err(disk("read")(error)),
        }
    }

    /// Seals `text` for `purpose`: nonce, text, tag.
    pub(crate) fn seal(&self, purpose: &[u8], text: &[u8]) -> Result<Vec<u8>, VectorError> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(text.len() + SEALED_EXTRA_BYTES);
        sealed.extend_from_slice(nonce.as_slice());
        let mut body = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let added = self
            .0
            .seal_in_place_append_tag(nonce, Aad::from(purpose), &mut body);
        added.map_err(|_| VectorError::Cryptography)?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// What [`NodeKey::seal`] sealed for the same purpose; `None` when one bit of either is another.
    pub(crate) fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::from(purpose), &mut body)
            .ok()?
            .len();
        body.truncate(length);
        Some(body)
    }
}

impl SegmentKey {
    pub(crate) fn random() -> Result<Self, VectorError> {
        Self::from_bytes(random::<KEY_BYTES>()?)
    }

    pub(super) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, VectorError> {
        let key = key_of(&bytes)?;
        Ok(Self { bytes, key })
    }

    /// The key, sealed for the segment of this name.
    pub(crate) fn wrap(&self, node: &NodeKey, name: &str) -> Result<Vec<u8>, VectorError> {
        node.seal(name.as_bytes(), self.bytes.as_slice())
    }

    pub(crate) fn unwrap(node: &NodeKey, name: &str, wrapped: &[u8]) -> Option<Self> {
        let opened = node.open(name.as_bytes(), wrapped)?;
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(opened.as_slice()).ok()?);
        Self::from_bytes(bytes).ok()
    }

    /// Seals a piece where it stands and gives its tag. Each piece at most once.
    pub(crate) fn seal(
        &self,
        piece: Piece,
        header: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], VectorError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(piece.nonce(), Aad::from(header), text);
        let tag = tag.map_err(|_| VectorError::Cryptography)?;
        <[u8; TAG_BYTES]>::try_from(tag.as_ref()).map_err(|_| VectorError::Cryptography)
    }

    /// Opens a piece, text and tag, where it stands, and gives the text.
    pub(crate) fn open<'a>(
        &self,
        piece: Piece,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let text = self
            .key
            .open_in_place(piece.nonce(), Aad::from(header), sealed)
            .ok()?;
        Some(text)
    }
}

impl Piece {
    fn nonce(self) -> Nonce {
        let (kind, number) = match self {
            Self::Block(number) => (0, number),
            Self::Row(number) => (1, number),
        };
        let [a, b, c, d] = number.to_le_bytes();
        Nonce::assume_unique_for_key([a, b, c, d, kind, 0, 0, 0, 0, 0, 0, 0])
    }
}

fn key_of(secret: &[u8; KEY_BYTES]) -> Result<LessSafeKey, VectorError> {
    let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| VectorError::Cryptography)?;
    Ok(LessSafeKey::new(key))
}

pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VectorError> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| VectorError::Cryptography)?;
    Ok(bytes)
}

fn parse_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let digits = text.trim().as_bytes();
    if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn write_secret(path: &Path, digits: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(digits.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.key");
        let sealed = NodeKey::at(&path).unwrap().seal(b"a", b"text").unwrap();
        let again = NodeKey::at(&path).unwrap();
        assert_eq!(again.open(b"a", &sealed).unwrap().as_slice(), b"text");
        assert!(again.open(b"b", &sealed).is_none());
        fs::write(&path, "no key").unwrap();
        assert!(matches!(NodeKey::at(&path), Err(VectorError::KeyFile)));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_node_reads_its_key_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.key");
        NodeKey::at(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same() {
        let key = NodeKey::new(&[7; 32]).unwrap();
        assert_ne!(
            key.seal(b"a", b"text").unwrap(),
            key.seal(b"a", b"text").unwrap()
        );
    }
}
