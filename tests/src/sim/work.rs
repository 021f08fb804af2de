//! What a simulated site computes: the linear trainer on a few generated rows, or, for models of several chunks,
//! plain arithmetic that depends on everything a training depends on.

use std::ops::ControlFlow;

use consilium_node::data::Batchable;
use consilium_node::round::{LocalValues, Plan};
use consilium_node::train::{Control, LinearTrainer, Optimizer, TrainJob, Trainer};
use consilium_protocol::message::Metrics;
use consilium_protocol::strategy::Strategy;

use super::dice::Dice;
use super::property::{Property, Step, broken};

/// Columns of the generated data; the run file names as many.
const COLUMNS: usize = 2;

/// What a round of training gives.
pub struct Trained {
    pub vectors: Vec<Vec<f32>>,
    pub local: LocalValues,
    pub loss: f64,
}

/// A site's rows, drawn so that every site has its own optimum.
///
/// # Errors
/// The generated rows do not fit: a defect of the simulator.
pub fn rows_of(site: usize, rows: u64) -> Step<Batchable> {
    let mut dice = Dice::new(0xDA7A ^ (site as u64) << 16);
    let tilt = 2.0 * dice.unit() - 1.0;
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let (a, b) = (2.0 * dice.unit() - 1.0, 2.0 * dice.unit() - 1.0);
        x.extend([a, b]);
        let noisy = a + tilt * b + 0.5 * (dice.unit() - 0.5);
        y.push(if noisy > 0.0 { 1.0 } else { 0.0 });
    }
    Batchable::new(x, y, COLUMNS).map_err(defect)
}

/// One round by `plan` from the state as received: as `node/src/work.rs` does it.
///
/// # Errors
/// The job does not fit: a defect of the simulator.
pub fn train(plan: &Plan, data: &Batchable, received: &[f32]) -> Step<Trained> {
    let layout = plan.spec.layout();
    let (shared, global_control) = received
        .split_at_checked(layout.shared_len())
        .ok_or_else(|| defect("the state is shorter than the model"))?;
    if layout.tensors().len() > 2 {
        return Ok(drift(plan, shared));
    }
    let document = plan.spec.document();
    let parameters = layout
        .join(shared, &plan.local.parameters)
        .map_err(defect)?;
    let scaffold = matches!(document.strategy, Strategy::Scaffold { .. });
    let job = TrainJob {
        layout: layout.clone(),
        parameters,
        optimizer: Optimizer::Sgd {
            learning_rate: document.training.learning_rate,
        },
        steps: u64::from(document.training.local_steps),
        batch_size: document.training.batch_size,
        seed: plan.seed,
        first_step: plan.first_step,
        prox_mu: document.strategy.proximal_mu(),
        control: scaffold.then(|| Control {
            global: global_control.to_vec(),
            site: plan.local.control.clone(),
        }),
        privacy: None,
    };
    let rate = document.training.learning_rate * job.steps.max(1) as f64;
    let trained = LinearTrainer
        .train(job, data, &mut |_, _| ControlFlow::Continue(()))
        .map_err(defect)?;
    let (after, parameters) = layout.split(&trained.parameters).map_err(defect)?;
    let change: Vec<f32> = after.iter().zip(shared).map(|(a, b)| a - b).collect();
    let mut vectors = vec![change];
    let mut control = plan.local.control.clone();
    if scaffold {
        let change = vectors.first().map(Vec::as_slice).unwrap_or_default();
        let next = plan.local.control.iter().zip(global_control).zip(change);
        let next = next.map(|((own, all), change)| {
            (f64::from(*own) - f64::from(*all) - f64::from(*change) / rate) as f32
        });
        control = next.collect();
        let moved = control.iter().zip(&plan.local.control);
        vectors.push(moved.map(|(after, before)| after - before).collect());
    }
    Ok(Trained {
        vectors,
        local: LocalValues {
            parameters,
            control,
        },
        loss: trained.loss.unwrap_or(0.0),
    })
}

/// Depends on the state, the local values, the site's seed and the steps taken before.
fn drift(plan: &Plan, shared: &[f32]) -> Trained {
    let mut dice = Dice::new(plan.seed ^ plan.first_step.wrapping_mul(0x9E37_79B9));
    let pull: f32 = plan.local.parameters.iter().sum::<f32>() * 0.01;
    let rate = 0.05 + 0.1 * dice.unit();
    let target = dice.unit() - 0.5;
    let change = |value: &f32| rate * (target - value) + pull + 0.01 * (dice.unit() - 0.5);
    let change: Vec<f32> = shared.iter().map(change).collect();
    let seen: f32 = shared.iter().take(8).sum();
    let parameters = plan.local.parameters.iter();
    let local = LocalValues {
        parameters: parameters
            .map(|own| 0.9 * own + 0.1 * seen + 0.01)
            .collect(),
        control: Vec::new(),
    };
    Trained {
        vectors: vec![change],
        local,
        loss: 0.5,
    }
}

/// A metric that means nothing and is finite.
#[must_use]
pub fn metrics_on(records: u64) -> Metrics {
    Metrics {
        records,
        loss: 0.5,
        accuracy: 0.75,
        auc: None,
    }
}

fn defect(cause: impl std::fmt::Display) -> super::property::Violation {
    broken(
        Property::NoFaultOfItsOwn,
        format!("the simulated training failed: {cause}"),
    )
}
