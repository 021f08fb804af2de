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
