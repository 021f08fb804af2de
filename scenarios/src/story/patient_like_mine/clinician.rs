//! What the clinician does: searches, at each level that policy leaves her.

use std::collections::BTreeMap;

use serde_json::Value;

use super::hospitals::{COLLECTION, HOSPITALS};
use crate::house::{Member, Typed};
use crate::story::StoryError;
use crate::story::narrator::{Narrator, no, number, part, text};
use crate::story::stage::wait_until;

/// Whom she has before her.
const MINE: &str = "right knee pain after a twisting injury, swelling, joint line tenderness";

/// Characters of a snippet that are told.
const TOLD_CHARS: usize = 100;

/// More wordings than any patient has disclosures.
const WORDINGS: [&str; 14] = [
    "knee pain",
    "pain in the knee",
    "knee which hurts",
    "painful knee",
    "sore knee",
    "knee pain today",
    "knee pain at night",
    "knee pain when walking",
    "knee pain on stairs",
    "knee pain and swelling",
    "a swollen knee",
    "knee pain for weeks",
    "knee pain again",
    "knee pain still",
];

/// That there are such patients, where, and about how near.
pub(super) fn finds_handles(told: &mut Narrator, ada: &Member) -> Result<Value, StoryError> {
    told.says("Ada has a patient before her. She asks who has had one like hers. Before anything leaves her machine, names");
    told.says("and numbers are taken out of what she typed. Each hospital answers under a seal that only she can open.");
    let typed = format!("{MINE}. Mr. John Smith, MRN 123456");
    let words = search(
        &typed,
        "similar-patients",
        &["--show", "handles", "-k", "6"],
    );
    let words = as_words(&words);
    all_are_up(ada, &words)?;
    let answer = told.types(ada, &words)?;
    told.answered(&format!(
        "searched for: {}",
        text(&answer, "/question/text")?
    ));
    all_answered(told, &answer, 3)?;
    let hits = hits(&answer)?;
    for hit in &hits {
        told.answered(&format!(
            "{:>2}/16 near, at {}",
            number(hit, "/nearness_of_16")?,
            text(hit, "/site")?
        ));
    }
    if let Some(first) = hits.first() {
        told.varies(&format!(
            "the first one's handle: {}",
            text(first, "/handle")?
        ));
    }
    told.figure("handles", hits.len());
    match hits
        .iter()
        .all(|hit| text(hit, "/snippet").is_ok_and(str::is_empty))
    {
        true => Ok(answer),
        false => Err(StoryError::unexpected("text was told at level 2")),
    }
}

/// Her project may not have texts.
pub(super) fn may_not_read(told: &Narrator, ada: &Member) -> Result<(), StoryError> {
    told.says("She would like to read of them. Her project is not approved for that.");
    let words = search(MINE, "similar-patients", &["--show", "snippets", "-k", "3"]);
    let refused = told.is_refused(ada, &as_words(&words))?;
    let first = refused
        .message
        .split("; ")
        .nth(1)
        .unwrap_or(&refused.message);
    told.answered(&format!("{}: {first}", refused.code));
    Ok(())
}

/// With noise, at each hospital its own.
pub(super) fn counts(told: &mut Narrator, ada: &Member) -> Result<Value, StoryError> {
    told.says("How many patients have a passage about as near? Each hospital adds noise that costs each patient ε = 0.2.");
    let words = search(
        MINE,
        "similar-patients",
        &["--show", "count", "--nearness", "0.4", "--epsilon", "0.2"],
    );
    let answer = told.types(ada, &as_words(&words))?;
    all_answered(told, &answer, 3)?;
    let figure = part(&answer, "/found/figures/0")?;
    told.varies(&figure_line(figure)?);
    told.figure("count", figure.clone());
    Ok(answer)
}

/// Each patient's nearest passage has one vote.
pub(super) fn lets_them_vote(told: &mut Narrator, ada: &Member) -> Result<Value, StoryError> {
    told.says("In which sections does it stand? Each of those patients has one vote.");
    let words = search(
        MINE,
        "similar-patients",
        &[
            "--show",
            "votes",
            "--nearness",
            "0.4",
            "--column",
            "kind",
            "--candidates",
            "NOTE,GENHX,EXAM",
            "--epsilon",
            "0.2",
        ],
    );
    let answer = told.types(ada, &as_words(&words))?;
    all_answered(told, &answer, 3)?;
    // They come with the most votes first, which is the noise's choice among the close ones.
    let figures = part(&answer, "/found/figures")?.as_array();
    let lines: Result<Vec<String>, StoryError> =
        figures.into_iter().flatten().map(figure_line).collect();
    let mut lines = lines?;
    lines.sort();
    for line in lines {
        told.varies(&line);
    }
    told.figure("votes", part(&answer, "/found/figures")?.clone());
    Ok(answer)
}

/// Snippets, redacted a second time.
pub(super) fn reads_parts(told: &mut Narrator, ada: &Member) -> Result<Vec<Value>, StoryError> {
    told.says(
        "The ethics committee approved her knee study, and the officers wrote a permit for it.",
    );
    let words = search(MINE, "knee-study", &["--show", "snippets", "-k", "5"]);
    let near = told.types(ada, &as_words(&words))?;
    all_answered(told, &near, 3)?;
    for hit in hits(&near)? {
        let snippet: String = text(hit, "/snippet")?.chars().take(TOLD_CHARS).collect();
        told.answered(&format!("{}: {snippet}", text(hit, "/site")?));
    }
    told.says("She searches for what we planted, as somebody would who is after it.");
    let mut answers = vec![near];
    for typed in [
        "MRN 47110000 was seen today",
        "patients seen today by name and record number",
    ] {
        let words = search(typed, "knee-study", &["--show", "snippets", "-k", "60"]);
        let answer = told.types(ada, &as_words(&words))?;
        told.answered(&format!("{} snippets", hits(&answer)?.len()));
        answers.push(answer);
    }
    Ok(answers)
}

/// Cohorts that one hospital has, two, and none.
pub(super) fn asks_about_few(told: &mut Narrator, ada: &Member) -> Result<Vec<Value>, StoryError> {
    let mut answers = Vec::new();
    for (complaint, says) in [
        (
            "hypertension",
            "Nobody at virtscribe has hypertension on the list; the others have more than the floor of eleven.",
        ),
        (
            "depression",
            "Of depression only virtassist has enough patients. One at virtscribe has it: that must not be seen.",
        ),
        (
            "type 2 diabetes",
            "Type 2 diabetes is nowhere on eleven lists.",
        ),
    ] {
        told.says(says);
        let filter = format!("complaint = '{complaint}'");
        let words = search(
            "tired and short of breath",
            "similar-patients",
            &["--show", "handles", "-k", "60", "--filter", &filter],
        );
        let answer = told.types(ada, &as_words(&words))?;
        all_answered(told, &answer, 3)?;
        let mut of_sites = Vec::new();
        for hospital in HOSPITALS {
            let found = hits(&answer)?;
            let of_site = found
                .iter()
                .filter(|hit| text(hit, "/site").is_ok_and(|site| site == hospital));
            of_sites.push(format!("{hospital} {}", of_site.count()));
        }
        told.answered(&format!("hits: {}", of_sites.join(", ")));
        answers.push(answer);
    }
    Ok(answers)
}

/// The same patient, in other words each time, until the site finds somebody else.
pub(super) fn asks_until_nobody_is_left(
    told: &mut Narrator,
    ada: &Member,
) -> Result<Vec<Value>, StoryError> {
    told.says("Each time a patient is pointed at costs the patient ε = 0.2 of a budget of 2, for whichever project it is.");
    told.says("She asks for the nearest at aci, in one wording after another, and counts whom she is shown.");
    let mut answers = Vec::new();
    let mut shown: BTreeMap<String, u32> = BTreeMap::new();
    for wording in WORDINGS {
        let words = search(
            wording,
            "knee-study",
            &[
                "--show", "snippets", "-k", "3", "--sites", "aci", "--by", "vectors",
            ],
        );
        let answer = ada.types(&as_words(&words), Typed::Quietly)?;
        // A handle is another in each answer; a part of a text tells whose it is.
        for hit in hits(&answer)? {
            *shown.entry(text(hit, "/snippet")?.to_owned()).or_default() += 1;
        }
        answers.push(answer);
    }
    let most = shown.values().max().copied().unwrap_or(0);
    told.answered(&format!(
        "{} wordings: {} different parts shown, the most often shown {most} times",
        WORDINGS.len(),
        shown.len()
    ));
    told.figure("most_often_shown", most);
    Ok(answers)
}

fn search(typed: &str, project: &str, more: &[&str]) -> Vec<String> {
    let first = [
        "search",
        typed,
        "--collection",
        COLLECTION,
        "--project",
        project,
        "--purpose",
        "HMB",
    ];
    first
        .iter()
        .chain(more)
        .map(|word| (*word).to_owned())
        .collect()
}

fn as_words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A site that has just started has not heard its witnesses yet: the same search, unheard, until all answer.
fn all_are_up(ada: &Member, words: &[&str]) -> Result<(), StoryError> {
    wait_until("three sites that answer", || {
        match ada.types(words, Typed::Quietly) {
            Ok(answer) => Ok(answered(&answer)? == HOSPITALS.len()),
            Err(error) => no(Err(error), words).map(|_| false),
        }
    })
}

fn answered(answer: &Value) -> Result<usize, StoryError> {
    Ok(part(answer, "/answered")?.as_array().map_or(0, Vec::len))
}

fn all_answered(told: &Narrator, answer: &Value, sites: usize) -> Result<(), StoryError> {
    let answered = answered(answer)?;
    if answered != sites {
        return Err(StoryError::unexpected(format!(
            "{answered} sites answered: {answer}"
        )));
    }
    told.answered(&format!("{answered} of {sites} sites answered"));
    Ok(())
}

fn hits(answer: &Value) -> Result<Vec<&Value>, StoryError> {
    let hits = part(answer, "/found/hits")?.as_array();
    Ok(hits.into_iter().flatten().collect())
}

fn figure_line(figure: &Value) -> Result<String, StoryError> {
    Ok(format!(
        "{}: {:.1}, between {:.1} and {:.1} in 19 cases of 20",
        text(figure, "/name")?,
        number(figure, "/value")?,
        number(figure, "/low")?,
        number(figure, "/high")?
    ))
}
