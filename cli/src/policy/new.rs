//! A bundle to begin from.

use std::fs;
use std::io::BufRead;
use std::path::Path;

use consilium_link::wall_clock;
use consilium_policies::{Bundle, BundleFiles};
use serde_json::json;

use super::arguments::Shipped;
use super::interview::interview;
use super::{PolicyError, folder};
use crate::ending::{CliError, NoAnswer};
use crate::output::{Answer, Streams};

impl Shipped {
    fn files(self) -> BundleFiles {
        macro_rules! shipped {
            ($name:literal) => {
                BundleFiles {
                    policy: include_bytes!(concat!(
                        "../../../policies/bundles/",
                        $name,
                        "/policy.toml"
                    ))
                    .to_vec(),
                    rules: include_bytes!(concat!(
                        "../../../policies/bundles/",
                        $name,
                        "/rules.cedar"
                    ))
                    .to_vec(),
                    cases: include_bytes!(concat!(
                        "../../../policies/bundles/",
                        $name,
                        "/cases.toml"
                    ))
                    .to_vec(),
                    signatures: Vec::new(),
                }
            };
        }
        match self {
            Self::Hospital => shipped!("hospital"),
            Self::Consortium => shipped!("consortium"),
        }
    }
}

/// Copies a bundle that ships.
pub(super) fn copy(into: &Path, shipped: Shipped) -> Result<Answer, NoAnswer> {
    must_be_free(into)?;
    write(into, &shipped.files())
}

/// Asks the officer, and writes what she chose.
pub(super) fn ask(
    into: &Path,
    input: &mut dyn BufRead,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    must_be_free(into)?;
    let now = wall_clock();
    let draft = interview(input, streams, now)?;
    write(into, &draft.files(now))
}

fn must_be_free(into: &Path) -> Result<(), CliError> {
    let taken = match fs::read_dir(into) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => {
            return Err(CliError::NotWritten {
                path: into.to_owned(),
                source,
            });
        }
    };
    match taken {
        true => Err(PolicyError::NotEmpty {
            folder: into.to_owned(),
        }
        .into()),
        false => Ok(()),
    }
}

/// Nothing is written unless it is a policy that decides as its own cases say.
fn write(into: &Path, files: &BundleFiles) -> Result<Answer, NoAnswer> {
    let bundle = Bundle::read("", files).map_err(PolicyError::from)?;
    folder::as_expected(&bundle)?;
    folder::write(into, files)?;
    let shown = into.display();
    Ok(Answer {
        data: json!({
            "bundle": into, "name": bundle.name(), "version": bundle.version(), "digest": bundle.digest(),
            "cases": bundle.cases().count(),
        }),
        text: format!(
            "wrote the policy `{}` into `{shown}`, with {} cases that it holds\n\
             read it, change it, then: consilium policy check {shown}\n",
            bundle.name(),
            bundle.cases().count()
        ),
    })
}
