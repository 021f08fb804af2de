use proptest::prelude::*;

use super::*;

pub(crate) const CLEVELAND: &str = r#"# Decided at Cleveland.
name = "cleveland-clinic"
version = 3

[[permit]]
id = "cardiology-training"
researchers = ["ada", "grace"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2027-12-31"
minimum-records = 50
maximum-parameters-per-record = 0.33
maximum-rounds = 100
release = ["update", "metrics"]
"#;

fn parse(text: &str) -> Result<Bundle, BundleError> {
    Bundle::parse("policy.toml", text.as_bytes())
}

fn parse_with(from: &str, to: &str) -> Result<Bundle, BundleError> {
    assert!(CLEVELAND.contains(from), "{from}");
    parse(&CLEVELAND.replacen(from, to, 1))
}

#[test]
fn a_bundle_says_what_is_written() {
    let bundle = parse(CLEVELAND).unwrap();
    assert_eq!((bundle.name(), bundle.version()), ("cleveland-clinic", 3));
    let files = BundleFiles {
        policy: CLEVELAND.as_bytes().to_vec(),
        ..BundleFiles::default()
    };
    assert_eq!(bundle.digest(), files.digest());
    assert_eq!(Bundle::read("", &files).unwrap(), bundle);
    let [rule] = bundle.rules() else {
        panic!("one rule expected")
    };
    assert_eq!(rule.id.as_str(), "cardiology-training");
    assert!(rule.researchers.covers(&"grace".parse().unwrap()));
    assert!(!rule.researchers.covers(&"mallory".parse().unwrap()));
    assert_eq!(rule.until.to_string(), "2027-12-31");
    assert_eq!(
        rule.training,
        Some(TrainingBounds {
            minimum_records: 50,
            maximum_parameters_per_record: 0.33,
            maximum_rounds: 100,
        })
    );
    assert_eq!((&rule.approval, rule.line), (&Approval::None, 6));
    assert_eq!(
        rule.release,
        BTreeSet::from([Release::Update, Release::Metrics])
    );
}

#[test]
fn all_is_meant_only_where_it_is_written() {
    let bundle = parse_with(r#"["ada", "grace"]"#, r#"["*"]"#).unwrap();
    assert_eq!(bundle.rules()[0].researchers, Named::Any);
    assert!(parse_with(r#"["ada", "grace"]"#, r#"["a*"]"#).is_err());
    assert!(parse_with(r#"["ada", "grace"]"#, r#""*""#).is_err());
    assert_eq!(
        parse_with(r#""heart-disease""#, r#""*""#).unwrap().rules()[0].dataset,
        Named::Any
    );
}

#[test]
fn a_bundle_without_permits_is_a_bundle() {
    assert!(
        parse("name = \"h\"\nversion = 1")
            .unwrap()
            .rules()
            .is_empty()
    );
}

#[test]
fn a_whole_number_may_stand_for_a_fraction() {
    let bundle = parse_with("= 0.33", "= 2").unwrap();
    let training = bundle.rules()[0].training.unwrap();
    assert_eq!(training.maximum_parameters_per_record, 2.0);
}

#[test]
fn what_is_wrong_is_told_by_file_line_and_field() {
    for (from, to, says) in [
        (
            "\"2027-12-31\"",
            "\"2027-13-31\"",
            "policy.toml, line 12, `until`: `2027-13-31`: a day is written",
        ),
        (
            "\"2027-12-31\"",
            "2027-12-31",
            "policy.toml, line 12, `until`: ",
        ),
        (
            "minimum-records = 50",
            "minimum-records = -1",
            "line 13, `minimum-records`: -1 is out of range; write a number from 1 to",
        ),
        ("minimum-records = 50", "minimum-records = 0", "line 13"),
        (
            "minimum-records = 50",
            "minimum-records = \"50\"",
            "line 13, `minimum-records`: found string \"50\", expected a whole number",
        ),
        (
            "= 0.33",
            "= \"much\"",
            "line 14, `maximum-parameters-per-record`: found string \"much\", expected a number",
        ),
        (
            "= 0.33",
            "= nan",
            "line 14, `maximum-parameters-per-record`: NaN is out of range",
        ),
        ("= 0.33", "= inf", "line 14"),
        ("= 0.33", "= 0.0", "line 14"),
        (
            "maximum-rounds = 100",
            "maximum-rounds = 1000000",
            "line 15, `maximum-rounds`: 1000000 is out of range; write a number from 1 to 100000",
        ),
        (
            "maximum-rounds = 100\n",
            "",
            "line 6, `maximum-rounds`: missing field `maximum-rounds`: a permit to `train` says it",
        ),
        (
            "release =",
            "relase =",
            "line 16, `relase`: unknown field `relase`",
        ),
        (
            "[\"update\", \"metrics\"]",
            "[\"update\", \"weights\"]",
            "line 16, `release`: `weights` means nothing here; write one of update, metrics",
        ),
        (
            "[\"update\", \"metrics\"]",
            "[\"update\", \"noisy-statistics\"]",
            "line 16, `release`: `noisy-statistics` leaves by `statistics`, which is not among",
        ),
        (
            "[\"update\", \"metrics\"]",
            "[]",
            "line 16, `release`: the list is empty",
        ),
        (
            "[\"HMB\"]",
            "[\"*\"]",
            "line 9, `purposes`: a purpose must be named",
        ),
        (
            "[\"HMB\"]",
            "[\"HBM\"]",
            "line 9, `purposes`: `HBM` is not a purpose; it is one of GRU, HMB",
        ),
        (
            "[\"ada\", \"grace\"]",
            "[\"ada\", \"*\"]",
            "line 7, `researchers`: `*` stands for all",
        ),
        (
            "[\"ada\", \"grace\"]",
            "\"ada\"",
            "line 7, `researchers`: found string \"ada\", expected a list",
        ),
        (
            "[\"ada\", \"grace\"]",
            "[\n  \"ada\",\n  \"Grace Hopper\",\n]",
            "line 9, `researchers`: `Grace Hopper`: a member name",
        ),
        (
            "[\"train\"]",
            "[\"sell\"]",
            "line 10, `actions`: `sell` means nothing here; write one of train",
        ),
        (
            "\"cardiology-training\"",
            "\"Cardiology\"",
            "line 6, `id`: `Cardiology`: an id has",
        ),
        (
            "version = 3",
            "version = 3.5",
            "line 3, `version`: found floating point",
        ),
        (
            "version = 3",
            "version = 0",
            "line 3, `version`: 0 is out of range",
        ),
        ("version = 3", "version = ", "line 3"),
        ("version = 3\n", "", "missing field `version`"),
    ] {
        let error = parse_with(from, to).expect_err(to).to_string();
        assert!(error.contains(says), "{to}: {error}");
        for rust in ["i64", "f64", "Document", "struct"] {
            assert!(!error.contains(rust), "{to}: {error}");
        }
    }
    assert_eq!(
        Bundle::parse("p", &[0xff]).unwrap_err().problem,
        Problem::NotText
    );
    let long = vec![b'#'; crate::limits::BUNDLE_BYTES_MAX + 1];
    assert_eq!(
        Bundle::parse("p", &long).unwrap_err().problem,
        Problem::TooLong
    );
}

/// The same hospital with terms, and a permit for questions.
pub(crate) const WITH_TERMS: &str = r#"
name = "cleveland-clinic"
version = 4

[dataset.heart-disease]
duo = ["HMB", "PUB"]
unit = "patient"
floor-patients = 11
rounding = 5
repeats = "same"
budget = { epsilon = 10.0, delta = 1e-6 }
budget-patient = { epsilon = 8.0, delta = 1e-6 }

[[permit]]
id = "questions"
researchers = ["ada"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["statistics"]
dataset = "heart-disease"
until = "2027-12-31"
release = ["noisy-statistics", "exact-statistics"]
budget = { epsilon = 3.0, delta = 1e-6 }
agreed = ["PUB"]
"#;

#[test]
fn terms_say_what_is_written_and_leave_out_on_the_careful_side() {
    let bundle = parse(WITH_TERMS).unwrap();
    let terms = &bundle.datasets()[&"heart-disease".parse().unwrap()];
    assert_eq!(terms.duo, BTreeSet::from([DuoCode::Hmb, DuoCode::Pub]));
    assert_eq!((terms.floor_patients, terms.rounding), (11, 5));
    assert_eq!(terms.redaction, Redaction::SafeHarbor);
    assert_eq!(terms.budget.unwrap().epsilon(), 10.0);
    let rule = &bundle.rules()[0];
    assert_eq!(rule.training, None);
    assert_eq!(rule.budget.unwrap().epsilon(), 3.0);
    assert_eq!(rule.agreed, BTreeSet::from([DuoCode::Pub]));
    assert_eq!((&terms.filter_columns, terms.filter_conditions), (&None, 3));
    let listed = WITH_TERMS.replace(
        "rounding = 5",
        "rounding = 5\nfilter-columns = [\"age\", \"sex\"]\nfilter-conditions = 2",
    );
    let bundle = parse(&listed).unwrap();
    let terms = &bundle.datasets()[&"heart-disease".parse().unwrap()];
    let columns = BTreeSet::from(["age".to_owned(), "sex".to_owned()]);
    assert_eq!(
        (&terms.filter_columns, terms.filter_conditions),
        (&Some(columns), 2)
    );
    let sparse = WITH_TERMS.replace("rounding = 5\nrepeats = \"same\"\n", "");
    let bundle = parse(&sparse).unwrap();
    let terms = &bundle.datasets()[&"heart-disease".parse().unwrap()];
    assert_eq!((terms.rounding, terms.repeats), (10, Repeats::Same));
}

#[test]
fn nothing_is_allowed_by_leaving_a_line_out() {
    for (from, to, says) in [
        (
            "budget = { epsilon = 3.0, delta = 1e-6 }\nagreed",
            "agreed",
            "line 15, `budget`: missing field `budget`: `noisy-statistics` has a cost",
        ),
        (
            "budget = { epsilon = 10.0, delta = 1e-6 }\n",
            "",
            "`budget`: missing field `budget`: `noisy-statistics` has a cost; add `budget` to [dataset.heart-disease]",
        ),
        (
            "budget-patient = { epsilon = 8.0, delta = 1e-6 }\n",
            "",
            "missing field `budget-patient`",
        ),
        (
            "[dataset.heart-disease]",
            "[dataset.lungs]",
            "add a section [dataset.heart-disease]",
        ),
        (
            "floor-patients = 11\n",
            "",
            "missing field `floor-patients`",
        ),
        (
            "floor-patients = 11",
            "floor-patients = 12",
            "line 8, `floor-patients`: 12 is not one of the steps",
        ),
        (
            "rounding = 5",
            "filter-columns = []",
            "line 9, `filter-columns`: ",
        ),
        (
            "rounding = 5",
            "filter-columns = [\"\"]",
            "`filter-columns`: a column's name has 1 to 256 bytes",
        ),
        (
            "rounding = 5",
            "filter-conditions = 0",
            "line 9, `filter-conditions`: ",
        ),
        (
            "unit = \"patient\"",
            "unit = \"record\"",
            "write one of patient",
        ),
        (
            "[\"HMB\", \"PUB\"]",
            "[\"PUB\"]",
            "line 6, `duo`: no code says for what",
        ),
        (
            "[\"HMB\", \"PUB\"]",
            "[\"HMB\", \"DUO:0000017\"]",
            "names a group of codes",
        ),
        (
            "[\"HMB\", \"PUB\"]",
            "[\"HMB\", \"FUN\"]",
            "`FUN` is not a code",
        ),
        (
            "[\"HMB\", \"PUB\"]",
            "[\"HMB\", \"TS\"]",
            "missing field `until`: the code TS",
        ),
        ("epsilon = 3.0", "epsilon = -3.0", "`budget`: an ε of `-3`"),
        (
            "epsilon = 3.0, delta = 1e-6",
            "epsilon = 3.0",
            "missing field `delta`",
        ),
        (
            "agreed =",
            "approval = \"before\"\nagreed =",
            "missing field `officers`",
        ),
        (
            "agreed =",
            "approval = \"later\"\nagreed =",
            "`later` means nothing here; write one of none, before",
        ),
        (
            "agreed =",
            "officers = [\"olga\"]\nagreed =",
            "`officers` means nothing here",
        ),
        (
            "agreed =",
            "maximum-rounds = 3\nagreed =",
            "`maximum-rounds` means nothing here",
        ),
        (
            "[\"noisy-statistics\", \"exact-statistics\"]",
            "[\"exact-statistics\"]",
            "`budget` means nothing here",
        ),
    ] {
        assert!(WITH_TERMS.contains(from), "{from}");
        let error = parse(&WITH_TERMS.replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn one_data_set_has_one_way_of_approval() {
    let permit = WITH_TERMS.split_once("[[permit]]").unwrap().1;
    let wanting = |id: &str, approval: &str| {
        let with_officers = format!("approval = \"{approval}\"\nofficers = [\"olga\"]\nagreed =");
        format!(
            "[[permit]]{}",
            permit
                .replace("questions", id)
                .replace("agreed =", &with_officers)
        )
    };
    let both = format!(
        "{WITH_TERMS}{}{}",
        wanting("a", "before"),
        wanting("b", "outbox")
    );
    let error = parse(&both).unwrap_err().to_string();
    assert!(
        error.contains("wants `outbox` and the permit `a` wants `before`"),
        "{error}"
    );
    let one = format!(
        "{WITH_TERMS}{}{}",
        wanting("a", "before"),
        wanting("b", "before")
    );
    assert!(parse(&one).is_ok());
}

#[test]
fn permits_are_told_apart_and_counted() {
    let permit = CLEVELAND.split_once("[[permit]]").unwrap().1;
    let twice = format!("{CLEVELAND}[[permit]]{permit}");
    let error = parse(&twice).unwrap_err();
    assert_eq!(
        error.problem,
        Problem::IdTwice {
            id: "cardiology-training".into()
        }
    );
    assert_eq!(error.line, Some(18));

    let many: String = (0..=PERMITS_MAX)
        .map(|n| {
            format!(
                "[[permit]]{}",
                permit.replace("cardiology-training", &format!("p{n}"))
            )
        })
        .collect();
    let head = "name = \"h\"\nversion = 1\n";
    assert_eq!(
        parse(&format!("{head}{many}")).unwrap_err().problem,
        Problem::TooManyPermits
    );
}

#[test]
fn the_place_of_an_error_repeats_nothing_that_is_written() {
    let error = parse_with("\"grace\"", "\"Grace Hopper\"").unwrap_err();
    assert_eq!(error.place(), "line 7, `researchers`");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!("name = {}", "[".repeat(100_000));
    assert!(parse(&deep).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_bundle_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Bundle::parse("policy.toml", &bytes);
    }

    #[test]
    fn any_damage_to_a_bundle_is_a_bundle_or_an_error(
        at in 0..CLEVELAND.len(),
        cut in 0..40_usize,
        insert in "[\\[\\]\"=\\-*0-9a-z\n.\u{e9}#]{0,12}",
    ) {
        let (before, after) = CLEVELAND.split_at(at);
        let text = format!("{before}{insert}{}", &after[cut.min(after.len())..]);
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
