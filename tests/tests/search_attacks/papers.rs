//! What a search must prove, and what a policy cannot permit.

use consilium_policies::Bundle;
use consilium_protocol::RefusalCode;
use consilium_protocol::message::SignedSearch;
use consilium_protocol::search::{Ranking, Search, Wanted};

use crate::hospital::{Declared, Heard, Hospital, asked, generous, handles};
use crate::notes::all;

fn search() -> Search {
    Search::new(asked("gout of the left foot", handles(3, Ranking::Both))).unwrap()
}

fn refusal(hospital: &Hospital, signed: &SignedSearch) -> RefusalCode {
    match hospital.hears(signed).heard {
        Heard::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_search_that_was_recorded_is_of_no_use_later_or_to_others() {
    let notes: Vec<_> = all().into_iter().take(60).collect();
    let hospital = Hospital::of(&notes, &Declared::default());
    let ada = hospital.researcher("ada", "cohort");
    let recorded = hospital.signed(&ada, &search());
    assert!(matches!(hospital.hears(&recorded).heard, Heard::Hits(_)));

    // Another's key to seal to, a later end, another text: each under the signature that was recorded.
    let mallory = hospital.researcher("mallory", "cohort");
    let other_key = SignedSearch {
        reply_key: hospital.signed(&mallory, &search()).reply_key,
        ..recorded.clone()
    };
    let later = SignedSearch {
        expires_at_ms: recorded.expires_at_ms + 60_000,
        ..recorded.clone()
    };
    let other = Search::new(asked("gout", handles(3, Ranking::Both))).unwrap();
    let other_text = SignedSearch {
        text: other.text().as_bytes().to_vec(),
        ..recorded.clone()
    };
    let other_signer = SignedSearch {
        certificate: mallory.credentials.certificate().to_vec(),
        ..recorded.clone()
    };
    for forged in [other_key, later, other_text, other_signer] {
        assert_eq!(refusal(&hospital, &forged), RefusalCode::BadSignature);
    }
    hospital.later(61_000);
    assert_eq!(refusal(&hospital, &recorded), RefusalCode::BadRequest);
}

#[test]
fn a_search_that_would_be_good_for_ever_is_none() {
    let notes: Vec<_> = all().into_iter().take(60).collect();
    let hospital = Hospital::of(&notes, &Declared::default());
    let ada = hospital.researcher("ada", "cohort");
    let far = hospital.now().plus_ms(60 * 60 * 1000);
    let signed = crate::hospital::signed(&ada.credentials, &search(), far);
    assert_eq!(refusal(&hospital, &signed), RefusalCode::BadRequest);
}

#[test]
fn whole_passages_of_redacted_notes_never_leave_whatever_a_permit_says() {
    let notes: Vec<_> = all().into_iter().take(60).collect();
    let declared = Declared {
        policy: generous().replace("\"search-l2\"", "\"search-l4\", \"search-l2\""),
        ..Declared::default()
    };
    let hospital = Hospital::of(&notes, &declared);
    let ada = hospital.researcher("ada", "cohort");
    let wanted = Wanted::Passages {
        hits: 3,
        ranking: Ranking::Both,
    };
    let search = Search::new(asked("gout", wanted)).unwrap();
    let signed = hospital.signed(&ada, &search);
    assert_eq!(refusal(&hospital, &signed), RefusalCode::NotPermitted);
}

#[test]
fn no_policy_lets_snippets_out_to_just_anyone() {
    let anyone = generous().replace("projects = [\"cohort\", \"others\"]", "projects = [\"*\"]");
    let error = Bundle::parse("policy.toml", anyone.as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("name the projects that were approved"),
        "{error}"
    );
    assert!(Bundle::parse("policy.toml", generous().as_bytes()).is_ok());
}
