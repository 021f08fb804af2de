//! One request and its answers: messages in frames, tensors in hashed chunks beside them.
//!
//! ```text
//! message: header (8 bytes, see `consilium_protocol::frame`), payload
//! chunk:   length u32 LE, BLAKE3 of the bytes (32 bytes), bytes
//! ```
//!
//! Nothing is read or written without end: a stall is an error, a length over its limit
//! is refused before a byte of it is kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use consilium_protocol::frame::{self, FrameError, HEADER_BYTES, Header};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::close::Closed;
use crate::connection::Shared;
use crate::error::LinkError;
use crate::limits::REQUEST_BYTES_MAX;

/// Bytes before a chunk's own: its length and its hash.
pub const CHUNK_HEADER_BYTES: usize = 4 + 32;

/// Memory is kept for a message as it arrives, in steps of this, and not as it is announced.
const RESERVE_STEP_BYTES: usize = 64 * 1024;

/// Whose turn it is to speak first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This side opened the stream and waits for answers.
    Asks,
    /// This side accepted it; the request is on its way already.
    Answers,
}

/// One request's stream, both ways.
pub struct RequestStream {
    sender: StreamSender,
    receiver: StreamReceiver,
}

/// The half that sends.
pub struct StreamSender {
    stream: SendStream,
    shared: Arc<Shared>,
}

/// The half that receives.
pub struct StreamReceiver {
    stream: RecvStream,
    shared: Arc<Shared>,
    turn: Turn,
    /// Reused from chunk to chunk once the last one is dropped.
    buffer: BytesMut,
}

/// A chunk with its hash, made once and sent to as many peers as need it.
#[derive(Debug, Clone)]
pub struct Chunk {
    header: Bytes,
    body: Bytes,
}

impl Chunk {
    /// Hashes 1 to [`CHUNK_BYTES_MAX`] bytes; does not copy them.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn new(body: Bytes) -> Result<Self, LinkError> {
        let bytes = body.len();
        let length = u32::try_from(bytes).map_err(|_| LinkError::ChunkSize { bytes })?;
        if bytes == 0 || bytes > CHUNK_BYTES_MAX {
            return Err(LinkError::ChunkSize { bytes });
        }
        let mut header = BytesMut::with_capacity(CHUNK_HEADER_BYTES);
        header.put_u32_le(length);
        header.put_slice(blake3::hash(&body).as_bytes());
        Ok(Self {
            header: header.freeze(),
            body,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The bytes, by themselves.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }
}

impl RequestStream {
    pub(crate) fn new(
        shared: Arc<Shared>,
        send: SendStream,
        receive: RecvStream,
        turn: Turn,
    ) -> Self {
        Self {
            sender: StreamSender {
                stream: send,
                shared: shared.clone(),
            },
            receiver: StreamReceiver {
                stream: receive,
                shared,
                turn,
                buffer: BytesMut::new(),
            },
        }
    }

    /// The half that sends, to misbehave with.
    #[cfg(test)]
    pub(crate) fn sender(&mut self) -> &mut StreamSender {
        &mut self.sender
    }

    /// The half that receives, to misbehave with.
    #[cfg(test)]
    pub(crate) fn receiver(&mut self) -> &mut StreamReceiver {
        &mut self.receiver
    }

    /// The two halves, to send and receive at the same time.
    #[must_use]
    pub fn split(self) -> (StreamSender, StreamReceiver) {
        (self.sender, self.receiver)
    }

    /// See [`StreamSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, message: &impl prost::Message) -> Result<(), LinkError> {
        self.sender.send(message).await
    }

    /// See [`StreamSender::send_chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_chunk(&mut self, chunk: &Chunk) -> Result<(), LinkError> {
        self.sender.send_chunk(chunk).await
    }

    /// See [`StreamSender::finish`].
    ///
    /// # Errors
    /// As there.
    pub fn finish(&mut self) -> Result<(), LinkError> {
        self.sender.finish()
    }

    /// See [`StreamReceiver::receive`].
    ///
    /// # Errors
    /// As there.
    pub async fn receive<M: prost::Message + Default>(&mut self) -> Result<M, LinkError> {
        self.receiver.receive().await
    }

    /// See [`StreamReceiver::receive_within`].
    ///
    /// # Errors
    /// As there.
    pub async fn receive_within<M: prost::Message + Default>(
        &mut self,
        wait: Duration,
    ) -> Result<M, LinkError> {
        self.receiver.receive_within(wait).await
    }

    /// See [`StreamReceiver::receive_chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn receive_chunk(&mut self, bytes_max: usize) -> Result<Bytes, LinkError> {
        self.receiver.receive_chunk(bytes_max).await
    }

    /// Gives the stream up both ways; the peer sees `code`.
    pub fn stop(&mut self, code: u32) {
        self.sender.abandon(code);
        self.receiver.stop(code);
    }
}

impl StreamSender {
    /// Sends one message in its frame.
    ///
    /// # Errors
    /// The message is too long, the peer stalls or gave up, or the connection is closed.
    pub async fn send(&mut self, message: &impl prost::Message) -> Result<(), LinkError> {
        let frame = frame::encode(message)?;
        self.write(&mut [frame.into()]).await
    }

    /// Sends one chunk; its bytes are handed on, not copied.
    ///
    /// # Errors
    /// The peer stalls or gave up, or the connection is closed.
    pub async fn send_chunk(&mut self, chunk: &Chunk) -> Result<(), LinkError> {
        self.write(&mut [chunk.header.clone(), chunk.body.clone()])
            .await
    }

    /// Says that nothing more follows. What was sent is still delivered, as long as the
    /// connection is not closed.
    ///
    /// # Errors
    /// The stream was finished or given up before.
    pub fn finish(&mut self) -> Result<(), LinkError> {
        self.stream.finish().map_err(|_| LinkError::Finished)
    }

    /// Waits until the peer has everything that was sent before [`finish`](Self::finish).
    ///
    /// # Errors
    /// The peer gave the stream up, stalls, or the connection is closed.
    pub async fn delivered(&mut self) -> Result<(), LinkError> {
        let waited_ms = self.shared.limits.stream_stall_ms;
        let stopped = timeout(Duration::from_millis(waited_ms), self.stream.stopped())
            .await
            .map_err(|_| LinkError::Stalled { waited_ms })?;
        match stopped {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(LinkError::GivenUp {
                code: code.into_inner(),
            }),
            Err(_) => Err(self.lost()),
        }
    }

    /// Gives the stream up; the peer sees `code` in place of the rest.
    pub fn abandon(&mut self, code: u32) {
        // Fails if it was given up or finished before, which is as good.
        self.stream.reset(VarInt::from_u32(code)).ok();
    }

    /// Sends bytes as a hostile peer would.
    #[cfg(test)]
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Hands over as many bytes as may go without the peer reading any.
    #[cfg(test)]
    pub(crate) async fn send_unread(&mut self, bytes: &[u8]) -> usize {
        self.stream.write(bytes).await.unwrap()
    }

    /// Writes all of a message or chunk, within a time.
    async fn write(&mut self, parts: &mut [Bytes]) -> Result<(), LinkError> {
        let waited_ms = self.shared.limits.transfer_ms_max;
        timeout(Duration::from_millis(waited_ms), self.write_parts(parts))
            .await
            .map_err(|_| LinkError::TooSlow { waited_ms })?
    }

    async fn write_parts(&mut self, mut parts: &mut [Bytes]) -> Result<(), LinkError> {
        let waited_ms = self.shared.limits.stream_stall_ms;
        while !parts.is_empty() {
            let written = timeout(
                Duration::from_millis(waited_ms),
                self.stream.write_chunks(parts),
            )
            .await
            .map_err(|_| LinkError::Stalled { waited_ms })?;
            let written = match written {
                Ok(written) => written,
                Err(WriteError::Stopped(code)) => {
                    return Err(LinkError::GivenUp {
                        code: code.into_inner(),
                    });
                }
                Err(WriteError::ConnectionLost(error)) => return Err(Closed::from(error).into()),
                Err(WriteError::ClosedStream | WriteError::ZeroRttRejected) => {
                    return Err(LinkError::Finished);
                }
            };
            parts = parts.get_mut(written.chunks..).unwrap_or_default();
        }
        Ok(())
    }

    fn lost(&self) -> LinkError {
        match self.shared.quic.close_reason() {
            Some(error) => Closed::from(error).into(),
            None => LinkError::Finished,
        }
    }
}

impl StreamReceiver {
    /// Receives one message. The side that asked waits [`REPLY_WAIT_MS`] for it to
    /// begin, the side that answers [`STREAM_STALL_MS`]; once it has begun, each side
    /// fails after [`STREAM_STALL_MS`] without a byte. What the side that answers
    /// receives is a request, and at most [`REQUEST_BYTES_MAX`] long.
    ///
    /// # Errors
    /// The frame is malformed, too long or another version's; the stream ended
    /// ([`LinkError::Ended`] if it did so between messages); the peer stalls or gave up;
    /// the connection is closed.
    ///
    /// [`REPLY_WAIT_MS`]: crate::limits::REPLY_WAIT_MS
    /// [`STREAM_STALL_MS`]: crate::limits::STREAM_STALL_MS
    pub async fn receive<M: prost::Message + Default>(&mut self) -> Result<M, LinkError> {
        let limits = &self.shared.limits;
        let wait_ms = match self.turn {
            Turn::Asks => limits.reply_wait_ms,
            Turn::Answers => limits.stream_stall_ms,
        };
        self.receive_within(Duration::from_millis(wait_ms)).await
    }

    /// As [`receive`](Self::receive), and waits so long for the message to begin.
    ///
    /// # Errors
    /// As there; [`LinkError::NoAnswer`] if none began in time.
    pub async fn receive_within<M: prost::Message + Default>(
        &mut self,
        wait: Duration,
    ) -> Result<M, LinkError> {
        self.buffer.clear();
        let begun = timeout(wait, self.read_some(HEADER_BYTES))
            .await
            .map_err(|_| LinkError::NoAnswer {
                waited_ms: millis(wait),
            })?;
        if begun? == 0 {
            return Err(LinkError::Ended);
        }
        self.fill(HEADER_BYTES, HEADER_BYTES).await?;
        let header = self.take_array::<HEADER_BYTES>();
        let wanted = Header::parse(header)?.payload_bytes();
        if self.turn == Turn::Answers && wanted > REQUEST_BYTES_MAX {
            return Err(LinkError::RequestTooLong { bytes: wanted });
        }
        self.fill(wanted, RESERVE_STEP_BYTES).await?;
        // Copied out: a small field that shared the buffer would keep all of it alive.
        frame::decode_payload(self.buffer.as_ref()).map_err(Into::into)
    }

    /// Receives one chunk of at most `bytes_max` bytes and checks its hash. Drop it
    /// before the next one and its memory is used again.
    ///
    /// # Errors
    /// The chunk is empty, longer than `bytes_max` or [`CHUNK_BYTES_MAX`], cut short, or
    /// does not match its hash; otherwise as [`receive`](Self::receive).
    pub async fn receive_chunk(&mut self, bytes_max: usize) -> Result<Bytes, LinkError> {
        self.buffer.clear();
        self.fill_chunk(CHUNK_HEADER_BYTES).await?;
        let [l0, l1, l2, l3] = self.take_array::<4>();
        let hash = blake3::Hash::from_bytes(self.take_array::<32>());
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let limit = bytes_max.min(CHUNK_BYTES_MAX);
        if bytes == 0 || bytes > limit {
            return Err(LinkError::ChunkTooLong { bytes, limit });
        }
        self.fill_chunk(bytes).await?;
        let body = self.buffer.split().freeze();
        if blake3::hash(&body) != hash {
            return Err(LinkError::ChunkHash { bytes });
        }
        Ok(body)
    }

    /// Waits for the peer to end its half; anything else that it sends is an error.
    ///
    /// # Errors
    /// More bytes came, the peer stalls or gave up, or the connection is closed.
    pub async fn ended(&mut self) -> Result<(), LinkError> {
        self.buffer.clear();
        match self.fill(1, 1).await {
            Err(LinkError::Frame(FrameError::Truncated { .. })) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(FrameError::NotAMessage.into()),
        }
    }

    /// Tells the peer to send no more; it sees `code`.
    pub fn stop(&mut self, code: u32) {
        // Fails if the stream has ended already, which is as good.
        self.stream.stop(VarInt::from_u32(code)).ok();
    }

    /// Reads so many bytes as a hostile peer would.
    #[cfg(test)]
    pub(crate) async fn receive_raw(&mut self, bytes: usize) {
        self.stream.read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    async fn fill_chunk(&mut self, wanted: usize) -> Result<(), LinkError> {
        self.fill(wanted, wanted)
            .await
            .map_err(|error| match error {
                LinkError::Frame(FrameError::Truncated { got, wanted }) => {
                    LinkError::ChunkTruncated { got, wanted }
                }
                other => other,
            })
    }

    /// Reads until the buffer holds exactly `wanted` bytes, within a time.
    async fn fill(&mut self, wanted: usize, step: usize) -> Result<(), LinkError> {
        let waited_ms = self.shared.limits.transfer_ms_max;
        timeout(
            Duration::from_millis(waited_ms),
            self.read_until(wanted, step),
        )
        .await
        .map_err(|_| LinkError::TooSlow { waited_ms })?
    }

    async fn read_until(&mut self, wanted: usize, step: usize) -> Result<(), LinkError> {
        let waited_ms = self.shared.limits.stream_stall_ms;
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            let room = missing.min(step);
            if self.buffer.capacity() - self.buffer.len() < room {
                self.buffer.reserve(room);
            }
            let stall = Duration::from_millis(waited_ms);
            let read = timeout(stall, self.read_some(missing))
                .await
                .map_err(|_| LinkError::Stalled { waited_ms })?;
            if read? == 0 {
                return Err(FrameError::Truncated {
                    got: self.buffer.len(),
                    wanted,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Appends between 1 and `bytes_max` bytes to the buffer, or none where the stream ends.
    async fn read_some(&mut self, bytes_max: usize) -> Result<usize, LinkError> {
        let mut room = (&mut self.buffer).limit(bytes_max);
        self.stream.read_buf(&mut room).await.map_err(read_error)
    }

    /// The buffer's first `N` bytes; the caller has filled that many.
    fn take_array<const N: usize>(&mut self) -> [u8; N] {
        let head = self.buffer.split_to(N.min(self.buffer.len()));
        let mut array = [0; N];
        array.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        array
    }
}

/// What quinn hid in an [`io::Error`] to satisfy tokio's trait.
fn read_error(error: io::Error) -> LinkError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ReadError>())
    {
        Some(ReadError::Reset(code)) => LinkError::GivenUp {
            code: code.into_inner(),
        },
        Some(ReadError::ConnectionLost(error)) => Closed::from(error.clone()).into(),
        _ => LinkError::Finished,
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
