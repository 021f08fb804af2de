//! Budgets, and the account that tells whether one more release fits.

use serde::{Deserialize, Serialize};

use crate::accountant;
use crate::cost::{Cost, Curve, EPSILON_MAX, INFINITE_ORDER};
use crate::fixed_point::{ATTO, PICO, nats_up, nearest_up, pico_down};

/// The most that all releases together may cost a patient: (ε, δ)-differential privacy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Declared", into = "Declared")]
pub struct Budget {
    epsilon: f64,
    delta: f64,
}

// A budget holds no NaN: `Budget::new` takes none.
impl Eq for Budget {}

/// A budget as it stands in a file, before it is known to be one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    epsilon: f64,
    delta: f64,
}

/// Figures that are no budget.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    #[error("an ε of `{0}` is no budget; give a number above 0 and at most {EPSILON_MAX}")]
    Epsilon(f64),
    #[error(
        "a δ of `{0}` is no budget; give a number between 0 and 1, well below one in the number of patients"
    )]
    Delta(f64),
}

impl Budget {
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, BudgetError> {
        if !(epsilon > 0.0 && epsilon <= EPSILON_MAX) {
            return Err(BudgetError::Epsilon(epsilon));
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(BudgetError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    pub fn delta(&self) -> f64 {
        self.delta
    }
}

impl TryFrom<Declared> for Budget {
    type Error = BudgetError;

    fn try_from(declared: Declared) -> Result<Self, BudgetError> {
        Self::new(declared.epsilon, declared.delta)
    }
}

impl From<Budget> for Declared {
    fn from(budget: Budget) -> Self {
        let Budget { epsilon, delta } = budget;
        Self { epsilon, delta }
    }
}

/// What releases have cost a patient together: the sum of their curves, which does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Account {
    spent: Curve,
    delta_atto: u64,
}

impl Account {
    /// Charges one release; what costs its patients alone is in their accounts and in no other.
    pub fn add(&mut self, cost: &Cost) {
        if cost.is_of_its_patients_alone() {
            return;
        }
        self.spent += &cost.curve();
        self.delta_atto = self.delta_atto.saturating_add(cost.delta_atto());
    }

    /// What was spent, as a curve.
    pub fn spent(&self) -> &Curve {
        &self.spent
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The ε that all of it amounts to at `delta`; infinite where `delta` is too small for it.
    pub fn epsilon(&self, delta: f64) -> f64 {
        let Some(delta) = delta_left(delta, self.delta_atto) else {
            return f64::INFINITY;
        };
        let curve = self.spent.points();
        accountant::epsilon(curve.map(|(order, pico)| (order, nats_up(pico))), delta).0
    }

    /// Whether `cost` fits `budget` on top of what was spent: a Rényi filter, which permits while some order still
    /// holds (Lécuyer 2021, "Practical privacy filters and odometers with Rényi differential privacy").
    pub fn fits(&self, budget: &Budget, cost: &Cost) -> bool {
        let mut after = *self;
        after.add(cost);
        let Some(delta) = delta_left(budget.delta, after.delta_atto) else {
            return false;
        };
        let holds = |(order, spent): (u32, u64)| {
            spent != u64::MAX && spent <= allowance(budget.epsilon, delta, order)
        };
        after.spent.points().any(holds)
    }

    /// The ε of `budget` that is not spent: for people to read. It does not add up; [`Account::fits`] decides.
    pub fn left(&self, budget: &Budget) -> f64 {
        (budget.epsilon - self.epsilon(budget.delta)).max(0.0)
    }
}

/// What `delta` leaves for the conversion when `spent_atto` of it is gone; none where nothing is left.
fn delta_left(delta: f64, spent_atto: u64) -> Option<f64> {
    if spent_atto == 0 {
        return Some(delta);
    }
    let left = delta - (spent_atto as f64 / ATTO).next_up();
    (left > 0.0).then_some(left)
}

/// The pico-nats that an (ε, δ) budget leaves for the divergence at `order`, rounded down.
fn allowance(epsilon: f64, delta: f64, order: u32) -> u64 {
    match order {
        // Conversion is free there, so ten releases at a tenth fit a declared ε of one exactly.
        INFINITE_ORDER => nearest_up(epsilon, PICO),
        order => pico_down(epsilon - accountant::conversion(order, delta)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(epsilon: f64) -> Budget {
        Budget::new(epsilon, 1e-5).unwrap()
    }

    fn any_cost() -> impl Strategy<Value = Cost> {
        prop_oneof![
            Just(Cost::None),
            (0.001..2.0).prop_map(|epsilon| Cost::pure(epsilon).unwrap()),
            (0.001..0.5).prop_map(|rho| Cost::zcdp(rho).unwrap()),
            (0.001..2.0).prop_map(|epsilon| Cost::approximate(epsilon, 1e-7).unwrap()),
            (0.001..0.2, 0.6..9.0, 1..500_u64).prop_map(|(q, sigma, steps)| {
                Cost::subsampled_gaussian(q, sigma, steps).unwrap()
            }),
        ]
    }

    fn account(costs: &[Cost]) -> Account {
        let mut account = Account::default();
        costs.iter().for_each(|cost| account.add(cost));
        account
    }

    #[test]
    fn ten_tenths_of_a_pure_epsilon_are_one_and_an_eleventh_does_not_fit() {
        let tenth = Cost::pure(0.1).unwrap();
        let mut spent = Account::default();
        for _ in 0..10 {
            assert!(spent.fits(&budget(1.0), &tenth));
            spent.add(&tenth);
        }
        assert!(!spent.fits(&budget(1.0), &tenth));
        // By plain addition it is exactly one; for people who grant a δ it is a little less.
        assert_eq!(spent.epsilon(1e-300), 1.0_f64.next_up());
        assert!((0.0..0.01).contains(&spent.left(&budget(1.0))));
    }

    #[test]
    fn many_small_pure_costs_add_up_to_less_than_their_sum() {
        let small = Cost::pure(0.01).unwrap();
        let spent = account(&vec![small; 2_000]);
        // 20 by plain addition.
        assert!(spent.epsilon(1e-5) < 2.5);
    }

    #[test]
    fn an_empty_account_costs_nothing() {
        let empty = Account::default();
        assert!(empty.is_empty());
        assert_eq!(empty.epsilon(1e-9), 0.0);
        assert_eq!(empty.left(&budget(3.0)), 3.0);
        assert!(empty.fits(&Budget::new(1e-9, 1e-30).unwrap(), &Cost::None));
    }

    #[test]
    fn an_infinite_curve_never_fits() {
        let no_gaussian_is_pure = Cost::zcdp(0.1).unwrap();
        let strict = Budget::new(1_000.0, f64::MIN_POSITIVE).unwrap();
        let mut spent = Account::default();
        assert!(spent.fits(&strict, &no_gaussian_is_pure));
        let enormous = Cost::Renyi {
            curve: serde_json::from_str(&format!(
                "[{}]",
                vec!["18446744073709551615"; 60].join(",")
            ))
            .unwrap(),
        };
        assert!(!spent.fits(&strict, &enormous));
        spent.add(&enormous);
        spent.add(&enormous);
        assert_eq!(spent.epsilon(0.5), f64::INFINITY);
        assert!(!spent.fits(&strict, &Cost::None));
    }

    #[test]
    fn the_delta_of_histograms_is_spent_too() {
        let histogram = Cost::approximate(0.01, 4e-6).unwrap();
        let mut spent = Account::default();
        spent.add(&histogram);
        assert!(spent.fits(&budget(5.0), &histogram));
        spent.add(&histogram);
        assert!(
            !spent.fits(&budget(5.0), &histogram),
            "3 x 4e-6 is above 1e-5"
        );
        assert_eq!(spent.epsilon(7e-6), f64::INFINITY);
    }

    #[test]
    fn written_costs_are_read_for_ever() {
        let curve = Cost::subsampled_gaussian(0.01, 1.0, 1).unwrap();
        let written = [
            (Cost::None, r#""none""#),
            (
                Cost::pure(0.5).unwrap(),
                r#"{"pure":{"epsilon-pico":500000000000}}"#,
            ),
            (
                Cost::zcdp(0.5).unwrap(),
                r#"{"zcdp":{"rho-pico":500000000000}}"#,
            ),
            (
                Cost::approximate(1.0, 1e-6).unwrap(),
                r#"{"approximate":{"epsilon-pico":1000000000000,"delta-atto":1000000000000}}"#,
            ),
        ];
        for (cost, text) in written {
            assert_eq!(serde_json::to_string(&cost).unwrap(), text);
            assert_eq!(serde_json::from_str::<Cost>(text).unwrap(), cost);
        }
        let text = serde_json::to_string(&curve).unwrap();
        assert!(text.starts_with(r#"{"renyi":{"curve":[1718134"#), "{text}");
        assert_eq!(serde_json::from_str::<Cost>(&text).unwrap(), curve);
        for wrong in [
            r#"{"renyi":{"curve":[1,2,3]}}"#,
            r#"{"pure":{"epsilon-pico":-1}}"#,
        ] {
            assert!(serde_json::from_str::<Cost>(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            r#"{"epsilon":0,"delta":1e-5}"#,
            r#"{"epsilon":1,"delta":1}"#,
        ] {
            assert!(serde_json::from_str::<Budget>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_releases_does_not_matter(
            costs in prop::collection::vec(any_cost(), 0..12),
            seed: prop::sample::Index,
        ) {
            let mut turned = costs.clone();
            if !turned.is_empty() {
                let by = seed.index(turned.len());
                turned.rotate_left(by);
                turned.reverse();
            }
            prop_assert_eq!(account(&costs), account(&turned));
        }

        #[test]
        fn what_fits_stays_within_the_budget_and_what_does_not_would_pass_it(
            costs in prop::collection::vec(any_cost(), 1..12),
            epsilon in 0.05..8.0_f64,
        ) {
            let budget = budget(epsilon);
            let mut spent = Account::default();
            for cost in &costs {
                let fits = spent.fits(&budget, cost);
                let mut after = spent;
                after.add(cost);
                let reached = after.epsilon(budget.delta());
                if fits {
                    prop_assert!(reached <= epsilon * (1.0 + 1e-9), "{} of {}", reached, epsilon);
                    spent = after;
                } else {
                    prop_assert!(reached >= epsilon * (1.0 - 1e-9), "{} of {}", reached, epsilon);
                }
            }
        }
    }
}
