//! The questions by which an officer comes to a policy. A bad answer is told why, and the question is asked again.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::str::FromStr;

use consilium_policies::terms::FLOORS;
use consilium_policies::{Answer, Day, DuoCode, Question, Release, RuleId, explain};
use consilium_privacy::Budget;
use consilium_protocol::limits::RECORDS_MAX;
use consilium_protocol::{DatasetName, MemberName, Millis, ProjectName};

use super::PolicyError;
use super::arguments::purpose;
use super::draft::{ANY, Draft, Epsilons};
use crate::output::{Streams, Terminal};

/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks one after the other.
struct Interview<'a, 's> {
    input: &'a mut dyn BufRead,
    streams: &'a mut Streams<'s>,
    now: Millis,
}

/// Asks everything that a policy needs. An empty answer takes what stands in brackets.
pub(super) fn interview(
    input: &mut dyn BufRead,
    streams: &mut Streams<'_>,
    now: Millis,
) -> Result<Draft, PolicyError> {
    streams.note(
        "An empty answer takes what stands in brackets. Several words are separated by commas.",
    );
    let mut interview = Interview {
        input,
        streams,
        now,
    };
    let mut draft = interview.data()?;
    interview.people(&mut draft)?;
    interview.bounds(&mut draft)?;
    interview.approval(&mut draft)?;
    Ok(draft)
}

impl Interview<'_, '_> {
    /// The policy's name, the data set and what its patients agreed to.
    fn data(&mut self) -> Result<Draft, PolicyError> {
        let name = self.ask("What should the policy be called?", "hospital", |text| {
            word::<RuleId>(text)
        })?;
        let dataset = self.ask(
            "Which data set is it about, as the node calls it?",
            "heart-disease",
            word::<DatasetName>,
        )?;
        let codes = self.ask(
            "What did the patients consent to, in DUO codes (NRES, GRU, HMB, DS, POA, CC and conditions)?",
            "HMB",
            |text| {
                let codes = codes(text)?;
                match codes.iter().any(|code| code.is_permission()) {
                    true => Ok(codes),
                    false => Err("one of NRES, GRU, HMB, DS, POA, CC must be among them".to_owned()),
                }
            },
        )?;
        let floor = self.ask(
            "How many patients must stand behind an exact number that leaves?",
            "11",
            |text| {
                let floor = text.parse().ok().filter(|floor| FLOORS.contains(floor));
                floor.ok_or_else(|| {
                    format!(
                        "write one of {}",
                        FLOORS.map(|floor| floor.to_string()).join(", ")
                    )
                })
            },
        )?;
        Ok(Draft {
            name,
            dataset,
            codes,
            agreed: BTreeSet::new(),
            floor,
            projects: vec![ANY.to_owned()],
            researchers: vec![ANY.to_owned()],
            purposes: Vec::new(),
            training: true,
            statistics: true,
            until: Day::of(self.now),
            minimum_records: 1,
            epsilon: Epsilons {
                project: 1.0,
                dataset: 1.0,
                patient: 1.0,
            },
            approval: "none",
            officers: Vec::new(),
        })
    }

    /// Who may ask, for what.
    fn people(&mut self, draft: &mut Draft) -> Result<(), PolicyError> {
        let by_name =
            |code, what: &'static str, draft: &Draft| draft.codes.contains(&code).then_some(what);
        let must = by_name(
            DuoCode::Ps,
            "the consent code PS wants projects by name",
            draft,
        );
        draft.projects = self.ask("For which projects? * is any", "cardiology", |text| {
            names::<ProjectName>(text, must)
        })?;
        let must = by_name(
            DuoCode::Us,
            "the consent code US wants researchers by name",
            draft,
        );
        draft.researchers = self.ask("Which researchers? * is any", "ada", |text| {
            names::<MemberName>(text, must)
        })?;
        let wanting = |code: &&DuoCode| code.wants_agreement();
        let conditions: BTreeSet<DuoCode> = draft.codes.iter().filter(wanting).copied().collect();
        // As if all were agreed to: what forbids a purpose then is the purpose.
        draft.agreed = conditions.clone();
        let trial = draft.clone();
        let now = self.now;
        draft.purposes = self.ask(
            "For which purposes (GRU, HMB, DS, POA, CC)?",
            if draft.codes.contains(&DuoCode::Hmb) {
                "HMB"
            } else {
                "DS"
            },
            |text| {
                let purposes = listed(text, |word| Ok(purpose(word)?.to_string()))?;
                fits_the_consent(&trial, &purposes, now)?;
                Ok(purposes)
            },
        )?;
        if !conditions.is_empty() {
            let told: Vec<&str> = conditions.iter().map(|code| code.as_str()).collect();
            let question = format!(
                "To which of {} has the project agreed, on paper that you hold? none, or codes",
                told.join(", ")
            );
            draft.agreed = self.ask(&question, "none", |text| match text {
                "none" => Ok(BTreeSet::new()),
                _ => codes(text).and_then(|agreed| match agreed.is_subset(&conditions) {
                    true => Ok(agreed),
                    false => Err(format!("write some of {}, or none", told.join(", "))),
                }),
            })?;
        }
        let actions = self.ask(
            "What may be done (training, statistics)?",
            "training, statistics",
            |text| {
                listed(text, |word| match word {
                    "training" | "statistics" => Ok(word.to_owned()),
                    _ => Err("write training, statistics, or both".to_owned()),
                })
            },
        )?;
        draft.training = actions.iter().any(|action| action == "training");
        draft.statistics = actions.iter().any(|action| action == "statistics");
        Ok(())
    }

    /// Until when, and within which numbers.
    fn bounds(&mut self, draft: &mut Draft) -> Result<(), PolicyError> {
        let now = self.now;
        let next_year = Day::of(now).as_number() / 10_000 + 1;
        draft.until = self.ask(
            "Which is the last day, year-month-day?",
            &format!("{next_year:04}-12-31"),
            |text| {
                let until: Day = text.parse().map_err(|error| format!("{error}"))?;
                match (until.is_over(now), until.as_number() < 99_991_231) {
                    (true, _) => Err(format!("{until} is over")),
                    (false, false) => Err("a permit must end".to_owned()),
                    (false, true) => Ok(until),
                }
            },
        )?;
        if draft.training {
            draft.minimum_records = self.ask(
                "With how few training records may nothing be trained any more? At least",
                "50",
                |text| {
                    let records = text
                        .parse()
                        .ok()
                        .filter(|records| (1..=RECORDS_MAX).contains(records));
                    records.ok_or_else(|| format!("write a number from 1 to {RECORDS_MAX}"))
                },
            )?;
        }
        if draft.statistics {
            self.streams.note(
                "Answers with noise cost epsilon: 1 is strong protection, 10 weak. It adds up until it is spent.",
            );
            draft.epsilon = Epsilons {
                project: self.ask("How much epsilon may one project spend?", "2", epsilon)?,
                dataset: self.ask("And all projects together, on this data set?", "6", epsilon)?,
                patient: self.ask("And on any one patient?", "4", epsilon)?,
            };
        }
        Ok(())
    }

    /// Whether somebody looks each time.
    fn approval(&mut self, draft: &mut Draft) -> Result<(), PolicyError> {
        let open = |code: &&DuoCode| code.wants_agreement() && !draft.agreed.contains(code);
        let open: Vec<&str> = draft
            .codes
            .iter()
            .filter(open)
            .map(|code| code.as_str())
            .collect();
        let fallback = if open.is_empty() { "none" } else { "before" };
        draft.approval = self.ask(
            "Must one of you approve each run or question before, or release each result from the outbox \
             (none, before, outbox)?",
            fallback,
            |text| match text {
                "none" if !open.is_empty() => Err(format!(
                    "{} is not agreed to, so one of you has to look: before, or outbox",
                    open.join(", ")
                )),
                "none" => Ok("none"),
                "before" => Ok("before"),
                "outbox" => Ok("outbox"),
                _ => Err("write none, before or outbox".to_owned()),
            },
        )?;
        if draft.approval != "none" {
            draft.officers = self.ask("Which officers?", "olga, otto", |text| {
                names::<MemberName>(text, Some("an approval is somebody's: name them"))
            })?;
        }
        Ok(())
    }

    /// One question, until its answer can be used.
    fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, PolicyError> {
        loop {
            let prompt = format!("{question} [{default}]");
            match self.streams.terminal {
                Terminal::Yes => {
                    write!(self.streams.err, "{prompt} ")
                        .and_then(|()| self.streams.err.flush())
                        .ok();
                }
                Terminal::No => self.streams.note(&prompt),
            }
            let line = self.line(question)?;
            let answered = match line.as_deref().map(str::trim) {
                None => Err("that is not text".to_owned()),
                Some("") => read(default),
                Some(text) => read(text),
            };
            match answered {
                Ok(answer) => return Ok(answer),
                Err(why) => self.streams.note(&format!("  not so: {why}")),
            }
        }
    }

    /// A line; none if it is no UTF-8.
    fn line(&mut self, question: &str) -> Result<Option<String>, PolicyError> {
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(&mut *self.input, ANSWER_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut bytes);
        if read.is_err() || bytes.is_empty() {
            return Err(PolicyError::AnswersEnded {
                question: question.to_owned(),
            });
        }
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(PolicyError::AnswerTooLong {
                limit: ANSWER_BYTES_MAX,
            });
        }
        Ok(String::from_utf8(bytes).ok())
    }
}

/// Fails on a purpose that the consent codes forbid.
fn fits_the_consent(trial: &Draft, purposes: &[String], now: Millis) -> Result<(), String> {
    let trial = Draft {
        purposes: purposes.to_vec(),
        ..trial.clone()
    };
    let bundle = trial.bundle().map_err(|error| error.to_string())?;
    let any = |names: &[String], other: &str| match names.first().map(String::as_str) {
        None | Some(ANY) => other.to_owned(),
        Some(name) => name.to_owned(),
    };
    let told = |error: &dyn std::fmt::Display| error.to_string();
    for written in purposes {
        let question = Question {
            project: any(&trial.projects, "any-project")
                .parse()
                .map_err(|error| told(&error))?,
            release: Release::Update,
            dataset: trial.dataset.parse().map_err(|error| told(&error))?,
            researcher: None,
            purpose: Some(purpose(written)?),
        };
        let explained = explain(&bundle, &question, now);
        if explained.answer == Answer::No {
            let codes: Vec<&str> = trial.codes.iter().map(|code| code.as_str()).collect();
            return Err(format!(
                "the consent codes {} do not cover {written}",
                codes.join(", ")
            ));
        }
    }
    Ok(())
}

fn epsilon(text: &str) -> Result<f64, String> {
    let epsilon: f64 = text
        .parse()
        .map_err(|_| "write a number, such as 2".to_owned())?;
    match Budget::new(epsilon, 0.5) {
        Ok(_) => Ok(epsilon),
        Err(error) => Err(error.to_string()),
    }
}

/// One word that is a name of this kind.
fn word<T: FromStr<Err: ToString>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Names of this kind, or `*` alone; `by_name` says why it may not be that.
fn names<T: FromStr<Err: ToString>>(
    text: &str,
    by_name: Option<&str>,
) -> Result<Vec<String>, String> {
    match (text, by_name) {
        (ANY, None) => Ok(vec![ANY.to_owned()]),
        (ANY, Some(why)) => Err(why.to_owned()),
        _ => listed(text, word::<T>),
    }
}

fn codes(text: &str) -> Result<BTreeSet<DuoCode>, String> {
    let mut codes = BTreeSet::new();
    for code in listed(text, |word| Ok(word.to_owned()))? {
        codes.insert(code.parse::<DuoCode>().map_err(|error| error.to_string())?);
    }
    Ok(codes)
}

/// Words between commas or blanks, each once.
fn listed(
    text: &str,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let word = read(word)?;
        if !words.contains(&word) {
            words.push(word);
        }
    }
    match words.is_empty() {
        true => Err("write one word at least".to_owned()),
        false => Ok(words),
    }
}
