//! How messages travel: connections that come and go, streams that keep their order, and what befalls both.
//!
//! The link below is QUIC: what is lost is sent again, what is changed on the way is found out, and within a stream
//! nothing overtakes anything. So a lost message is a stream that stays silent, a corrupted one is a stream that
//! breaks, and messages overtake each other between streams only. Corruption before hashing is a node that lies.

use consilium_protocol::Role;

use super::dice::Dice;
use super::property::Step;
use super::world::{Happening, Message, World};

/// Silence after which either side takes a connection for lost.
const IDLE_MS: u64 = 10_000;

/// Between two chunks of one update.
const CHUNK_SPACING_MS: u64 = 4_000;

/// Arrivals that are remembered.
const ARRIVALS_MAX: usize = 8192;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    ToSite,
    ToCoordinator,
}

/// Who hears that a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Site,
    Coordinator,
}

/// A site's connection, as each side sees it: the number of the connection that it believes in.
#[derive(Debug, Clone, Default)]
pub struct Link {
    pub epochs: u64,
    pub at_site: Option<u64>,
    pub at_coordinator: Option<u64>,
}

/// Some sites cut off, one way or both, until a moment.
pub struct Partition {
    pub sites: Vec<usize>,
    pub to_sites: bool,
    pub to_coordinator: bool,
    pub until_ms: u64,
}

impl World {
    /// Sends something on a stream of a connection.
    pub(super) fn send(
        &mut self,
        way: Way,
        site: usize,
        epoch: u64,
        stream: u64,
        message: Message,
    ) {
        let key = (stream, way);
        if self.stalled.contains(&key) || !self.believes(way, site, epoch) {
            return;
        }
        let is_ending = matches!(message, Message::Ended);
        if !is_ending && (self.is_cut(way, site) || self.is_lost()) {
            self.report.lost += 1;
            self.stalled.insert(key);
            return;
        }
        let message = match !is_ending && self.is_corrupted() {
            true => {
                self.report.corrupted += 1;
                self.stalled.insert(key);
                Message::Broken
            }
            false => message,
        };
        let mut at_ms = self.now_ms + self.dice.between(1, self.plan.network.delay_ms_max.max(1));
        let last = self.arrivals.get(&key).copied();
        if matches!(message, Message::Chunk(_)) && last.is_some() {
            at_ms += self.dice.between(1, CHUNK_SPACING_MS);
        }
        let at_ms = at_ms.max(last.unwrap_or(0));
        self.arrivals.insert(key, at_ms);
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_first();
        }
        let wait_ms = at_ms - self.now_ms;
        let doubled = way == Way::ToSite
            && matches!(message, Message::Frame(_))
            && self.is_stormy()
            && self.dice.permille(self.plan.network.doubled);
        if doubled {
            // On a stream of its own, which nobody listens to: the answer comes to nothing.
            self.report.doubled += 1;
            let stream = self.new_stream();
            let again_ms = wait_ms + self.dice.below(2_000);
            let message = message.clone();
            self.after(
                again_ms,
                Happening::Arrives {
                    way,
                    site,
                    epoch,
                    stream,
                    message,
                },
            );
        }
        self.after(
            wait_ms,
            Happening::Arrives {
                way,
                site,
                epoch,
                stream,
                message,
            },
        );
    }

    pub(super) fn new_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    /// Whether the receiver still has this connection.
    pub(super) fn is_heard(&self, way: Way, site: usize, epoch: u64) -> bool {
        let link = self.links.get(site);
        let believed = link.and_then(|link| match way {
            Way::ToSite => link.at_site,
            Way::ToCoordinator => link.at_coordinator,
        });
        believed == Some(epoch)
    }

    fn believes(&self, way: Way, site: usize, epoch: u64) -> bool {
        let sender_hears = match way {
            Way::ToSite => Way::ToCoordinator,
            Way::ToCoordinator => Way::ToSite,
        };
        self.is_heard(sender_hears, site, epoch)
    }

    fn is_lost(&mut self) -> bool {
        self.is_stormy() && self.dice.permille(self.plan.network.lost)
    }

    fn is_corrupted(&mut self) -> bool {
        self.is_stormy() && self.dice.permille(self.plan.network.corrupted)
    }

    fn is_cut(&self, way: Way, site: usize) -> bool {
        self.partitions.iter().any(|partition| {
            let cut = match way {
                Way::ToSite => partition.to_sites,
                Way::ToCoordinator => partition.to_coordinator,
            };
            cut && self.now_ms < partition.until_ms && partition.sites.contains(&site)
        })
    }

    /// A node dials its coordinator; a handshake needs both ways.
    pub(super) fn dial(&mut self, site: usize, life: u64) -> Step {
        let up = self.sites.get(site).is_some_and(|s| s.is_up(life));
        let linked = self
            .links
            .get(site)
            .is_some_and(|link| link.at_site.is_some());
        if !up || linked {
            return Ok(());
        }
        let cut = self.is_cut(Way::ToSite, site) || self.is_cut(Way::ToCoordinator, site);
        if cut || !self.coordinator.is_up() {
            let wait_ms = self.dice.between(500, 3_000);
            self.after(wait_ms, Happening::Dial { site, life });
            return Ok(());
        }
        if !self.coordinator_admits(Role::Site, site)? {
            self.report.turned_away += 1;
            return Ok(());
        }
        let Some(link) = self.links.get_mut(site) else {
            return Ok(());
        };
        link.epochs += 1;
        let epoch = link.epochs;
        (link.at_site, link.at_coordinator) = (Some(epoch), Some(epoch));
        self.site_arrives(site)
    }

    /// Both sides will find out, each in its time.
    pub(super) fn cut_link(&mut self, site: usize) {
        self.cut_link_within(site, IDLE_MS);
    }

    /// As [`World::cut_link`], sooner.
    pub(super) fn cut_link_within(&mut self, site: usize, wait_ms_max: u64) {
        let Some(link) = self.links.get(site).cloned() else {
            return;
        };
        if let Some(epoch) = link.at_site {
            let wait_ms = self.dice.between(1, wait_ms_max);
            let side = Side::Site;
            self.after(wait_ms, Happening::LinkLost { site, epoch, side });
        }
        if let Some(epoch) = link.at_coordinator {
            let wait_ms = self.dice.between(1, wait_ms_max);
            let side = Side::Coordinator;
            self.after(wait_ms, Happening::LinkLost { site, epoch, side });
        }
    }

    pub(super) fn link_is_lost(&mut self, site: usize, epoch: u64, side: Side) -> Step {
        let Some(link) = self.links.get_mut(site) else {
            return Ok(());
        };
        match side {
            Side::Site if link.at_site == Some(epoch) => {
                link.at_site = None;
                self.site_loses_link(site, epoch)
            }
            Side::Coordinator if link.at_coordinator == Some(epoch) => {
                link.at_coordinator = None;
                self.coordinator_loses(site)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn begin_partition(&mut self, partition: Partition) {
        let sites = partition.sites.clone();
        self.partitions.push(partition);
        self.after(IDLE_MS, Happening::IdleLook { sites });
    }

    /// After so long a silence, the connections of those that are still cut off are gone.
    pub(super) fn look_for_idle_links(&mut self, sites: &[usize]) {
        for &site in sites {
            if self.is_cut(Way::ToSite, site) || self.is_cut(Way::ToCoordinator, site) {
                self.cut_link(site);
            }
        }
        let now_ms = self.now_ms;
        self.partitions
            .retain(|partition| now_ms < partition.until_ms);
    }
}

/// Flips one bit somewhere.
pub(super) fn flip_a_bit(bytes: &mut [u8], dice: &mut Dice) {
    let at = dice.index(bytes.len());
    let bit = 1 << dice.below(8);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bit;
    }
}
