//! The coordinator's streams, mirrored: `run/ask.rs`.
//!
//! What arrives reaches the real round as the shell's tasks would hand it on; a stream that was replaced may still be
//! heard for as long as the shell's queue is.

use bytes::Bytes;
use consilium_coordinator::round::{AskNumber, RoundIn};
use consilium_protocol::message::{Fault, Request, Response, Update};
use consilium_protocol::model::{chunk_len, chunks_of};
use consilium_protocol::{SiteName, frame, wire};

use super::coordinator::Stage;
use super::network::Way;
use super::property::{Property, Step, must};
use super::world::{Message, World};

/// What the shell's queue holds: so much may still be heard of a stream that was replaced.
const HEARD_MAX: u64 = 8;

/// How often a long upload is cut in its middle, and how soon.
const CUT_HALFWAY_PERMILLE: u64 = 200;
const CUT_HALFWAY_WITHIN_MS: u64 = 2_000;

/// A stream that the coordinator opened.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(super) site: usize,
    pub(super) epoch: u64,
    pub(super) purpose: Purpose,
    /// Replaced, with so many messages that may still be heard.
    pub(super) lingers: Option<u8>,
}

/// What a stream is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    Review,
    Update {
        ask: AskNumber,
        from_chunk: u64,
        /// After the head: the next chunk.
        next_chunk: Option<u64>,
    },
    Evaluate,
    Told,
}

impl World {
    pub(super) fn coordinator_loses(&mut self, site: usize) -> Step {
        let mut broken_off = Vec::new();
        if let Some(process) = &mut self.coordinator.process {
            process.streams.retain(|_, stream| {
                let is_lost = stream.site == site;
                if is_lost {
                    broken_off.push(stream.purpose.clone());
                }
                !is_lost
            });
        }
        for purpose in broken_off {
            match purpose {
                Purpose::Review => self.review_answered(site, None)?,
                Purpose::Evaluate => self.evaluation_answered(site, None)?,
                Purpose::Update { .. } | Purpose::Told => {}
            }
        }
        match self.named(site) {
            Some(name) => self.hear(RoundIn::Lost(name)),
            None => Ok(()),
        }
    }

    pub(super) fn ask_times_out(&mut self, life: u64, stream: u64) -> Step {
        if self.coordinator.lives != life {
            return Ok(());
        }
        let Some(found) = self.stream(stream) else {
            return Ok(());
        };
        if let Purpose::Update {
            next_chunk: Some(_),
            ..
        } = found.purpose
        {
            return Ok(());
        }
        self.stream_fails(stream, &found, "no answer in time")
    }

    /// Something arrives on a stream that the coordinator opened.
    pub(super) fn coordinator_hears(
        &mut self,
        site: usize,
        epoch: u64,
        stream: u64,
        message: Message,
    ) -> Step {
        if !self.is_heard(Way::ToCoordinator, site, epoch) {
            return Ok(());
        }
        let Some(mut found) = self.stream(stream) else {
            return Ok(());
        };
        if let Some(left) = found.lingers {
            found.lingers = left.checked_sub(1);
            self.put_stream(stream, found.lingers.map(|_| found.clone()));
        }
        match message {
            Message::Frame(bytes) => {
                let answer = frame::decode::<wire::Response>(&bytes)
                    .ok()
                    .and_then(|wire| Response::try_from(wire).ok());
                match answer {
                    Some(answer) => self.answered(stream, found, answer),
                    None => self.stream_fails(stream, &found, "the answer is malformed"),
                }
            }
            Message::Chunk(bytes) => self.chunk(stream, found, bytes),
            Message::Broken => self.stream_fails(stream, &found, "the stream broke"),
            Message::State(_) | Message::Ended => Ok(()),
        }
    }

    fn answered(&mut self, stream: u64, found: Stream, answer: Response) -> Step {
        let site = found.site;
        match found.purpose {
            Purpose::Review => {
                self.put_stream(stream, None);
                self.review_answered(site, Some(answer))
            }
            Purpose::Evaluate => {
                self.put_stream(stream, None);
                self.evaluation_answered(site, Some(answer))
            }
            Purpose::Told => {
                self.put_stream(stream, None);
                Ok(())
            }
            Purpose::Update { ask, .. } => self.update_answered(stream, found, ask, answer),
        }
    }

    fn update_answered(
        &mut self,
        stream: u64,
        found: Stream,
        ask: AskNumber,
        answer: Response,
    ) -> Step {
        let Some(site) = self.sites.get(found.site).map(|s| s.plan.name.clone()) else {
            return Ok(());
        };
        match answer {
            Response::Done => {
                let Some(Stage::Round(collect)) = self.stage_mut() else {
                    return Ok(());
                };
                let bytes = collect.bytes.clone();
                self.send_state(found.site, found.epoch, stream, bytes);
                Ok(())
            }
            Response::Update(update) => self.header(stream, found, site, update),
            Response::Refusal(refusal) => {
                self.put_stream(stream, None);
                self.is_blamed_rightly(found.site, &refusal)?;
                self.hear(RoundIn::Refused { site, ask, refusal })
            }
            Response::Fault(fault) => {
                self.put_stream(stream, None);
                self.hear(RoundIn::Failed { site, ask, fault })
            }
            _ => self.stream_fails(stream, &found, "something else than was asked"),
        }
    }

    /// A site that admitted the run knows it until the run ends.
    fn is_blamed_rightly(&self, site: usize, refusal: &consilium_protocol::Refusal) -> Step {
        let unknown = refusal.code == consilium_protocol::RefusalCode::UnknownRun;
        must(!unknown, Property::HonestIsNotBlamed, || {
            format!("site {site} admitted the run and does not know it any more")
        })
    }

    fn header(&mut self, stream: u64, mut found: Stream, site: SiteName, update: Update) -> Step {
        let announced = update.tensors.bytes;
        let Purpose::Update {
            ask,
            from_chunk,
            next_chunk,
        } = &mut found.purpose
        else {
            return Ok(());
        };
        *next_chunk = Some(*from_chunk);
        let ask = *ask;
        // A shell hands nothing more on of an update of another length.
        let goes_on = announced == self.spec.bytes_on_the_wire();
        self.put_stream(stream, goes_on.then_some(found));
        self.hear(RoundIn::Header { site, ask, update })
    }

    fn chunk(&mut self, stream: u64, mut found: Stream, bytes: Bytes) -> Step {
        let Some(site) = self.sites.get(found.site).map(|s| s.plan.name.clone()) else {
            return Ok(());
        };
        let whole = self.spec.bytes_on_the_wire();
        let Purpose::Update {
            ask,
            next_chunk: Some(next_chunk),
            ..
        } = &mut found.purpose
        else {
            return self.stream_fails(stream, &found, "a chunk before its head");
        };
        let (ask, index) = (*ask, *next_chunk);
        *next_chunk += 1;
        if bytes.len() > chunk_len(whole, index) {
            return self.stream_fails(stream, &found, "a chunk that is too long");
        }
        let is_last = index + 1 >= chunks_of(whole);
        self.put_stream(stream, (!is_last).then_some(found));
        let index_of_site = self.by_name.get(&site).copied();
        if let Some(cut) = index_of_site.filter(|_| !is_last && self.is_stormy())
            && self.dice.permille(CUT_HALFWAY_PERMILLE)
        {
            self.report.links_cut += 1;
            self.cut_link_within(cut, CUT_HALFWAY_WITHIN_MS);
        }
        let doubled = is_last && self.is_stormy() && self.dice.permille(self.plan.network.doubled);
        let number = self.collecting();
        let chunk = RoundIn::Chunk {
            site,
            ask,
            index,
            bytes,
        };
        self.hear(chunk.clone())?;
        match doubled && number.is_some() && self.collecting() == number {
            true => {
                self.report.doubled += 1;
                self.hear(chunk)
            }
            false => Ok(()),
        }
    }

    fn collecting(&self) -> Option<u32> {
        match self.coordinator.stage() {
            Some(Stage::Round(collect)) => Some(collect.number),
            _ => None,
        }
    }

    fn stream_fails(&mut self, stream: u64, found: &Stream, what: &str) -> Step {
        self.put_stream(stream, None);
        let Some(site) = self.sites.get(found.site).map(|s| s.plan.name.clone()) else {
            return Ok(());
        };
        match found.purpose {
            Purpose::Review => self.review_answered(found.site, None),
            Purpose::Evaluate => self.evaluation_answered(found.site, None),
            Purpose::Told => Ok(()),
            Purpose::Update { ask, .. } => {
                let fault = Fault {
                    what: what.to_owned(),
                    remedy: "look at that node's log".into(),
                };
                self.hear(RoundIn::Failed { site, ask, fault })
            }
        }
    }

    pub(super) fn send_request(&mut self, site: usize, epoch: u64, stream: u64, request: Request) {
        // A request that does not fit a frame would be lost, and with it the run: seen at the deadline.
        if let Ok(bytes) = frame::encode(&wire::Request::from(request)) {
            self.send(Way::ToSite, site, epoch, stream, Message::Frame(bytes));
        }
    }

    pub(super) fn open(&mut self, site: usize, epoch: u64, purpose: Purpose) -> u64 {
        let stream = self.new_stream();
        let opened = Stream {
            site,
            epoch,
            purpose,
            lingers: None,
        };
        self.put_stream(stream, Some(opened));
        stream
    }

    fn stream(&self, stream: u64) -> Option<Stream> {
        self.coordinator
            .process
            .as_ref()?
            .streams
            .get(&stream)
            .cloned()
    }

    fn put_stream(&mut self, stream: u64, found: Option<Stream>) {
        let Some(process) = &mut self.coordinator.process else {
            return;
        };
        match found {
            Some(found) => process.streams.insert(stream, found),
            None => process.streams.remove(&stream),
        };
    }

    /// The old stream of a site is aborted; what its task handed on already is still heard.
    pub(super) fn replace_stream_of(&mut self, site: usize) {
        let lingers = self
            .dice
            .permille(500)
            .then(|| self.dice.below(HEARD_MAX) as u8);
        let Some(process) = &mut self.coordinator.process else {
            return;
        };
        let mut aborted = Vec::new();
        process.streams.retain(|&number, stream| {
            let is_old = stream.site == site && stream.lingers.is_none();
            if is_old {
                aborted.push((number, stream.epoch));
                stream.lingers = lingers;
            }
            !is_old || lingers.is_some()
        });
        for (number, epoch) in aborted {
            self.send(Way::ToSite, site, epoch, number, Message::Ended);
        }
    }

    pub(super) fn end_streams_of(&mut self, site: &SiteName) {
        let Some(&site) = self.by_name.get(site) else {
            return;
        };
        self.end_streams_where(|stream| stream.site == site);
    }

    pub(super) fn end_streams(&mut self) {
        self.end_streams_where(|_| true);
    }

    fn end_streams_where(&mut self, ends: impl Fn(&Stream) -> bool) {
        let Some(process) = &mut self.coordinator.process else {
            return;
        };
        let ended: Vec<(u64, Stream)> = process
            .streams
            .extract_if(.., |_, stream| ends(stream))
            .collect();
        for (number, stream) in ended {
            self.send(
                Way::ToSite,
                stream.site,
                stream.epoch,
                number,
                Message::Ended,
            );
        }
    }
}
