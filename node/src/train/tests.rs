//! The room tested through its trait: every trainer does the same job.

use std::ops::ControlFlow;

use consilium_protocol::model::{Group, Home, ModelSpec};
use consilium_protocol::run::FoldSpec;

use super::*;
use crate::data::tests::{CENTRES, heart_features, hospital};
use crate::data::{Encoded, FeatureError, Prepared, encode, prepare};

fn cpu() -> BurnTrainer {
    BurnTrainer::new(DeviceChoice::Cpu).unwrap()
}

fn cleveland() -> Prepared {
    prepare(&hospital("cleveland"), &heart_features(), None, 0).unwrap()
}

fn logistic(local: &[Group]) -> Layout {
    ModelSpec::Logistic {
        local: local.to_vec(),
    }
    .layout(13)
    .unwrap()
}

fn mlp(inputs: usize, hidden: &[u32]) -> Layout {
    ModelSpec::Mlp {
        hidden: hidden.to_vec(),
        local: vec![],
    }
    .layout(inputs)
    .unwrap()
}

/// A job as a round begins it: the model's first values and plain SGD.
fn job(layout: &Layout, steps: u64) -> TrainJob {
    let shared: Vec<f32> = layout.initial_values(Home::Shared, 42).collect();
    let local: Vec<f32> = layout.initial_values(Home::Local, 42).collect();
    TrainJob {
        parameters: layout.join(&shared, &local).unwrap(),
        layout: layout.clone(),
        optimizer: Optimizer::Sgd {
            learning_rate: 0.05,
        },
        steps,
        batch_size: 4,
        seed: 42,
        first_step: 0,
        prox_mu: 0.0,
        control: None,
        privacy: None,
    }
}

fn go_on(_: u64, _: Option<f64>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn train(trainer: &mut dyn Trainer, job: TrainJob, data: &Batchable) -> Trained {
    trainer.train(job, data, &mut go_on).unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Jobs of every kind that a strategy asks for.
fn jobs_of_every_kind(steps: u64) -> Vec<(&'static str, TrainJob)> {
    let plain = job(&logistic(&[]), steps);
    let personal = job(&logistic(&[Group::Intercept]), steps);
    let control = |count: u8| Control {
        global: (0..count).map(|at| f32::from(at) * 0.01).collect(),
        site: (0..count).map(|at| 0.1 - f32::from(at) * 0.02).collect(),
    };
    vec![
        ("SGD", plain.clone()),
        (
            "Adam",
            TrainJob {
                optimizer: Optimizer::adam(0.01),
                ..plain.clone()
            },
        ),
        (
            "FedProx",
            TrainJob {
                prox_mu: 0.5,
                ..plain.clone()
            },
        ),
        (
            "SCAFFOLD",
            TrainJob {
                control: Some(control(14)),
                ..plain.clone()
            },
        ),
        (
            "all at once, intercept at home",
            TrainJob {
                optimizer: Optimizer::adam(0.01),
                prox_mu: 0.5,
                control: Some(control(13)),
                ..personal
            },
        ),
        (
            "one batch of all rows",
            TrainJob {
                batch_size: 1000,
                ..plain
            },
        ),
    ]
}

#[test]
fn burn_and_the_oracle_agree_on_every_kind_of_job() {
    let data = cleveland();
    let mut results: Vec<Vec<f32>> = Vec::new();
    for (kind, job) in jobs_of_every_kind(300) {
        let start = job.parameters.clone();
        let layout = job.layout.clone();
        let oracle = train(&mut LinearTrainer, job.clone(), &data.train);
        let burn = train(&mut cpu(), job, &data.train);
        let apart = distance(&oracle.parameters, &burn.parameters);
        assert!(apart <= 1e-5, "{kind}: {apart}");
        assert!(
            (oracle.loss.unwrap() - burn.loss.unwrap()).abs() < 1e-5,
            "{kind}"
        );
        assert!(
            distance(&oracle.parameters, &start) > 0.01,
            "{kind} moved nothing"
        );
        assert_eq!((oracle.records, oracle.steps), (199, 300));
        // Each kind does something of its own.
        assert!(
            results
                .iter()
                .all(|other| distance(other, &oracle.parameters) > 1e-4),
            "{kind}"
        );
        let measure = |trainer: &mut dyn Trainer| {
            trainer
                .evaluate(&layout, &oracle.parameters, &data.test)
                .unwrap()
        };
        let (by_oracle, by_burn) = (measure(&mut LinearTrainer), measure(&mut cpu()));
        assert_eq!(by_oracle.accuracy, by_burn.accuracy);
        assert!((by_oracle.loss - by_burn.loss).abs() < 1e-5);
        results.push(oracle.parameters);
    }
}

#[test]
fn control_variates_and_the_proximal_term_leave_local_parameters_alone() {
    // With one step from the start the proximal term is zero and the control
    // variates add themselves: they alone move the shared values.
    let plain = job(&logistic(&[Group::Intercept]), 1);
    let controlled = TrainJob {
        control: Some(Control {
            global: vec![1.0; 13],
            site: vec![0.0; 13],
        }),
        ..plain.clone()
    };
    let data = cleveland();
    for trainer in [&mut LinearTrainer as &mut dyn Trainer, &mut cpu()] {
        let without = train(trainer, plain.clone(), &data.train).parameters;
        let with = train(trainer, controlled.clone(), &data.train).parameters;
        assert!((without[0] - with[0] - 0.05).abs() < 1e-6);
        assert_eq!(without[13], with[13]);
    }
}

#[test]
fn the_same_job_gives_the_same_bits() {
    let data = cleveland();
    let mut jobs = jobs_of_every_kind(100);
    jobs.push(("network", job(&mlp(13, &[16, 8]), 100)));
    for (kind, job) in jobs {
        let first = train(&mut cpu(), job.clone(), &data.train);
        assert_eq!(first, train(&mut cpu(), job.clone(), &data.train), "{kind}");
        let other = TrainJob {
            seed: 43,
            batch_size: 4,
            ..job.clone()
        };
        assert_ne!(
            first.parameters,
            train(&mut cpu(), other, &data.train).parameters,
            "{kind}"
        );
        if job.layout.tensors().len() == 2 {
            let oracle = train(&mut LinearTrainer, job.clone(), &data.train);
            assert_eq!(
                oracle,
                train(&mut LinearTrainer, job, &data.train),
                "{kind}"
            );
        }
    }
}

#[test]
fn a_job_cut_in_two_gives_the_same_bits_as_the_whole() {
    let data = cleveland();
    for trainer in [&mut LinearTrainer as &mut dyn Trainer, &mut cpu()] {
        let whole = train(trainer, job(&logistic(&[]), 100), &data.train);
        let first = train(trainer, job(&logistic(&[]), 60), &data.train);
        let rest = TrainJob {
            parameters: first.parameters,
            first_step: 60,
            ..job(&logistic(&[]), 40)
        };
        assert_eq!(
            train(trainer, rest, &data.train).parameters,
            whole.parameters
        );
    }
}

/// FLamby's pooled baseline: all rows in one place, pooled normalisation, Adam
/// with learning rate 0.001, 50 epochs of batches of 4. Published: .7953 ± .0025.
#[test]
fn pooled_training_lands_where_flamby_published() {
    let parts = CENTRES
        .iter()
        .map(|centre| encode(&hospital(centre), &heart_features()).unwrap());
    let pooled = Encoded::pool(parts.collect())
        .unwrap()
        .standardise()
        .unwrap();
    let layout = logistic(&[]);
    let accuracies: Vec<f64> = (42..=46)
        .map(|seed| {
            let job = TrainJob {
                parameters: layout.initial_values(Home::Shared, seed).collect(),
                optimizer: Optimizer::adam(0.001),
                seed,
                ..job(&layout, 50 * 486_u64.div_ceil(4))
            };
            let trained = train(&mut LinearTrainer, job, &pooled.train);
            let metrics = LinearTrainer.evaluate(&layout, &trained.parameters, &pooled.test);
            metrics.unwrap().accuracy
        })
        .collect();
    let mean = accuracies.iter().sum::<f64>() / 5.0;
    assert!((mean - 0.7953).abs() <= 0.01, "{mean} from {accuracies:?}");
}

#[test]
fn a_network_learns_what_no_line_can() {
    let x = vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
    let xor = Batchable::new(x, vec![0.0, 1.0, 1.0, 0.0], 2).unwrap();
    let layout = mlp(2, &[8]);
    let job = TrainJob {
        optimizer: Optimizer::adam(0.05),
        ..job(&layout, 500)
    };
    let mut losses = Vec::new();
    let trained = cpu()
        .train(job, &xor, &mut |_, loss| {
            losses.extend(loss);
            ControlFlow::Continue(())
        })
        .unwrap();
    let metrics = cpu().evaluate(&layout, &trained.parameters, &xor).unwrap();
    assert_eq!((metrics.accuracy, metrics.auc), (1.0, Some(1.0)));
    assert!(metrics.loss < 0.05, "{}", metrics.loss);
    assert_eq!(losses.len(), 20);
    assert!(losses[19] < losses[0] / 5.0, "{losses:?}");
}

#[test]
fn what_does_not_fit_is_refused_by_every_trainer() {
    let data = cleveland().train;
    let good = job(&logistic(&[]), 3);
    let with = |change: &dyn Fn(&mut TrainJob)| {
        let mut job = good.clone();
        change(&mut job);
        job
    };
    let nan = TrainError::NotFinite { what: "model" };
    for trainer in [&mut LinearTrainer as &mut dyn Trainer, &mut cpu()] {
        let mut refusal = |job| trainer.train(job, &data, &mut go_on).unwrap_err();
        assert_eq!(refusal(with(&|job| job.parameters[3] = f32::NAN)), nan);
        assert!(
            refusal(with(&|job| job.parameters.truncate(13)))
                .to_string()
                .contains("14 parameters and got 13")
        );
        assert!(
            refusal(job(&mlp(4, &[2]), 1))
                .to_string()
                .contains("4 inputs and got 13")
        );
        assert!(
            refusal(with(&|job| job.batch_size = 0))
                .to_string()
                .contains("batch size")
        );
        assert!(
            refusal(with(&|job| job.prox_mu = -1.0))
                .to_string()
                .contains("proximal")
        );
        let no_rate = Optimizer::Sgd {
            learning_rate: f64::NAN,
        };
        assert!(
            refusal(with(&|job| job.optimizer = no_rate))
                .to_string()
                .contains("learning rate")
        );
        let short = Control {
            global: vec![0.0; 13],
            site: vec![0.0; 14],
        };
        assert!(
            refusal(with(&|job| job.control = Some(short.clone())))
                .to_string()
                .contains("got 13")
        );
        let far = Optimizer::Sgd {
            learning_rate: 1e39,
        };
        assert!(matches!(
            refusal(with(&|job| job.optimizer = far)),
            TrainError::Diverged { .. }
        ));
        let empty = Batchable::new(vec![], vec![], 13).unwrap();
        assert_eq!(
            trainer.train(good.clone(), &empty, &mut go_on),
            Err(TrainError::NoRecords)
        );
        let on_nothing = trainer.evaluate(&good.layout, &good.parameters, &empty);
        assert_eq!(on_nothing, Err(TrainError::NoRecords));
        let huge = trainer.evaluate(&good.layout, &[f32::MAX; 14], &data);
        assert_eq!(huge, Err(TrainError::NotFinite { what: "logits" }));
    }
    assert_eq!(
        LinearTrainer.train(job(&mlp(13, &[2]), 1), &data, &mut go_on),
        Err(TrainError::NotLinear)
    );
    let nan = Batchable::new(vec![0.0, f32::NAN], vec![1.0], 2).err();
    assert_eq!(nan, Some(FeatureError::NotFinite { row: 0 }));
}

#[test]
fn a_job_can_be_stopped_after_any_step() {
    let data = cleveland().train;
    for trainer in [&mut LinearTrainer as &mut dyn Trainer, &mut cpu()] {
        let mut stop_at_7 = |step, _| match step {
            7 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let stopped = trainer.train(job(&logistic(&[]), 1000), &data, &mut stop_at_7);
        assert_eq!(stopped, Err(TrainError::Stopped { step: 7 }));
    }
}

/// The largest memory that this process held, in bytes; Linux only.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[test]
fn a_large_model_passes_through_without_a_copy() {
    let layout = mlp(13, &[10_000, 9_985]);
    assert!(layout.len() > 99_000_000);
    let data = cleveland().train;
    let before = peak_memory_bytes();
    let job = TrainJob {
        parameters: vec![0.5; layout.len()],
        ..job(&mlp(13, &[1]), 0)
    };
    let job = TrainJob { layout, ..job };
    let size = size_of_val(job.parameters.as_slice()) as u64;
    let trained = train(&mut cpu(), job, &data);
    assert_eq!((trained.loss, trained.steps), (None, 0));
    assert!(trained.parameters.iter().all(|value| *value == 0.5));
    if let (Some(before), Some(after)) = (before, peak_memory_bytes()) {
        // One copy would make it two models; the tests beside this one need far less than one.
        assert!(after - before < size * 2, "{} of {size}", after - before);
    }
}

/// The same training on whatever adapter wgpu finds, and on the CPU. A few steps
/// only: a software renderer takes a quarter of a second for each.
#[test]
fn a_gpu_gives_what_the_cpu_gives() {
    let mut gpu = match BurnTrainer::new(DeviceChoice::Gpu) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("did not run: {error}");
            return;
        }
    };
    println!("runs on {}", gpu.device());
    let auto = BurnTrainer::new(DeviceChoice::Auto).unwrap();
    assert!(!auto.device().starts_with("software"), "{}", auto.device());
    let data = cleveland();
    let jobs = jobs_of_every_kind(4).into_iter().map(|(_, job)| job);
    for job in jobs.skip(4).chain([job(&mlp(13, &[16, 8]), 4)]) {
        let layout = job.layout.clone();
        let on_cpu = train(&mut cpu(), job.clone(), &data.train);
        let on_gpu = train(&mut gpu, job, &data.train);
        let apart = distance(&on_cpu.parameters, &on_gpu.parameters);
        assert!(apart <= 1e-4, "{apart}");
        assert!((on_cpu.loss.unwrap() - on_gpu.loss.unwrap()).abs() <= 1e-4);
        let logits_apart = distance(
            &cpu()
                .logits(&layout, &on_cpu.parameters, &data.test)
                .unwrap(),
            &gpu.logits(&layout, &on_cpu.parameters, &data.test).unwrap(),
        );
        assert!(logits_apart <= 1e-4, "{logits_apart}");
    }
}

/// Opens a GPU in a process whose drivers are hidden.
#[test]
fn a_gpu_that_is_not_there_is_a_clear_error_and_auto_does_without() {
    const CHILD: &str = "CONSILIUM_TEST_WITHOUT_DRIVERS";
    if std::env::var_os(CHILD).is_none() {
        let name = "a_gpu_that_is_not_there_is_a_clear_error_and_auto_does_without";
        let tests = std::env::current_exe().unwrap();
        let child = std::process::Command::new(tests)
            .args([name, "--nocapture"])
            .env(CHILD, "1")
            .env("VK_DRIVER_FILES", "/nowhere.json")
            .env("VK_ICD_FILENAMES", "/nowhere.json")
            .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nowhere.json")
            .env("LIBGL_DRIVERS_PATH", "/nowhere")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    match BurnTrainer::new(DeviceChoice::Gpu) {
        Ok(trainer) => println!(
            "did not run: this machine shows {} anyway",
            trainer.device()
        ),
        Err(error) => {
            assert!(
                error
                    .to_string()
                    .contains("set `device` to `auto` or `cpu`"),
                "{error}"
            );
            let auto = BurnTrainer::new(DeviceChoice::Auto).unwrap();
            assert_eq!(auto.device(), "CPU, flex");
        }
    }
}

/// A configuration picks a trainer, and cross-validation on the training rows
/// tells how well a run's settings do without touching a test row.
#[test]
fn a_configured_trainer_learns_on_folds() {
    let choose =
        |word: &str| serde_json::from_str::<TrainerChoice>(&format!("\"{word}\"")).unwrap();
    let layout = logistic(&[]);
    for word in ["burn", "linear"] {
        let mut trainer = trainer(choose(word), DeviceChoice::Cpu).unwrap();
        let mut held_out = |fold| {
            let fold = Some(FoldSpec { folds: 5, fold });
            let data = prepare(&hospital("cleveland"), &heart_features(), fold, 1).unwrap();
            let trained = train(trainer.as_mut(), job(&layout, 500), &data.train);
            trainer
                .evaluate(&layout, &trained.parameters, &data.test)
                .unwrap()
        };
        let folds: Vec<_> = (0..5).map(&mut held_out).collect();
        assert_eq!(folds.iter().map(|fold| fold.records).sum::<u64>(), 199);
        let accuracy = folds.iter().map(|fold| fold.accuracy).sum::<f64>() / 5.0;
        let auc = folds.iter().filter_map(|fold| fold.auc).sum::<f64>() / 5.0;
        // The majority vote has 0.54 and a coin 0.5.
        assert!(accuracy > 0.7 && auc > 0.8, "{word}: {accuracy}, {auc}");
    }
}
