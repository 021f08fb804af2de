//! What comes in through the coordinator's two doors, from members and from strangers, and is no request.

use std::net::UdpSocket;

use bytes::{BufMut, Bytes};
use consilium_link::{Chunk, Connection, Credentials, Dialer, LinkLimits, RequestStream};
use consilium_protocol::message::Response;
use consilium_protocol::{RefusalCode, wire};

use crate::process::{eventually, runtime};
use crate::world::Consortium;

/// Bytes where a message should be. The frame's header says `length`; what follows it is `bytes`, be they more or
/// less than that.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) length: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    /// A true message, and these bytes after it on the stream.
    pub(crate) fn after(message: &impl prost::Message, bytes: &[u8]) -> Self {
        let mut all = message.encode_to_vec();
        let length = all.len();
        all.extend_from_slice(bytes);
        Self { length, bytes: all }
    }
}

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.bytes);
    }

    fn merge_field(
        &mut self,
        _tag: u32,
        _wire_type: prost::encoding::WireType,
        _buffer: &mut impl bytes::Buf,
        _context: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.length
    }

    fn clear(&mut self) {}
}

/// What is no request, and what the coordinator's log calls it.
const NO_REQUESTS: [(&str, &str); 5] = [
    ("garbage", "does not speak the consilium protocol"),
    ("too-long", "is over the limit"),
    ("other-version", "speaks protocol version 2"),
    ("truncated", "ended after"),
    ("no-message", "not a valid message"),
];

async fn send(stream: &mut RequestStream, what: &str) {
    // A chunk on the wire begins with its length. Of a chunk as long as this, the length reads as `CS`, version 1 or
    // 2, and the hash behind it as a length over every limit.
    let version_1 = u32::from_le_bytes(*b"CS\x01\x00") as usize;
    let version_2 = u32::from_le_bytes(*b"CS\x02\x00") as usize;
    let chunk = |bytes: usize| Chunk::new(Bytes::from(vec![7; bytes])).unwrap();
    let sent = match what {
        "garbage" => stream.send_chunk(&chunk(100)).await,
        "too-long" => stream.send_chunk(&chunk(version_1)).await,
        "other-version" => stream.send_chunk(&chunk(version_2)).await,
        "truncated" => {
            let bytes = vec![8; 10];
            stream
                .send(&Raw {
                    length: 1000,
                    bytes,
                })
                .await
        }
        _ => {
            let bytes = vec![0xff; 10];
            stream.send(&Raw { length: 10, bytes }).await
        }
    };
    // The coordinator may have given the stream up before everything was sent.
    sent.ok();
    stream.finish().ok();
}

async fn is_not_answered(connection: &Connection, what: &str) {
    let mut stream = connection.open_request().await.unwrap();
    send(&mut stream, what).await;
    let answer = stream.receive::<wire::Response>().await;
    assert!(answer.is_err(), "{what} was answered with {answer:?}");
}

fn logged(consortium: &Consortium, says: &str) {
    eventually(says, || {
        consortium.coordinator.log().contains(says).then_some(())
    });
}

#[test]
fn a_member_that_talks_nonsense_is_not_answered_and_others_are() {
    let consortium = Consortium::found();
    let site = consortium.site("cleveland");
    let credentials = Credentials::load(&site.path("identity")).unwrap();
    runtime().block_on(async {
        let dialer = Dialer::member(credentials, LinkLimits::default());
        let connection = dialer.dial(&consortium.address()).await.unwrap();
        for (what, _) in NO_REQUESTS {
            is_not_answered(&connection, what).await;
        }
        // A frame that says nothing gets an answer, and the connection still serves.
        let mut stream = connection.open_request().await.unwrap();
        stream.send(&Raw::default()).await.unwrap();
        stream.finish().unwrap();
        let answer: wire::Response = stream.receive().await.unwrap();
        match Response::try_from(answer).unwrap() {
            Response::Refusal(refusal) => assert_eq!(refusal.code, RefusalCode::BadRequest),
            other => panic!("{other:?}"),
        }
    });
    NO_REQUESTS
        .iter()
        .for_each(|(_, says)| logged(&consortium, says));
    assert!(!consortium.coordinator.log().contains("panicked"));
    consortium.running_site("va");
}

/// A minute's lines of one kind and one peer, as the log's limit has them.
const LINES_A_MINUTE: u64 = 20;

#[test]
fn a_member_that_talks_nonsense_a_thousand_times_fills_no_log_and_the_log_says_so() {
    const TIMES: u64 = 1000;
    let consortium = Consortium::found();
    let site = consortium.site("cleveland");
    let credentials = Credentials::load(&site.path("identity")).unwrap();
    let began = tokio::time::Instant::now();
    runtime().block_on(async {
        let dialer = Dialer::member(credentials, LinkLimits::default());
        let connection = dialer.dial(&consortium.address()).await.unwrap();
        for _ in 0..TIMES {
            is_not_answered(&connection, "no-message").await;
        }
    });
    let minutes = began.elapsed().as_secs() / 60 + 2;
    let log = consortium.coordinator.log();
    let lines = log.matches("a request could not be read").count() as u64;
    assert!(
        lines > 0 && lines <= LINES_A_MINUTE * minutes,
        "{lines} lines"
    );
    logged(&consortium, "lines of the last minute were left out");
    // Others are still heard of.
    let va = consortium.running_site("va");
    logged(&consortium, "says hello site=va");
    drop(va);
}

#[test]
fn a_stranger_that_talks_nonsense_is_not_answered_and_others_are() {
    let consortium = Consortium::found();
    let admin = Credentials::load(&consortium.admin().home).unwrap();
    let authority = admin.anchor().fingerprint();
    runtime().block_on(async {
        for (what, _) in NO_REQUESTS {
            let dialer = Dialer::stranger(authority, LinkLimits::default());
            let connection = dialer.dial(&consortium.address()).await.unwrap();
            is_not_answered(&connection, what).await;
        }
        // A stranger may enrol, and ask nothing else.
        let dialer = Dialer::stranger(authority, LinkLimits::default());
        let connection = dialer.dial(&consortium.address()).await.unwrap();
        let mut stream = connection.open_request().await.unwrap();
        let request = consilium_protocol::message::Request::ListMembers;
        stream.send(&wire::Request::from(request)).await.unwrap();
        stream.finish().unwrap();
        let answer: wire::Response = stream.receive().await.unwrap();
        match Response::try_from(answer).unwrap() {
            Response::Refusal(refusal) => assert_eq!(refusal.code, RefusalCode::WrongRole),
            other => panic!("{other:?}"),
        }
    });
    NO_REQUESTS
        .iter()
        .for_each(|(_, says)| logged(&consortium, says));
    consortium.running_site("cleveland");
}

#[test]
fn packets_that_are_no_quic_harm_nobody() {
    let mut consortium = Consortium::found();
    let _site = consortium.running_site("cleveland");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut byte = 0u8;
    for length in (0..1400).step_by(7) {
        let packet: Vec<u8> = (0..length)
            .map(|_| {
                byte = byte.wrapping_mul(109).wrapping_add(89);
                byte
            })
            .collect();
        socket.send_to(&packet, consortium.address()).unwrap();
        // The first bytes of a QUIC version 1 Initial, with nothing true behind them.
        let initial = [&[0xc3, 0, 0, 0, 1, 8][..], &packet].concat();
        socket.send_to(&initial, consortium.address()).unwrap();
    }
    consortium.is_up();
    consortium.knows_as_connected(&["cleveland"]);
    assert!(!consortium.coordinator.log().contains("panicked"));
}
