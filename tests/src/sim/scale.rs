//! A consortium of many members, of whom each run names a few by seed.

use super::dice::Dice;
use super::plan::{Mode, NetworkPlan, Plan};
use super::property::{Property, Step, broken};
use super::report::Report;
use super::world::World;

/// How large, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub members: usize,
    pub sampled: usize,
    pub runs: u64,
    pub rounds: u64,
}

/// Everybody is enrolled and connected; each run names `sampled` of them; nothing goes wrong. `between` is called
/// after each run with its number.
///
/// # Errors
/// The first promise that was broken.
pub fn run(scale: Scale, seed: u64, mut between: impl FnMut(u64)) -> Step<Report> {
    let mut dice = Dice::new(seed);
    // Any calm plan will do: its sites and its run are replaced.
    let mut plan = Plan::of(seed)?;
    plan.mode = Mode::Calm;
    plan.is_large = false;
    plan.troubles.clear();
    plan.crash_permille = 0;
    plan.network = NetworkPlan {
        delay_ms_max: 100,
        ..NetworkPlan::default()
    };
    let model = plan
        .sites
        .first()
        .cloned()
        .ok_or_else(|| broken(Property::NoFaultOfItsOwn, "a plan without sites"))?;
    plan.sites = (0..scale.members)
        .map(|index| {
            let mut site = model.clone();
            site.name = super::world::parsed(&format!("site-{index:05}"))?;
            site.liar = None;
            site.until = "2099-12-31";
            site.training_ms = dice.between(20, 4_000);
            Ok(site)
        })
        .collect::<Step<_>>()?;
    plan.run_text = run_text(scale, &mut dice);
    let mut world = World::new(plan, None)?;
    world.run()?;
    between(1);
    for number in 2..=scale.runs {
        let text = run_text(scale, &mut dice);
        world.submit_another(number, text)?;
        world.run()?;
        between(number);
    }
    world.report.sites = scale.members as u64;
    Ok(world.report)
}

fn run_text(scale: Scale, dice: &mut Dice) -> String {
    let mut chosen = std::collections::BTreeSet::new();
    while chosen.len() < scale.sampled.min(scale.members) {
        chosen.insert(dice.index(scale.members));
    }
    let names: Vec<String> = chosen
        .iter()
        .map(|site| format!("\"site-{site:05}\""))
        .collect();
    format!(
        r#"name = "sampled"
project = "p"
purpose = "HMB"
dataset = "d"
participants = [{}]
rounds = {}
seed = {}
round-deadline-s = 600
model = {{ kind = "logistic" }}
strategy = {{ name = "FedAvg" }}
training = {{ learning-rate = 0.1, local-steps = 3, batch-size = 4 }}
data = {{ features = [{{ column = "a" }}, {{ column = "b" }}], label = {{ column = "y", greater-than = 0 }} }}
"#,
        names.join(", "),
        scale.rounds,
        dice.below(1 << 40),
    )
}
