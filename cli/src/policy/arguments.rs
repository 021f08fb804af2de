//! What can be typed after `consilium policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use consilium_policies::Release;
use consilium_policies::bundle::PURPOSES;
use consilium_protocol::{DatasetName, MemberName, ProjectName, Purpose};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write a policy to begin from: by answering questions, or as a copy of one that ships.
    #[command(
        after_help = "Examples:\n  consilium policy new cleveland\n  consilium policy new cleveland --from hospital"
    )]
    New {
        /// The bundle's folder; it must not exist, or be empty.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Copy a bundle that ships, and ask nothing.
        #[arg(long, value_enum, value_name = "NAME")]
        from: Option<Shipped>,
    },
    /// Say what is wrong with a policy or risky about it, by file and line; fail on an error.
    #[command(after_help = "Example:\n  consilium policy check cleveland")]
    Check {
        /// The bundle's folder.
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
    },
    /// Decide the cases in cases.toml; fail where one comes out otherwise than it says.
    #[command(after_help = "Example:\n  consilium policy test cleveland")]
    Test {
        /// The bundle's folder.
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
    },
    /// Could a researcher of this project ever get that from this data set, and by which rules?
    #[command(
        after_help = "Example:\n  consilium policy explain cleveland --project cardiology \
        --dataset heart-disease --release update"
    )]
    Explain {
        /// The bundle's folder.
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        #[command(flatten)]
        question: QuestionTyped,
    },
    /// Say what one policy lets out that another does not, and the reverse.
    #[command(after_help = "Example:\n  consilium policy diff /srv/node/policy cleveland")]
    Diff {
        /// The folder of the bundle before.
        old: PathBuf,
        /// The folder of the bundle after.
        new: PathBuf,
    },
    /// Decide a journal's past requests again by a new policy, and list those that come out otherwise.
    #[command(after_help = "Example:\n  consilium policy replay cleveland --journal /srv/node")]
    Replay {
        /// The new bundle's folder.
        new: PathBuf,
        /// A node's folder, or its journal's.
        #[arg(long, value_name = "FOLDER")]
        journal: PathBuf,
    },
    /// Make an officer's key, and print the line by which a node pins it.
    #[command(
        after_help = "Example:\n  consilium policy keygen ~/.consilium-officer --officer olga"
    )]
    Keygen {
        /// The key's folder; it must hold no key yet.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The officer's name, as the node will pin it.
        #[arg(long, value_name = "NAME")]
        officer: MemberName,
    },
    /// Sign a policy, as it lies there, with an officer's key.
    #[command(
        after_help = "Example:\n  consilium policy sign cleveland --key ~/.consilium-officer --officer olga"
    )]
    Sign {
        /// The bundle's folder.
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The folder with the officer's key.
        #[arg(long, value_name = "DIR")]
        key: PathBuf,
        /// The officer's name, as the node pins it.
        #[arg(long, value_name = "NAME")]
        officer: MemberName,
    },
    /// Lay a signed policy before a node, which takes it up without a restart.
    #[command(after_help = "Example:\n  consilium policy install cleveland --node /srv/node")]
    Install {
        /// The bundle's folder.
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// The node's folder, with its node.toml.
        #[arg(long, value_name = "FOLDER")]
        node: PathBuf,
    },
    /// Show a policy in short, or what is in force at a node and what waits there.
    #[command(
        after_help = "Examples:\n  consilium policy show cleveland\n  consilium policy show --node /srv/node"
    )]
    Show {
        /// The bundle's folder.
        #[arg(
            value_name = "BUNDLE",
            required_unless_present = "node",
            conflicts_with = "node"
        )]
        bundle: Option<PathBuf>,
        /// A node's folder, with its node.toml.
        #[arg(long, value_name = "FOLDER")]
        node: Option<PathBuf>,
    },
}

/// A bundle that ships with this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shipped {
    /// A careful default that permits nothing yet, with examples.
    Hospital,
    /// What the members of a consortium permit each other.
    Consortium,
}

#[derive(Debug, Args)]
pub(crate) struct QuestionTyped {
    /// Of which project.
    #[arg(long, value_name = "NAME")]
    pub(super) project: ProjectName,
    /// From which data set.
    #[arg(long, value_name = "NAME")]
    pub(super) dataset: DatasetName,
    /// What would leave: update, metrics, noisy-update, exact-statistics, noisy-statistics, distinct-sketch, search-l0
    /// to search-l4.
    #[arg(long, value_name = "WORD", value_parser = release)]
    pub(super) release: Release,
    /// Asked by whom [default: anybody].
    #[arg(long, value_name = "NAME")]
    pub(super) researcher: Option<MemberName>,
    /// For which purpose: GRU, HMB, DS, POA, CC [default: any].
    #[arg(long, value_name = "CODE", value_parser = purpose)]
    pub(super) purpose: Option<Purpose>,
}

/// A word of `release`, as a permit writes it.
fn release(text: &str) -> Result<Release, String> {
    let found = Release::ALL
        .into_iter()
        .find(|release| release.as_str() == text);
    found.ok_or_else(|| {
        let words = Release::ALL.map(Release::as_str);
        format!("write one of {}", words.join(", "))
    })
}

/// A purpose that a permit can name.
pub(super) fn purpose(text: &str) -> Result<Purpose, String> {
    let upper = text.to_ascii_uppercase();
    match PURPOSES.contains(&upper.as_str()) {
        true => upper.parse().map_err(|error| format!("`{text}`: {error}")),
        false => Err(format!(
            "`{}` is no purpose; write one of {}",
            text.chars().take(40).collect::<String>(),
            PURPOSES.join(", ")
        )),
    }
}
