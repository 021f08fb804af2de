//! From the mean of the sites' changes to the next state, a chunk at a time.
//!
//! Every strategy here works element by element, so a chunk of each vector is all
//! that it needs. State is kept as `f32`; each element is computed in `f64`
//! and rounded once, which makes the result the same on every machine.
//!
//! With d the mean change ("pseudo-gradient" with the sign turned), w the
//! model, all state but w zero before the first round:
//!
//! | strategy | step | source |
//! |---|---|---|
//! | FedAvg, FedProx | w += d | McMahan et al. 2017, Algorithm 1; Li et al. 2020, Algorithm 2 |
//! | FedAvgM | m = βm + d; w += ηm | Hsu et al. 2019, §4.2 |
//! | FedAdagrad | m = β₁m + (1−β₁)d; v += d²; w += ηm/(√v + τ) | Reddi et al. 2021, Algorithm 2 |
//! | FedYogi | the same m and w; v −= (1−β₂)d²·sign(v − d²) | the same |
//! | FedAdam | the same m and w; v = β₂v + (1−β₂)d² | the same |
//! | SCAFFOLD | w += ηd; c += S/N·dc | Karimireddy et al. 2020, Algorithm 1 |
//!
//! Reddi et al. begin with v ≥ τ². FLamby and Flower begin with v = 0, and so does
//! this, so that FLamby's published recipes are reproduced. None of them corrects bias.

use consilium_protocol::strategy::Strategy;

/// The number of vectors does not fit the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{strategy} works on other vectors than {state} of state and {means} of changes; \
     the run's strategy and its state do not belong together"
)]
pub struct WrongVectors {
    strategy: &'static str,
    state: usize,
    means: usize,
}

/// What the state's vectors after the model are called, in order.
#[must_use]
pub fn vectors_after_the_model(strategy: &Strategy) -> &'static [&'static str] {
    match strategy {
        Strategy::FedAvg {} | Strategy::FedProx { .. } => &[],
        Strategy::FedAvgM { .. } => &["momentum"],
        Strategy::FedAdam { .. } | Strategy::FedYogi { .. } | Strategy::FedAdagrad { .. } => {
            &["first-moment", "second-moment"]
        }
        Strategy::Scaffold { .. } => &["control"],
    }
}

/// Takes one step in place, for the same range of every vector.
///
/// `means` holds the mean change of each vector on the wire, `state` the model
/// and then what [`vectors_after_the_model`] names. `participation` is the share of
/// the sites that were accepted; only SCAFFOLD asks for it. Where vectors
/// differ in length, the shortest decides.
///
/// # Errors
/// [`WrongVectors`] when there are too many or too few of them.
pub fn advance(
    strategy: &Strategy,
    participation: f64,
    means: &[Vec<f64>],
    state: &mut [Vec<f32>],
) -> Result<(), WrongVectors> {
    match (*strategy, Adaptive::of(strategy), means, &mut *state) {
        (Strategy::FedAvg {} | Strategy::FedProx { .. }, _, [change], [model]) => {
            add(model, change, 1.0);
        }
        (
            Strategy::FedAvgM {
                server_learning_rate,
                momentum,
            },
            _,
            [change],
            [model, velocity],
        ) => {
            for ((w, m), d) in model.iter_mut().zip(velocity).zip(change) {
                let next = momentum * f64::from(*m) + d;
                *m = next as f32;
                *w = (f64::from(*w) + server_learning_rate * next) as f32;
            }
        }
        (_, Some(step), [change], [model, first, second]) => {
            step.take(model, first, second, change);
        }
        (
            Strategy::Scaffold {
                server_learning_rate,
            },
            _,
            [change, control_change],
            [model, control],
        ) => {
            add(model, change, server_learning_rate);
            add(control, control_change, participation);
        }
        _ => {
            return Err(WrongVectors {
                strategy: strategy.name(),
                state: state.len(),
                means: means.len(),
            });
        }
    }
    Ok(())
}

/// The step that Reddi et al.'s three optimisers share.
struct Adaptive {
    server_learning_rate: f64,
    beta_1: f64,
    tau: f64,
    second_moment: SecondMoment,
}

/// How they differ.
enum SecondMoment {
    Adagrad,
    Adam { beta_2: f64 },
    Yogi { beta_2: f64 },
}

impl Adaptive {
    /// `None` for a strategy that is none of the three.
    fn of(strategy: &Strategy) -> Option<Self> {
        let (server_learning_rate, beta_1, tau, second_moment) = match *strategy {
            Strategy::FedAdagrad {
                server_learning_rate,
                beta_1,
                tau,
            } => (server_learning_rate, beta_1, tau, SecondMoment::Adagrad),
            Strategy::FedAdam {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            } => (
                server_learning_rate,
                beta_1,
                tau,
                SecondMoment::Adam { beta_2 },
            ),
            Strategy::FedYogi {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            } => (
                server_learning_rate,
                beta_1,
                tau,
                SecondMoment::Yogi { beta_2 },
            ),
            _ => return None,
        };
        Some(Self {
            server_learning_rate,
            beta_1,
            tau,
            second_moment,
        })
    }

    fn take(&self, model: &mut [f32], first: &mut [f32], second: &mut [f32], change: &[f64]) {
        // Chosen outside the loop, so that each loop is plain arithmetic.
        match self.second_moment {
            SecondMoment::Adagrad => self.walk(model, first, second, change, |v, d| v + d * d),
            SecondMoment::Adam { beta_2 } => self.walk(model, first, second, change, |v, d| {
                beta_2 * v + (1.0 - beta_2) * d * d
            }),
            SecondMoment::Yogi { beta_2 } => self.walk(model, first, second, change, |v, d| {
                v - (1.0 - beta_2) * d * d * sign(v - d * d)
            }),
        }
    }

    fn walk(
        &self,
        model: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        change: &[f64],
        next_second: impl Fn(f64, f64) -> f64,
    ) {
        for (((w, m), v), &d) in model.iter_mut().zip(first).zip(second).zip(change) {
            let next_m = self.beta_1 * f64::from(*m) + (1.0 - self.beta_1) * d;
            // Yogi's subtraction may leave a hair below zero after rounding.
            let next_v = next_second(f64::from(*v), d).max(0.0);
            *m = next_m as f32;
            *v = next_v as f32;
            let step = self.server_learning_rate * next_m / (next_v.sqrt() + self.tau);
            *w = (f64::from(*w) + step) as f32;
        }
    }
}

fn add(to: &mut [f32], change: &[f64], factor: f64) {
    for (value, change) in to.iter_mut().zip(change) {
        *value = (f64::from(*value) + factor * change) as f32;
    }
}

/// The mathematician's sign, 0 at 0; `f64::signum` says 1 there.
fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step from `state` with the mean change 0.5 (and 4 for a second vector).
    fn step(strategy: Strategy, state: &[f32]) -> Vec<f32> {
        let mut state: Vec<Vec<f32>> = state.iter().map(|&value| vec![value]).collect();
        let means = [vec![0.5], vec![4.0]];
        advance(
            &strategy,
            0.75,
            &means[..strategy.vectors_on_the_wire()],
            &mut state,
        )
        .unwrap();
        state.into_iter().flatten().collect()
    }

    #[test]
    fn every_strategy_names_the_state_that_it_keeps() {
        for strategy in all() {
            assert_eq!(
                vectors_after_the_model(&strategy).len() + 1,
                strategy.vectors_of_state(),
                "{}",
                strategy.name()
            );
        }
    }

    // The numbers below are worked by hand from the formulas of the papers.

    #[test]
    fn fedavg_and_fedprox_add_the_mean_change() {
        assert_eq!(step(Strategy::FedAvg {}, &[1.0]), [1.5]);
        assert_eq!(step(Strategy::FedProx { mu: 3.0 }, &[1.0]), [1.5]);
    }

    #[test]
    fn fedavgm_keeps_its_momentum() {
        let strategy = Strategy::FedAvgM {
            server_learning_rate: 2.0,
            momentum: 0.5,
        };
        // m = 0.5·3 + 0.5 = 2; w = 1 + 2·2
        assert_eq!(step(strategy, &[1.0, 3.0]), [5.0, 2.0]);
    }

    #[test]
    fn fedadam_takes_reddis_step() {
        let strategy = Strategy::FedAdam {
            server_learning_rate: 2.0,
            beta_1: 0.5,
            beta_2: 0.75,
            tau: 0.75,
        };
        // m = 0.5·1 + 0.5·0.5 = 0.75; v = 0.75·0.25 + 0.25·0.25 = 0.25; w = 1 + 2·0.75/(0.5 + 0.75)
        assert_eq!(step(strategy, &[1.0, 1.0, 0.25]), [2.2, 0.75, 0.25]);
    }

    #[test]
    fn fedyogi_moves_its_variance_by_the_sign_of_the_difference() {
        let strategy = Strategy::FedYogi {
            server_learning_rate: 2.0,
            beta_1: 0.5,
            beta_2: 0.0,
            tau: 0.5,
        };
        // d² = 0.25. Above: v = 1.25 − 0.25 = 1; m = 0.25; w = 1 + 2·0.25/(1 + 0.5)
        assert_eq!(step(strategy, &[1.0, 0.0, 1.25]), [1.333_333_4, 0.25, 1.0]);
        // Below: v = 0 + 0.25; w = 1 + 2·0.25/(0.5 + 0.5)
        assert_eq!(step(strategy, &[1.0, 0.0, 0.0]), [1.5, 0.25, 0.25]);
        // Equal: v stays.
        assert_eq!(step(strategy, &[1.0, 0.0, 0.25]), [1.5, 0.25, 0.25]);
    }

    #[test]
    fn fedadagrad_sums_its_squares() {
        let strategy = Strategy::FedAdagrad {
            server_learning_rate: 3.0,
            beta_1: 0.0,
            tau: 0.5,
        };
        // m = 0.5; v = 0.75 + 0.25 = 1; w = 1 + 3·0.5/(1 + 0.5)
        assert_eq!(step(strategy, &[1.0, 7.0, 0.75]), [2.0, 0.5, 1.0]);
    }

    #[test]
    fn scaffold_moves_its_control_by_the_share_that_took_part() {
        let strategy = Strategy::Scaffold {
            server_learning_rate: 2.0,
        };
        // w = 1 + 2·0.5; c = 1 + 0.75·4
        assert_eq!(step(strategy, &[1.0, 1.0]), [2.0, 4.0]);
    }

    #[test]
    fn vectors_of_another_strategy_are_refused() {
        for strategy in all() {
            let mut none: Vec<Vec<f32>> = vec![];
            assert!(advance(&strategy, 1.0, &[vec![]], &mut none).is_err());
            let mut four = vec![vec![0.0]; 4];
            assert!(advance(&strategy, 1.0, &[vec![0.0]], &mut four).is_err());
        }
    }

    fn all() -> [Strategy; 7] {
        let (server_learning_rate, beta_1, beta_2, tau) = (1.0, 0.9, 0.99, 1e-3);
        [
            Strategy::FedAvg {},
            Strategy::FedAvgM {
                server_learning_rate,
                momentum: 0.9,
            },
            Strategy::FedProx { mu: 0.1 },
            Strategy::FedAdam {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            },
            Strategy::FedYogi {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            },
            Strategy::FedAdagrad {
                server_learning_rate,
                beta_1,
                tau,
            },
            Strategy::Scaffold {
                server_learning_rate,
            },
        ]
    }
}
