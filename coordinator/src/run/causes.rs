//! Why sites are missing, as far as one journal entry has room for it. A site words its own refusal, so that many
//! hostile sites together could make an entry too long to be written.

use std::collections::BTreeMap;

use consilium_protocol::SiteName;
use serde::Serialize;

use crate::round::MissingCause;

/// Of all causes in one entry together; the entry may be twice as long, and needs the rest for other things.
const CAUSES_BYTES_MAX: usize = 512 * 1024;

/// The longest cause of a run's end.
const CAUSE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of JSON that one byte of a text becomes at most: `\u0000`.
const ESCAPED_MAX: usize = 6;

/// Bytes of JSON around the texts of one cause.
const AROUND_BYTES: usize = 160;

/// The same sites, with causes that fit: the longest lose their rules and remedies, and then the ends of their reasons.
pub(super) fn fitting(
    mut missing: BTreeMap<SiteName, MissingCause>,
) -> BTreeMap<SiteName, MissingCause> {
    let share = share_of(missing.len());
    for cause in missing
        .values_mut()
        .filter(|cause| json_bytes(cause) > share)
    {
        let text_bytes = share.saturating_sub(AROUND_BYTES) / ESCAPED_MAX;
        match cause {
            MissingCause::Refused { refusal } | MissingCause::BadUpdate { refusal } => {
                refusal.rules.clear();
                refusal.remedy.clear();
                cut(&mut refusal.reason, text_bytes);
            }
            MissingCause::Failed { what, remedy } => {
                remedy.clear();
                cut(what, text_bytes);
            }
            MissingCause::NotConnected
            | MissingCause::Late
            | MissingCause::Interrupted
            | MissingCause::Unsteady => {}
        }
    }
    missing
}

/// As [`fitting`], for causes in words.
pub(super) fn fitting_words(mut missing: BTreeMap<SiteName, String>) -> BTreeMap<SiteName, String> {
    let share = share_of(missing.len());
    for cause in missing
        .values_mut()
        .filter(|cause| json_bytes(cause) > share)
    {
        cut(cause, share.saturating_sub(AROUND_BYTES) / ESCAPED_MAX);
    }
    missing
}

/// The cause of a run's end, which may name every site.
pub(super) fn fitting_end(mut cause: String) -> String {
    cut(&mut cause, CAUSE_BYTES_MAX);
    cause
}

fn share_of(sites: usize) -> usize {
    CAUSES_BYTES_MAX / sites.max(1)
}

fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use consilium_protocol::limits::{PARTICIPANTS_MAX, RULES_MAX, SENTENCE_BYTES_MAX};
    use consilium_protocol::{Digest, Refusal, RefusalCode};

    use super::*;
    use crate::event::Event;

    /// The longest that a site can say, in bytes that JSON makes six of.
    fn longest() -> Refusal {
        let text = "\u{1}".repeat(SENTENCE_BYTES_MAX);
        let mut refusal = Refusal::new(RefusalCode::NotPermitted, text.clone(), text);
        refusal.rules = vec!["\u{1}".repeat(64); RULES_MAX];
        refusal
    }

    fn sites<T>(cause: &T) -> BTreeMap<SiteName, T>
    where
        T: Clone,
    {
        (0..PARTICIPANTS_MAX)
            .map(|number| (format!("site-{number}").parse().unwrap(), cause.clone()))
            .collect()
    }

    #[test]
    fn whatever_a_thousand_sites_say_the_entry_can_be_written() {
        let refused = MissingCause::Refused { refusal: longest() };
        let failed = MissingCause::Failed {
            what: longest().reason,
            remedy: longest().remedy,
        };
        for cause in [refused, failed] {
            let missing = fitting(sites(&cause));
            assert_eq!(missing.len(), PARTICIPANTS_MAX);
            let closed = Event::RoundClosed {
                run_id: "r-1".parse().unwrap(),
                round: 1,
                state: Digest([0; 32]),
                sites: BTreeMap::new(),
                missing,
                duration_ms: 1,
                restarts: 0,
            };
            let bytes = json_bytes(&closed);
            assert!(bytes < 700 * 1024, "{bytes}");
        }
        let words = fitting_words(sites(&longest().to_string()));
        assert!(json_bytes(&words) < 700 * 1024);
        assert!(json_bytes(&fitting_end("\u{1}".repeat(1 << 20))) < 700 * 1024);
    }

    #[test]
    fn what_a_few_sites_say_stays_whole() {
        let refused = MissingCause::Refused { refusal: longest() };
        let few: BTreeMap<SiteName, MissingCause> = sites(&refused).into_iter().take(10).collect();
        assert_eq!(fitting(few.clone()), few);
        // One long refusal among many short ones loses what is too much.
        let mut many = sites(&MissingCause::Late);
        many.insert("site-7".parse().unwrap(), refused);
        match &fitting(many)[&"site-7".parse().unwrap()] {
            MissingCause::Refused { refusal } => {
                assert!(refusal.reason.starts_with('\u{1}') && refusal.reason.ends_with('…'));
                assert!(refusal.remedy.is_empty() && refusal.rules.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}
