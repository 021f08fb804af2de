//! Policies and their cases, as compliance officers write them.

use consilium_policies::bundle::{Bundle, Named, PURPOSES};
use consilium_policies::cases::Cases;
use consilium_policies::limits::{CASES_MAX, NAMES_MAX, PARAMETERS_PER_RECORD_MAX, PERMITS_MAX};
use consilium_policies::{Activity, BundleFiles};
use consilium_protocol::limits::{RECORDS_MAX, ROUNDS_MAX};

use crate::Target;
use crate::draw::halves;

/// A policy that permits nothing.
const EMPTY: &[u8] = b"name = \"nothing\"\nversion = 1\n";

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "policy",
    holds,
    memory_bytes_max: 2 << 20,
    memory_per_byte_max: 256,
};

/// A policy before the first NUL, cases behind it: what is accepted is within every limit, an error points into the
/// text, and a policy without permits permits nothing.
pub fn holds(bytes: &[u8]) {
    let (policy, cases) = halves(bytes);
    let bundle = Bundle::parse("policy.toml", policy);
    match &bundle {
        Ok(bundle) => within_limits(bundle, policy),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let lines = policy.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)));
        }
    }
    let Ok(cases) = Cases::parse("cases.toml", cases) else {
        return;
    };
    assert!(cases.count() <= CASES_MAX);
    let nothing = Bundle::parse("policy.toml", EMPTY);
    for bundle in bundle.iter().chain(&nothing) {
        let surprises = cases.surprises(bundle);
        assert!(surprises.len() <= cases.count());
        for surprise in surprises {
            let permitted = surprise.decided.strip_prefix("permit by rule ");
            let named = |rule: &consilium_policies::Rule| {
                permitted.is_some_and(|decided| decided.contains(rule.id.as_str()))
            };
            assert!(
                permitted.is_none() || bundle.rules().iter().any(named),
                "no rule of the policy: {surprise}"
            );
            assert_ne!(surprise.decided, "permit");
        }
    }
}

fn within_limits(bundle: &Bundle, text: &[u8]) {
    let files = BundleFiles {
        policy: text.to_vec(),
        ..BundleFiles::default()
    };
    assert_eq!(bundle.digest(), files.digest());
    assert!(bundle.version() >= 1);
    assert!(bundle.rules().len() <= PERMITS_MAX);
    for (at, rule) in bundle.rules().iter().enumerate() {
        let earlier = bundle.rules().iter().take(at);
        assert!(earlier.into_iter().all(|other| other.id != rule.id));
        assert!(few(&rule.researchers) && few(&rule.projects));
        let known = |purpose: &consilium_protocol::Purpose| PURPOSES.contains(&purpose.as_str());
        assert!(!rule.purposes.is_empty() && rule.purposes.iter().all(known));
        assert!(!rule.actions.is_empty() && !rule.release.is_empty());
        assert_eq!(
            rule.training.is_some(),
            rule.actions.contains(&Activity::Train)
        );
        if let Some(bounds) = rule.training {
            assert!((1..=RECORDS_MAX).contains(&bounds.minimum_records));
            assert!((1..=ROUNDS_MAX).contains(&bounds.maximum_rounds));
            let share = bounds.maximum_parameters_per_record;
            assert!(share > 0.0 && share <= PARAMETERS_PER_RECORD_MAX);
        }
        let costs = rule.release.iter().any(|release| release.costs());
        assert_eq!(rule.budget.is_some(), costs);
    }
}

fn few<T: Ord>(named: &Named<T>) -> bool {
    match named {
        Named::Any => true,
        Named::These(names) => (1..=NAMES_MAX).contains(&names.len()),
    }
}
