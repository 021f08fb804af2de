//! What others say of a journal: checkpoints, and the keys that they are believed by.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use consilium_journal::TreeHead;
use consilium_journal::checkpoint::{
    CHECKPOINTS_FOLDER, KeyKind, KeyName, NOTE_BYTES_MAX, NoteError, SignedCheckpoint, VerifierKey,
    coordinator_key_name, read_checkpoints, site_key_name,
};
use consilium_link::{
    Fingerprint, Identity, TrustAnchor, certificate_expires_at, certificate_key,
    certificate_of_pem, pem_certificate, read_certificate,
};
use consilium_protocol::Role;

use super::AuditError;
use crate::ending::CliError;

/// Where a node's folder keeps the certificate of the consortium's authority.
const AUTHORITY_FILE: &str = "identity/consortium-ca.crt";
/// Certificates read from one folder.
const CERTIFICATES_MAX: usize = 4096;
/// The longest list of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// Whose word counts.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Trust {
    /// The certificate of the consortium's authority: checkpoints signed by its members count. A node's own folder
    /// holds one; bring your own if you do not trust the folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) authority: Option<PathBuf>,
    /// A member's certificate (PEM), or a list of keys, one a line, as `name+id+key`. May be given often.
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// A checkpoint that somebody kept: a signed note. May be given often.
    #[arg(long = "checkpoint", value_name = "FILE")]
    pub(crate) checkpoints: Vec<PathBuf>,
}

/// Public keys under their names.
#[derive(Default)]
pub(crate) struct Keys {
    known: Vec<VerifierKey>,
    /// The certificates that the keys came from, in PEM.
    certificates: Vec<(KeyName, String)>,
    /// By whom certificates that come with a proof are believed.
    anchor: Option<TrustAnchor>,
    /// The authority's fingerprint, and whether it came with the folder that is examined.
    pub(crate) authority: Option<(Fingerprint, Origin)>,
}

/// Where something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the one who examines.
    Given,
    /// From the folder that is examined.
    Folder,
}

/// A checkpoint whose signature was checked, and who cosigned it when.
#[derive(Debug, Clone)]
pub(crate) struct Witnessed {
    pub(crate) checkpoint: SignedCheckpoint,
    /// Name and seconds since 1970.
    pub(crate) by: Vec<(KeyName, u64)>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Of every checkpoint that counts.
    pub(crate) heads: Vec<TreeHead>,
    /// The newest that its site signed.
    pub(crate) newest: Option<Witnessed>,
    /// The newest that somebody else cosigned.
    pub(crate) newest_cosigned: Option<Witnessed>,
    /// Checkpoints whose signature nobody could check, for want of a key.
    pub(crate) unchecked: u64,
    /// Places where a checkpoint should be and none is.
    pub(crate) damaged: Vec<String>,
}

impl Keys {
    /// The keys given, and those of the certificates beside the journal as far as the authority issued them.
    pub(crate) fn gather(trust: &Trust, folder: &Path, journal: &Path) -> Result<Self, CliError> {
        let mut keys = Self::default();
        let in_folder = folder.join(AUTHORITY_FILE);
        let authority = match &trust.authority {
            Some(given) => Some((given.clone(), Origin::Given)),
            None => in_folder.is_file().then_some((in_folder, Origin::Folder)),
        };
        let anchor = match authority {
            Some((path, origin)) => {
                let anchor = TrustAnchor::from_der(&read_certificate(&path)?)?;
                keys.authority = Some((anchor.fingerprint(), origin));
                Some(anchor)
            }
            None => None,
        };
        for path in &trust.keys {
            keys.add_file(path, anchor.as_ref())?;
        }
        if let Some(anchor) = &anchor {
            for certificate in certificates_in(&journal.join(CHECKPOINTS_FOLDER)) {
                keys.add_issued(&certificate, anchor);
            }
            let own = folder.join("identity/identity.crt");
            if let Ok(certificate) = read_certificate(&own) {
                keys.add_issued(&certificate, anchor);
            }
        }
        keys.anchor = anchor;
        Ok(keys)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes in certificates that came with a proof: those that the authority issued.
    pub(crate) fn take_in(&mut self, certificates: &[String]) {
        let Some(anchor) = self.anchor.clone() else {
            return;
        };
        for pem in certificates {
            if let Ok(certificate) = certificate_of_pem(pem) {
                self.add_issued(&certificate, &anchor);
            }
        }
    }

    /// The certificates of those who signed a checkpoint, as far as they are known.
    pub(crate) fn certificates_of(&self, checkpoint: &SignedCheckpoint) -> Vec<String> {
        let signers: Vec<&KeyName> = checkpoint.signers().collect();
        self.certificates
            .iter()
            .filter(|(name, _)| signers.contains(&name))
            .map(|(_, pem)| pem.clone())
            .collect()
    }

    fn add_file(&mut self, path: &Path, anchor: Option<&TrustAnchor>) -> Result<(), CliError> {
        if let Ok(certificate) = read_certificate(path) {
            let identity = Identity::of_certificate(&certificate)?;
            let consortium = match anchor {
                Some(anchor) => anchor.consortium(),
                None => String::new(),
            };
            return self.add(&identity, &certificate, &consortium);
        }
        let bytes = read_at_most(path, KEYS_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        for (line, text) in (1_usize..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key = text.parse().map_err(|problem| AuditError::NotAKey {
                path: path.to_owned(),
                line,
                problem,
            })?;
            self.known.push(key);
        }
        Ok(())
    }

    /// A certificate that the authority issued, in time or not: what it signed in its time counts for ever. Others are
    /// passed over.
    fn add_issued(&mut self, certificate: &[u8], anchor: &TrustAnchor) {
        let Ok(in_time) = certificate_expires_at(certificate) else {
            return;
        };
        // A certificate ends a second after its last.
        let in_time = consilium_protocol::Millis(in_time.0.saturating_sub(1000));
        if let Ok(identity) = anchor.identify(certificate, in_time) {
            self.add(&identity, certificate, &anchor.consortium()).ok();
        }
    }

    fn add(
        &mut self,
        identity: &Identity,
        certificate: &[u8],
        consortium: &str,
    ) -> Result<(), CliError> {
        let key = certificate_key(certificate)?;
        let name = match identity.role {
            Role::Coordinator => coordinator_key_name(consortium),
            _ => site_key_name(consortium, &identity.name.clone().into()),
        };
        let pem = pem_certificate(certificate);
        if self.certificates.contains(&(name.clone(), pem.clone())) {
            return Ok(());
        }
        for kind in [KeyKind::Log, KeyKind::Witness] {
            let name = name.clone();
            self.known.push(VerifierKey { name, kind, key });
        }
        self.certificates.push((name, pem));
        Ok(())
    }

    /// Who signed a checkpoint, if its own site did with a key known here; `None` if no key of that site is.
    pub(crate) fn check(
        &self,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Option<Witnessed>, NoteError> {
        let origin = &checkpoint.checkpoint().origin;
        let mut signed = None;
        for key in self.of(KeyKind::Log).filter(|key| key.name == *origin) {
            match checkpoint.verify(key.key) {
                Ok(()) => signed = Some(Ok(())),
                // Another key of the same site may be the one.
                Err(NoteError::NotSignedBy { .. }) => {}
                Err(wrong) => {
                    signed.get_or_insert(Err(wrong));
                }
            }
        }
        match signed {
            None => return Ok(None),
            Some(checked) => checked?,
        }
        let mut by = Vec::new();
        for key in self.of(KeyKind::Witness) {
            match checkpoint.cosigned_at(&key.name, key.key) {
                Ok(at_s) if !by.contains(&(key.name.clone(), at_s)) => {
                    by.push((key.name.clone(), at_s));
                }
                Ok(_) | Err(NoteError::NotSignedBy { .. }) => {}
                Err(wrong) => return Err(wrong),
            }
        }
        let checkpoint = checkpoint.clone();
        Ok(Some(Witnessed { checkpoint, by }))
    }

    fn of(&self, kind: KeyKind) -> impl Iterator<Item = &VerifierKey> {
        self.known.iter().filter(move |key| key.kind == kind)
    }
}

impl Evidence {
    /// The checkpoints given and those beside the journal, each checked with `keys`. Where no key is known at all,
    /// those beside the journal count unchecked: they still show that journal and checkpoints belong together.
    pub(crate) fn gather(trust: &Trust, journal: &Path, keys: &Keys) -> Result<Self, CliError> {
        let mut evidence = Self::default();
        for path in &trust.checkpoints {
            let bytes = read_at_most(path, NOTE_BYTES_MAX as u64)?;
            let not_one = |problem| AuditError::NotACheckpoint {
                path: path.clone(),
                problem,
            };
            let checkpoint = SignedCheckpoint::parse(&bytes).map_err(not_one)?;
            evidence.take(checkpoint, keys).map_err(not_one)?;
        }
        let mut forged = None;
        let folder = journal.join(CHECKPOINTS_FOLDER);
        evidence.damaged = read_checkpoints(&folder, |checkpoint| {
            if let Err(problem) = evidence.take(checkpoint, keys) {
                forged.get_or_insert(problem);
            }
        })?;
        match forged {
            Some(problem) => Err(AuditError::NotACheckpoint {
                path: folder,
                problem,
            }
            .into()),
            None => Ok(evidence),
        }
    }

    fn take(&mut self, checkpoint: SignedCheckpoint, keys: &Keys) -> Result<(), NoteError> {
        let head = checkpoint.head();
        let Some(witnessed) = keys.check(&checkpoint)? else {
            self.unchecked += 1;
            if keys.is_empty() {
                self.heads.push(head);
            }
            return Ok(());
        };
        if self.heads.last() != Some(&head) {
            self.heads.push(head);
        }
        let newer = |held: &Option<Witnessed>| {
            held.as_ref()
                .is_none_or(|held| held.checkpoint.head().size <= head.size)
        };
        let origin = &witnessed.checkpoint.checkpoint().origin;
        if witnessed.by.iter().any(|(name, _)| name != origin) && newer(&self.newest_cosigned) {
            self.newest_cosigned = Some(witnessed.clone());
        }
        if newer(&self.newest) {
            self.newest = Some(witnessed);
        }
        Ok(())
    }

    /// The best checkpoint to prove something under: cosigned if there is one.
    pub(crate) fn best(&self) -> Option<&Witnessed> {
        self.newest_cosigned.as_ref().or(self.newest.as_ref())
    }
}

fn certificates_in(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    listing
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .take(CERTIFICATES_MAX)
        .filter_map(|path| read_certificate(&path).ok())
        .collect()
}

/// A whole file, if it is no longer than it may be.
pub(crate) fn read_at_most(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::NotRead {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(std::io::Error::other(format!(
            "it has more than {bytes_max} bytes"
        ))));
    }
    Ok(bytes)
}
