//! A consortium whose members are far apart.

use std::io::Write;
use std::thread;

use crate::place::{self, Place};
use crate::wire::{Faults, Wire};
use crate::world::{Consortium, Model, Person, RunFile, Site, replace};

/// Longest that a run may take here: a few outages, or the slowest large transfer.
const RUN_S_MAX: u32 = 900;

/// A coordinator and hospitals, each in a place of its own, with one wire each. What runs ends before its place does.
pub(crate) struct Far {
    /// In the order of the wires.
    pub(crate) sites: Vec<Site>,
    pub(crate) consortium: Consortium,
    pub(crate) wires: Vec<Wire>,
    _places: Vec<Place>,
}

impl Far {
    /// These hospitals, running and connected, over wires with these faults.
    pub(crate) fn found(names: &[&str], faults: Faults) -> Self {
        let middle = Place::new();
        let host = middle.there.to_string();
        let consortium = Consortium::found_at(&host, Some(middle.namespace()), &[]);
        let coordinator = (middle.there, consortium.port()).into();
        let found = |seed: u64, name: &str| {
            let place = Place::new();
            let mut site = consortium.site(name);
            let wire = Wire::new(place.here, coordinator, faults, seed);
            let config = site.path("node.toml");
            replace(&config, &consortium.address(), &wire.address().to_string());
            site.node.move_to(place.namespace());
            site.node.start();
            (site, wire, place)
        };
        let found: Vec<(Site, Wire, Place)> = thread::scope(|scope| {
            let found = &found;
            let founding: Vec<_> = (1..)
                .zip(names)
                .map(|(seed, name)| scope.spawn(move || found(seed, name)))
                .collect();
            founding
                .into_iter()
                .map(|site| site.join().unwrap())
                .collect()
        });
        consortium.knows_as_connected(names);
        let mut far = Self {
            sites: Vec::new(),
            consortium,
            wires: Vec::new(),
            _places: vec![middle],
        };
        for (site, wire, place) in found {
            far.sites.push(site);
            far.wires.push(wire);
            far._places.push(place);
        }
        far
    }

    /// Trains over these wires.
    pub(crate) fn trains(&self, run: &RunFile) -> Model {
        let ada = self.consortium.researcher("ada");
        let run_id = ada.submits(run);
        waits_long_for(&ada, &run_id)
    }

    /// Whether a site's node has counted its connection as lost.
    pub(crate) fn is_given_up_by_the_node(&self, site: usize) -> Option<()> {
        self.sites[site]
            .node
            .log()
            .contains("disconnected")
            .then_some(())
    }

    /// Whether the coordinator has counted a site's connection as lost.
    pub(crate) fn is_given_up_by_the_coordinator(&self, site: usize) -> Option<()> {
        let of_site = format!("role=site name={} ", self.sites[site].name);
        let log = self.consortium.coordinator.log();
        let lost = |line: &str| line.contains("disconnected") && line.contains(&of_site);
        log.lines().any(lost).then_some(())
    }
}

/// Waits for a run's good end, longer than people do elsewhere.
pub(crate) fn waits_long_for(person: &Person, run_id: &str) -> Model {
    person
        .types(&format!("run wait {run_id} --timeout {RUN_S_MAX}"))
        .data();
    person.gets_model_of(run_id)
}

/// Whether two models are the same bit for bit. Their files are not: each names its run.
pub(crate) fn are_the_same(one: &Model, other: &Model) -> bool {
    let bits = |model: &Model| {
        model
            .values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    bits(one) == bits(other)
}

/// Runs every case on a thread of its own, side by side, and says which failed.
pub(crate) fn side_by_side<C: Sync>(cases: &[(&str, C)], run: impl Fn(&str, &C) + Sync) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = cases
            .iter()
            .map(|(name, case)| (*name, scope.spawn(move || run(name, case))))
            .collect();
        let ended = running.into_iter().map(|(name, case)| (name, case.join()));
        ended
            .filter(|(_, end)| end.is_err())
            .map(|(name, _)| name)
            .collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Whether the test can run here; says so where it cannot.
pub(crate) fn can_be_far(test: &str) -> bool {
    let why = place::why_there_are_none();
    why.inspect(|why| {
        prints(&format!(
            "{test} DID NOT RUN: no network namespace can be made here ({why})"
        ))
    })
    .is_none()
}

/// Whether the transfers that take minutes are asked for; says so where they are not.
pub(crate) fn has_time_for(test: &str) -> bool {
    let asked = std::env::var("CONSILIUM_NETWORK").is_ok_and(|which| which == "all");
    if !asked {
        prints(&format!(
            "{test} DID NOT RUN: CONSILIUM_NETWORK=all asks for it"
        ));
    }
    asked
}

/// A line for people, whether the test passes or not.
pub(crate) fn prints(line: &str) {
    writeln!(std::io::stderr(), "network: {line}").unwrap();
}
