use std::collections::BTreeMap;
use std::fs;

use consilium_protocol::message::{TensorsAhead, Update};
use consilium_protocol::model::{chunk_len, chunks_of, from_le_bytes, to_le_bytes};
use consilium_protocol::{Machine, Millis, SiteName};
use safetensors::SafeTensors;
use tempfile::TempDir;

use super::*;
use crate::round::{Accumulator, Round, RoundIn, RoundOut, RoundTerms};

const FEDADAM: &str = r#"name = "FedAdam"
server-learning-rate = 0.1"#;
const SCAFFOLD: &str = r#"name = "SCAFFOLD""#;

/// A run on a network of 4 · `hidden` + 1 parameters.
fn run(hidden: u32, strategy: &str) -> RunSpec {
    let text = format!(
        r#"
name = "heart"
project = "cardiology"
purpose = "HMB"
dataset = "heart"
participants = ["cleveland", "va"]
rounds = 3
seed = 42
quorum = 1
[model]
kind = "mlp"
hidden = [{hidden}]
[strategy]
{strategy}
[training]
learning-rate = 0.01
local-steps = 100
batch-size = 4
[data]
features = [{{ column = "age" }}, {{ column = "chol" }}]
label = {{ column = "num", greater-than = 0 }}
"#
    );
    RunSpec::parse(text.as_bytes()).unwrap()
}

fn states(folder: &TempDir, spec: &RunSpec) -> StateFolder {
    StateFolder::new(
        folder.path().to_owned(),
        "heart-1".parse().unwrap(),
        spec.clone(),
    )
}

/// A round that one site answers with this change.
fn sum_of(spec: &RunSpec, change: &[f32]) -> WeightedSum {
    let site: SiteName = "va".parse().unwrap();
    let bytes = to_le_bytes(change);
    let run_id: RunId = "heart-1".parse().unwrap();
    let participants = BTreeMap::from([(site.clone(), 10)]);
    let terms = RoundTerms::new(spec, run_id.clone(), 1, participants).unwrap();
    let mut round = Round::begin(Millis(0), terms, Accumulator::zeros(0));
    let said = round.step(Millis(1), RoundIn::Connected(site.clone()));
    let [RoundOut::Ask { ask, .. }] = said[..] else {
        panic!("{said:?}");
    };
    let update = Update {
        tensors: TensorsAhead {
            run_id,
            round: 1,
            bytes: bytes.len() as u64,
            blake3: blake3::hash(&bytes).into(),
        },
        records: 10,
        training_loss: None,
        held_out: None,
        metrics_withheld: true,
        bundle: Digest::of(b""),
    };
    let header = RoundIn::Header {
        site: site.clone(),
        ask,
        update,
    };
    assert_eq!(round.step(Millis(1), header), []);
    for index in 0..chunks_of(bytes.len() as u64) {
        let start = usize::try_from(index << 20).unwrap();
        let chunk = &bytes[start..start + chunk_len(bytes.len() as u64, index)];
        let chunk = RoundIn::Chunk {
            site: site.clone(),
            ask,
            index,
            bytes: bytes::Bytes::copy_from_slice(chunk),
        };
        let _ = round.step(Millis(1), chunk);
    }
    round.into_sum().expect("the only site has answered")
}

fn change(values: usize) -> Vec<f32> {
    (0..values)
        .map(|i| (i as f32 * 0.37).sin() * 0.01)
        .collect()
}

/// All that a site receives.
fn wire(state: &State) -> Vec<u8> {
    (0..state.wire_chunks())
        .flat_map(|index| state.wire_chunk(index).unwrap())
        .collect()
}

fn names_in(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_first_state_is_the_layouts_first_values_and_zeros() {
    let folder = TempDir::new().unwrap();
    let spec = run(3, FEDADAM);
    let state = states(&folder, &spec).initial().unwrap();
    let first: Vec<f32> = spec.layout().initial_values(Home::Shared, 42).collect();
    assert_eq!(from_le_bytes(&wire(&state)), first);
    assert_eq!((state.round(), state.wire_bytes()), (0, 13 * 4));
    assert_eq!(state.wire_chunk(1).unwrap().len(), 0);

    let file = fs::read(folder.path().join("round-000000.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.len(), 12);
    let weight = tensors.tensor("model.layer0.weight").unwrap();
    assert_eq!(weight.shape(), [3, 2]);
    assert_eq!(from_le_bytes(weight.data()), first[..6]);
    let moment = tensors.tensor("second-moment.layer1.weight").unwrap();
    assert_eq!(from_le_bytes(moment.data()), [0.0; 3]);
    let (_, metadata) = SafeTensors::read_metadata(&file).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["consilium.run"], "heart-1");
    assert_eq!(metadata["consilium.run-sha256"], spec.digest().to_string());
}

/// Against the strategy applied to the whole vectors at once, over several steps of the file.
#[test]
fn the_next_state_is_the_strategys_step() {
    for strategy in [FEDADAM, SCAFFOLD, r#"name = "FedAvg""#] {
        let folder = TempDir::new().unwrap();
        let spec = run(40_000, strategy);
        let strategy = spec.document().strategy;
        let values = spec.layout().shared_len();
        assert!(values > 2 * STEP_VALUES);
        let states = states(&folder, &spec);
        let sum = sum_of(&spec, &change(values * strategy.vectors_on_the_wire()));

        let mut whole = vec![vec![0.0; values]; strategy.vectors_of_state()];
        whole[0] = spec.layout().initial_values(Home::Shared, 42).collect();
        let means: Vec<Vec<f64>> = (0..strategy.vectors_on_the_wire())
            .map(|vector| sum.means(vector * values..(vector + 1) * values).collect())
            .collect();
        let mut state = states.initial().unwrap();
        for round in 1..=2 {
            state = states.next(&state, &sum).unwrap();
            advance(&strategy, 1.0, &means, &mut whole).unwrap();
            assert_eq!(state.round(), round);
        }
        let sent = whole[..strategy.vectors_on_the_wire()].concat();
        assert!(from_le_bytes(&wire(&state)) == sent, "{}", strategy.name());
        assert_eq!(state.wire_blake3(), *blake3::hash(&wire(&state)).as_bytes());
        let mut kept = Vec::new();
        state.read(whole.len() - 1, 0..values, &mut kept).unwrap();
        assert!(Some(&kept) == whole.last(), "{}", strategy.name());
    }
}

#[test]
fn a_state_is_the_same_after_a_restart() {
    for strategy in [FEDADAM, SCAFFOLD] {
        let folder = TempDir::new().unwrap();
        let spec = run(30_000, strategy);
        let vectors = spec.document().strategy.vectors_on_the_wire();
        let sum = sum_of(&spec, &change(spec.layout().shared_len() * vectors));
        let first = states(&folder, &spec).initial().unwrap();
        let written = states(&folder, &spec).next(&first, &sum).unwrap();
        let again = states(&folder, &spec).next(&first, &sum).unwrap();
        assert_eq!(again.content(), written.content());
        let opened = states(&folder, &spec).reopen(1, written.content()).unwrap();
        assert_eq!(opened.wire_blake3(), written.wire_blake3());
        assert!(wire(&opened) == wire(&written));
        assert_eq!(
            names_in(&folder),
            ["round-000000.safetensors", "round-000001.safetensors"]
        );
    }
}

#[test]
fn a_forgotten_state_is_gone_and_may_be_forgotten_again() {
    let folder = TempDir::new().unwrap();
    let states = states(&folder, &run(3, FEDADAM));
    let content = states.initial().unwrap().content();
    states.forget(0).unwrap();
    states.forget(0).unwrap();
    let error = states.reopen(0, content).unwrap_err();
    assert!(matches!(error, StateError::Missing { .. }), "{error}");
}

#[test]
fn a_damaged_state_is_refused_with_its_name() {
    let folder = TempDir::new().unwrap();
    let states = states(&folder, &run(3, FEDADAM));
    let content = states.initial().unwrap().content();
    let path = states.path(0);
    let whole = fs::read(&path).unwrap();
    let damage = |from: usize| {
        let mut bytes = whole.clone();
        bytes[from] ^= 1;
        bytes
    };
    let header = whole.len() - 13 * 4 * 3;
    let open = |round: u32, content: Digest| match states.reopen(round, content) {
        Err(error) => error.to_string(),
        Ok(_) => "it opens".into(),
    };
    for (bytes, says) in [
        (
            whole[..whole.len() - 1].to_vec(),
            "bytes long and should be",
        ),
        ([&whole[..], &[0]].concat(), "bytes long and should be"),
        (vec![], "is 0 bytes long"),
        (damage(0), "does not begin as the state of round 0"),
        (damage(20), "does not begin as the state of round 0"),
        (damage(header), "was changed since it was written"),
        (damage(whole.len() - 1), "was changed since it was written"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = open(0, content);
        assert!(error.contains(says), "{says}: {error}");
        assert!(error.contains("round-000000.safetensors"), "{error}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(0, content), "it opens");
    assert!(open(0, Digest::of(b"")).contains("was changed"));
    // The state of one round under the name of another.
    fs::rename(&path, states.path(1)).unwrap();
    assert!(open(1, content).contains("does not begin as the state of round 1"));
}

#[test]
fn a_full_disk_leaves_the_state_before_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let spec = run(3, FEDADAM);
    let states = states(&folder, &spec);
    let first = states.initial().unwrap();
    let sum = sum_of(&spec, &change(13));
    // Whatever is written under the temporary name meets a full device.
    let partial = folder.path().join("round-000001.safetensors.partial");
    std::os::unix::fs::symlink("/dev/full", partial).unwrap();
    let error = states.next(&first, &sum).unwrap_err();
    assert!(matches!(error, StateError::DiskFull { .. }), "{error}");
    assert_eq!(names_in(&folder), ["round-000000.safetensors"]);
    states.reopen(0, first.content()).unwrap();
    // With space again the same round ends as if nothing had been.
    assert_eq!(states.next(&first, &sum).unwrap().round(), 1);
}

#[test]
fn a_state_that_is_no_number_is_not_written() {
    let folder = TempDir::new().unwrap();
    let spec = run(3, "name = \"FedAvgM\"\nserver-learning-rate = 1e300");
    let states = states(&folder, &spec);
    let first = states.initial().unwrap();
    let error = states.next(&first, &sum_of(&spec, &[1.0; 13])).unwrap_err();
    assert!(
        error.to_string().contains("diverged in round 1: `model`"),
        "{error}"
    );
    assert_eq!(names_in(&folder), ["round-000000.safetensors"]);
}

#[test]
fn a_sum_of_another_run_is_refused() {
    let folder = TempDir::new().unwrap();
    let states = states(&folder, &run(3, FEDADAM));
    let first = states.initial().unwrap();
    let sum = sum_of(&run(4, FEDADAM), &[0.0; 17]);
    let error = states.next(&first, &sum).unwrap_err();
    assert!(matches!(
        error,
        StateError::WrongSum {
            got: 17,
            wanted: 13
        }
    ));
}

#[test]
fn a_model_for_download_opens_with_any_tool() {
    let folder = TempDir::new().unwrap();
    let states = states(&folder, &run(3, FEDADAM));
    let state = states.initial().unwrap();
    let path = folder.path().join("model.safetensors");
    let exported = states.export_model(&state, &path).unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!(exported.bytes, file.len() as u64);
    assert_eq!(exported.sha256, Digest::of(&file));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "layer0.bias",
            "layer0.weight",
            "layer1.bias",
            "layer1.weight"
        ]
    );
    let values: Vec<u8> = [
        "layer0.weight",
        "layer0.bias",
        "layer1.weight",
        "layer1.bias",
    ]
    .iter()
    .flat_map(|name| tensors.tensor(name).unwrap().data().to_vec())
    .collect();
    assert_eq!(values, wire(&state));
    assert_eq!(
        names_in(&folder),
        ["model.safetensors", "round-000000.safetensors"]
    );
}
