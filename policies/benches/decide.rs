//! How long a decision takes. `cargo bench --profile dev -p consilium-policies --bench decide`.
//!
//! Every rule of Cedar here is about the ask and looks at quantities: rules about other data sets cost nothing, as they
//! are left out when the bundle is taken up. Prints figures and judges nothing.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, prints what it saw, and stops at what cannot be"
)]

use std::time::Instant;

use consilium_policies::{
    Action, Ask, Bundle, BundleFiles, Facts, Researcher, StatisticKind, Verdict, decide,
};
use consilium_privacy::Cost;
use consilium_protocol::{Digest, Millis, Role};

/// Permits, and rules of Cedar that are all about the ask.
const SIZES: [(usize, usize); 4] = [(1, 0), (60, 0), (60, 40), (50, 50)];
const DECISIONS: usize = 100_000;
const NOW: Millis = Millis(1_780_272_000_000);

fn files(permits: usize, cedar_rules: usize) -> BundleFiles {
    let mut policy = "name = \"h\"\nversion = 1\n[dataset.heart-disease]\nduo = [\"HMB\", \"IRB\", \"PUB\"]\n\
                      unit = \"patient\"\nfloor-patients = 11\nbudget = { epsilon = 10.0, delta = 1e-6 }\n\
                      budget-patient = { epsilon = 8.0, delta = 1e-6 }\n"
        .to_owned();
    for n in 0..permits {
        policy += &format!(
            "[[permit]]\nid = \"p{n}\"\nresearchers = [\"ada\"]\nprojects = [\"project-{n}\", \"other\"]\n\
             purposes = [\"HMB\"]\nactions = [\"statistics\"]\ndataset = \"heart-disease\"\nuntil = \"2027-12-31\"\n\
             release = [\"noisy-statistics\", \"exact-statistics\"]\nbudget = {{ epsilon = 3.0, delta = 1e-6 }}\n\
             agreed = [\"IRB\", \"PUB\"]\n"
        );
    }
    let mut rules = String::new();
    for n in 0..cedar_rules {
        rules += &format!(
            "@id(\"r{n}\") forbid (principal, action in Action::\"statistics\", resource)\n\
             when {{ context has cohort && context.cohort < {n} && context.project == \"project-{n}\" && context.cost > {n} }};\n"
        );
    }
    BundleFiles {
        policy: policy.into_bytes(),
        rules: rules.into_bytes(),
        ..BundleFiles::default()
    }
}

fn main() {
    for (permits, cedar_rules) in SIZES {
        measured(permits, cedar_rules);
    }
}

fn measured(permits: usize, cedar_rules: usize) {
    let started = Instant::now();
    let bundle = Bundle::read("", &files(permits, cedar_rules)).expect("the policy is valid");
    println!(
        "{permits} permits and {cedar_rules} rules: read in {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    for (what, cost) in [
        ("exact", Cost::None),
        ("with noise", Cost::pure(0.1).expect("a cost")),
    ] {
        let ask = Ask {
            project: "project-0".parse().expect("a name"),
            researcher: Researcher {
                name: "ada".parse().expect("a name"),
                role: Role::Researcher,
            },
            purpose: "HMB".parse().expect("a name"),
            dataset: "heart-disease".parse().expect("a name"),
            run: None,
            run_digest: Digest::of(b"query"),
            action: Action::Statistic {
                statistic: StatisticKind::Count,
                noisy: !cost.is_none(),
            },
        };
        let facts = Facts {
            dataset_records: Some(303),
            dataset_patients: Some(303),
            cohort_patients: Some(100),
            cost,
            ..Facts::default()
        };
        let mut nanos: Vec<u128> = (0..DECISIONS)
            .map(|_| {
                let started = Instant::now();
                let verdict = decide(&bundle, &ask, &facts, NOW);
                let took = started.elapsed().as_nanos();
                assert!(matches!(verdict, Verdict::Permit(_)), "{verdict:?}");
                took
            })
            .collect();
        nanos.sort_unstable();
        let at = |share: usize| nanos.get(nanos.len() * share / 1000).copied().unwrap_or(0);
        println!(
            "decide, {what}: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs",
            at(500) as f64 / 1e3,
            at(990) as f64 / 1e3,
            at(999) as f64 / 1e3
        );
    }
}
