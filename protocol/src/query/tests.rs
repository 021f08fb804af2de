//! What a person types is understood or explained; one question has one text; nothing hostile gets in.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Filter {
    parse::filter(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn form(text: &str) -> String {
    read(text).canonical().to_string()
}

fn count_of(filter: Option<Filter>) -> QueryDocument {
    QueryDocument {
        project: "cardiology".parse().unwrap(),
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        sites: BTreeSet::new(),
        statistic: Statistic::Count,
        filter,
        accuracy: Accuracy::Epsilon(1.0),
    }
}

#[test]
fn a_filter_is_read_as_it_is_meant() {
    assert_eq!(
        read("age >= 60 and sex = 1 and not (chol is missing)"),
        Filter::And(vec![
            Filter::Compare(Comparison {
                column: "age".into(),
                operator: Operator::AtLeast,
                value: Literal::Number(60.0),
            }),
            Filter::Compare(Comparison {
                column: "sex".into(),
                operator: Operator::Equal,
                value: Literal::Number(1.0),
            }),
            Filter::Not(Box::new(Filter::Missing("chol".into()))),
        ])
    );
    // `and` binds closer than `or`.
    assert_eq!(
        read("a = 1 or b = 2 and c = 3"),
        read("a = 1 or (b = 2 and c = 3)")
    );
    assert_eq!(read("Age BETWEEN 1 AND 2"), read("Age >= 1 and Age <= 2"));
    assert_eq!(
        read("\"blood \"\"p\"\"\" != 'it''s'").to_string(),
        "\"blood \"\"p\"\"\" != 'it''s'"
    );
    assert_eq!(
        read("a not in (-1, +2.5e1, 'x', true)").to_string(),
        "not (a in (-1, 25, 'x', true))"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, at, says) in [
        ("", 1, "expected a column, and the filter ends here"),
        ("age >=", 7, "expected a number"),
        ("age 60", 5, "expected =, !="),
        ("age >= sixty", 8, "a text is written 'sixty'"),
        (
            "age >= 60 sex = 1",
            11,
            "expected `and`, `or` or the end, found `s`",
        ),
        ("(age >= 60", 11, "expected `)`, and the filter ends here"),
        ("age in (1, 2", 13, "expected `)`"),
        ("age in ()", 9, "expected a number"),
        ("age is null", 8, "expected `missing`"),
        ("age not 3", 9, "expected `in` after `not`"),
        ("and = 1", 1, "written \"and\""),
        ("age = 'x", 7, "never closed"),
        ("age = 1e999", 7, "`1e999` is not a number"),
        ("age = 1.2.3", 7, "`1.2.3` is not a number"),
        ("é = 1", 1, "found `é`"),
        ("age between 1 or 2", 15, "expected `and` between"),
        ("sex < true", 1, "have no order"),
    ] {
        let error = parse::filter(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.what.contains(says), "{text}: {error}");
    }
}

#[test]
fn what_has_no_end_is_refused_before_the_stack_ends() {
    for deep in ["(".repeat(4000), "not ".repeat(2000)] {
        let error = parse::filter(&deep).unwrap_err();
        assert!(error.what.contains("16 deep"), "{error}");
    }
    let wide = vec!["a = 1"; 200].join(" or ");
    assert!(
        parse::filter(&wide)
            .unwrap_err()
            .what
            .contains("at most 128")
    );
    let json = format!(
        "{}{}{}",
        "{\"not\":".repeat(40),
        "{\"missing\":\"a\"}",
        "}".repeat(40)
    );
    let filter: Filter = serde_json::from_str(&json).unwrap();
    assert_eq!(filter.check(), Err(QueryError::TooDeep));
}

#[test]
fn spellings_of_one_condition_share_a_form() {
    let one = form("age >= 60 and sex = 1");
    for other in [
        "sex = 1 and age >= 60",
        "sex = 1.0 and (age >= 60 and age >= 60)",
        "not not (age >= 6e1 and sex in (1))",
        "not (not (age >= 60) or not (sex = 1))",
    ] {
        assert_eq!(form(other), one, "{other}");
    }
    for different in [
        "age >= 60 or sex = 1",
        "not (age < 60) and sex = 1",
        "age > 59 and sex = 1",
    ] {
        assert_ne!(form(different), one, "{different}");
    }
    let query = |filter: &str| Query::new(count_of(Some(read(filter)))).unwrap().digest();
    assert_eq!(query("b = 1 and a = -0"), query("a = 0 and b = 1"));
}

#[test]
fn a_query_has_one_text() {
    let query = Query::new(count_of(Some(read("age >= 60")))).unwrap();
    assert_eq!(
        query.text(),
        r#"{"accuracy":{"epsilon":1.0},"dataset":"heart-disease","filter":{"compare":{"column":"age","operator":">=","value":60.0}},"project":"cardiology","purpose":"HMB","statistic":{"kind":"count"}}"#
    );
    assert_eq!(Query::parse(query.text().as_bytes()), Ok(query.clone()));
    for other in [
        query.text().replace("60.0", "60"),
        query.text().replace(',', ", "),
        query.text().replace("\"HMB\"", "\"hmb\""),
        query
            .text()
            .replace("\"project\"", "\"sites\":[],\"project\""),
    ] {
        assert_eq!(
            Query::parse(other.as_bytes()),
            Err(QueryError::NotCanonical),
            "{other}"
        );
    }
    for wrong in [
        query.text().replace("\"count\"", "\"sum\""),
        query
            .text()
            .replace("\"project\"", "\"nonce\":1,\"project\""),
        query.text().replace("heart-disease", "../x"),
    ] {
        assert!(
            matches!(
                Query::parse(wrong.as_bytes()),
                Err(QueryError::Syntax { .. })
            ),
            "{wrong}"
        );
    }
    assert_eq!(Query::parse(&[0xff]), Err(QueryError::NotText));
    assert!(matches!(
        Query::parse(&[b' '; 70_000]),
        Err(QueryError::TooLong { .. })
    ));
}

fn histogram(low: f64, high: f64, width: f64) -> Statistic {
    Statistic::Histogram {
        column: "age".into(),
        cells: Cells::Bins(Bins { low, high, width }),
    }
}

#[test]
fn an_impossible_statistic_is_refused_by_field() {
    let column = || "age".to_owned();
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let quantile = |probabilities: Vec<f64>, step| Statistic::Quantile {
        column: column(),
        probabilities,
        low: 0.0,
        high: 10.0,
        step,
    };
    let top = |k, candidates| Statistic::Top {
        column: column(),
        k,
        candidates,
    };
    let mean = |low, high| Statistic::Mean {
        column: column(),
        low,
        high,
    };
    for (statistic, says) in [
        (histogram(0.0, 0.0, 1.0), "low one below"),
        (histogram(0.0, f64::INFINITY, 1.0), "low one below"),
        (histogram(0.0, 10.0, 0.0), "above 0"),
        (histogram(0.0, 10.0, 1e-3), "at most 1000 cells"),
        (histogram(1e12 - 1.0, 1e12, 0.1), ""),
        (mean(5.0, 1.0), "low one below"),
        (mean(f64::NAN, 1.0), "low one below"),
        (quantile(vec![], 1.0), "probabilities"),
        (quantile(vec![1.5], 1.0), "probabilities"),
        (quantile(vec![0.5], -1.0), "above 0"),
        (top(0, words(&["a"])), "`statistic.k`"),
        (top(2, words(&["a"])), "`statistic.k`"),
        (top(1, words(&["a", "a"])), "twice"),
        (top(1, words(&["(other)"])), "begin with"),
        (top(1, vec![]), "1 to 1000 values"),
        (
            Statistic::Mean {
                column: String::new(),
                low: 0.0,
                high: 1.0,
            },
            "`column`",
        ),
    ] {
        let mut document = count_of(None);
        document.statistic = statistic.clone();
        match Query::new(document) {
            Ok(_) => assert!(says.is_empty(), "{statistic:?}"),
            Err(error) => assert!(
                !says.is_empty() && error.to_string().contains(says),
                "{error}"
            ),
        }
    }
    for accuracy in [
        Accuracy::Epsilon(0.0),
        Accuracy::Epsilon(f64::NAN),
        Accuracy::Epsilon(21.0),
        Accuracy::Rho(-1.0),
    ] {
        let document = QueryDocument {
            accuracy,
            ..count_of(None)
        };
        assert!(Query::new(document).is_err(), "{accuracy:?}");
    }
}

#[test]
fn bins_have_the_numbers_that_a_person_expects() {
    let keys = histogram(0.0, 0.3, 0.1).keys().unwrap();
    assert_eq!(
        keys,
        [
            "0 to 0.1",
            "0.1 to 0.2",
            "0.2 to 0.3",
            "(below)",
            "(above)",
            "(missing)"
        ]
    );
    assert_eq!(histogram(20.0, 45.0, 10.0).keys().unwrap()[2], "40 to 45");
    let quantile = Statistic::Quantile {
        column: "age".into(),
        probabilities: vec![0.5],
        low: 0.0,
        high: 1.0,
        step: 0.25,
    };
    assert_eq!(quantile.keys().unwrap(), ["0", "0.25", "0.5", "0.75", "1"]);
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Boolean),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Literal::Number),
        (-100_i32..100).prop_map(|number| Literal::Number(number.into())),
        ".{0,12}".prop_map(Literal::Text),
    ]
}

fn columns() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]",
        "[A-Za-z_][A-Za-z0-9_.-]{0,8}",
        ".{1,8}",
        Just("and".to_owned())
    ]
}

fn terms() -> impl Strategy<Value = Filter> {
    let operators = prop_oneof![
        Just(Operator::Equal),
        Just(Operator::NotEqual),
        Just(Operator::Less),
        Just(Operator::AtMost),
        Just(Operator::Greater),
        Just(Operator::AtLeast),
    ];
    let compare = (columns(), operators, literals()).prop_map(|(column, operator, value)| {
        let operator = match value {
            Literal::Boolean(_) => Operator::Equal,
            _ => operator,
        };
        Filter::Compare(Comparison {
            column,
            operator,
            value,
        })
    });
    let within = (columns(), proptest::collection::vec(literals(), 1..4))
        .prop_map(|(column, values)| Filter::In(Membership { column, values }));
    prop_oneof![compare, within, columns().prop_map(Filter::Missing)]
}

fn filters() -> impl Strategy<Value = Filter> {
    terms().prop_recursive(4, 24, 3, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Filter::And),
            several().prop_map(Filter::Or),
            inner.clone().prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(filter in filters()) {
        let canonical = filter.canonical();
        let text = canonical.to_string();
        prop_assert_eq!(parse::filter(&text), Ok(canonical.clone()), "{}", text);
        // Canonical once is canonical for ever.
        prop_assert_eq!(canonical.clone().canonical(), canonical);
    }

    #[test]
    fn a_written_query_reads_back(filter in filters()) {
        let query = Query::new(count_of(Some(filter))).unwrap();
        prop_assert_eq!(Query::parse(query.text().as_bytes()), Ok(query));
    }

    #[test]
    fn hostile_text_never_panics(text in ".{0,64}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse::filter(&text);
        let _ = Query::parse(&bytes);
    }

    #[test]
    fn text_made_of_the_language_never_panics(
        words in proptest::collection::vec(
            prop_oneof![
                Just("and"), Just("or"), Just("not"), Just("("), Just(")"), Just("age"), Just(">="), Just("60"),
                Just("in"), Just(","), Just("'x'"), Just("is"), Just("missing"), Just("between"), Just("\"a b\""),
            ],
            0..24,
        )
    ) {
        if let Ok(filter) = parse::filter(&words.join(" ")) {
            prop_assert!(filter.check().is_ok());
            let canonical = filter.canonical();
            prop_assert_eq!(parse::filter(&canonical.to_string()), Ok(canonical));
        }
    }
}

#[test]
fn distinct_patients_are_asked_of_named_sites_with_an_epsilon() {
    let asked = |sites: &[&str], cells: u32, accuracy: Accuracy| {
        Query::new(QueryDocument {
            sites: sites.iter().map(|site| site.parse().unwrap()).collect(),
            statistic: Statistic::Distinct { cells },
            accuracy,
            ..count_of(None)
        })
    };
    let query = asked(&["va", "basel"], 4096, Accuracy::Epsilon(2.0)).unwrap();
    assert!(
        query
            .text()
            .contains(r#""sites":["basel","va"],"statistic":{"cells":4096,"kind":"distinct"}"#),
        "{}",
        query.text()
    );
    assert_eq!(Query::parse(query.text().as_bytes()), Ok(query));
    let two = ["basel", "va"];
    for (sites, cells, accuracy, says) in [
        (&two[..1], 4096, Accuracy::Epsilon(2.0), "name them"),
        (&[][..], 4096, Accuracy::Epsilon(2.0), "name them"),
        (&two[..], 4000, Accuracy::Epsilon(2.0), "power of two"),
        (&two[..], 1 << 21, Accuracy::Epsilon(2.0), "power of two"),
        (&two[..], 0, Accuracy::Epsilon(2.0), "power of two"),
        (&two[..], 4096, Accuracy::Exact, "with an epsilon"),
        (&two[..], 4096, Accuracy::Rho(0.5), "with an epsilon"),
    ] {
        let error = asked(sites, cells, accuracy).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_question_about_budgets_is_its_own_canonical_text() {
    let question = BudgetQuestion {
        project: "cardiology".parse().unwrap(),
        sites: ["va", "basel"].map(|site| site.parse().unwrap()).into(),
    };
    let text = question.text().unwrap();
    assert_eq!(text, r#"{"project":"cardiology","sites":["basel","va"]}"#);
    assert_eq!(BudgetQuestion::parse(text.as_bytes()), Ok(question));
    for wrong in [
        "",
        "{}",
        r#"{"project":"cardiology","sites":["va","basel"]}"#,
        r#"{"project":"cardiology" }"#,
        r#"{"project":"cardiology","more":1}"#,
    ] {
        assert!(BudgetQuestion::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

/// Found by the fuzzer: brackets counted as terms, so that a canonical filter at the limit could not be typed.
#[test]
fn repro_a_filter_of_many_bracketed_terms_reads_back() {
    let part = |nth: usize| format!("(a{nth} = 1 and not (b{nth} in (1, 2)))");
    let typed: Vec<String> = (0..31).map(part).collect();
    let canonical = read(&typed.join(" or ")).canonical();
    assert_eq!(canonical.check(), Ok(()));
    assert_eq!(read(&canonical.to_string()), canonical);
}
