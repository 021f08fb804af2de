//! Who got through the handshake and then misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use consilium_link::{
    Chunk, CloseCode, Connection, Credentials, DialError, Dialer, LinkError, LinkLimits,
    RequestStream,
};
use consilium_protocol::limits::FRAME_BYTES_MAX;
use consilium_protocol::message::{Hello, Request, Response, TensorsAhead, Train, Update};
use consilium_protocol::{Digest, Role, wire};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Connections that hold a valid handshake, all told.
pub(crate) const CROWD: usize = 1000;

/// Addresses that they come from.
pub(crate) const ADDRESSES: usize = 5;

/// Researchers among them. Each has as many connections as a member may have.
pub(crate) const PEOPLE: usize = 56;
const CONNECTIONS_OF_EACH: usize = 16;

/// One connection of the crowd comes after another.
const ARRIVAL: Duration = Duration::from_millis(8);

/// How often each does what it does.
const PACE: Duration = Duration::from_secs(1);

/// Requests that the coordinator lets one connection have open.
const STREAMS: usize = 64;

/// Credentials that a member of the crowd came by honestly.
pub(crate) struct Member(pub(crate) Credentials);

/// What one connection does, over and over, until it is thrown out; then it comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Silence,
    /// A request that comes a few bytes a second and never ends.
    Drip,
    /// As many streams as it may have, each begun and dropped again: thousands in a minute.
    Streams,
    /// All of a request but its end, on as many streams as it may have.
    Gaps,
    /// A frame that says it is longer than any request, and one longer than any frame.
    Oversized,
    OtherVersion,
    /// What the coordinator and a site said to each other in another round, as a request.
    Replay,
    /// Asks for long answers and reads none.
    Deaf,
    /// Nobody's token, and again.
    Enrolment,
}

const OF_MEMBERS: [Deed; 8] = [
    Deed::Silence,
    Deed::Drip,
    Deed::Streams,
    Deed::Gaps,
    Deed::Oversized,
    Deed::OtherVersion,
    Deed::Replay,
    Deed::Deaf,
];
const OF_STRANGERS: [Deed; 2] = [Deed::Silence, Deed::Enrolment];

/// How one of them comes in. A site says hello, and so takes the place of whoever said it before.
#[derive(Clone)]
struct Caller {
    dialer: Dialer,
    is_site: bool,
}

/// Everybody; they go when this is dropped.
pub(crate) struct Crowd {
    tally: Arc<Tally>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Tally {
    let_in: AtomicUsize,
    standing: AtomicUsize,
    most_standing: AtomicUsize,
    turned_away: AtomicUsize,
    deeds: AtomicUsize,
}

impl Crowd {
    /// Everybody begins to come through these doors.
    pub(crate) fn gathers(doors: &[String], members: Vec<Member>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let tally = Arc::<Tally>::default();
        let anchor = members[0].0.anchor().fingerprint();
        let of_members = members.iter().flat_map(|Member(credentials)| {
            let caller = Caller {
                dialer: Dialer::member(credentials.clone(), LinkLimits::default()),
                is_site: credentials.identity().role == Role::Site,
            };
            std::iter::repeat_n(caller, CONNECTIONS_OF_EACH).zip(OF_MEMBERS.into_iter().cycle())
        });
        let stranger = Caller {
            dialer: Dialer::stranger(anchor, LinkLimits::default()),
            is_site: false,
        };
        let of_strangers = std::iter::repeat(stranger).zip(OF_STRANGERS.into_iter().cycle());
        let doors = doors.iter().cycle();
        for (((caller, deed), door), turn) in of_members
            .chain(of_strangers)
            .zip(doors)
            .zip(0..CROWD as u32)
        {
            let (door, tally) = (door.clone(), tally.clone());
            runtime.spawn(async move {
                tokio::time::sleep(ARRIVAL * turn).await;
                loop {
                    comes(&caller, &door, deed, &tally).await;
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        Self {
            tally,
            runtime: Some(runtime),
        }
    }

    /// Handshakes that ended well.
    pub(crate) fn let_in(&self) -> usize {
        self.tally.let_in.load(Relaxed)
    }

    /// What it has done so far; keeping silent or a stream open is no deed.
    pub(crate) fn misdeeds(&self) -> usize {
        self.tally.deeds.load(Relaxed)
    }

    /// What it has done so far, for a line of print.
    pub(crate) fn story(&self) -> String {
        let Tally {
            let_in,
            most_standing,
            turned_away,
            deeds,
            ..
        } = &*self.tally;
        let [let_in, most, away, deeds] =
            [let_in, most_standing, turned_away, deeds].map(|count| count.load(Relaxed));
        format!(
            "{let_in} were let in, {most} stood at once, {away} found no place, {deeds} misdeeds"
        )
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One connection, from its handshake until it is thrown out.
async fn comes(caller: &Caller, door: &str, deed: Deed, tally: &Tally) {
    let connection = match caller.dialer.dial(door).await {
        Ok(connection) => connection,
        Err(DialError::Busy { .. } | DialError::TimedOut { .. } | DialError::Broken { .. }) => {
            tally.turned_away.fetch_add(1, Relaxed);
            return;
        }
        Err(error) => panic!("the crowd's own credentials fail: {error}"),
    };
    tally.let_in.fetch_add(1, Relaxed);
    let standing = tally.standing.fetch_add(1, Relaxed) + 1;
    tally.most_standing.fetch_max(standing, Relaxed);
    let misbehaving = async {
        if caller.is_site {
            let hello = Hello {
                software_version: "0".into(),
                datasets: Vec::new(),
            };
            connection.ask(Request::Hello(hello)).await.ok();
        }
        while misbehaves(&connection, deed).await.is_ok() {
            tally.deeds.fetch_add(1, Relaxed);
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::select! {
        () = misbehaving => {}
        _ = connection.closed() => {}
    }
    connection.close(CloseCode::Done, "");
    tally.standing.fetch_sub(1, Relaxed);
}

async fn misbehaves(connection: &Connection, deed: Deed) -> Result<(), LinkError> {
    match deed {
        Deed::Silence => std::future::pending().await,
        Deed::Drip => drips(connection).await,
        Deed::Streams => {
            let begun = Raw::of(1000, 10);
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                let mut stream = connection.open_request().await?;
                stream.send(&begun).await?;
                streams.push(stream);
            }
            streams.iter_mut().for_each(|stream| stream.stop(1));
            Ok(())
        }
        Deed::Gaps => leaves_gaps(connection).await,
        Deed::Oversized => {
            is_refused(connection, async |stream| {
                stream.send(&Raw::of(FRAME_BYTES_MAX, 100)).await
            })
            .await?;
            is_refused(connection, async |stream| {
                stream.send_chunk(&starting_with(*b"CS\x01\x00")).await
            })
            .await
        }
        Deed::OtherVersion => {
            is_refused(connection, async |stream| {
                stream.send_chunk(&starting_with(*b"CS\x02\x00")).await
            })
            .await
        }
        Deed::Replay => {
            for _ in 0..10 {
                let round = other_round();
                let train = wire::Request::from(Request::Train(round.clone()));
                is_refused(connection, async |stream| stream.send(&train).await).await?;
                let update = wire::Response::from(Response::Update(update_of(round)));
                is_refused(connection, async |stream| stream.send(&update).await).await?;
            }
            Ok(())
        }
        Deed::Deaf => {
            let mut unread = Vec::new();
            for request in [Request::ListMembers, Request::ListRuns]
                .into_iter()
                .cycle()
                .take(STREAMS)
            {
                let mut stream = connection.open_request().await?;
                stream.send(&wire::Request::from(request)).await?;
                unread.push(stream);
            }
            std::future::pending().await
        }
        Deed::Enrolment => {
            let enrol = wire::Request::from(Request::Enrol {
                token: "nobody's".to_owned(),
                certificate_request: vec![0x30; 1000],
            });
            is_refused(connection, async |stream| stream.send(&enrol).await).await?;
            // A stranger has one request; the next needs another handshake.
            Err(LinkError::Finished)
        }
    }
}

async fn drips(connection: &Connection) -> Result<(), LinkError> {
    let mut stream = connection.open_request().await?;
    stream.send(&Raw::of(100_000, 1)).await?;
    let drop = Chunk::new(Bytes::from_static(&[0]))?;
    loop {
        tokio::time::sleep(PACE).await;
        stream.send_chunk(&drop).await?;
    }
}

async fn leaves_gaps(connection: &Connection) -> Result<(), LinkError> {
    let mut gaps = JoinSet::new();
    for _ in 0..STREAMS {
        let connection = connection.clone();
        gaps.spawn(async move {
            let mut stream = connection.open_request().await?;
            stream.send(&Raw::of(100_000, 99_999)).await?;
            // The last byte never comes.
            stream.receive::<wire::Response>().await.map(|_| ())
        });
    }
    gaps.join_all()
        .await
        .into_iter()
        .find(|_| true)
        .unwrap_or(Ok(()))
}

/// Sends what the coordinator does not take, and waits until it says so. How it says it does not matter here.
async fn is_refused(
    connection: &Connection,
    send: impl AsyncFnOnce(&mut RequestStream) -> Result<(), LinkError>,
) -> Result<(), LinkError> {
    let mut stream = connection.open_request().await?;
    send(&mut stream).await.ok();
    stream.finish().ok();
    stream.receive::<wire::Response>().await.ok();
    Ok(())
}

/// A chunk's first bytes on the wire are its length; of one this long they read as a frame's header, and the hash
/// that follows as a length beyond every limit.
fn starting_with(header: [u8; 4]) -> Chunk {
    let bytes = u32::from_le_bytes(header) as usize;
    Chunk::new(Bytes::from(vec![7; bytes])).unwrap()
}

fn other_round() -> Train {
    Train {
        state: TensorsAhead {
            run_id: "r-ffffffffffff".parse().unwrap(),
            round: 7,
            bytes: 56,
            blake3: [3; 32],
        },
        from_chunk: 0,
    }
}

fn update_of(round: Train) -> Update {
    Update {
        tensors: round.state,
        records: 100,
        training_loss: None,
        held_out: None,
        metrics_withheld: true,
        bundle: Digest([2; 32]),
    }
}

/// Bytes where a message should be: the frame says `length`, and fewer follow.
#[derive(Debug, Default)]
struct Raw {
    length: usize,
    bytes: Vec<u8>,
}

impl Raw {
    fn of(length: usize, bytes: usize) -> Self {
        let bytes = vec![8; bytes];
        Self { length, bytes }
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
