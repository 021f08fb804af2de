//! Known-note membership: whoever has a patient's note wants to know whether this hospital has it too.
//!
//! Half of the notes are the hospital's, half are not; the attacker asks about some of either, in three ways, and
//! scores each by all that a level tells. The criteria: an AUC of 0.55 at levels 0 and 1, and of
//! 0.60 at levels 2 and 3.

use consilium_node::retrieval::{ranked::one_of_each, too_close};
use consilium_protocol::message::DisclosedHit;
use consilium_protocol::query::Accuracy;
use consilium_protocol::search::{Ranking, Wanted};
use consilium_search::lexical;
use consilium_search::redaction::{Redactor, shared_identifier_run};
use consilium_search::vector::{self, Effort, UnitVector};

use crate::figures::{Scores, tell};
use crate::hospital::{Declared, Heard, Hospital, RHO, asked, count, handles, snippets};
use crate::notes::{Known, Note, all, chance, honest_questions};

const AUC_MAX_OF_COUNTS: f64 = 0.55;
const AUC_MAX_OF_HITS: f64 = 0.60;

/// Notes of either group that are asked about, in each way.
const ASKED: usize = 200;

/// The same of counts, whose answers come quickly and whose bound is near to one half.
const COUNTED: usize = 500;

/// Hits that the attacker wants.
const HITS: u16 = 10;

/// The hospital's notes and the others.
fn halves() -> (Vec<Note>, Vec<Note>) {
    all()
        .into_iter()
        .partition(|note| chance(&note.patient).is_multiple_of(2))
}

/// Scores of each group's first notes.
fn scores(of: &(Vec<Note>, Vec<Note>), asked: usize, score: impl Fn(&Note) -> f64) -> Scores {
    let group = |notes: &[Note]| notes.iter().take(asked).map(&score).collect();
    Scores {
        members: group(&of.0),
        others: group(&of.1),
    }
}

#[test]
fn counts_and_votes_tell_nothing_of_who_is_counted() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    for known in Known::ALL {
        // So near that few but the note itself are.
        let level_0 = scores(&notes, COUNTED, |note| {
            let asked = asked(&known.text_of(note), count(80));
            hospital.answers(&mallory, &asked).count()
        });
        level_0.tell(&format!("level 0, one count, {}", known.name()));
        assert!(level_0.may_be_at_most(AUC_MAX_OF_COUNTS), "{known:?}");
        let level_1 = scores(&notes, COUNTED, |note| {
            let votes = Wanted::Votes {
                nearness: 80,
                column: "kind".into(),
                candidates: vec![note.kind.clone()],
                accuracy: Accuracy::Rho(RHO),
            };
            hospital
                .answers(&mallory, &asked(&known.text_of(note), votes))
                .count()
        });
        level_1.tell(&format!("level 1, one vote, {}", known.name()));
        assert!(level_1.may_be_at_most(AUC_MAX_OF_COUNTS), "{known:?}");
    }
}

/// The nearness of the nearest, and of ties how many there are.
fn by_buckets(hits: &[DisclosedHit]) -> f64 {
    let nearest = hits.iter().map(|hit| hit.bucket).max().unwrap_or(0);
    let as_near = hits.iter().filter(|hit| hit.bucket == nearest).count();
    f64::from(nearest) - as_near as f64 / 100.0
}

/// How far the nearest is before the next.
fn by_lead(hits: &[DisclosedHit]) -> f64 {
    let mut buckets: Vec<u8> = hits.iter().map(|hit| hit.bucket).collect();
    buckets.sort_unstable_by(|a, b| b.cmp(a));
    match buckets.as_slice() {
        [nearest, next, ..] => f64::from(nearest - next),
        _ => 16.0,
    }
}

#[test]
fn handles_and_nearness_tell_little_of_a_note_that_the_asker_had() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    for ranking in [Ranking::Both, Ranking::Words] {
        for known in Known::ALL {
            let (mut nearest, mut lead) = (Scores::default(), Scores::default());
            for (group, is_member) in [(&notes.0, true), (&notes.1, false)] {
                for note in group.iter().take(ASKED) {
                    let asked = asked(&known.text_of(note), handles(HITS, ranking));
                    let hits = hospital.answers(&mallory, &asked).hits();
                    assert_eq!(hits.len(), usize::from(HITS), "as many as are wanted");
                    let into = |scores: &mut Scores, score| match is_member {
                        true => scores.members.push(score),
                        false => scores.others.push(score),
                    };
                    into(&mut nearest, by_buckets(&hits));
                    into(&mut lead, by_lead(&hits));
                }
            }
            let by = format!("{ranking:?}").to_lowercase();
            nearest.tell(&format!("level 2 by {by}, nearness, {}", known.name()));
            lead.tell(&format!("level 2 by {by}, lead, {}", known.name()));
            for scores in [nearest, lead] {
                assert!(
                    scores.may_be_at_most(AUC_MAX_OF_HITS),
                    "{ranking:?} {known:?}"
                );
            }
        }
    }
}

/// The longest run of words that a snippet has from the note: what is shown of the note itself gives it away.
fn by_text(note: &Note, hits: &[DisclosedHit]) -> f64 {
    let runs = hits
        .iter()
        .map(|hit| shared_identifier_run(&hit.snippet, &note.text));
    runs.max().unwrap_or(0) as f64
}

#[test]
fn snippets_seldom_show_the_asker_the_note_that_he_had() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    for known in Known::ALL {
        let found = scores(&notes, ASKED, |note| {
            let asked = asked(&known.text_of(note), snippets(HITS, Ranking::Both));
            by_text(note, &hospital.answers(&mallory, &asked).hits())
        });
        found.tell(&format!("level 3, text, {}", known.name()));
        assert!(found.may_be_at_most(AUC_MAX_OF_HITS), "{known:?}");
    }
}

/// Two questions, of which the second is so near to the note that the note is withheld: a handle that goes missing was
/// the note's.
#[test]
fn a_hit_that_goes_missing_between_two_questions_has_no_name() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    let found = scores(&notes, ASKED, |note| {
        let ask = |text: &str, hits| {
            let asked = asked(text, handles(hits, Ranking::Both));
            hospital.answers(&mallory, &asked).hits()
        };
        let about = ask(
            &note
                .text
                .split_whitespace()
                .take(12)
                .collect::<Vec<_>>()
                .join(" "),
            HITS,
        );
        let exact = ask(&Known::Whole.text_of(note), 100);
        let is_missing = |hit: &DisclosedHit| exact.iter().all(|other| other.handle != hit.handle);
        let first_missing = about.iter().position(is_missing);
        first_missing.map_or(0.0, |rank| 1.0 / (rank + 1) as f64)
    });
    found.tell("level 2, a handle that goes missing");
    assert!(found.may_be_at_most(AUC_MAX_OF_HITS));
}

/// For a question, what the two tests that withhold a hit say: by vectors, by words.
fn is_withheld(hospital: &Hospital, question: &str) -> (bool, bool) {
    let open = hospital
        .node()
        .collection(&"notes".parse().unwrap())
        .unwrap()
        .unwrap();
    let rows = open.collection.rows_where(None).unwrap();
    let redacted = Redactor::new().redact(question).text;
    let vector = open
        .encoder
        .encode(&[redacted.as_str()])
        .unwrap()
        .pop()
        .unwrap();
    let vector = UnitVector::parse(&vector).unwrap();
    let near = |k| open.collection.nearest(&vector, k, &rows, Effort::Exact);
    let owner = |hit: &vector::Hit| open.collection.patient_of(hit.row);
    let nearest = one_of_each(too_close::TAIL + 1, owner, near).unwrap();
    let similarities: Vec<f32> = nearest.iter().map(|hit| hit.similarity).collect();
    let by_words = |k| open.collection.words(question, k, &rows);
    let owner = |hit: &lexical::Hit| open.collection.patient_of(hit.row);
    let worded = one_of_each(too_close::TAIL + 1, owner, by_words).unwrap();
    let scores: Vec<f64> = worded.iter().map(|hit| hit.score).collect();
    (
        too_close::withheld(&similarities) > 0,
        too_close::leads(&scores),
    )
}

/// What the tests cost whoever asks honestly, and how many known notes each finds. Printed, and bounded loosely: a
/// question in three that loses a hit would be a broken test.
#[test]
fn an_honest_question_seldom_loses_its_nearest_hit() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let share = |what: &str, questions: &[String]| {
        let said: Vec<(bool, bool)> = questions
            .iter()
            .map(|text| is_withheld(&hospital, text))
            .collect();
        let of = |holds: &dyn Fn(&(bool, bool)) -> bool| {
            said.iter().filter(|one| holds(one)).count() as f64 / said.len() as f64
        };
        let either = of(&|(vectors, words)| *vectors || *words);
        tell(&format!(
            "{what:<44} lose a hit: {:.3} by vectors, {:.3} by words, {either:.3} by either (n = {})",
            of(&|(vectors, _)| *vectors),
            of(&|(_, words)| *words),
            said.len()
        ));
        either
    };
    for known in Known::ALL {
        let members = notes.0.iter().take(ASKED).map(|note| known.text_of(note));
        share(
            &format!("known notes, {}", known.name()),
            &members.collect::<Vec<_>>(),
        );
    }
    let lost = share("honest questions", &honest_questions());
    assert!(lost < 0.33, "{lost}");
}

/// Of level 0, what many questions about one note tell together: the budget's part, not the noise's.
#[test]
fn sixteen_counts_about_one_note_tell_what_their_price_says() {
    let notes = halves();
    let hospital = Hospital::of(&notes.0, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    let group = |notes: &[Note]| -> Vec<f64> {
        let sums = notes.iter().take(ASKED).map(|note| {
            let text = Known::Whole.text_of(note);
            let asks = (0..16).map(|at| {
                // The same words but for the last.
                let again = format!("{text} {at}");
                match hospital.answers(&mallory, &asked(&again, count(80))).heard {
                    Heard::Counts(counts) => counts[0],
                    other => panic!("{other:?}"),
                }
            });
            asks.sum()
        });
        sums.collect()
    };
    let scores = Scores {
        members: group(&notes.0),
        others: group(&notes.1),
    };
    scores.tell("level 0, sixteen counts of one note");
    // Sixteen of σ = 10 tell what one of σ = 2.5 does: Φ(1 / (2.5 √2)) = 0.611 at the most.
    assert!(scores.may_be_at_most(0.612));
}
