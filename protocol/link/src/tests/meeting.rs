//! What works: members meet, strangers enrol, tensors travel.

use std::time::Duration;

use bytes::Bytes;
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::{Role, wire};

use super::{Consortium, DAY_MS, loopback, now};
use crate::{
    Chunk, CloseCode, Closed, Credentials, DialError, Dialer, Fingerprint, Identity, LinkError,
    LinkLimits, ListenError, Listener, MemberKey, Peer,
};

fn hello(software_version: &str) -> wire::Hello {
    wire::Hello {
        software_version: software_version.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn both_ends_know_each_other_and_either_may_ask() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    assert_eq!(
        site.peer().identity().unwrap().to_string(),
        "coordinator hub"
    );
    assert_eq!(hub.peer().identity().unwrap().to_string(), "site cleveland");

    for (asks, answers) in [(&site, &hub), (&hub, &site)] {
        let ask = async {
            let mut stream = asks.open_request().await.unwrap();
            stream.send(&hello("question")).await.unwrap();
            stream.finish().unwrap();
            stream
                .receive::<wire::Hello>()
                .await
                .unwrap()
                .software_version
        };
        let answer = async {
            let mut stream = answers.accept_request().await.unwrap();
            let heard: wire::Hello = stream.receive().await.unwrap();
            assert!(matches!(
                stream.receive::<wire::Hello>().await,
                Err(LinkError::Ended)
            ));
            stream.send(&hello("answer")).await.unwrap();
            heard.software_version
        };
        assert_eq!(
            tokio::join!(ask, answer),
            ("answer".into(), "question".into())
        );
    }
    let stats = site.stats();
    assert!(stats.udp_sent_bytes > 0 && stats.udp_received_bytes > 0);
}

#[tokio::test]
async fn more_requests_than_strangers_get_are_open_to_a_member() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let mut open = Vec::new();
    for number in 0..32 {
        let mut stream = site.open_request().await.unwrap();
        stream.send(&hello(&number.to_string())).await.unwrap();
        let mut accepted = hub.accept_request().await.unwrap();
        let heard: wire::Hello = accepted.receive().await.unwrap();
        assert_eq!(heard.software_version, number.to_string());
        open.push((stream, accepted));
    }
}

#[tokio::test]
async fn a_stranger_learns_the_authority_it_was_invited_by_and_becomes_a_member() {
    let consortium = Consortium::new();
    let (mut listener, address) = consortium.listener(LinkLimits::default());
    let key = MemberKey::generate().unwrap();
    let dialer = Dialer::stranger(consortium.authority.fingerprint(), LinkLimits::default());

    let enrol = async {
        let (connection, anchor) = dialer.dial_and_learn(&address).await.unwrap();
        let mut stream = connection.open_request().await.unwrap();
        let certificate_request = key.certificate_request().unwrap().into();
        let enrol = wire::Enrol {
            token: "once".into(),
            certificate_request,
        };
        stream.send(&enrol).await.unwrap();
        stream.finish().unwrap();
        let answer: wire::Certificate = stream.receive().await.unwrap();
        Credentials::new(key, &answer.chain[0], anchor).unwrap()
    };
    let admit = async {
        let connection = listener.accept().await.unwrap();
        assert_eq!(connection.peer(), &Peer::Stranger);
        let mut stream = connection.accept_request().await.unwrap();
        let enrol: wire::Enrol = stream.receive().await.unwrap();
        let identity = Identity::new(Role::Site, "cleveland".parse().unwrap());
        let issued = consortium
            .authority
            .issue(&enrol.certificate_request, &identity, DAY_MS, now())
            .unwrap();
        stream
            .send(&wire::Certificate {
                chain: vec![issued.into()],
                ca: Bytes::new(),
            })
            .await
            .unwrap();
        stream.finish().unwrap();
        connection.closed().await
    };
    let (credentials, _) = tokio::join!(enrol, admit);

    let member = Dialer::member(credentials, LinkLimits::default());
    let (site, hub) = tokio::join!(member.dial(&address), listener.accept());
    site.unwrap();
    assert_eq!(
        hub.unwrap().peer().identity().unwrap().to_string(),
        "site cleveland"
    );
}

#[tokio::test]
async fn tensors_travel_whole_both_ways_at_once() {
    const CHUNKS: usize = 6;
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    // A last chunk shorter than the others, and no two alike.
    let chunk = |number: usize| {
        let bytes = if number == CHUNKS - 1 {
            1234
        } else {
            CHUNK_BYTES_MAX
        };
        Chunk::new(Bytes::from(vec![number as u8; bytes])).unwrap()
    };
    let exchange = async |stream: crate::RequestStream| {
        let (mut sender, mut receiver) = stream.split();
        let send = async {
            for number in 0..CHUNKS {
                sender.send_chunk(&chunk(number)).await.unwrap();
            }
            sender.finish().unwrap();
        };
        let receive = async {
            for number in 0..CHUNKS {
                let body = receiver.receive_chunk(CHUNK_BYTES_MAX).await.unwrap();
                assert_eq!(&body, chunk(number).body());
            }
            receiver.ended().await.unwrap();
        };
        tokio::join!(send, receive);
        sender.delivered().await.unwrap();
    };
    let asks = async {
        let mut stream = site.open_request().await.unwrap();
        stream.send(&hello("tensors follow")).await.unwrap();
        exchange(stream).await;
    };
    let answers = async {
        let mut stream = hub.accept_request().await.unwrap();
        stream.receive::<wire::Hello>().await.unwrap();
        exchange(stream).await;
    };
    tokio::join!(asks, answers);
}

#[tokio::test]
async fn an_evicted_member_is_told_and_its_requests_end() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let mut stream = site.open_request().await.unwrap();
    stream.send(&hello("")).await.unwrap();
    let _unanswered = hub.accept_request().await.unwrap();
    hub.close(CloseCode::Evicted, "the contract ended");

    let evicted = Closed::ByPeer {
        code: CloseCode::Evicted,
        reason: "the contract ended".into(),
    };
    let error = stream.receive::<wire::Hello>().await.unwrap_err();
    assert!(matches!(error, LinkError::Closed(cause) if cause == evicted));
    site.close(CloseCode::Done, "no answer");
    assert_eq!(
        site.closed().await,
        evicted,
        "closing again keeps the cause"
    );
    assert_eq!(hub.closed().await, Closed::ByUs);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let consortium = Consortium::new();
    let (listener, _) = consortium.listener(LinkLimits::default());
    let address = listener.local_address().unwrap();
    let credentials = consortium.member(Role::Coordinator, "hub");
    let error = Listener::bind(address, &credentials, LinkLimits::default())
        .err()
        .unwrap();
    assert!(matches!(&error, ListenError::PortInUse { address: named } if *named == address));
    assert!(error.to_string().contains(&address.port().to_string()));
}

#[tokio::test]
async fn only_a_coordinator_listens() {
    let site = Consortium::new().member(Role::Site, "cleveland");
    let error = Listener::bind(loopback(), &site, LinkLimits::default())
        .err()
        .unwrap();
    assert!(matches!(error, ListenError::NotACoordinator { .. }));
}

#[tokio::test]
async fn an_address_that_is_none_and_a_name_that_nobody_knows_are_told_apart() {
    let dialer = Dialer::stranger(Fingerprint::of(b""), LinkLimits::default());
    for address in ["", "hub", "hub:", "hub:port", "hub:70000", ":4433"] {
        let error = dialer.dial(address).await.unwrap_err();
        assert!(
            matches!(error, DialError::NotAnAddress { .. }),
            "{address}: {error}"
        );
    }
    // Too long for the resolver to even ask.
    let error = dialer
        .dial(&format!("{}:4433", "x".repeat(300)))
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn where_nobody_listens_the_dialer_says_how_long_it_waited() {
    // Bound and never read, so that nobody else takes the port meanwhile.
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let limits = LinkLimits {
        handshake_timeout_ms: 100,
        ..LinkLimits::default()
    };
    let dialer = Dialer::stranger(Fingerprint::of(b""), limits);
    let address = silent.local_addr().unwrap().to_string();
    let error = dialer.dial(&address).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { waited_ms: 100, .. }));
    assert!(error.to_string().contains("firewall"));
}

#[tokio::test]
async fn a_closed_listener_tells_everyone() {
    let consortium = Consortium::new();
    let (site, _hub, listener) = consortium.connected(LinkLimits::default()).await;
    let close = listener.close(CloseCode::ShuttingDown, "upgrade");
    let ((), closed) = tokio::join!(close, site.closed());
    let told = Closed::ByPeer {
        code: CloseCode::ShuttingDown,
        reason: "upgrade".into(),
    };
    assert_eq!(closed, told);
}

#[tokio::test]
async fn a_coordinator_that_was_killed_and_came_back_is_noticed_at_the_next_keep_alive() {
    let consortium = Consortium::new();
    let hub = consortium.member(Role::Coordinator, "hub");
    let limits = LinkLimits {
        keep_alive_ms: 50,
        ..LinkLimits::default()
    };
    let dialer = Dialer::member(consortium.member(Role::Site, "cleveland"), limits.clone());

    // Its own runtime, so that it can die without a word.
    let process = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut listener = {
        let _inside = process.enter();
        Listener::bind(loopback(), &hub, limits.clone()).unwrap()
    };
    let address = listener.local_address().unwrap();
    let text = address.to_string();
    let (site, seen) = tokio::join!(dialer.dial(&text), listener.accept());
    let site = site.unwrap();
    let killed = move || process.shutdown_timeout(Duration::from_secs(10));
    tokio::task::spawn_blocking(killed).await.unwrap();
    drop((seen, listener));

    let again = Listener::bind(address, &hub, limits).unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(15), site.closed()).await;
    assert_eq!(noticed.unwrap(), Closed::Restarted);
    drop(again);
}

#[tokio::test]
async fn a_connection_ends_when_nobody_holds_it() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    drop(site);
    let ended = tokio::time::timeout(Duration::from_secs(20), hub.closed()).await;
    assert!(matches!(
        ended.unwrap(),
        Closed::ByPeer {
            code: CloseCode::Done,
            ..
        }
    ));
}
