//! What worlds went through, counted.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts of one world, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub worlds: u64,
    pub sites: u64,
    pub steps: u64,
    pub virtual_ms: u64,
    pub rounds: u64,
    pub accepted: u64,
    pub missing: u64,
    pub restarts: u64,
    pub resumed_uploads: u64,
    pub finished: u64,
    pub failed: u64,
    pub resumed_runs: u64,
    pub site_crashes: u64,
    pub coordinator_crashes: u64,
    pub lost: u64,
    pub doubled: u64,
    pub corrupted: u64,
    pub links_cut: u64,
    pub partitions: u64,
    pub disk_troubles: u64,
    pub clock_troubles: u64,
    pub policy_changes: u64,
    pub lies: u64,
    pub equivocations: u64,
    pub turned_away: u64,
    pub entries: u64,
    pub released: u64,
    pub refused: u64,
    pub abandoned: u64,
    pub answers: u64,
    pub answers_again: u64,
    pub questions_lost: u64,
    pub questions_spent: u64,
    /// Why sites were missing, by the first word of the cause.
    pub causes: BTreeMap<String, u64>,
}

impl Report {
    /// Each number with what it counts.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("seeds", self.worlds),
            ("sites", self.sites),
            ("steps", self.steps),
            ("virtual hours", self.virtual_ms / 3_600_000),
            ("rounds closed", self.rounds),
            ("updates accepted", self.accepted),
            ("sites missing from a round", self.missing),
            ("collections begun anew", self.restarts),
            (
                "uploads that went on where they stopped",
                self.resumed_uploads,
            ),
            ("runs finished", self.finished),
            ("runs failed, with a cause", self.failed),
            ("failed runs resumed", self.resumed_runs),
            ("crashes of a node", self.site_crashes),
            ("crashes of the coordinator", self.coordinator_crashes),
            ("messages lost", self.lost),
            ("messages doubled", self.doubled),
            ("messages corrupted", self.corrupted),
            ("connections cut", self.links_cut),
            ("partitions", self.partitions),
            (
                "disks full, torn, read-only or without fsync",
                self.disk_troubles,
            ),
            ("clocks that jumped or froze", self.clock_troubles),
            ("policies changed, broken or removed", self.policy_changes),
            ("lies of a node", self.lies),
            ("equivocations and foreign asks", self.equivocations),
            ("evicted sites turned away", self.turned_away),
            ("entries in the nodes' journals", self.entries),
            ("passes released", self.released),
            ("passes refused", self.refused),
            ("passes abandoned by a crash", self.abandoned),
            ("questions answered at a cost", self.answers),
            ("questions answered again, for nothing", self.answers_again),
            ("questions lost with the power", self.questions_lost),
            ("questions refused as spent", self.questions_spent),
        ]
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        let Self {
            worlds,
            sites,
            steps,
            virtual_ms,
            rounds,
            accepted,
            missing,
            restarts,
            resumed_uploads,
            finished,
            failed,
            resumed_runs,
            site_crashes,
            coordinator_crashes,
            lost,
            doubled,
            corrupted,
            links_cut,
            partitions,
            disk_troubles,
            clock_troubles,
            policy_changes,
            lies,
            equivocations,
            turned_away,
            entries,
            released,
            refused,
            abandoned,
            answers,
            answers_again,
            questions_lost,
            questions_spent,
            causes,
        } = other;
        let sums = [
            (&mut self.worlds, worlds),
            (&mut self.sites, sites),
            (&mut self.steps, steps),
            (&mut self.virtual_ms, virtual_ms),
            (&mut self.rounds, rounds),
            (&mut self.accepted, accepted),
            (&mut self.missing, missing),
            (&mut self.restarts, restarts),
            (&mut self.resumed_uploads, resumed_uploads),
            (&mut self.finished, finished),
            (&mut self.failed, failed),
            (&mut self.resumed_runs, resumed_runs),
            (&mut self.site_crashes, site_crashes),
            (&mut self.coordinator_crashes, coordinator_crashes),
            (&mut self.lost, lost),
            (&mut self.doubled, doubled),
            (&mut self.corrupted, corrupted),
            (&mut self.links_cut, links_cut),
            (&mut self.partitions, partitions),
            (&mut self.disk_troubles, disk_troubles),
            (&mut self.clock_troubles, clock_troubles),
            (&mut self.policy_changes, policy_changes),
            (&mut self.lies, lies),
            (&mut self.equivocations, equivocations),
            (&mut self.turned_away, turned_away),
            (&mut self.entries, entries),
            (&mut self.released, released),
            (&mut self.refused, refused),
            (&mut self.abandoned, abandoned),
            (&mut self.answers, answers),
            (&mut self.answers_again, answers_again),
            (&mut self.questions_lost, questions_lost),
            (&mut self.questions_spent, questions_spent),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
        for (cause, count) in causes {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
    }

    /// As a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from("| what | count |\n|---|---:|\n");
        for (what, count) in self.rows() {
            // Writing into a string cannot fail.
            writeln!(table, "| {what} | {count} |").ok();
        }
        for (cause, count) in &self.causes {
            writeln!(table, "| missing: {cause} | {count} |").ok();
        }
        table
    }
}
