//! Who must not get in, and what they are told.

use std::sync::Arc;

use consilium_protocol::frame::{MAGIC, VERSION};
use consilium_protocol::{Millis, Role, wire};
use quinn::{ClientConfig, ServerConfig};

use super::{Consortium, DAY_MS, loopback, now};
use crate::authority::COORDINATOR_DNS_NAME;
use crate::tls::{self, CoordinatorVerifier, Expected};
use crate::transport::{self, End};
use crate::{
    CloseCode, Closed, Connection, Credentials, DialError, Dialer, Fingerprint, LinkError,
    LinkLimits, MemberKey,
};

async fn refused(dialer: Dialer, address: &str) -> DialError {
    dialer
        .dial(address)
        .await
        .expect_err("this caller must not get in")
}

/// A QUIC endpoint that shows any credentials as a server and then says `greeting`.
fn impostor(credentials: &Credentials, greeting: &'static [u8]) -> String {
    let tls = tls::server_config(credentials).unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let limits = LinkLimits::default();
    config.transport_config(transport::transport_config(&limits, End::Listener));
    let endpoint = transport::listening_endpoint(loopback(), config, [0; 32], &limits).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Ok(quic) = incoming.await else { continue };
            let Ok((mut send, _receive)) = quic.accept_bi().await else {
                continue;
            };
            send.write_all(greeting).await.ok();
            send.finish().ok();
            quic.closed().await;
        }
    });
    address
}

/// A handshake without the greeting that should follow it.
async fn raw(
    credentials: Option<&Credentials>,
    fingerprint: Fingerprint,
    address: &str,
) -> (quinn::Connection, quinn::Endpoint) {
    let verifier = Arc::new(CoordinatorVerifier::new(Expected::Pinned(fingerprint)));
    let tls = tls::client_config(verifier, credentials).unwrap();
    let limits = LinkLimits::default();
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport::transport_config(&limits, End::Dialer));
    let endpoint = transport::dialing_endpoint(loopback(), &limits).unwrap();
    let quic = endpoint
        .connect_with(config, address.parse().unwrap(), COORDINATOR_DNS_NAME)
        .unwrap()
        .await
        .unwrap();
    (quic, endpoint)
}

#[tokio::test]
async fn another_consortiums_coordinator_is_not_believed() {
    let ours = Consortium::new();
    let theirs = Consortium::new();
    let (_listener, address) = theirs.listener(LinkLimits::default());
    let invited = Dialer::stranger(ours.authority.fingerprint(), LinkLimits::default());
    let member = Dialer::member(ours.member(Role::Site, "cleveland"), LinkLimits::default());
    for dialer in [invited, member] {
        let error = refused(dialer, &address).await;
        let expected = ours.authority.fingerprint();
        assert!(
            matches!(&error, DialError::WrongConsortium { expected: named, .. } if *named == expected),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_foreign_certificate_is_refused_and_its_owner_told() {
    let ours = Consortium::new();
    let (_listener, address) = ours.listener(LinkLimits::default());
    // It knows our authority, so it believes us; its own certificate is another's.
    let key = MemberKey::generate().unwrap();
    let request = key.certificate_request().unwrap();
    let identity = crate::Identity::new(Role::Site, "cleveland".parse().unwrap());
    let foreign = Consortium::new()
        .authority
        .issue(&request, &identity, DAY_MS, now())
        .unwrap();
    let credentials = Credentials::new(key, &foreign, ours.authority.anchor().clone()).unwrap();
    let error = refused(Dialer::member(credentials, LinkLimits::default()), &address).await;
    assert!(
        matches!(error, DialError::CertificateForeign { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_either_side() {
    let consortium = Consortium::new();
    let long_ago = Millis(now().0 - 10 * DAY_MS);
    let (_listener, address) = consortium.listener(LinkLimits::default());
    let expired = consortium.member_at(Role::Site, "cleveland", long_ago);
    let error = refused(Dialer::member(expired, LinkLimits::default()), &address).await;
    assert!(
        matches!(error, DialError::CertificateExpired { .. }),
        "{error}"
    );

    let address = impostor(
        &consortium.member_at(Role::Coordinator, "hub", long_ago),
        b"",
    );
    let site = consortium.member(Role::Site, "cleveland");
    let error = refused(Dialer::member(site, LinkLimits::default()), &address).await;
    assert!(
        matches!(error, DialError::CoordinatorCertificate { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("expired"));
}

#[tokio::test]
async fn a_member_of_another_role_cannot_pass_for_the_coordinator() {
    let consortium = Consortium::new();
    let site = consortium.member(Role::Site, "cleveland");
    for role in [Role::Site, Role::Researcher, Role::Officer, Role::Admin] {
        let address = impostor(&consortium.member(role, "mallory"), b"");
        let error = refused(
            Dialer::member(site.clone(), LinkLimits::default()),
            &address,
        )
        .await;
        assert!(
            matches!(&error, DialError::NotACoordinator { identity, .. } if identity.role == role),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_stranger_who_asks_twice_is_shown_out() {
    let consortium = Consortium::new();
    let (mut listener, address) = consortium.listener(LinkLimits::default());
    let dialer = Dialer::stranger(consortium.authority.fingerprint(), LinkLimits::default());
    let (stranger, hub) = tokio::join!(dialer.dial(&address), listener.accept());
    let (stranger, hub) = (stranger.unwrap(), hub.unwrap());

    let ask_and_answer = async |stranger: &Connection, hub: &Connection| {
        let mut asked = stranger.open_request().await?;
        asked.send(&wire::Enrol::default()).await?;
        asked.finish()?;
        let mut stream = hub.accept_request().await?;
        stream.receive::<wire::Enrol>().await?;
        stream.send(&wire::Done::default()).await?;
        stream.finish()?;
        asked.receive::<wire::Done>().await
    };
    ask_and_answer(&stranger, &hub).await.unwrap();
    let second = ask_and_answer(&stranger, &hub).await.unwrap_err();
    assert!(matches!(second, LinkError::StrangerRequests), "{second}");
    assert!(matches!(
        stranger.closed().await,
        Closed::ByPeer {
            code: CloseCode::StrangerLimit,
            ..
        }
    ));
}

#[tokio::test]
async fn a_stranger_who_stays_is_shown_out() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        stranger_lifetime_ms: 50,
        ..LinkLimits::default()
    };
    let (_listener, address) = consortium.listener(limits);
    let dialer = Dialer::stranger(consortium.authority.fingerprint(), LinkLimits::default());
    let stranger = dialer.dial(&address).await.unwrap();
    assert!(matches!(
        stranger.closed().await,
        Closed::ByPeer {
            code: CloseCode::StrangerLimit,
            ..
        }
    ));
}

#[tokio::test]
async fn another_version_is_named_on_both_sides() {
    let consortium = Consortium::new();
    let site = consortium.member(Role::Site, "cleveland");
    let (_listener, address) = consortium.listener(LinkLimits::default());
    let (quic, _endpoint) = raw(Some(&site), consortium.authority.fingerprint(), &address).await;
    let (mut send, _receive) = quic.open_bi().await.unwrap();
    send.write_all(b"CS\x09\x00\0\0\0\0").await.unwrap();
    let closed = Closed::from(quic.closed().await);
    assert!(
        matches!(&closed, Closed::ByPeer { code: CloseCode::Version, reason } if reason.contains('9')),
        "{closed}"
    );

    let address = impostor(
        &consortium.member(Role::Coordinator, "hub"),
        b"CS\x09\x00\0\0\0\0",
    );
    let error = refused(Dialer::member(site, LinkLimits::default()), &address).await;
    assert!(
        matches!(
            error,
            DialError::VersionMismatch {
                theirs: Some(9),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_protocol_name_rises_with_its_version() {
    assert_eq!(MAGIC, *b"CS");
    assert_eq!(tls::ALPN, format!("consilium/{VERSION}").as_bytes());
}

#[tokio::test]
async fn a_caller_that_says_nothing_or_nonsense_delays_nobody() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        handshake_timeout_ms: 300,
        ..LinkLimits::default()
    };
    let (mut listener, address) = consortium.listener(limits);
    let site = consortium.member(Role::Site, "cleveland");
    let fingerprint = consortium.authority.fingerprint();
    let (silent, _endpoint) = raw(Some(&site), fingerprint, &address).await;
    let (babbling, _endpoint) = raw(None, fingerprint, &address).await;
    let (mut send, _receive) = babbling.open_bi().await.unwrap();
    send.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();

    let dialer = Dialer::member(site, LinkLimits::default());
    let (connected, hub) = tokio::join!(dialer.dial(&address), listener.accept());
    connected.unwrap();
    assert_eq!(
        hub.unwrap().peer().identity().unwrap().to_string(),
        "site cleveland"
    );

    let babbled = Closed::from(babbling.closed().await);
    assert!(
        matches!(
            babbled,
            Closed::ByPeer {
                code: CloseCode::Protocol,
                ..
            }
        ),
        "{babbled}"
    );
    // Shown out once its time is over; without a code, as the handshake never ended.
    silent.closed().await;
}

#[tokio::test]
async fn a_full_house_says_so() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        connections_per_address_max: 1,
        ..LinkLimits::default()
    };
    let (mut listener, address) = consortium.listener(limits);
    let dialer = Dialer::member(
        consortium.member(Role::Site, "cleveland"),
        LinkLimits::default(),
    );
    let (site, hub) = tokio::join!(dialer.dial(&address), listener.accept());
    let error = refused(dialer.clone(), &address).await;
    assert!(matches!(error, DialError::Busy { .. }), "{error}");

    // There is room again once a connection has gone.
    site.unwrap().close(CloseCode::Done, "");
    let hub = hub.unwrap();
    hub.closed().await;
    drop(hub);
    let (site, hub) = tokio::join!(dialer.dial(&address), listener.accept());
    assert!(site.is_ok() && hub.is_some());
}

#[tokio::test]
async fn one_member_does_not_fill_the_house() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        connections_per_member_max: 1,
        ..LinkLimits::default()
    };
    let (mut listener, address) = consortium.listener(limits);
    let dialer = |name| {
        let member = consortium.member(Role::Researcher, name);
        Dialer::member(member, LinkLimits::default())
    };
    let mallory = dialer("mallory");
    let (first, hub) = tokio::join!(mallory.dial(&address), listener.accept());
    let error = refused(mallory, &address).await;
    assert!(matches!(error, DialError::Busy { .. }), "{error}");
    let ada = dialer("ada");
    let (other, other_hub) = tokio::join!(ada.dial(&address), listener.accept());
    assert!(other.is_ok() && other_hub.is_some());
    drop((first, hub));
}

#[tokio::test]
async fn a_loaded_listener_makes_callers_prove_their_address() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        handshakes_before_retry: 0,
        ..LinkLimits::default()
    };
    let (_site, hub, _listener) = consortium.connected(limits).await;
    assert!(hub.peer().identity().is_some());
}
