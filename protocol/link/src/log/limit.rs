//! Which lines of a period are written. Pure: whoever owns it says when the next period begins.

use std::collections::BTreeMap;

/// How long a period lasts.
pub(super) const PERIOD_MS: u64 = 60_000;

/// Lines of one kind that one peer writes in a period. An honest member writes a few.
pub(super) const LINES_PER_PEER_MAX: u64 = 20;

/// Lines of one kind that all peers together write in a period: a hundred hospitals that each come back once fit in,
/// and whoever calls from thousands of addresses does not. It bounds the memory too, for who writes nothing is not
/// remembered by name.
pub(super) const LINES_PER_KIND_MAX: u64 = 400;

/// Counts the lines of a period, by kind and peer.
#[derive(Debug, Default)]
pub(super) struct LineLimit {
    kinds: BTreeMap<&'static str, Kind>,
    lifted: bool,
}

/// Lines from one place in the code.
#[derive(Debug, Default)]
struct Kind {
    /// What its first line said.
    what: String,
    written: u64,
    left_out: u64,
    peers: BTreeMap<String, Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    written: u64,
    left_out: u64,
}

/// Lines of one kind that were not written in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) what: String,
    pub(super) lines: u64,
    /// Peers known by name that lines of were left out.
    pub(super) peers: u64,
    /// The one with the most of them; empty where nobody is known by name.
    pub(super) most_by: String,
}

impl LineLimit {
    /// Whether a line of this kind, about this peer, is written.
    pub(super) fn admits(&mut self, kind: &'static str, peer: &str, what: &str) -> bool {
        if self.lifted {
            return true;
        }
        let kind = self.kinds.entry(kind).or_default();
        if kind.what.is_empty() {
            what.clone_into(&mut kind.what);
        }
        let full = kind.written >= LINES_PER_KIND_MAX;
        if !full && !kind.peers.contains_key(peer) {
            kind.peers.insert(peer.to_owned(), Lines::default());
        }
        let Some(lines) = kind.peers.get_mut(peer) else {
            kind.left_out += 1;
            return false;
        };
        if full || lines.written >= LINES_PER_PEER_MAX {
            kind.left_out += 1;
            lines.left_out += 1;
            return false;
        }
        kind.written += 1;
        lines.written += 1;
        true
    }

    /// Begins the next period; gives back what was left out of the one before.
    pub(super) fn next_period(&mut self) -> Vec<LeftOut> {
        let kinds = std::mem::take(&mut self.kinds).into_values();
        kinds
            .filter(|kind| kind.left_out > 0)
            .map(|kind| {
                let silenced = || kind.peers.iter().filter(|(_, lines)| lines.left_out > 0);
                let most = silenced().max_by_key(|(_, lines)| lines.left_out);
                LeftOut {
                    lines: kind.left_out,
                    peers: silenced().count() as u64,
                    most_by: most.map(|(peer, _)| peer.clone()).unwrap_or_default(),
                    what: kind.what.clone(),
                }
            })
            .collect()
    }

    /// Writes everything from now on.
    pub(super) fn lift(&mut self) {
        self.lifted = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_period_begins_with_nothing_counted() {
        let mut limit = LineLimit::default();
        let mut writes = || (0..100).filter(|_| limit.admits("a", "va", "says")).count() as u64;
        assert_eq!(writes(), LINES_PER_PEER_MAX);
        assert_eq!(writes(), 0);
        let left_out = LeftOut {
            what: "says".into(),
            lines: 200 - LINES_PER_PEER_MAX,
            peers: 1,
            most_by: "va".into(),
        };
        assert_eq!(limit.next_period(), [left_out]);
        assert_eq!(limit.next_period(), []);
        assert!(limit.admits("a", "va", "says"));
    }

    #[test]
    fn a_thousand_addresses_fill_no_more_than_their_kind_and_are_not_remembered() {
        let mut limit = LineLimit::default();
        let from = |at: u32| std::net::Ipv4Addr::from(at).to_string();
        let written = (0..100_000).filter(|at| limit.admits("a", &from(*at), "fails"));
        assert_eq!(written.count() as u64, LINES_PER_KIND_MAX);
        assert_eq!(limit.kinds["a"].peers.len() as u64, LINES_PER_KIND_MAX);
        // Other kinds are not touched.
        assert!(limit.admits("b", &from(7), "something else"));
        assert_eq!(limit.next_period()[0].lines, 100_000 - LINES_PER_KIND_MAX);
    }

    #[test]
    fn a_limit_that_was_lifted_leaves_nothing_out() {
        let mut limit = LineLimit::default();
        limit.lift();
        assert!((0..1000).all(|_| limit.admits("a", "va", "says")));
        assert_eq!(limit.next_period(), []);
    }

    proptest! {
        #[test]
        fn every_line_is_written_or_told_of(lines in proptest::collection::vec((0..3_usize, 0..60_u8), 0..3000)) {
            let mut limit = LineLimit::default();
            let kinds = ["a", "b", "c"];
            let mut written = BTreeMap::<(usize, u8), u64>::new();
            for (kind, peer) in &lines {
                if limit.admits(kinds[*kind], &peer.to_string(), kinds[*kind]) {
                    *written.entry((*kind, *peer)).or_default() += 1;
                }
            }
            prop_assert!(written.values().all(|lines| *lines <= LINES_PER_PEER_MAX));
            for (at, kind) in kinds.iter().enumerate() {
                let of_kind: u64 = written.iter().filter(|((k, _), _)| *k == at).map(|(_, lines)| lines).sum();
                prop_assert!(of_kind <= LINES_PER_KIND_MAX);
                let _ = kind;
            }
            let told: u64 = limit.next_period().iter().map(|left_out| left_out.lines).sum();
            prop_assert_eq!(written.values().sum::<u64>() + told, lines.len() as u64);
        }
    }
}
