//! What a member may try on a stream.

use std::time::Duration;

use bytes::Bytes;
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::limits::{CHUNK_BYTES_MAX, FRAME_BYTES_MAX};
use consilium_protocol::{Role, wire};

use super::Consortium;
use crate::limits::{REQUEST_BYTES_MAX, REQUEST_WINDOW_BYTES};
use crate::{Chunk, Closed, Connection, Dialer, LinkError, LinkLimits, RequestStream};

/// What the coordinator makes of these bytes, sent by a site that then ends the stream.
async fn message_of(bytes: &[u8], site: &Connection, hub: &Connection) -> LinkError {
    let (mut sent, mut received) = opened(bytes, site, hub).await;
    sent.finish().unwrap();
    received
        .receive::<wire::Hello>()
        .await
        .expect_err("this is no message")
}

async fn chunk_of(bytes: &[u8], limit: usize, site: &Connection, hub: &Connection) -> LinkError {
    let (mut sent, mut received) = opened(bytes, site, hub).await;
    sent.finish().unwrap();
    received
        .receive_chunk(limit)
        .await
        .expect_err("this is no chunk")
}

async fn opened(
    bytes: &[u8],
    site: &Connection,
    hub: &Connection,
) -> (RequestStream, RequestStream) {
    let mut sent = site.open_request().await.unwrap();
    sent.sender().send_raw(bytes).await;
    // An empty stream shows itself by its end.
    if bytes.is_empty() {
        sent.finish().unwrap();
    }
    let received = hub.accept_request().await.unwrap();
    (sent, received)
}

fn raw_chunk(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [
        &length.to_le_bytes()[..],
        blake3::hash(body).as_bytes(),
        body,
    ]
    .concat()
}

#[tokio::test]
async fn a_malformed_frame_is_named_for_what_is_wrong_with_it() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let hello = wire::Hello {
        software_version: "0.1.0".into(),
        ..Default::default()
    };
    let good = frame::encode(&hello).unwrap();

    let error = message_of(b"GET / HTTP/1.1\r\n\r\n", &site, &hub).await;
    assert!(
        matches!(error, LinkError::Frame(FrameError::NotAFrame)),
        "{error}"
    );
    let error = message_of(b"CS\x02\x00\0\0\0\0", &site, &hub).await;
    assert!(
        matches!(
            error,
            LinkError::Frame(FrameError::OtherVersion { theirs: 2 })
        ),
        "{error}"
    );
    let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    let error = message_of(
        &[b"CS\x01\x00", &too_long.to_le_bytes()[..]].concat(),
        &site,
        &hub,
    )
    .await;
    assert!(
        matches!(error, LinkError::Frame(FrameError::TooLong { .. })),
        "{error}"
    );
    let error = message_of(b"CS\x01\x00\x02\0\0\0\xff\xff", &site, &hub).await;
    assert!(
        matches!(error, LinkError::Frame(FrameError::NotAMessage)),
        "{error}"
    );
    for end in 1..good.len() {
        let error = message_of(&good[..end], &site, &hub).await;
        assert!(
            matches!(error, LinkError::Frame(FrameError::Truncated { .. })),
            "{error}"
        );
    }
    // And the connection still serves.
    let (_sent, mut received) = opened(&good, &site, &hub).await;
    assert_eq!(received.receive::<wire::Hello>().await.unwrap(), hello);
}

#[tokio::test]
async fn a_request_longer_than_any_is_refused_before_it_is_kept() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let length = u32::try_from(REQUEST_BYTES_MAX + 1).unwrap();
    let header = [b"CS\x01\x00", &length.to_le_bytes()[..]].concat();
    let error = message_of(&header, &site, &hub).await;
    assert!(matches!(error, LinkError::RequestTooLong { .. }), "{error}");
}

#[tokio::test]
async fn who_sends_no_tensors_may_leave_little_unread() {
    let consortium = Consortium::new();
    let (mut listener, address) = consortium.listener(LinkLimits::default());
    let ada = consortium.member(Role::Researcher, "ada");
    let dialer = Dialer::member(ada, LinkLimits::default());
    let (person, hub) = tokio::join!(dialer.dial(&address), listener.accept());
    let (person, _hub) = (person.unwrap(), hub.unwrap());
    let mut request = person.open_request().await.unwrap();
    let sent = request.sender().send_unread(&vec![0; 1 << 20]).await;
    assert!(sent <= REQUEST_WINDOW_BYTES as usize, "{sent}");
}

#[tokio::test]
async fn a_chunk_that_is_not_what_it_says_is_refused() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let good = raw_chunk(b"weights");

    for at in 4..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        let error = chunk_of(&flipped, 100, &site, &hub).await;
        assert!(
            matches!(error, LinkError::ChunkHash { bytes: 7 }),
            "{error}"
        );
    }
    for end in 0..good.len() {
        let mut cut = good.clone();
        cut.truncate(end);
        let (mut sent, mut received) = opened(&cut, &site, &hub).await;
        sent.finish().ok();
        let error = received.receive_chunk(100).await.unwrap_err();
        assert!(matches!(error, LinkError::ChunkTruncated { .. }), "{error}");
    }
    let error = chunk_of(&good, 6, &site, &hub).await;
    assert!(
        matches!(error, LinkError::ChunkTooLong { bytes: 7, limit: 6 }),
        "{error}"
    );
    let error = chunk_of(&raw_chunk(b""), 100, &site, &hub).await;
    assert!(
        matches!(error, LinkError::ChunkTooLong { bytes: 0, .. }),
        "{error}"
    );
    // Whatever the caller allows, the protocol's own limit holds.
    let endless = [&u32::MAX.to_le_bytes()[..], &[0; 32]].concat();
    let error = chunk_of(&endless, usize::MAX, &site, &hub).await;
    assert!(
        matches!(
            error,
            LinkError::ChunkTooLong {
                limit: CHUNK_BYTES_MAX,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_chunk_is_made_within_its_limits() {
    let chunk = |bytes| Chunk::new(Bytes::from(vec![0; bytes]));
    assert!(chunk(1).is_ok() && chunk(CHUNK_BYTES_MAX).is_ok());
    for bytes in [0, CHUNK_BYTES_MAX + 1] {
        assert!(
            matches!(chunk(bytes), Err(LinkError::ChunkSize { bytes: named }) if named == bytes)
        );
    }
}

#[tokio::test]
async fn a_stream_that_makes_no_progress_fails() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        stream_stall_ms: 50,
        ..LinkLimits::default()
    };
    let (site, hub, _listener) = consortium.connected(limits).await;

    // A message begun and never ended; a chunk likewise.
    let (_sent, mut received) = opened(b"CS\x01", &site, &hub).await;
    let error = received.receive::<wire::Hello>().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Stalled { waited_ms: 50 }),
        "{error}"
    );
    let (_sent, mut received) = opened(b"\x01\0\0\0", &site, &hub).await;
    let error = received.receive_chunk(100).await.unwrap_err();
    assert!(matches!(error, LinkError::Stalled { .. }), "{error}");

    // An answer that never begins.
    let (mut sent, _received) = opened(b"CS", &site, &hub).await;
    let wait = Duration::from_millis(20);
    let error = sent.receive_within::<wire::Hello>(wait).await.unwrap_err();
    assert!(
        matches!(error, LinkError::NoAnswer { waited_ms: 20 }),
        "{error}"
    );

    // A peer that reads nothing: the windows fill, then the sender gives up.
    let (mut sent, _received) = opened(b"CS", &site, &hub).await;
    let chunk = Chunk::new(Bytes::from(vec![0; CHUNK_BYTES_MAX])).unwrap();
    let error = async {
        loop {
            if let Err(error) = sent.send_chunk(&chunk).await {
                return error;
            }
        }
    };
    let error = error.await;
    assert!(matches!(error, LinkError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn a_peer_that_sends_a_byte_now_and_then_is_not_waited_for() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        transfer_ms_max: 100,
        ..LinkLimits::default()
    };
    let (site, hub, _listener) = consortium.connected(limits).await;
    let (mut sent, mut received) = opened(&1000u32.to_le_bytes(), &site, &hub).await;
    let trickle = async {
        loop {
            sent.sender().send_raw(b"x").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        error = received.receive_chunk(1000) => {
            assert!(matches!(error, Err(LinkError::TooSlow { waited_ms: 100 })));
        }
        () = trickle => {}
    }
}

#[tokio::test]
async fn a_peer_that_reads_a_little_now_and_then_is_not_waited_for() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        transfer_ms_max: 100,
        stream_window_bytes: 1000,
        send_window_bytes: 1000,
        ..LinkLimits::default()
    };
    let (site, hub, _listener) = consortium.connected(limits).await;
    let (mut sent, mut received) = opened(b"x", &site, &hub).await;
    let chunk = Chunk::new(Bytes::from(vec![0; CHUNK_BYTES_MAX])).unwrap();
    // What is read lets as much follow: the stream never stands still.
    let trickle = async {
        loop {
            received.receiver().receive_raw(200).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        sent = sent.send_chunk(&chunk) => {
            assert!(matches!(sent, Err(LinkError::TooSlow { waited_ms: 100 })), "{sent:?}");
        }
        () = trickle => {}
    }
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_stall_to_begin() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        stream_stall_ms: 20,
        ..LinkLimits::default()
    };
    let (site, hub, _listener) = consortium.connected(limits).await;
    let mut asked = site.open_request().await.unwrap();
    asked.send(&wire::Done::default()).await.unwrap();
    let mut accepted = hub.accept_request().await.unwrap();
    let answer = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        accepted.send(&wire::Done::default()).await.unwrap();
    };
    let (heard, ()) = tokio::join!(asked.receive::<wire::Done>(), answer);
    heard.unwrap();
}

#[tokio::test]
async fn a_stream_given_up_tells_the_other_side_its_code() {
    let consortium = Consortium::new();
    let (site, hub, _listener) = consortium.connected(LinkLimits::default()).await;
    let (mut sent, mut received) = opened(b"CS", &site, &hub).await;
    received.stop(7);
    let error = sent.receive::<wire::Hello>().await.unwrap_err();
    assert!(matches!(error, LinkError::GivenUp { code: 7 }), "{error}");

    // What is still under way to it fails too.
    let chunk = Chunk::new(Bytes::from(vec![0; CHUNK_BYTES_MAX])).unwrap();
    let error = async {
        loop {
            if let Err(error) = sent.send_chunk(&chunk).await {
                return error;
            }
        }
    };
    let error = error.await;
    assert!(matches!(error, LinkError::GivenUp { code: 7 }), "{error}");
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        idle_timeout_ms: 200,
        keep_alive_ms: 60_000,
        ..LinkLimits::default()
    };
    let (site, hub, _listener) = consortium.connected(limits).await;
    // Neither keeps the other alive: both hear nothing.
    assert_eq!(site.closed().await, Closed::Silent);
    assert_eq!(hub.closed().await, Closed::Silent);
}

#[tokio::test]
async fn a_quiet_connection_is_kept_alive() {
    let consortium = Consortium::new();
    let limits = LinkLimits {
        idle_timeout_ms: 300,
        keep_alive_ms: 50,
        ..LinkLimits::default()
    };
    let (site, _hub, _listener) = consortium.connected(limits).await;
    let closed = tokio::time::timeout(Duration::from_millis(900), site.closed()).await;
    assert!(closed.is_err(), "closed: {closed:?}");
}
