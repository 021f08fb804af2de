//! What a project has left at the sites, as each of them tells it.

use std::time::Duration;

use consilium_protocol::message::{
    BudgetsLeft, DatasetLeft, QUERY_TIMEOUT_MS_MAX, Request, Response, SignedQuery,
};
use consilium_protocol::query::BudgetQuestion;
use consilium_protocol::{ProjectName, SiteName};
use serde_json::{Value, json};

use crate::ending::{CliError, NoAnswer};
use crate::home::Home;
use crate::output::{Answer, table};
use crate::session::Session;

pub(super) async fn ask(
    home: &Home,
    project: ProjectName,
    sites: Vec<SiteName>,
    timeout: Duration,
) -> Result<Answer, NoAnswer> {
    let question = BudgetQuestion {
        project,
        sites: sites.into_iter().collect(),
    };
    let text = question.text().map_err(CliError::Query)?.into_bytes();
    let asked_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let left = Session::with(home, async |session| {
        let request = Request::ShowBudget {
            question: SignedQuery {
                certificate: session.credentials().certificate().to_vec(),
                signature: session.credentials().sign_budget_question(&text)?,
                text,
            },
            timeout_ms: asked_ms.clamp(1, QUERY_TIMEOUT_MS_MAX),
        };
        match session.ask(request).await? {
            Response::BudgetsLeft(left) => Ok(left),
            _ => Err(CliError::Unexpected { asked: "budget" }.into()),
        }
    })
    .await?;
    told(&question, &left)
}

fn told(question: &BudgetQuestion, left: &BudgetsLeft) -> Result<Answer, NoAnswer> {
    let data = data_of(question, left);
    let others = others_of(left);
    if left.answered.is_empty() {
        let why = match others.is_empty() {
            true => "there is no site to ask".to_owned(),
            false => others.join("; "),
        };
        let data = Box::new(data);
        return Err(NoAnswer::NoSiteAnswered { why, data });
    }
    let rows: Vec<[String; 5]> = left
        .answered
        .iter()
        .flat_map(|(site, budget)| budget.datasets.iter().map(move |one| row_of(site, one)))
        .collect();
    let mut text = table(["site", "data set", "ε left", "of", "at δ"], &rows);
    text.push_str("a data set's own budget, which all projects share, may end before\n");
    for line in others {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Answer { data, text })
}

fn row_of(site: &SiteName, left: &DatasetLeft) -> [String; 5] {
    [
        site.to_string(),
        left.dataset.to_string(),
        format!("{:.3}", left.left_epsilon),
        left.budget_epsilon.to_string(),
        format!("{:e}", left.delta),
    ]
}

/// Who refused and why, who is missing and why: a line each.
fn others_of(left: &BudgetsLeft) -> Vec<String> {
    let refused = left.refused.iter();
    let refused = refused.map(|(site, refusal)| format!("{site} refused: {refusal}"));
    let missing = left.missing.iter();
    let missing = missing.map(|(site, cause)| format!("{site} is missing: {}", cause.sentence()));
    refused.chain(missing).collect()
}

fn data_of(question: &BudgetQuestion, left: &BudgetsLeft) -> Value {
    let answered = left.answered.iter();
    let answered =
        answered.map(|(site, budget)| json!({ "site": site, "datasets": budget.datasets }));
    let refused = left.refused.iter();
    let refused = refused.map(|(site, refusal)| json!({ "site": site, "refusal": refusal }));
    let missing = left.missing.iter();
    let missing = missing.map(|(site, cause)| json!({ "site": site, "cause": cause }));
    json!({
        "project": question.project,
        "answered": answered.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use consilium_protocol::message::{Missing, SiteBudget};
    use consilium_protocol::{Refusal, RefusalCode};

    use super::*;

    fn question() -> BudgetQuestion {
        BudgetQuestion {
            project: "cardiology".parse().unwrap(),
            sites: Default::default(),
        }
    }

    fn left() -> BudgetsLeft {
        let heart = DatasetLeft {
            dataset: "heart-disease".parse().unwrap(),
            spent_epsilon: 1.0,
            budget_epsilon: 3.0,
            left_epsilon: 2.0,
            delta: 1e-6,
        };
        BudgetsLeft {
            answered: vec![(
                "cleveland".parse().unwrap(),
                SiteBudget {
                    datasets: vec![heart],
                },
            )],
            refused: vec![(
                "va".parse().unwrap(),
                Refusal::new(RefusalCode::NotPermitted, "no permit", "ask the officer"),
            )],
            missing: vec![("hungarian".parse().unwrap(), Missing::NotConnected)],
        }
    }

    #[test]
    fn a_person_reads_what_is_left_at_each_site_and_who_did_not_say() {
        let answer = told(&question(), &left()).unwrap();
        let lines: Vec<String> = answer
            .text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "site data set ε left of at δ",
                "cleveland heart-disease 2.000 3 1e-6",
                "a data set's own budget, which all projects share, may end before",
                "va refused: not-permitted: no permit; ask the officer",
                "hungarian is missing: not connected",
            ]
        );
        assert_eq!(
            answer.data["answered"][0]["datasets"][0]["left_epsilon"],
            2.0
        );
        assert_eq!(
            answer.data["refused"][0]["refusal"]["code"],
            "not-permitted"
        );
    }

    #[test]
    fn where_no_site_says_anything_it_is_no_answer() {
        let nobody = BudgetsLeft {
            answered: Vec::new(),
            ..left()
        };
        match told(&question(), &nobody) {
            Err(NoAnswer::NoSiteAnswered { why, .. }) => {
                assert!(why.starts_with("va refused"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}
