//! What the researcher does: questions, a run with noise, the end of a budget.

use serde_json::Value;

use super::WATCHED;
use super::narrator::{Narrator, No, no, number, part, text};
use crate::house::{Member, Typed, anybody_types, write};
use crate::story::StoryError;
use crate::story::stage::wait_until;

const RUN: &str = include_str!("bundle/run.toml");

/// The question that is asked three times.
const OLD: &str = "age >= 60";

/// Nothing is permitted, so nothing leaves.
pub(super) fn finds_the_door_closed(told: &Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("Ada, a researcher, asks how many patients are 60 or older.");
    let words = count(OLD, "1");
    all_are_up(ada, &words)?;
    let refused = told.is_refused(ada, &words)?;
    cleveland_says(told, &refused, "not-permitted")
}

/// A count with noise, priced before it is asked.
pub(super) fn counts(told: &mut Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("Ada asks first what a count costs and whether it is of use. At Cleveland, with 303 patients:");
    for patients in ["303", "30"] {
        let quoted = told.offline(&[
            "budget",
            "quote",
            "count",
            "--patients",
            patients,
            "--epsilon",
            "1",
            "--budget",
            "3",
        ])?;
        told.answered(&format!(
            "within {} of the truth 19 times of 20; {}",
            number(&quoted, "/error")?,
            match part(&quoted, "/useful")?.as_bool() {
                Some(true) => "the site is large enough".to_owned(),
                _ => format!(
                    "the site is too small: {} are needed",
                    number(&quoted, "/patients_needed")?
                ),
            }
        ));
        if patients == "303" {
            told.says("and at a site of 30:");
        }
    }
    told.says("She asks. Each hospital adds its own noise; nobody sees a count without.");
    let answer = told.types(ada, &count(OLD, "1"))?;
    figures(told, &answer, 4, "count")?;
    spent(told, "spent_after_count")?;
    Ok(())
}

/// A short run whose updates have noise, on the same budget.
pub(super) fn trains(told: &mut Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("She trains a model of 9 parameters for 3 rounds, with noise worth ε = 1. It draws on the same budget.");
    let path = told.path("ada-work/run.toml");
    write(std::path::Path::new(&path), RUN)?;
    let ran = told.types(ada, &["run", "submit", &path, "--stream"])?;
    told.answered(&format!(
        "the run is {} after round {} of {}",
        text(&ran, "/run/state")?,
        number(&ran, "/run/round")?,
        number(&ran, "/run/rounds")?
    ));
    spent(told, "spent_after_run")?;
    Ok(())
}

/// The same question: the same answer, at no cost.
pub(super) fn asks_again(told: &mut Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says(
        "She asks her first question once more, as whoever wants to average the noise away would.",
    );
    let before = spent_quietly(told)?;
    let answer = told.types(ada, &count(OLD, "1"))?;
    let first = told.figures();
    figures(told, &answer, 4, "count_again")?;
    let again = told.figures();
    if first.pointer("/count") != again.pointer("/count_again") {
        return Err(StoryError::unexpected(
            "the same question got another answer",
        ));
    }
    told.answered("the same answer, to the last digit");
    let after = spent(told, "spent_after_repeat")?;
    match before.to_bits() == after.to_bits() {
        true => told.answered("it cost nothing"),
        false => return Err(StoryError::unexpected("the same question cost something")),
    }
    Ok(())
}

/// What is left does not cover what she wants.
pub(super) fn is_refused(told: &Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("She wants one more answer, exact to a patient or two: ε = 2. The budget is 3.");
    let refused = told.is_refused(ada, &count("age >= 50", "2"))?;
    cleveland_says(told, &refused, "budget-exhausted")
}

/// The rule holds at the hospital whose officers wrote it.
pub(super) fn meets_the_new_rule(told: &mut Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("Ada asks for ε = 0.6. Three hospitals answer; Cleveland's new rule refuses, and she is told why.");
    let answer = told.types(ada, &count("chol >= 240", "0.6"))?;
    figures(told, &answer, 3, "count_dear")?;
    let refusal = part(&answer, "/refused/0/refusal")?;
    told.answered(&format!(
        "{} refused: {}: {}",
        text(&answer, "/refused/0/site")?,
        text(refusal, "/code")?,
        text(refusal, "/reason")?
    ));
    told.says("A cheaper question passes everywhere.");
    let answer = told.types(ada, &count("thalach < 120", "0.1"))?;
    figures(told, &answer, 4, "count_cheap")?;
    spent(told, "spent_at_the_end")?;
    Ok(())
}

fn count<'a>(filter: &'a str, epsilon: &'a str) -> [&'a str; 12] {
    [
        "stats",
        "count",
        "--where",
        filter,
        "--dataset",
        "heart-disease",
        "--project",
        "cardiology",
        "--purpose",
        "HMB",
        "--epsilon",
        epsilon,
    ]
}

/// A site that has just started has not heard its witnesses yet: the same question, unheard, until none is busy.
fn all_are_up(ada: &Member, words: &[&str]) -> Result<(), StoryError> {
    wait_until("four sites that decide by their policies", || {
        let refused = no(ada.types(words, Typed::Quietly), words)?;
        Ok(refused.message.matches("not-permitted").count() == 4)
    })
}

/// Cleveland's own words among those of all.
fn cleveland_says(told: &Narrator, refused: &No, code: &str) -> Result<(), StoryError> {
    let own = format!("{WATCHED} refused: ");
    let all: Vec<&str> = refused.message.split("; ").collect();
    told.answered(all.first().copied().unwrap_or_default());
    let line = all.iter().find(|line| line.starts_with(&own));
    match line.filter(|line| line.contains(code)) {
        Some(line) => told.answered(line),
        None => return Err(StoryError::unexpected(&refused.message)),
    }
    Ok(())
}

/// An answer with its interval, and how many sites gave it.
fn figures(
    told: &mut Narrator,
    answer: &Value,
    sites: usize,
    name: &str,
) -> Result<(), StoryError> {
    let figure = part(answer, "/figures/0")?;
    told.varies(&format!(
        "{:.1} patients, between {:.1} and {:.1} in 19 cases of 20",
        number(figure, "/value")?,
        number(figure, "/low")?,
        number(figure, "/high")?
    ));
    let answered = part(answer, "/answered")?.as_array().map_or(0, Vec::len);
    if answered != sites {
        return Err(StoryError::unexpected(format!(
            "{answered} sites answered: {answer}"
        )));
    }
    told.answered(&format!("{answered} of 4 sites answered"));
    told.figure(name, figure.clone());
    Ok(())
}

/// What Cleveland's journal says is spent.
fn spent(told: &mut Narrator, figure: &str) -> Result<f64, StoryError> {
    let shown = told.offline(&["budget", "show", &told.path(WATCHED)])?;
    let epsilon = number(&shown, "/datasets/0/projects/0/spent_epsilon")?;
    told.answered(&format!(
        "{WATCHED}, cardiology: ε {epsilon:.3} of 3 is spent"
    ));
    told.figure(figure, epsilon);
    Ok(epsilon)
}

fn spent_quietly(told: &Narrator) -> Result<f64, StoryError> {
    let shown = anybody_types(&["budget", "show", &told.path(WATCHED)])?;
    number(&shown, "/datasets/0/projects/0/spent_epsilon")
}
