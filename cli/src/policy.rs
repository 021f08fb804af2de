//! A site's policy, offline: written, tried out, compared, signed, and laid where the site's node takes it up.
//!
//! | file | subject |
//! |---|---|
//! | `policy` | what was typed, to who does it |
//! | `folder` | a bundle's folder, read and written |
//! | `draft` | an officer's choices, as the text of a bundle |
//! | `interview` | the questions that lead to those choices |
//! | `new` | a bundle to begin from, by questions or as a copy |
//! | `judge` | check, test, explain, diff, replay |
//! | `sign` | an officer's key and signature |
//! | `node` | a node's folder: whom it pins, what is in force, what waits |
//! | `install` | a signed bundle, laid before the node |
//! | `show` | a bundle in short |

pub(crate) mod arguments;
mod draft;
mod error;
mod folder;
mod install;
mod interview;
mod judge;
mod new;
mod node;
mod show;
mod sign;

pub(crate) use error::PolicyError;

use crate::arguments::Format;
use crate::ending::NoAnswer;
use crate::output::{Answer, Streams};
use arguments::PolicyCommand;

/// One `consilium policy` command. `format` decides whether findings are told line by line or in the envelope.
pub(crate) fn carry_out(
    command: PolicyCommand,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    match command {
        PolicyCommand::New { folder, from } => match from {
            Some(shipped) => new::copy(&folder, shipped),
            None => new::ask(&folder, &mut std::io::stdin().lock(), streams),
        },
        PolicyCommand::Check { bundle } => judge::check(&bundle, format, streams),
        PolicyCommand::Test { bundle } => judge::test(&bundle, format, streams),
        PolicyCommand::Explain { bundle, question } => judge::explain(&bundle, question),
        PolicyCommand::Diff { old, new } => judge::diff(&old, &new),
        PolicyCommand::Replay { new, journal } => judge::replay(&new, &journal),
        PolicyCommand::Keygen { folder, officer } => sign::keygen(&folder, &officer),
        PolicyCommand::Sign {
            bundle,
            key,
            officer,
        } => sign::sign(&bundle, &key, &officer),
        PolicyCommand::Install { bundle, node } => install::install(&bundle, &node),
        PolicyCommand::Show {
            bundle: Some(bundle),
            ..
        } => show::bundle(&bundle),
        PolicyCommand::Show { node, .. } => show::node(&node.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
