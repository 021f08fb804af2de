//! The table of labelled points: each is a moment in the life of a run at which a process is killed.

use std::path::{Path, PathBuf};

use crate::house::{ROUNDS, entries};
use crate::tracer::Calls;

/// Whose process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Coordinator,
    Node,
}

/// On which side of its system call a point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// A point. Seeds choose a round and an occurrence within its bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) label: &'static str,
    pub(crate) victim: Victim,
    /// The rounds in which it exists, first and last.
    rounds: (u32, u32),
    /// The process is held just after each of these in turn, so that the call that follows is the right one.
    way: &'static [Call],
    at: Call,
    pub(crate) side: Side,
    /// What must then lie on the disk: the proof that it was this point and no other.
    pub(crate) leaves: fn(&Scene<'_>) -> bool,
}

/// Calls of one kind on one file, and which of them.
#[derive(Debug, Clone, Copy)]
struct Call {
    names: &'static str,
    on: On,
    /// First and last occurrence that is of interest.
    nth: (u32, u32),
}

/// What a call is about. Numbers are added to the round.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    /// The journal's segment.
    Journal,
    /// The folder of the run.
    Run,
    /// The coordinator's state of a round, and the file that becomes it.
    State(i32),
    StateDraft(i32),
    /// The finished model, and the file that becomes it.
    Model,
    ModelDraft,
    /// What the node keeps of a round, and the file that becomes it; before the first, the run's signature.
    Kept(i32),
    KeptDraft(i32),
    RunFile,
    RunFileDraft,
    /// The index, which can be rebuilt.
    Index,
    /// No file: the network.
    Network,
}

/// A folder in which a point is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) victim: Victim,
    pub(crate) run_id: &'a str,
    pub(crate) round: u32,
}

impl Scene<'_> {
    /// How many entries of a kind the journal has.
    fn count(&self, kind: &str) -> u32 {
        let entries = entries(self.folder);
        u32::try_from(entries.iter().filter(|entry| entry.kind == kind).count()).unwrap()
    }

    /// How many passes the node has reserved, and how many released, beyond those of the rounds before: being
    /// admitted is the first.
    fn passes(&self) -> (u32, u32) {
        (
            self.count("pass-reserved") - self.round,
            self.count("pass-released") - self.round,
        )
    }

    fn has(&self, on: On) -> bool {
        self.path(on).is_some_and(|path| path.exists())
    }

    /// The file or folder; `None` for the network.
    pub(crate) fn path(&self, on: On) -> Option<PathBuf> {
        let run = self.folder.join("runs").join(self.run_id);
        let round = |by: i32| self.round.checked_add_signed(by).unwrap();
        Some(match (on, self.victim) {
            (On::Journal, _) => self.folder.join("journal/00000000000000000000.journal"),
            (On::Run, _) => run,
            (On::State(by), _) => run.join(format!("round-{:06}.safetensors", round(by))),
            (On::StateDraft(by), _) => {
                run.join(format!("round-{:06}.safetensors.partial", round(by)))
            }
            (On::Model, _) => run.join("model.safetensors"),
            (On::ModelDraft, _) => run.join("model.safetensors.partial"),
            (On::Kept(by), _) if round(by) == 0 => run.join("run.signature.json"),
            (On::KeptDraft(by), _) if round(by) == 0 => run.join("run.signature.partial"),
            (On::Kept(by), _) => run.join(format!("local-{:06}.f32", round(by))),
            (On::KeptDraft(by), _) => run.join(format!("local-{:06}.partial", round(by))),
            (On::RunFile, _) => run.join("run.toml"),
            (On::RunFileDraft, _) => run.join("run.partial"),
            (On::Index, Victim::Coordinator) => self.folder.join("index.sled/db"),
            (On::Index, Victim::Node) => self.folder.join("state/gate-index/db"),
            (On::Network, _) => return None,
        })
    }
}

impl Point {
    /// The round that a seed chooses.
    pub(crate) fn round(&self, seed: u32) -> u32 {
        chosen(self.rounds, seed)
    }

    /// The calls to hold the process at, one after the other, and the one to kill it at.
    pub(crate) fn calls(&self, scene: &Scene<'_>, seed: u32) -> (Vec<Calls>, Calls) {
        let calls = |call: &Call| Calls {
            names: call.names,
            on: scene.path(call.on),
            nth: chosen(call.nth, seed),
            onwards: false,
        };
        (self.way.iter().map(calls).collect(), calls(&self.at))
    }
}

fn chosen((first, last): (u32, u32), seed: u32) -> u32 {
    first + seed % (last - first + 1)
}

const fn first(names: &'static str, on: On) -> Call {
    one_of(names, on, 1, 1)
}

const fn one_of(names: &'static str, on: On, from: u32, to: u32) -> Call {
    Call {
        names,
        on,
        nth: (from, to),
    }
}

const WRITE: &str = "write";
const WRITE_AT: &str = "pwrite64";
const SYNC: &str = "fsync";
const SYNC_DATA: &str = "fdatasync";
const RENAME: &str = "?rename,?renameat,?renameat2";
const REMOVE: &str = "?unlink,?unlinkat";
const MAKE_FOLDER: &str = "?mkdir,?mkdirat";
const SEND: &str = "?sendmsg,?sendmmsg,?sendto";

/// A round of a node begins when what it keeps of the round before is there.
const IN_ROUND: &[Call] = &[first(RENAME, On::KeptDraft(-1))];
/// What the node keeps of the round has its name, not yet for certain.
const KEPT: &[Call] = &[first(RENAME, On::KeptDraft(0))];
/// And for certain.
const KEPT_FOR_CERTAIN: &[Call] = &[first(RENAME, On::KeptDraft(0)), first(SYNC, On::Run)];
/// The coordinator drives the run.
const DRIVEN: &[Call] = &[first(MAKE_FOLDER, On::Run)];
/// The round's state has its name, not yet for certain.
const STATED: &[Call] = &[first(RENAME, On::StateDraft(0))];
/// The state before is gone: the round is over.
const ROUND_OVER: &[Call] = &[first(REMOVE, On::State(-1))];
/// The model has its name.
const EXPORTED: &[Call] = &[first(RENAME, On::ModelDraft)];

const ANY_ROUND: (u32, u32) = (1, ROUNDS);
const LAST_ROUND: (u32, u32) = (ROUNDS, ROUNDS);
const NO_ROUND: (u32, u32) = (0, 0);

macro_rules! points {
    ($victim:ident:
        $($label:literal in $rounds:ident via $way:expr => $side:ident $at:expr, leaves $leaves:expr;)*) => {
        &[$(Point {
            label: $label,
            victim: Victim::$victim,
            rounds: $rounds,
            way: $way,
            at: $at,
            side: Side::$side,
            leaves: $leaves,
        }),*]
    };
}

/// A third round has two rounds' values before it, of which the older goes.
const WITH_OLD_VALUES: (u32, u32) = (3, ROUNDS);

/// Points in the life of a node.
pub(crate) const NODE: &[Point] = points! { Node:
    "bundle-installed, written, not synced" in NO_ROUND via &[]
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("bundle-installed") == 1 && s.passes() == (0, 0);
    "admission reserved, not written" in NO_ROUND via &[]
        => Before one_of(WRITE, On::Journal, 2, 2), leaves |s| s.count("bundle-installed") == 1 && s.passes() == (0, 0);
    "admission reserved, synced" in NO_ROUND via &[]
        => After one_of(SYNC_DATA, On::Journal, 2, 2), leaves |s| s.passes() == (1, 0);
    "admission settled, not synced" in NO_ROUND via &[]
        => Before one_of(SYNC_DATA, On::Journal, 3, 3), leaves |s| s.passes() == (1, 1);
    "run file, not written" in NO_ROUND via &[]
        => Before first(WRITE, On::RunFileDraft), leaves |s| s.has(On::RunFileDraft) && !s.has(On::RunFile);
    "run file, not renamed" in NO_ROUND via &[]
        => Before first(RENAME, On::RunFileDraft), leaves |s| s.has(On::RunFileDraft) && !s.has(On::RunFile);
    "run signature, not renamed" in NO_ROUND via &[]
        => Before first(RENAME, On::KeptDraft(0)), leaves |s| s.has(On::RunFile) && !s.has(On::Kept(0));
    "run signature, renamed" in NO_ROUND via &[]
        => After first(RENAME, On::KeptDraft(0)), leaves |s| s.has(On::RunFile) && s.has(On::Kept(0));
    "update reserved, not written" in ANY_ROUND via IN_ROUND
        => Before first(WRITE, On::Journal), leaves |s| s.passes() == (0, 0);
    "update reserved, written, not synced" in ANY_ROUND via IN_ROUND
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.passes() == (1, 0);
    "update reserved, synced" in ANY_ROUND via IN_ROUND
        => After first(SYNC_DATA, On::Journal), leaves |s| s.passes() == (1, 0);
    "trained, settling not written" in ANY_ROUND via IN_ROUND
        => Before one_of(WRITE, On::Journal, 2, 2), leaves |s| s.passes() == (1, 0);
    "update settled, written, not synced" in ANY_ROUND via IN_ROUND
        => Before one_of(SYNC_DATA, On::Journal, 2, 2), leaves |s| s.passes() == (1, 1) && !s.has(On::Kept(0));
    "update settled, synced" in ANY_ROUND via IN_ROUND
        => After one_of(SYNC_DATA, On::Journal, 2, 2), leaves |s| s.passes() == (1, 1) && !s.has(On::Kept(0));
    "local values, not written" in ANY_ROUND via &[]
        => Before first(WRITE, On::KeptDraft(0)), leaves |s| s.has(On::KeptDraft(0)) && !s.has(On::Kept(0));
    "local values, not synced" in ANY_ROUND via &[]
        => Before first(SYNC, On::KeptDraft(0)), leaves |s| s.has(On::KeptDraft(0)) && !s.has(On::Kept(0));
    "local values, not renamed" in ANY_ROUND via &[]
        => Before first(RENAME, On::KeptDraft(0)), leaves |s| s.has(On::KeptDraft(0)) && !s.has(On::Kept(0));
    "local values, renamed" in ANY_ROUND via &[]
        => After first(RENAME, On::KeptDraft(0)), leaves |s| s.has(On::Kept(0)) && !s.has(On::KeptDraft(0));
    "local values, folder not synced" in ANY_ROUND via KEPT
        => Before first(SYNC, On::Run), leaves |s| s.has(On::Kept(0));
    "older local values, not removed" in WITH_OLD_VALUES via &[]
        => Before first(REMOVE, On::Kept(-2)), leaves |s| s.has(On::Kept(0)) && s.has(On::Kept(-2));
    "update, first packet not sent" in ANY_ROUND via KEPT_FOR_CERTAIN
        => Before first(SEND, On::Network), leaves |s| s.passes() == (1, 1) && s.has(On::Kept(0));
    "update, first packet sent" in ANY_ROUND via KEPT_FOR_CERTAIN
        => After first(SEND, On::Network), leaves |s| s.passes() == (1, 1) && s.has(On::Kept(0));
    "evaluation reserved, synced" in LAST_ROUND via KEPT
        => After first(SYNC_DATA, On::Journal), leaves |s| s.passes() == (2, 1);
    "evaluation settled, not synced" in LAST_ROUND via KEPT
        => Before one_of(SYNC_DATA, On::Journal, 2, 2), leaves |s| s.passes() == (2, 2);
    "ended run, signature not removed" in NO_ROUND via &[]
        => Before first(REMOVE, On::Kept(0)), leaves |s| s.has(On::Kept(0)) && s.has(On::RunFile);
    "ended run, signature removed" in NO_ROUND via &[]
        => After first(REMOVE, On::Kept(0)), leaves |s| !s.has(On::Kept(0)) && s.has(On::RunFile);
    "ended run, being removed" in LAST_ROUND via &[]
        => Before one_of(REMOVE, On::Run, 1, 4), leaves |s| s.has(On::Run) && s.passes() == (2, 2);
    "index of passes, not written" in NO_ROUND via &[]
        => Before first(WRITE_AT, On::Index), leaves |s| s.has(On::Index);
};

/// Points in the life of a coordinator.
pub(crate) const COORDINATOR: &[Point] = points! { Coordinator:
    "run-submitted, not written" in NO_ROUND via &[]
        => Before first(WRITE, On::Journal), leaves |s| s.count("run-submitted") == 0;
    "run-submitted, written, not synced" in NO_ROUND via &[]
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("run-submitted") == 1;
    "run-submitted, synced" in NO_ROUND via &[]
        => After first(SYNC_DATA, On::Journal), leaves |s| s.count("run-submitted") == 1;
    "site-admitted, not written" in NO_ROUND via DRIVEN
        => Before first(WRITE, On::Journal), leaves |s| s.count("run-submitted") == 1 && s.count("site-admitted") == 0;
    "site-admitted, written, not synced" in NO_ROUND via DRIVEN
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("site-admitted") == 1;
    "first state, being written" in NO_ROUND via &[]
        => Before one_of(WRITE_AT, On::StateDraft(0), 1, 3),
        leaves |s| s.has(On::StateDraft(0)) && !s.has(On::State(0));
    "first state, not renamed" in NO_ROUND via &[]
        => Before first(RENAME, On::StateDraft(0)), leaves |s| s.has(On::StateDraft(0)) && !s.has(On::State(0));
    "run-started, not written" in NO_ROUND via STATED
        => Before first(WRITE, On::Journal), leaves |s| s.has(On::State(0)) && s.count("run-started") == 0;
    "run-started, written, not synced" in NO_ROUND via STATED
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("run-started") == 1;
    "run-started, synced" in NO_ROUND via STATED
        => After first(SYNC_DATA, On::Journal), leaves |s| s.count("run-started") == 1 && s.count("round-closed") == 0;
    "state, first packet not sent" in ANY_ROUND via ROUND_OVER
        => Before first(SEND, On::Network), leaves |s| s.count("round-closed") == s.round;
    "state, first packet sent" in ANY_ROUND via ROUND_OVER
        => After first(SEND, On::Network), leaves |s| s.count("round-closed") == s.round;
    "state, some packets sent" in ANY_ROUND via ROUND_OVER
        => Before one_of(SEND, On::Network, 2, 4), leaves |s| s.count("round-closed") >= s.round;
    "state, being written" in ANY_ROUND via &[]
        => Before one_of(WRITE_AT, On::StateDraft(0), 1, 3),
        leaves |s| s.has(On::StateDraft(0)) && !s.has(On::State(0));
    "state, not synced" in ANY_ROUND via &[]
        => Before first(SYNC, On::StateDraft(0)), leaves |s| s.has(On::StateDraft(0)) && !s.has(On::State(0));
    "state, not renamed" in ANY_ROUND via &[]
        => Before first(RENAME, On::StateDraft(0)), leaves |s| s.has(On::StateDraft(0)) && !s.has(On::State(0));
    "state, renamed" in ANY_ROUND via &[]
        => After first(RENAME, On::StateDraft(0)),
        leaves |s| s.has(On::State(0)) && s.count("round-closed") == s.round - 1;
    "state, folder not synced" in ANY_ROUND via STATED
        => Before first(SYNC, On::Run), leaves |s| s.has(On::State(0)) && s.count("round-closed") == s.round - 1;
    "round-closed, not written" in ANY_ROUND via STATED
        => Before first(WRITE, On::Journal), leaves |s| s.has(On::State(0)) && s.count("round-closed") == s.round - 1;
    "round-closed, written, not synced" in ANY_ROUND via STATED
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("round-closed") == s.round && s.has(On::State(-1));
    "round-closed, synced" in ANY_ROUND via STATED
        => After first(SYNC_DATA, On::Journal), leaves |s| s.count("round-closed") == s.round && s.has(On::State(-1));
    "old state, not removed" in ANY_ROUND via &[]
        => Before first(REMOVE, On::State(-1)), leaves |s| s.count("round-closed") == s.round && s.has(On::State(-1));
    "old state, removed" in ANY_ROUND via &[]
        => After first(REMOVE, On::State(-1)), leaves |s| s.count("round-closed") == s.round && !s.has(On::State(-1));
    "run-evaluated, not written" in LAST_ROUND via ROUND_OVER
        => Before first(WRITE, On::Journal),
        leaves |s| s.count("round-closed") == s.round && s.count("run-evaluated") == 0;
    "run-evaluated, written, not synced" in LAST_ROUND via ROUND_OVER
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.count("run-evaluated") == 1;
    "model, not written" in NO_ROUND via &[]
        => Before one_of(WRITE_AT, On::ModelDraft, 1, 2), leaves |s| s.has(On::ModelDraft) && !s.has(On::Model);
    "model, not renamed" in NO_ROUND via &[]
        => Before first(RENAME, On::ModelDraft), leaves |s| s.has(On::ModelDraft) && !s.has(On::Model);
    "run-ended, not written" in NO_ROUND via EXPORTED
        => Before first(WRITE, On::Journal), leaves |s| s.has(On::Model) && s.count("run-ended") == 0;
    "run-ended, written, not synced" in NO_ROUND via EXPORTED
        => Before first(SYNC_DATA, On::Journal), leaves |s| s.has(On::Model) && s.count("run-ended") == 1;
    "run-ended, synced, nobody told" in NO_ROUND via EXPORTED
        => After first(SYNC_DATA, On::Journal), leaves |s| s.has(On::Model) && s.count("run-ended") == 1;
    "index of runs, not written" in NO_ROUND via &[]
        => Before first(WRITE_AT, On::Index), leaves |s| s.has(On::Index);
};

/// A file whose writing fails, from one moment on and for as long as the disk is broken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Breakage {
    pub(crate) label: &'static str,
    pub(crate) victim: Victim,
    /// The process is held just after this first.
    way: Option<Call>,
    at: Call,
    /// What the error must name.
    pub(crate) names: &'static str,
    pub(crate) then: Consequence,
}

/// What becomes of the run while the storage is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// It fails with a named cause, and a person resumes it.
    RunFails,
    /// It goes on by itself once the coordinator starts anew.
    RunWaits,
}

impl Breakage {
    /// The call to hold the process at, if there is one, and the calls that fail.
    pub(crate) fn calls(&self, scene: &Scene<'_>) -> (Option<Calls>, Calls) {
        let calls = |call: &Call, onwards| Calls {
            names: call.names,
            on: scene.path(call.on),
            nth: call.nth.0,
            onwards,
        };
        (
            self.way.as_ref().map(|way| calls(way, false)),
            calls(&self.at, true),
        )
    }
}

macro_rules! breakages {
    ($victim:ident, $then:ident: $($label:literal via $way:expr => $at:expr, names $names:literal;)*) => {
        [$(Breakage {
            label: $label,
            victim: Victim::$victim,
            way: $way,
            at: $at,
            names: $names,
            then: Consequence::$then,
        }),*]
    };
}

/// Before a run has begun, it waits for a site that cannot write down what it admits, until its admission ends.
const NODE_ADMISSION: [Breakage; 1] = breakages! { Node, RunWaits:
    "node: admission's reserve, written" via None
        => first(WRITE, On::Journal), names "00000000000000000000.journal";
};

/// Storage that a node needs in a round. The run needs both sites, so it fails.
const NODE_ROUNDS: [Breakage; 8] = breakages! { Node, RunFails:
    "node: update's reserve, written" via Some(IN_ROUND[0])
        => first(WRITE, On::Journal), names "00000000000000000000.journal";
    "node: update's reserve, synced" via Some(IN_ROUND[0])
        => first(SYNC_DATA, On::Journal), names "00000000000000000000.journal";
    "node: update's settling, written" via Some(IN_ROUND[0])
        => one_of(WRITE, On::Journal, 2, 2), names "00000000000000000000.journal";
    "node: update's settling, synced" via Some(IN_ROUND[0])
        => one_of(SYNC_DATA, On::Journal, 2, 2), names "00000000000000000000.journal";
    "node: run file, written" via None
        => first(WRITE, On::RunFileDraft), names "run.partial";
    "node: local values, written" via None
        => first(WRITE, On::KeptDraft(0)), names "local-000002.partial";
    "node: local values, synced" via None
        => first(SYNC, On::KeptDraft(0)), names "local-000002.partial";
    "node: local values, renamed" via None
        => first(RENAME, On::KeptDraft(0)), names "local-000002.partial";
};

pub(crate) const NODE_STORAGE: &[Breakage] = {
    let [a] = NODE_ADMISSION;
    let [b, c, d, e, f, g, h, i] = NODE_ROUNDS;
    &[a, b, c, d, e, f, g, h, i]
};

/// A journal that a coordinator needs: without it not even the run's end can be written down.
const COORDINATOR_JOURNAL: [Breakage; 6] = breakages! { Coordinator, RunWaits:
    "coordinator: run-submitted, written" via None
        => first(WRITE, On::Journal), names "00000000000000000000.journal";
    "coordinator: run-submitted, synced" via None
        => first(SYNC_DATA, On::Journal), names "00000000000000000000.journal";
    "coordinator: site-admitted, written" via Some(DRIVEN[0])
        => first(WRITE, On::Journal), names "00000000000000000000.journal";
    "coordinator: round-closed, written" via Some(STATED[0])
        => first(WRITE, On::Journal), names "00000000000000000000.journal";
    "coordinator: round-closed, synced" via Some(STATED[0])
        => first(SYNC_DATA, On::Journal), names "00000000000000000000.journal";
    "coordinator: run-ended, synced" via Some(EXPORTED[0])
        => first(SYNC_DATA, On::Journal), names "00000000000000000000.journal";
};

/// Files of a coordinator beside its journal: the run's end with its cause is written down.
const COORDINATOR_FILES: [Breakage; 5] = breakages! { Coordinator, RunFails:
    "coordinator: state, written" via None
        => first(WRITE_AT, On::StateDraft(0)), names "round-000002.safetensors.partial";
    "coordinator: state, synced" via None
        => first(SYNC, On::StateDraft(0)), names "round-000002.safetensors.partial";
    "coordinator: state, renamed" via None
        => first(RENAME, On::StateDraft(0)), names "round-000002.safetensors.partial";
    "coordinator: state's folder, synced" via Some(STATED[0])
        => first(SYNC, On::Run), names "runs/";
    "coordinator: model, written" via None
        => first(WRITE_AT, On::ModelDraft), names "model.safetensors.partial";
};

/// Storage that a coordinator needs.
pub(crate) const COORDINATOR_STORAGE: &[Breakage] = {
    let [a, b, c, d, e, f] = COORDINATOR_JOURNAL;
    let [g, h, i, j, k] = COORDINATOR_FILES;
    &[a, b, c, d, e, f, g, h, i, j, k]
};
