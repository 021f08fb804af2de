//! Aggregation strategies by the names that Flower made common.

use serde::{Deserialize, Serialize};

/// How the coordinator turns the sites' updates into the next model.
///
/// The names are part of run files. Defaults follow the papers named at each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// Weighted mean by records (McMahan et al. 2017).
    FedAvg {},
    /// FedAvg with momentum at the server (Hsu et al. 2019).
    FedAvgM {
        #[serde(default = "one")]
        server_learning_rate: f64,
        #[serde(default = "point_nine")]
        momentum: f64,
    },
    /// FedAvg of sites that are held near the global model by μ/2·‖w − w₀‖² (Li et al. 2020).
    FedProx { mu: f64 },
    /// Adaptive server optimisers (Reddi et al. 2021, Algorithm 2).
    FedAdam {
        server_learning_rate: f64,
        #[serde(default = "point_nine")]
        beta_1: f64,
        #[serde(default = "point_99")]
        beta_2: f64,
        #[serde(default = "tau")]
        tau: f64,
    },
    FedYogi {
        server_learning_rate: f64,
        #[serde(default = "point_nine")]
        beta_1: f64,
        #[serde(default = "point_99")]
        beta_2: f64,
        #[serde(default = "tau")]
        tau: f64,
    },
    FedAdagrad {
        server_learning_rate: f64,
        #[serde(default = "zero")]
        beta_1: f64,
        #[serde(default = "tau")]
        tau: f64,
    },
    /// Control variates against client drift (Karimireddy et al. 2020, option II).
    #[serde(rename = "SCAFFOLD")]
    Scaffold {
        #[serde(default = "one")]
        server_learning_rate: f64,
    },
}

fn zero() -> f64 {
    0.0
}

fn one() -> f64 {
    1.0
}

fn point_nine() -> f64 {
    0.9
}

fn point_99() -> f64 {
    0.99
}

/// Reddi et al. tune τ over 10⁻⁵…10⁻¹ and find 10⁻³ good throughout.
fn tau() -> f64 {
    1e-3
}

/// How one site's update weighs against another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// By the records it trained on.
    Records,
    /// Every site the same.
    Equal,
}

impl Strategy {
    /// The name as run files write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FedAvg {} => "FedAvg",
            Self::FedAvgM { .. } => "FedAvgM",
            Self::FedProx { .. } => "FedProx",
            Self::FedAdam { .. } => "FedAdam",
            Self::FedYogi { .. } => "FedYogi",
            Self::FedAdagrad { .. } => "FedAdagrad",
            Self::Scaffold { .. } => "SCAFFOLD",
        }
    }

    /// Vectors of the model's length that travel each way: the model or its
    /// change, and for SCAFFOLD the control variate or its change.
    #[must_use]
    pub fn vectors_on_the_wire(&self) -> usize {
        match self {
            Self::Scaffold { .. } => 2,
            _ => 1,
        }
    }

    /// Vectors of the model's length that the coordinator keeps between rounds,
    /// the model first, what also travels next.
    #[must_use]
    pub fn vectors_of_state(&self) -> usize {
        match self {
            Self::FedAvg {} | Self::FedProx { .. } => 1,
            Self::FedAvgM { .. } | Self::Scaffold { .. } => 2,
            Self::FedAdam { .. } | Self::FedYogi { .. } | Self::FedAdagrad { .. } => 3,
        }
    }

    /// How updates are weighed. SCAFFOLD's analysis has every site alike.
    #[must_use]
    pub fn weighting(&self) -> Weighting {
        match self {
            Self::Scaffold { .. } => Weighting::Equal,
            _ => Weighting::Records,
        }
    }

    /// The proximal term's μ; zero for every strategy but FedProx.
    #[must_use]
    pub fn proximal_mu(&self) -> f64 {
        match self {
            Self::FedProx { mu } => *mu,
            _ => 0.0,
        }
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let adaptive = |lr: f64, beta_1: f64, beta_2: f64, tau: f64| {
            positive(lr) && fraction(beta_1) && fraction(beta_2) && positive(tau)
        };
        let good = match *self {
            Self::FedAvg {} => true,
            Self::FedAvgM {
                server_learning_rate,
                momentum,
            } => positive(server_learning_rate) && fraction(momentum),
            Self::FedProx { mu } => mu.is_finite() && mu >= 0.0,
            Self::FedAdam {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            }
            | Self::FedYogi {
                server_learning_rate,
                beta_1,
                beta_2,
                tau,
            } => adaptive(server_learning_rate, beta_1, beta_2, tau),
            Self::FedAdagrad {
                server_learning_rate,
                beta_1,
                tau,
            } => adaptive(server_learning_rate, beta_1, 0.0, tau),
            Self::Scaffold {
                server_learning_rate,
            } => positive(server_learning_rate),
        };
        (!good).then_some(
            "learning rates and tau are above 0, betas and momentum in [0, 1), mu at least 0",
        )
    }
}
