//! The work inside a pass: admit, train, evaluate. Every function here runs under a permit,
//! and what it returns leaves only as what the gate releases.

mod private;

use std::ops::ControlFlow;
use std::sync::Arc;

use consilium_policies::{Action, Facts};
use consilium_protocol::message::TensorsAhead;
use consilium_protocol::run::RunSpec;
use consilium_protocol::strategy::Strategy;
use consilium_protocol::{Refusal, RefusalCode, RunId};

use crate::data::{DataSet, FeatureError, Prepared, encode, prepare};
use crate::gate::{Admission, Evaluation, NotReleased, Released, TrainedUpdate, WorkError};
use crate::node::{Node, PreparedRun, ReleasedUpdate, ask_of};
use crate::round::{LocalValues, Plan};
use crate::train::{Control, Optimizer, Privacy, TrainError, TrainJob};
use consilium_link::wall_clock;
use consilium_policies::Researcher;
use consilium_protocol::message::{Admitted, Evaluated};

pub use private::{NoNoise, Noise};

/// Says whether this site takes part, with how many records of which version.
///
/// # Errors
/// The policy's refusal, or a fault.
pub fn admit(
    node: &Node,
    run_id: &RunId,
    spec: &RunSpec,
    researcher: &Researcher,
) -> Result<Released<Admitted>, NotReleased> {
    let rounds = spec.document().rounds;
    let ask = ask_of(run_id, spec, researcher, Action::Admit { rounds });
    let (facts, prepared) = facts_of(node, run_id, spec);
    node.gate.pass(&ask, &facts, wall_clock(), |permit| {
        let prepared = prepared?;
        if let Some(privacy) = &spec.document().privacy {
            let patients = private::patients_in(&prepared.data.train).len() as u64;
            let noise =
                Noise::of(spec.document(), privacy, patients).map_err(private::not_private)?;
            private::fits_what_is_left(node, spec.document(), permit, &noise)?;
        }
        Ok(Admission {
            records: prepared.data.train.rows() as u64,
            dataset_version: prepared.dataset_version,
        })
    })
}

/// A round's update from the state as received, and what then stays here.
///
/// # Errors
/// The policy's refusal, or a fault.
pub fn train(
    node: &Node,
    state: &TensorsAhead,
    plan: &Plan,
    received: Vec<f32>,
) -> Result<(ReleasedUpdate, LocalValues), NotReleased> {
    if let Some(privacy) = &plan.spec.document().privacy {
        return private::train(node, state, plan, privacy, received);
    }
    let rounds = plan.spec.document().rounds;
    let action = Action::Train {
        round: state.round,
        rounds,
    };
    let ask = ask_of(&state.run_id, &plan.spec, &plan.researcher, action);
    let (facts, prepared) = facts_of(node, &state.run_id, &plan.spec);
    let mut local = LocalValues::default();
    let released = node.gate.pass(&ask, &facts, wall_clock(), |_permit| {
        let prepared = prepared?;
        let (update, after) = train_round(node, plan, &prepared.data, received)?;
        local = after;
        Ok(update)
    })?;
    Ok((released, local))
}

/// How the final state does on the rows held out here.
///
/// # Errors
/// The policy's refusal, or a fault.
pub fn evaluate(
    node: &Node,
    state: &TensorsAhead,
    plan: &Plan,
    received: &[f32],
) -> Result<Released<Evaluated>, NotReleased> {
    let ask = ask_of(
        &state.run_id,
        &plan.spec,
        &plan.researcher,
        Action::Evaluate,
    );
    let (facts, prepared) = facts_of(node, &state.run_id, &plan.spec);
    node.gate.pass(&ask, &facts, wall_clock(), |_permit| {
        if plan.spec.document().privacy.is_some() {
            return Err(no_exact_metrics());
        }
        let prepared = prepared?;
        let layout = plan.spec.layout();
        let (shared, _) = received
            .split_at_checked(layout.shared_len())
            .ok_or_else(too_short)?;
        let model = layout
            .join(shared, &plan.local.parameters)
            .map_err(WorkError::failed)?;
        let held_out = node
            .trainer()
            .evaluate(layout, &model, &prepared.data.test)
            .map_err(work_error)?;
        Ok(Evaluation { held_out })
    })
}

type PreparedData = Result<Arc<PreparedRun>, WorkError>;

/// What the policy needs to know, and the records made ready. Reading local data is no
/// release: only what a permit lets through the gate is.
fn facts_of(node: &Node, run_id: &RunId, spec: &RunSpec) -> (Facts, PreparedData) {
    let (dataset_records, prepared) = match node.dataset(&spec.document().dataset) {
        None => (None, Err(WorkError::failed("no such data set"))),
        // Declared, and unusable: the policy still decides first, by no records at all.
        Some(Err(error)) => (Some(0), Err(WorkError::failed(error.to_string()))),
        Some(Ok(dataset)) => match prepared_run(node, run_id, spec, &dataset) {
            Ok(prepared) => (Some(prepared.data.train.rows() as u64), Ok(prepared)),
            // The run's columns do not fit: said after the policy has decided, by all records.
            Err(error) => (Some(dataset.train_rows().len() as u64), Err(unfit(&error))),
        },
    };
    let facts = Facts {
        dataset_records,
        parameters: spec.layout().len() as u64,
        noisy_update: spec.document().privacy.is_some(),
        ..Facts::default()
    };
    (facts, prepared)
}

/// The run's records, made ready once and kept until the run ends.
fn prepared_run(
    node: &Node,
    run_id: &RunId,
    spec: &RunSpec,
    dataset: &DataSet,
) -> Result<Arc<PreparedRun>, FeatureError> {
    if let Some(prepared) = node.prepared(run_id, spec.digest()) {
        return Ok(prepared);
    }
    let document = spec.document();
    let prepared = Arc::new(PreparedRun {
        run_digest: spec.digest(),
        dataset_version: dataset.version(),
        data: match &document.privacy {
            None => prepare(dataset, &document.data, document.validation, document.seed)?,
            Some(_) => encode(dataset, &document.data)?.scale_publicly(&document.data)?,
        },
    });
    node.keep_prepared(run_id, prepared.clone());
    Ok(prepared)
}

fn unfit(error: &FeatureError) -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::InvalidRun,
        error.to_string(),
        "use columns and levels that this site's data set has",
    ))
}

fn train_round(
    node: &Node,
    plan: &Plan,
    prepared: &Prepared,
    mut received: Vec<f32>,
) -> Result<(TrainedUpdate, LocalValues), WorkError> {
    let (layout, document) = (plan.spec.layout(), plan.spec.document());
    let shared_len = layout.shared_len();
    if received.len() != shared_len * document.strategy.vectors_on_the_wire() {
        return Err(too_short());
    }
    let global_control = received.split_off(shared_len);
    let shared = received;
    let model = layout
        .join(&shared, &plan.local.parameters)
        .map_err(WorkError::failed)?;
    let mut trainer = node.trainer();
    let held_out = match prepared.test.rows() {
        0 => None,
        _ => Some(
            trainer
                .evaluate(layout, &model, &prepared.test)
                .map_err(work_error)?,
        ),
    };
    let scaffold = matches!(document.strategy, Strategy::Scaffold { .. });
    let control = scaffold.then(|| Control {
        global: global_control.clone(),
        site: plan.local.control.clone(),
    });
    let job = job_of(plan, model, control, None);
    let steps = job.steps;
    let trained = trainer
        .train(job, &prepared.train, &mut not_finished)
        .map_err(work_error)?;
    drop(trainer);
    // Where nothing stays here the model is the shared part, and a large one is not copied.
    let (mut change, parameters) = match layout.local_len() {
        0 => (trained.parameters, Vec::new()),
        _ => layout
            .split(&trained.parameters)
            .map_err(WorkError::failed)?,
    };
    change
        .iter_mut()
        .zip(&shared)
        .for_each(|(after, before)| *after -= before);
    let mut vectors = vec![change];
    let mut control = plan.local.control.clone();
    if scaffold {
        let rate = document.training.learning_rate * steps.max(1) as f64;
        let before = control.clone();
        control = next_control(&before, &global_control, &vectors, rate);
        vectors.push(
            control
                .iter()
                .zip(&before)
                .map(|(after, before)| after - before)
                .collect(),
        );
    }
    let update = TrainedUpdate {
        vectors,
        records: trained.records,
        training_loss: trained.loss,
        held_out,
    };
    Ok((
        update,
        LocalValues {
            parameters,
            control,
        },
    ))
}

/// What the run asks of a trainer in this round. Either control variates or privacy, or neither.
fn job_of(
    plan: &Plan,
    parameters: Vec<f32>,
    control: Option<Control>,
    privacy: Option<Privacy>,
) -> TrainJob {
    let document = plan.spec.document();
    TrainJob {
        layout: plan.spec.layout().clone(),
        parameters,
        optimizer: Optimizer::Sgd {
            learning_rate: document.training.learning_rate,
        },
        steps: u64::from(document.training.local_steps),
        batch_size: document.training.batch_size,
        seed: plan.seed,
        first_step: plan.first_step,
        prox_mu: document.strategy.proximal_mu(),
        control,
        privacy,
    }
}

/// cᵢ⁺ = cᵢ − c + (x − yᵢ)/(K·η), Karimireddy et al. 2020, algorithm 1, option II;
/// the change yᵢ − x is at hand, `rate` is K·η.
fn next_control(site: &[f32], global: &[f32], change: &[Vec<f32>], rate: f64) -> Vec<f32> {
    let change = change.first().map(Vec::as_slice).unwrap_or_default();
    site.iter()
        .zip(global)
        .zip(change)
        .map(|((site, global), change)| {
            (f64::from(*site) - f64::from(*global) - f64::from(*change) / rate) as f32
        })
        .collect()
}

fn not_finished(_step: u64, _loss: Option<f64>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn no_exact_metrics() -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::NotPermitted,
        "a run with `privacy` lets nothing leave that has no noise, and how the model does on held-out records has none",
        "try the model on records of your own",
    ))
}

fn too_short() -> WorkError {
    WorkError::failed("the state that was received does not fit the model")
}

/// A model that went astray is an answer to the researcher; a broken device is not.
fn work_error(error: TrainError) -> WorkError {
    match error {
        TrainError::Device { .. } => WorkError::failed(error),
        other => WorkError::Refused(Refusal::new(
            RefusalCode::BadUpdate,
            other.to_string(),
            "use a lower learning rate, or other columns",
        )),
    }
}
