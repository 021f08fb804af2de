//! A signed bundle, laid before the node that takes it up.

use std::fs;
use std::io;
use std::path::Path;

use consilium_link::sync_folder_of;
use consilium_policies::Bundle;
use serde_json::json;

use super::node::{INCOMING, NodePolicy};
use super::{PolicyError, folder};
use crate::ending::{CliError, NoAnswer};
use crate::output::Answer;

/// Lays a bundle into the node's `policy/incoming`, if the node would take it up. Nothing is in force until it does.
pub(super) fn install(bundle_folder: &Path, node_folder: &Path) -> Result<Answer, NoAnswer> {
    let node = NodePolicy::read(node_folder)?;
    let (bundle, files) = folder::open(bundle_folder)?;
    folder::as_expected(&bundle)?;
    let signed_by = node.signed(&bundle)?;
    // What lies there and cannot be read refuses everything until it is replaced.
    if let Ok((before, before_files)) = folder::open(&node.folder) {
        newer(
            &bundle,
            &before,
            before_files.signatures == files.signatures,
        )?;
    }
    let incoming = node.incoming();
    if incoming.exists() {
        return Err(PolicyError::Waiting { path: incoming }.into());
    }
    let staged = node.folder.join(format!("{INCOMING}.tmp"));
    let not_written = |source| CliError::NotWritten {
        path: staged.clone(),
        source,
    };
    // What a crash left of an earlier try.
    match fs::remove_dir_all(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(not_written(error).into());
        }
        _ => {}
    }
    folder::write(&staged, &files)?;
    fs::rename(&staged, &incoming).map_err(not_written)?;
    sync_folder_of(&incoming).map_err(not_written)?;
    let names: Vec<&str> = signed_by.iter().map(|name| name.as_str()).collect();
    let signatures = match names.is_empty() {
        true => "unsigned, as this node allows; whoever can write there decides".to_owned(),
        false => format!("signed by {}", names.join(", ")),
    };
    Ok(Answer {
        data: json!({
            "name": bundle.name(), "version": bundle.version(), "digest": bundle.digest(), "signed_by": signed_by,
            "incoming": incoming,
        }),
        text: format!(
            "`{}`, version {}, digest {}, {signatures}\n\
             lies in `{}`; the node takes it up within seconds, or when it starts\n\
             see whether it did: consilium policy show --node {}\n",
            bundle.name(),
            bundle.version(),
            bundle.digest(),
            incoming.display(),
            node_folder.display()
        ),
    })
}

/// The same bundle with other signatures may come again; any other must have a greater version.
fn newer(bundle: &Bundle, before: &Bundle, same_signatures: bool) -> Result<(), PolicyError> {
    let same = bundle.digest() == before.digest();
    match (same, same_signatures) {
        (true, true) => Err(PolicyError::InForce {
            digest: bundle.digest(),
        }),
        (false, _) if bundle.version() <= before.version() => Err(PolicyError::NotNewer {
            version: bundle.version(),
            after: before.version(),
        }),
        _ => Ok(()),
    }
}
