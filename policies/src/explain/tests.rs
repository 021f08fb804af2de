use consilium_privacy::Cost;
use proptest::prelude::*;

use super::*;
use crate::bundle::tests::WITH_TERMS;
use crate::decide::{Verdict, decide};
use crate::files::BundleFiles;

const NOW: Millis = Millis(1_780_272_000_000);

pub(crate) fn bundle(policy: &str, rules: &str) -> Bundle {
    let files = BundleFiles {
        policy: policy.as_bytes().to_vec(),
        rules: rules.as_bytes().to_vec(),
        ..BundleFiles::default()
    };
    Bundle::read("", &files).unwrap()
}

fn asked(release: Release) -> Question {
    Question {
        project: "cardiology".parse().unwrap(),
        release,
        dataset: "heart-disease".parse().unwrap(),
        researcher: None,
        purpose: None,
    }
}

#[test]
fn a_permit_is_a_way_with_its_numbers() {
    let explained = explain(
        &bundle(WITH_TERMS, ""),
        &asked(Release::NoisyStatistics),
        NOW,
    );
    assert_eq!(explained.answer, Answer::Yes);
    let told = explained.to_string();
    for words in [
        "yes\n- by questions: ada, for the purpose HMB",
        "until 2027-12-31",
        "with 11 patients behind it or more",
        "the project has spent no more than ε = 3 at δ = 0.000001",
    ] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_no_says_why() {
    let plain = bundle(WITH_TERMS, "");
    for (question, says) in [
        (asked(Release::SearchL3), "it does not release `search-l3`"),
        (
            Question {
                purpose: Some("GRU".parse().unwrap()),
                ..asked(Release::NoisyStatistics)
            },
            "it does not cover the purpose GRU",
        ),
        (
            Question {
                researcher: Some("eve".parse().unwrap()),
                ..asked(Release::NoisyStatistics)
            },
            "it does not name the researcher `eve`",
        ),
        (
            Question {
                project: "oncology".parse().unwrap(),
                ..asked(Release::NoisyStatistics)
            },
            "no permit covers the project `oncology`",
        ),
    ] {
        let explained = explain(&plain, &question, NOW);
        assert_eq!(explained.answer, Answer::No);
        assert!(explained.to_string().contains(says), "{explained}");
    }
    let late = explain(
        &plain,
        &asked(Release::NoisyStatistics),
        Millis(1_900_000_000_000),
    );
    assert!(
        late.to_string().contains("it ended with 2027-12-31"),
        "{late}"
    );
}

#[test]
fn a_consent_code_that_nobody_agreed_to_closes_the_way() {
    let policy = WITH_TERMS.replace("agreed = [\"PUB\"]\n", "");
    let explained = explain(&bundle(&policy, ""), &asked(Release::NoisyStatistics), NOW);
    assert_eq!(explained.answer, Answer::No);
    let told = explained.to_string();
    assert!(told.contains("the rule `duo.pub` forbids it"), "{told}");
    assert!(told.contains("publication required"), "{told}");
    let waiting = policy.replace(
        "release = [",
        "approval = \"before\"\nofficers = [\"olga\"]\nrelease = [",
    );
    let explained = explain(&bundle(&waiting, ""), &asked(Release::NoisyStatistics), NOW);
    assert_eq!(explained.answer, Answer::If);
    assert!(explained.to_string().contains("after olga has approved it"));
}

#[test]
fn a_rule_about_quantities_is_a_condition_and_one_about_words_an_answer() {
    let of = |rules: &str| {
        explain(
            &bundle(WITH_TERMS, rules),
            &asked(Release::NoisyStatistics),
            NOW,
        )
    };
    let quantities =
        of("@id(\"cheap\") forbid (principal, action, resource) when { context.cost > 500000 };");
    assert_eq!(quantities.answer, Answer::If);
    assert!(
        quantities
            .to_string()
            .contains("the rule `cheap` does not forbid it: "),
        "{quantities}"
    );
    let words = of(
        "@id(\"no-hmb\") forbid (principal, action, resource) when { context.purpose == \"HMB\" };",
    );
    assert_eq!(words.answer, Answer::No);
    let one_action = of("@id(\"no-top\") forbid (principal, action == Action::\"top\", resource);");
    assert_eq!(one_action.answer, Answer::Yes);
    let told = one_action.to_string();
    assert!(
        told.contains("as count, histogram, mean, quantile"),
        "{told}"
    );
    assert!(told.contains("the rule `no-top` forbids it"), "{told}");
    let somebody_else =
        of("@id(\"not-eve\") forbid (principal == Researcher::\"eve\", action, resource);");
    assert_eq!(somebody_else.answer, Answer::Yes);
    let own_permit =
        of("@id(\"only-counts\") permit (principal, action == Action::\"count\", resource);");
    assert_eq!(own_permit.answer, Answer::Yes);
    assert!(own_permit.to_string().contains("as count"), "{own_permit}");
    let nothing =
        of("@id(\"only-search\") permit (principal, action == Action::\"search\", resource);");
    assert_eq!(nothing.answer, Answer::No);
}

fn any_policy() -> impl Strategy<Value = String> {
    let permit = (
        prop_oneof![
            Just("[\"ada\"]"),
            Just("[\"*\"]"),
            Just("[\"ada\", \"eve\"]")
        ],
        prop_oneof![
            Just("[\"cardiology\"]"),
            Just("[\"*\"]"),
            Just("[\"oncology\"]")
        ],
        prop_oneof![
            Just("[\"HMB\"]"),
            Just("[\"GRU\", \"HMB\"]"),
            Just("[\"POA\"]")
        ],
        prop_oneof![Just("\"heart-disease\""), Just("\"*\"")],
        prop_oneof![Just("\"2027-12-31\""), Just("\"2025-12-31\"")],
        prop_oneof![
            Just("[\"noisy-statistics\"]"),
            Just("[\"noisy-statistics\", \"exact-statistics\"]")
        ],
        prop_oneof![
            Just(""),
            Just("agreed = [\"PUB\"]\n"),
            Just("approval = \"before\"\nofficers = [\"olga\"]\n")
        ],
    );
    let codes = prop_oneof![
        Just("[\"HMB\"]"),
        Just("[\"GRU\", \"PUB\"]"),
        Just("[\"NRES\", \"US\", \"NPOA\"]"),
        Just("[\"HMB\", \"PS\"]"),
        Just("[\"CC\"]")
    ];
    (codes, proptest::collection::vec(permit, 1..4)).prop_map(|(codes, permits)| {
        let mut text = format!(
            "name = \"h\"\nversion = 1\n[dataset.heart-disease]\nduo = {codes}\nunit = \"patient\"\n\
             floor-patients = 11\nbudget = {{ epsilon = 10.0, delta = 1e-6 }}\n\
             budget-patient = {{ epsilon = 8.0, delta = 1e-6 }}\n"
        );
        for (n, (who, projects, purposes, dataset, until, release, more)) in permits.iter().enumerate() {
            text += &format!(
                "[[permit]]\nid = \"p{n}\"\nresearchers = {who}\nprojects = {projects}\npurposes = {purposes}\n\
                 actions = [\"statistics\"]\ndataset = {dataset}\nuntil = {until}\nrelease = {release}\n\
                 budget = {{ epsilon = 3.0, delta = 1e-6 }}\n{more}"
            );
        }
        text
    })
}

fn any_rules() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("@id(\"a\") forbid (principal == Researcher::\"eve\", action, resource);"),
        Just(
            "@id(\"a\") forbid (principal, action == Action::\"count\", resource) when { context.purpose == \"HMB\" };"
        ),
        Just("@id(\"a\") forbid (principal, action, resource) when { context.records > 100 };"),
        Just(
            "@id(\"a\") forbid (principal, action, resource) unless { context.approval == \"before\" };"
        ),
        Just(
            "@id(\"a\") permit (principal, action in Action::\"statistics\", resource) when { context.namedProject };"
        ),
        Just(
            "@id(\"a\") forbid (principal, action, resource) when { principal == Researcher::\"ada\" };"
        ),
    ]
}

proptest! {
    /// Whatever can be got is not answered with no, and what is certain is got where the numbers hold.
    #[test]
    fn a_no_holds_for_every_ask(
        policy in any_policy(),
        rules in any_rules(),
        who in prop_oneof![Just("ada"), Just("eve"), Just("grace")],
        project in prop_oneof![Just("cardiology"), Just("oncology"), Just("neurology")],
        purpose in prop_oneof![Just("HMB"), Just("GRU"), Just("POA")],
        noisy in any::<bool>(),
        records in prop_oneof![Just(50_u64), Just(200)],
        top in any::<bool>(),
    ) {
        let bundle = bundle(&policy, rules);
        let statistic = if top { StatisticKind::Top } else { StatisticKind::Count };
        let release = if noisy { Release::NoisyStatistics } else { Release::ExactStatistics };
        let ask = Ask {
            project: project.parse().unwrap(),
            researcher: Researcher { name: who.parse().unwrap(), role: Role::Researcher },
            purpose: purpose.parse().unwrap(),
            dataset: "heart-disease".parse().unwrap(),
            run: None,
            run_digest: Digest::of(b"q"),
            action: Action::Statistic { statistic, noisy },
        };
        let facts = Facts {
            dataset_records: Some(records),
            dataset_patients: Some(records),
            cohort_patients: Some(20),
            cost: if noisy { Cost::pure(0.1).unwrap() } else { Cost::None },
            ..Facts::default()
        };
        let permitted = matches!(decide(&bundle, &ask, &facts, NOW), Verdict::Permit(_));
        let question = |researcher, purpose| Question {
            project: ask.project.clone(),
            release,
            dataset: ask.dataset.clone(),
            researcher,
            purpose,
        };
        let exact = question(Some(ask.researcher.name.clone()), Some(ask.purpose.clone()));
        for asked in [&question(None, None), &exact] {
            let explained = explain(&bundle, asked, NOW);
            if permitted {
                prop_assert_ne!(explained.answer, Answer::No, "{}", explained);
            }
        }
        // Both of the kinds that were drawn; `top` and `count` may differ in a rule.
        let explained = explain(&bundle, &exact, NOW);
        if explained.answer == Answer::Yes && !permitted {
            let partly = explained.ways.iter().all(|way| {
                !way.certain || way.conditions.iter().any(|condition| condition.starts_with("as "))
            });
            prop_assert!(partly, "{}", explained);
        }
    }
}
