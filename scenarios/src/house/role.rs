//! This program, playing one of the product's binaries.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

/// A binary of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Coordinator,
    Node,
}

impl Role {
    const ALL: [Self; 2] = [Self::Coordinator, Self::Node];

    /// The hidden first argument that asks for the role.
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Self::Coordinator => "as-coordinator",
            Self::Node => "as-node",
        }
    }
}

/// Plays the role that the arguments ask for, if they do; as long as whoever began this
/// process holds the other end of its standard input.
#[must_use]
pub fn played(arguments: &[OsString]) -> Option<ExitCode> {
    let (_, rest) = arguments.split_first()?;
    let (asked, rest) = rest.split_first()?;
    let role = Role::ALL
        .into_iter()
        .find(|role| asked == role.argument())?;
    let with_name = |name: &str| {
        std::iter::once(OsString::from(name))
            .chain(rest.iter().cloned())
            .collect::<Vec<_>>()
    };
    leave_with_the_story();
    Some(match role {
        Role::Coordinator => {
            consilium_coordinator::command::run(with_name("consilium-coordinator"))
        }
        Role::Node => consilium_node::command::run(with_name("consilium-node")),
    })
}

/// A story that was killed outright could not end its processes; they see their input end.
fn leave_with_the_story() {
    std::thread::spawn(|| {
        let mut input = std::io::stdin().lock();
        let mut byte = [0];
        while matches!(input.read(&mut byte), Ok(1..)) {}
        std::process::exit(1);
    });
}
