//! How long a search takes, one after another: as the asker waits for all sites and for the largest alone, and the
//! search alone inside that one.

use consilium_protocol::search::Ranking;
use serde_json::{Value, json};

use super::central::Central;
use super::collections::ANSWERS;
use super::desk::{Asked, Desk, timed};
use super::measures::{DEPTH, Times};
use super::silos::{Holdings, Row, SILOS};
use crate::house::{Consortium, Member};
use crate::story::StoryError;
use crate::story::told::Work;

/// Searches of each order.
const SEARCHES: usize = 200;

/// Times of one order.
#[derive(Debug, Clone)]
pub(super) struct Latency {
    pub(super) name: &'static str,
    /// From the asker's call to its return: QUIC, coordinator, nine nodes with policy and journal, and back.
    pub(super) whole: Times,
    /// The same question to the largest silo's node only: what is beyond the search alone is QUIC, coordinator, policy
    /// and journal.
    pub(super) of_one: Times,
    /// The search alone, over the largest silo's collection.
    pub(super) alone: Times,
}

impl Latency {
    pub(super) fn json(&self) -> Value {
        json!({
            "ranking": self.name,
            "whole": self.whole.json(),
            "one_site": self.of_one.json(),
            "search_alone": self.alone.json(),
        })
    }
}

/// The site with most rows, whose search is the longest.
fn largest(holdings: &Holdings) -> usize {
    let sizes = holdings.silos.iter().map(Vec::len).enumerate();
    sizes
        .max_by_key(|(_, rows)| *rows)
        .map_or(0, |(silo, _)| silo)
}

/// Measures each order.
///
/// # Errors
/// A search that failed.
pub(super) fn measure(
    consortium: &Consortium,
    ada: &Member,
    holdings: &Holdings,
    items: &[&Row],
) -> Result<Vec<Latency>, StoryError> {
    let site = SILOS.get(largest(holdings)).map_or("", |silo| silo.site);
    let node = Central::open(&consortium.folder(site), ANSWERS, holdings)?;
    let desk = Desk::open(ada.home())?;
    let orders = [
        ("words", Ranking::Words),
        ("vectors", Ranking::Vectors),
        ("both", Ranking::Both),
    ];
    let mut measured = Vec::new();
    for (name, ranking) in orders {
        let (mut whole, mut of_one, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        let items = items.get(..SEARCHES).unwrap_or(items);
        let mut work = Work::of("searches one after another", items.len());
        for item in items {
            let asked = Asked::plainly(&item.question, ANSWERS, ranking, DEPTH as u16);
            whole.push(desk.ask(&asked)?.took);
            let of_site = Asked {
                sites: &[site],
                ..asked
            };
            of_one.push(desk.ask(&of_site)?.took);
            let (found, took) = timed(|| node.search_alone(&item.question, ranking));
            found?;
            alone.push(took);
            work.advance();
        }
        measured.push(Latency {
            name,
            whole: Times::of(whole),
            of_one: Times::of(of_one),
            alone: Times::of(alone),
        });
    }
    desk.close();
    Ok(measured)
}
