//! What can be typed after `consilium audit`.

use std::path::PathBuf;

use clap::Subcommand;
use consilium_journal::Head;

use super::Trust;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check a journal from its first entry to its last; find an edit, a reorder, a deletion.
    #[command(after_help = "Examples:\n  consilium audit verify /srv/consilium\n  \
        consilium audit verify /srv/consilium --head 812:9f2c...\n  \
        consilium audit verify /srv/node --require-witness --authority consortium-ca.crt")]
    Verify {
        /// A journal's folder, or a node's or coordinator's folder that contains one.
        folder: PathBuf,
        /// A head recorded elsewhere (entries:hash), to show that nothing was cut off or rewritten.
        #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
        head: Option<Head>,
        /// Fail unless a checkpoint that somebody else cosigned was checked too: without one, nothing shows a cut end.
        #[arg(long)]
        require_witness: bool,
        #[command(flatten)]
        trust: Trust,
    },
    /// Print the entries of a journal, each checked as it is read.
    #[command(
        after_help = "Example:\n  consilium audit show /srv/consilium --kind round-closed --limit 5"
    )]
    Show {
        /// A journal's folder, or a node's or coordinator's folder that contains one.
        folder: PathBuf,
        /// Only entries of this kind.
        #[arg(long)]
        kind: Option<String>,
        /// Only the last so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Prove to others that one entry is in a journal, or check such a proof with public keys alone.
    #[command(
        after_help = "Examples:\n  consilium audit prove /srv/node 812 --to entry-812.json\n  \
        consilium audit prove --check entry-812.json --authority consortium-ca.crt"
    )]
    Prove {
        /// A journal's folder, or a node's folder that contains one.
        #[arg(required_unless_present = "check")]
        folder: Option<PathBuf>,
        /// The entry's number.
        #[arg(required_unless_present = "check")]
        seq: Option<u64>,
        /// Where the proof is written; must not exist.
        #[arg(long)]
        to: Option<PathBuf>,
        /// Check this proof instead.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "seq", "to"])]
        check: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
    },
    /// Write what an officer prints: what left, to whom, at what cost, and what was refused.
    #[command(
        after_help = "Example:\n  consilium audit report /srv/node --to report.html --csv report.csv"
    )]
    Report {
        /// A node's folder, or its journal's.
        folder: PathBuf,
        /// The page; must not exist.
        #[arg(long, default_value = "report.html")]
        to: PathBuf,
        /// Its tables too.
        #[arg(long)]
        csv: Option<PathBuf>,
        /// The δ at which costs are told as ε.
        #[arg(long, default_value_t = 1e-6, value_parser = delta)]
        delta: f64,
        #[command(flatten)]
        trust: Trust,
    },
    /// Write a journal in the forms that others read.
    #[command(
        after_help = "Examples:\n  consilium audit export /srv/node --fhir audit.ndjson\n  \
        consilium audit export /srv/node --article-30 record.md --bundle /srv/node/policy"
    )]
    Export {
        /// A node's folder, or its journal's.
        folder: PathBuf,
        /// FHIR R4 audit events, one a line; must not exist.
        #[arg(long, value_name = "FILE", required_unless_present = "article_30")]
        fhir: Option<PathBuf>,
        /// The record of processing activities of GDPR article 30; must not exist.
        #[arg(long, value_name = "FILE")]
        article_30: Option<PathBuf>,
        /// The folder of the policy in force, for the record.
        #[arg(long, value_name = "FOLDER", requires = "article_30")]
        bundle: Option<PathBuf>,
        /// What the site is called, where no checkpoint says it.
        #[arg(long)]
        site: Option<String>,
        /// The δ at which costs are told as ε.
        #[arg(long, default_value_t = 1e-6, value_parser = delta)]
        delta: f64,
    },
}

/// Above 0 and below 1.
fn delta(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|delta: &f64| *delta > 0.0 && *delta < 1.0)
        .ok_or_else(|| "write a number above 0 and below 1, such as 1e-6".to_owned())
}

/// `entries:hash`, as `audit verify` prints it.
fn head(text: &str) -> Result<Head, String> {
    let wanted = || "write entries:hash, as `consilium audit verify` prints it".to_owned();
    let (seq, hash) = text.split_once(':').ok_or_else(wanted)?;
    Ok(Head {
        seq: seq.parse().map_err(|_| wanted())?,
        hash: hash.parse().map_err(|_| wanted())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_as_it_was_printed() {
        let printed = Head::EMPTY.to_string();
        assert_eq!(head(&printed), Ok(Head::EMPTY));
        for wrong in ["", "1", "x:00", "1:00", &printed.replace(':', "")] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }
}
