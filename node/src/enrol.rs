//! `consilium-node init`: a key made here, a certificate from the coordinator, a folder ready to fill.

use std::path::Path;

use consilium_link::{
    CloseCode, Connection, Credentials, DialError, Dialer, Fingerprint, LinkLimits, MemberKey,
    write_whole,
};
use consilium_protocol::message::{Request, Response};
use consilium_protocol::token::{EnrolmentToken, TokenError};
use consilium_protocol::{Refusal, Role};

use crate::config::{FILE_NAME, Folder, TEMPLATE};
use crate::node::NodeError;
use crate::server::exchange;

/// Enrolment did not come about; nothing was left behind that a second try would trip over.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(
        "this token makes {role} `{name}`, and a node is a site; enrol others with `consilium enrol`"
    )]
    NotASite {
        role: Role,
        name: consilium_protocol::MemberName,
    },
    #[error("`{folder}` holds a node already; choose a new folder, or move it away")]
    Exists { folder: std::path::PathBuf },
    #[error(
        "an enrolment in `{folder}` was cut short before its certificate was written down; move the folder away, \
         and have an administrator evict site `{site}` and invite it again"
    )]
    CutShort {
        folder: std::path::PathBuf,
        site: consilium_protocol::MemberName,
    },
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the coordinator refuses: {0}")]
    Refused(Refusal),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the coordinator did not answer as expected: {0}")]
    Answer(String),
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl EnrolError {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotASite { .. } => "not-a-site",
            Self::Exists { .. } => "exists",
            Self::CutShort { .. } => "enrolment-cut-short",
            Self::Dial(error) => error.code(),
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Token(_) => "bad-token",
            Self::Answer(_) => "bad-answer",
            Self::Node(error) => error.code(),
        }
    }
}

/// Enrols this site: the token says which, and which consortium to trust.
///
/// # Errors
/// Whose fault it is and what to do.
pub async fn enrol(
    root: &Path,
    coordinator: &str,
    token: &EnrolmentToken,
) -> Result<Credentials, EnrolError> {
    if token.role != Role::Site {
        return Err(EnrolError::NotASite {
            role: token.role,
            name: token.name.clone(),
        });
    }
    let folder = Folder::new(root);
    if root.join(FILE_NAME).exists() {
        return Err(EnrolError::Exists {
            folder: root.to_owned(),
        });
    }
    if folder.identity().exists() {
        return finish(root, &folder, coordinator, token);
    }
    let key = MemberKey::generate().map_err(NodeError::from)?;
    let dialer = Dialer::stranger(Fingerprint(token.authority), LinkLimits::default());
    let (connection, anchor) = dialer.dial_and_learn(coordinator).await?;
    let certificate = certificate_for(&connection, &key, token).await;
    connection
        .close_and_tell(CloseCode::Done, "enrolled or not")
        .await;
    let credentials = Credentials::new(key, &certificate?, anchor).map_err(NodeError::from)?;
    write_folder(root, &folder, coordinator, &credentials)?;
    Ok(credentials)
}

/// What an enrolment left that did not come to its end: whole, if only the configuration is missing.
fn finish(
    root: &Path,
    folder: &Folder,
    coordinator: &str,
    token: &EnrolmentToken,
) -> Result<Credentials, EnrolError> {
    match Credentials::load(&folder.identity()) {
        Ok(credentials)
            if credentials.identity().name == token.name
                && credentials.anchor().fingerprint() == Fingerprint(token.authority) =>
        {
            write_config(root, coordinator)?;
            Ok(credentials)
        }
        _ => Err(EnrolError::CutShort {
            folder: root.to_owned(),
            site: token.name.clone(),
        }),
    }
}

async fn certificate_for(
    connection: &Connection,
    key: &MemberKey,
    token: &EnrolmentToken,
) -> Result<Vec<u8>, EnrolError> {
    let request = Request::Enrol {
        token: token.expose(),
        certificate_request: key.certificate_request().map_err(NodeError::from)?,
    };
    let answer = exchange(connection, request)
        .await
        .map_err(|error| EnrolError::Answer(error.to_string()))?;
    match answer {
        Response::Certificate(certificate) => certificate
            .chain
            .into_iter()
            .next()
            .ok_or_else(|| EnrolError::Answer("no certificate".into())),
        Response::Refusal(refusal) => Err(EnrolError::Refused(refusal)),
        Response::Fault(fault) => Err(EnrolError::Answer(format!(
            "{}; {}",
            fault.what, fault.remedy
        ))),
        _ => Err(EnrolError::Answer("something else came back".into())),
    }
}

fn write_folder(
    root: &Path,
    folder: &Folder,
    coordinator: &str,
    credentials: &Credentials,
) -> Result<(), NodeError> {
    let system = |what: String| move |source| NodeError::System { what, source };
    for part in [
        folder.identity(),
        folder.runs(),
        folder.state(),
        root.join("policy"),
        root.join("data"),
    ] {
        std::fs::create_dir_all(&part)
            .map_err(system(format!("cannot make `{}`", part.display())))?;
    }
    credentials.save(&folder.identity())?;
    write_config(root, coordinator)
}

/// Whole, or not at all: the file that makes a folder a node is its last.
fn write_config(root: &Path, coordinator: &str) -> Result<(), NodeError> {
    let config = root.join(FILE_NAME);
    let draft = config.with_extension("partial");
    let text = TEMPLATE.replace("{coordinator}", &coordinator.escape_default().to_string());
    write_whole(&config, &draft, text.as_bytes()).map_err(|error| NodeError::System {
        what: format!("cannot write `{}`", config.display()),
        source: error.source,
    })
}
