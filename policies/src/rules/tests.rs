use proptest::prelude::*;

use super::*;
use crate::bundle::Bundle;
use crate::files::BundleFiles;

fn written(cedar: &str) -> Result<Rules, BundleError> {
    Rules::read("rules.cedar", cedar.as_bytes(), &BTreeMap::new())
}

fn error_of(cedar: &str) -> String {
    written(cedar).unwrap_err().to_string()
}

#[test]
fn the_schema_is_one() {
    let (fragment, warnings) = cedar_policy::SchemaFragment::from_cedarschema_str(SCHEMA).unwrap();
    drop(fragment);
    assert_eq!(warnings.count(), 0);
    assert!(schema().is_some());
}

#[test]
fn rules_are_read_with_name_line_and_reason() {
    let rules = written(
        "// Ours.\n\n@id(\"small-models\")\n@reason(\"the board allows 50 parameters\")\n\
         forbid (principal, action in Action::\"training\", resource)\nwhen { context.parameters > 50 };\n\
         @id(\"not-ada\") forbid (principal == Researcher::\"ada\", action, resource);\n",
    )
    .unwrap();
    let [small, ada] = rules.written() else {
        panic!("two rules expected")
    };
    assert_eq!((small.id.as_str(), small.line), ("small-models", 3));
    assert_eq!(
        small.reason.as_deref(),
        Some("the board allows 50 parameters")
    );
    assert!(small.forbids && small.has_conditions);
    assert_eq!((ada.id.as_str(), ada.line), ("not-ada", 7));
    assert!(!ada.has_conditions);
}

#[test]
fn what_is_wrong_is_told_by_line() {
    for (cedar, says) in [
        (
            "forbid (principal, action, resource);",
            "a rule has no name",
        ),
        (
            "\n@id(\"x\") forbid (principal, action, resource) when { context.parameter > 5 };",
            "rules.cedar, line 2: ",
        ),
        (
            "@id(\"x\") forbid (principal, action, resource) when { context.parameters > \"5\" };",
            "line 1: ",
        ),
        (
            "@id(\"x\") forbid (principal, action == Action::\"sell\", resource);",
            "sell",
        ),
        // Not known of every ask: it must be looked for first.
        (
            "@id(\"x\") forbid (principal, action, resource) when { context.cohort < 5 };",
            "cohort",
        ),
        ("\n\nforbid (principal", "rules.cedar, line 3: "),
        (
            "@id(\"X y\") forbid (principal, action, resource);",
            "`X y`",
        ),
        (
            "@id(\"duo.hmb\") forbid (principal, action, resource);",
            "kept for rules",
        ),
        (
            "@id(\"x\") forbid (principal == ?principal, action, resource);",
            "template",
        ),
        (
            "@id(\"x\") forbid (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);",
            "line",
        ),
    ] {
        let error = error_of(cedar);
        assert!(error.contains(says), "{cedar}: {error}");
    }
    assert_eq!(
        Rules::read("r", &[0xff], &BTreeMap::new())
            .unwrap_err()
            .problem,
        Problem::NotText
    );
}

#[test]
fn a_quantity_that_may_be_missing_is_looked_for_first() {
    written(
        "@id(\"x\") forbid (principal, action, resource) unless { context has cohort && context.cohort >= 20 };",
    )
    .unwrap();
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!(
        "@id(\"x\") forbid (principal, action, resource) when {{ {}true{} }};",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    assert!(error_of(&deep).contains("nested"));
    let chain = format!(
        "@id(\"x\") forbid (principal, action, resource) when {{ {}true }};",
        "!".repeat(5_000)
    );
    let _ = written(&chain);
    let chain = format!(
        "@id(\"x\") forbid (principal, action, resource) when {{ true{} }};",
        " && true".repeat(2_000)
    );
    let _ = written(&chain);
}

#[test]
fn a_rule_and_a_permit_may_not_share_a_name() {
    let files = BundleFiles {
        policy: crate::bundle::tests::CLEVELAND.as_bytes().to_vec(),
        rules: b"@id(\"cardiology-training\") forbid (principal, action, resource);".to_vec(),
        ..BundleFiles::default()
    };
    let error = Bundle::read("policy", &files).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("policy/rules.cedar, line 1: "),
        "{error}"
    );
}

/// A rule by numbers: what it says of who, what and which data set, and when it holds.
fn drawn(n: usize, (effect, who, what, which, when, k): (u8, u8, u8, u8, u8, u8)) -> String {
    let effect = if effect == 0 { "permit" } else { "forbid" };
    let who = [
        "",
        " == Researcher::\"ada\"",
        " == Researcher::\"bob\"",
        " is Researcher",
    ][usize::from(who)];
    let what = [
        "",
        " in Action::\"training\"",
        " == Action::\"count\"",
        " in [Action::\"count\", Action::\"mean\"]",
    ][usize::from(what)];
    let which = [
        "",
        " == DataSet::\"heart-disease\"",
        " == DataSet::\"other\"",
        " is DataSet",
    ][usize::from(which)];
    let when = [
        String::new(),
        format!("when {{ context.records < {k} }}"),
        format!("unless {{ context has cohort && context.cohort >= {k} }}"),
        // Overflows for all but the cheapest.
        format!("when {{ context.records * {} > {k} }}", i64::MAX / 100),
        format!("when {{ context.purpose == \"HMB\" }} unless {{ context.records < {k} }}"),
        format!("when {{ [Researcher::\"ada\"].contains(principal) && resource.floor > {k} }}"),
        format!("when {{ context.rounds > {k} }} when {{ action in Action::\"statistics\" }}"),
    ][usize::from(when)]
    .clone();
    format!("@id(\"r{n}\") {effect} (principal{who}, action{what}, resource{which}) {when};\n")
}

/// What the rules say, each asked by itself: as it was before any were joined.
fn each_by_itself(rules: &Rules, asked: &Asked<'_>) -> Said {
    let slice = rules.slices.get(asked.dataset);
    let (request, elsewhere) = asked.request(slice.is_some()).unwrap();
    match slice {
        Some(slice) => slice.rules.say(&request, &slice.entities),
        None => rules.elsewhere.say(&request, &elsewhere.unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn joined_rules_say_what_each_says_by_itself(
        rules in proptest::collection::vec(
            (0_u8..6, 0_u8..4, 0_u8..4, 0_u8..4, 0_u8..7, 0_u8..120),
            0..14,
        ),
        (is_ada, is_count, is_known, is_hmb) in any::<(bool, bool, bool, bool)>(),
        (records, cohort) in (0_u64..200, proptest::option::of(0_u64..60)),
    ) {
        let text: String = rules.into_iter().enumerate().map(|(n, rule)| drawn(n, rule)).collect();
        let files = BundleFiles {
            policy: crate::bundle::tests::WITH_TERMS.as_bytes().to_vec(),
            rules: text.clone().into_bytes(),
            ..BundleFiles::default()
        };
        let bundle = Bundle::read("policy", &files).unwrap();
        let rules = bundle.cedar();
        prop_assert!(rules.elsewhere.joined.is_some(), "{text}");
        let dataset = if is_known { "heart-disease" } else { "elsewhere" }.parse().unwrap();
        let action = match is_count {
            true => crate::Action::Statistic { statistic: crate::StatisticKind::Count, noisy: false },
            false => crate::Action::Train { round: 2, rounds: 50 },
        };
        let ask = crate::Ask {
            project: "cardiology".parse().unwrap(),
            researcher: crate::Researcher {
                name: if is_ada { "ada" } else { "carol" }.parse().unwrap(),
                role: consilium_protocol::Role::Researcher,
            },
            purpose: if is_hmb { "HMB" } else { "GRU" }.parse().unwrap(),
            dataset: DatasetName::clone(&dataset),
            run: None,
            run_digest: consilium_protocol::Digest([0; 32]),
            action,
        };
        let facts = crate::Facts {
            dataset_records: Some(records),
            cohort_patients: cohort,
            ..crate::Facts::default()
        };
        let terms = crate::decide::terms_of(bundle.datasets().get(&dataset), &[]);
        let asked = Asked {
            ask: &ask,
            dataset: &dataset,
            release: crate::Release::Update,
            facts: &facts,
            now: consilium_protocol::Millis(1_780_272_000_000),
            terms: &terms,
            agreed: &["IRB"],
            named_researcher: is_ada,
            named_project: true,
        };
        prop_assert_eq!(rules.say(&asked), each_by_itself(rules, &asked), "{}", text);
    }
}

/// Long rules are left as they are, and what they say counts.
#[test]
fn a_rule_too_long_to_be_joined_stays_a_rule() {
    let long = format!(
        "@id(\"long\") forbid (principal, action, resource) when {{ context.records < 5{} }};",
        " || context.records < 5".repeat(2_000)
    );
    let short = "@id(\"short\") forbid (principal, action, resource) when { context.records < 3 };";
    let rules = written(&format!("{long}\n{short}")).unwrap();
    let joined = rules.elsewhere.joined.unwrap();
    // The long one, all short ones, and the permit of everything.
    assert_eq!(joined.num_of_policies(), 3);
}

proptest! {
    #[test]
    fn any_bytes_are_rules_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Rules::read("rules.cedar", &bytes, &BTreeMap::new());
    }

    #[test]
    fn any_damage_to_rules_is_rules_or_an_error(
        at in 0..80_usize,
        cut in 0..20_usize,
        insert in "[a-z(){}\\[\\]\"=<>!&|.,;@:?*0-9 \n\u{e9}-]{0,12}",
    ) {
        let whole = "@id(\"x\") forbid (principal, action, resource == DataSet::\"h\") when { context.records < 5 };";
        let (before, after) = whole.split_at(at.min(whole.len()));
        let text = format!("{before}{insert}{}", &after[cut.min(after.len())..]);
        if let Err(error) = written(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
