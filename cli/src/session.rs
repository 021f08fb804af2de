//! A conversation with the coordinator, and finding it again after it was lost.

use std::time::Duration;

use consilium_link::{
    Backoff, CloseCode, Closed, Connection, Credentials, DialError, Dialer, LinkError, LinkLimits,
    RequestStream,
};
use consilium_protocol::message::{Request, Response};
use consilium_protocol::wire;
use tokio::time::timeout;

use crate::ending::{CliError, NoAnswer};
use crate::home::Home;

/// How long a coordinator that was there before is looked for: longer than a restart takes.
const RECONNECT_S: u64 = 600;

/// A connection to the coordinator, as a member.
pub(crate) struct Session {
    dialer: Dialer,
    address: String,
    credentials: Credentials,
    connection: Connection,
}

impl Session {
    /// Talks with the coordinator as the member whose home this is, and takes leave however it
    /// went: the other side would wait for the idle limit. A coordinator that is not there is an
    /// error at once: whoever types wants to know.
    pub(crate) async fn with<T>(
        home: &Home,
        talk: impl AsyncFnOnce(&mut Self) -> Result<T, NoAnswer>,
    ) -> Result<T, NoAnswer> {
        let mut session = Self::begin(home).await?;
        let outcome = talk(&mut session).await;
        session.connection.close_and_tell(CloseCode::Done, "").await;
        outcome
    }

    /// Asks one question and takes leave.
    pub(crate) async fn ask_once(home: &Home, request: Request) -> Result<Response, NoAnswer> {
        Self::with(home, async |session| session.ask(request).await).await
    }

    pub(crate) async fn begin(home: &Home) -> Result<Self, CliError> {
        let (credentials, address) = home.open()?;
        let dialer = Dialer::member(credentials.clone(), LinkLimits::default());
        let connection = dialer.dial(&address).await?;
        Ok(Self {
            dialer,
            address,
            credentials,
            connection,
        })
    }

    /// Takes leave.
    pub(crate) async fn close(self) {
        self.connection.close_and_tell(CloseCode::Done, "").await;
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Asks, and hears the answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Response, NoAnswer> {
        let (_, response) = self.ask_for_more(request).await?;
        Ok(response)
    }

    /// Asks, hears the answer, and keeps the stream for what follows.
    pub(crate) async fn ask_for_more(
        &self,
        request: Request,
    ) -> Result<(RequestStream, Response), NoAnswer> {
        let mut stream = self.connection.ask(request).await?;
        let answer = hear(stream.receive().await?)?;
        Ok((stream, answer))
    }

    /// Asks, and leaves it to the caller to hear.
    pub(crate) async fn open(&self, request: Request) -> Result<RequestStream, LinkError> {
        self.connection.ask(request).await
    }

    /// Dials until the coordinator is back; `told` hears of the first failure only.
    pub(crate) async fn find_again(&mut self, told: &mut dyn FnMut(&str)) -> Result<(), CliError> {
        told("the connection to the coordinator was lost; looking for it again");
        let mut backoff = Backoff::new(jitter()?);
        let mut last = "it did not answer".to_owned();
        let search = async {
            loop {
                // Delays, and decides nothing: the dial says whether it is back.
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
                match self.dialer.dial(&self.address).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) if may_pass(&error) => last = error.to_string(),
                    Err(error) => return Err(CliError::from(error)),
                }
            }
        };
        let found = timeout(Duration::from_secs(RECONNECT_S), search).await;
        self.connection = found.map_err(|_| CliError::NotFoundAgain {
            waited_s: RECONNECT_S,
            last,
        })??;
        Ok(())
    }
}

/// What was heard, with a no and a fault set apart.
pub(crate) fn hear(wire: wire::Response) -> Result<Response, NoAnswer> {
    match Response::try_from(wire).map_err(CliError::from)? {
        Response::Refusal(refusal) => Err(NoAnswer::Refused(refusal)),
        Response::Fault(fault) => Err(NoAnswer::Failed(CliError::Fault(fault))),
        response => Ok(response),
    }
}

/// Whether a conversation that broke off like this may be taken up again.
pub(crate) fn is_lost(error: &LinkError) -> bool {
    match error {
        LinkError::Closed(Closed::ByPeer { code, .. }) => !matches!(
            code,
            CloseCode::Evicted | CloseCode::NotAdmitted | CloseCode::Protocol | CloseCode::Version
        ),
        LinkError::Closed(Closed::ByUs | Closed::Alert { .. } | Closed::NoCommonVersion) => false,
        LinkError::Closed(_)
        | LinkError::Ended
        | LinkError::Stalled { .. }
        | LinkError::NoAnswer { .. }
        | LinkError::GivenUp { .. }
        | LinkError::ChunkTruncated { .. } => true,
        _ => false,
    }
}

/// Whether dialling again later can help.
fn may_pass(error: &DialError) -> bool {
    matches!(
        error,
        DialError::UnknownHost { .. }
            | DialError::Unreachable { .. }
            | DialError::TimedOut { .. }
            | DialError::Busy { .. }
            | DialError::Broken { .. }
    )
}

/// A seed, so that many who lost the same coordinator do not return at once.
fn jitter() -> Result<u64, CliError> {
    let mut seed = [0; 8];
    random(&mut seed)?;
    Ok(u64::from_le_bytes(seed))
}

/// Fills with the system's randomness.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), CliError> {
    getrandom::fill(bytes).map_err(|error| CliError::System {
        what: format!("it gives no randomness ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_waited_for_and_an_eviction_is_not() {
        let by_peer = |code| {
            LinkError::Closed(Closed::ByPeer {
                code,
                reason: String::new(),
            })
        };
        for lost in [
            by_peer(CloseCode::ShuttingDown),
            LinkError::Closed(Closed::Silent),
            LinkError::Closed(Closed::Restarted),
            LinkError::Ended,
        ] {
            assert!(is_lost(&lost), "{lost}");
        }
        for over in [
            by_peer(CloseCode::Evicted),
            by_peer(CloseCode::NotAdmitted),
            LinkError::ChunkHash { bytes: 1 },
        ] {
            assert!(!is_lost(&over), "{over}");
        }
        let address = "127.0.0.1:4433".parse().unwrap();
        assert!(may_pass(&DialError::TimedOut {
            address,
            waited_ms: 1
        }));
        assert!(!may_pass(&DialError::Evicted {
            address,
            reason: String::new()
        }));
        assert!(!may_pass(&DialError::CertificateExpired { address }));
    }
}
