//! An officer's key, and her signature under a bundle.

use std::path::Path;

use consilium_link::MemberKey;
use consilium_policies::files::SIGNATURES_FILE;
use consilium_policies::{Officer, SIGNING_CONTEXT, Signatures};
use consilium_protocol::MemberName;
use serde_json::json;

use super::{PolicyError, folder};
use crate::ending::{CliError, NoAnswer};
use crate::home::replace;
use crate::output::Answer;

/// Makes a key in a folder that has none, and shows how a node pins it.
pub(super) fn keygen(key_folder: &Path, name: &MemberName) -> Result<Answer, NoAnswer> {
    let key = MemberKey::generate().map_err(PolicyError::Key)?;
    key.save(key_folder).map_err(PolicyError::Key)?;
    let officer = officer(name, &key)?;
    Ok(Answer {
        data: json!({
            "folder": key_folder, "officer": name, "public_key": officer.key, "pin": officer.to_string(),
        }),
        text: format!(
            "made a key in `{}`; keep the folder to yourself\n\
             the operator writes this into node.toml, under [policy], among `officers`:\n\
             {officer}\n",
            key_folder.display()
        ),
    })
}

/// Signs a bundle that can be used and holds its own cases, in place of the same officer's older signature. What
/// others signed before the files were changed goes, and they are named.
pub(super) fn sign(
    bundle_folder: &Path,
    key_folder: &Path,
    name: &MemberName,
) -> Result<Answer, NoAnswer> {
    let key = MemberKey::load(key_folder).map_err(PolicyError::Key)?;
    let (bundle, files) = folder::open(bundle_folder)?;
    folder::as_expected(&bundle)?;
    let path = bundle_folder.join(SIGNATURES_FILE);
    let mut signatures = Signatures::parse(&path.display().to_string(), &files.signatures)
        .map_err(PolicyError::from)?;
    let signature = key
        .sign(SIGNING_CONTEXT, bundle.manifest().as_bytes())
        .map_err(PolicyError::Key)?;
    let mut dropped = signatures.keep_only_of(bundle.digest());
    dropped.retain(|other| other != name);
    signatures.put(name.clone(), signature);
    replace(&path, signatures.to_toml().as_bytes())?;
    let officer = officer(name, &key)?;
    let signers: Vec<&MemberName> = signatures.officers().collect();
    let names: Vec<&str> = signers.iter().map(|name| name.as_str()).collect();
    let older: String = dropped
        .iter()
        .map(|name| {
            format!("`{name}` had signed an older state of these files: that signature is gone, ask for a new one\n")
        })
        .collect();
    Ok(Answer {
        data: json!({
            "bundle": bundle_folder, "name": bundle.name(), "version": bundle.version(), "digest": bundle.digest(),
            "officer": name, "pin": officer.to_string(), "signers": signers,
            "dropped": dropped,
        }),
        text: format!(
            "`{name}` signed `{}`, version {}, digest {}\n\
             as {officer}\n\
             in its signatures stand: {}\n{older}",
            bundle.name(),
            bundle.version(),
            bundle.digest(),
            names.join(", ")
        ),
    })
}

fn officer(name: &MemberName, key: &MemberKey) -> Result<Officer, CliError> {
    Ok(Officer {
        name: name.clone(),
        key: key.public_key().map_err(PolicyError::Key)?,
    })
}
