mod consortium;

use consilium_protocol::model::to_le_bytes;
use consilium_protocol::strategy::Weighting;
use proptest::prelude::*;

use super::*;
use consortium::{Consortium, DEADLINE_MS, HOSPITALS, LONG, change, mean_of, site, terms};

#[test]
fn a_round_closes_when_every_site_has_answered() {
    let mut consortium = Consortium::asked(3, 2);
    consortium.answers("va", &[4.0, 0.0]);
    consortium.answers("hungarian", &[0.0, 4.0]);
    assert!(consortium.closed.is_none());
    consortium.now = Millis(5_300);
    consortium.answers("cleveland", &[1.0, -1.0]);
    let closed = consortium.closed.as_ref().unwrap();
    assert_eq!((closed.duration_ms, closed.restarts), (300, 0));
    assert!(closed.missing.is_empty());
    assert_eq!(closed.accepted[&site("va")].records, 100);
    assert_eq!(closed.accepted[&site("va")].training_loss, Some(0.5));
    assert_eq!(consortium.means(), [1.5, 0.5]);
}

#[test]
fn equal_weighting_counts_sites_and_not_records() {
    let equal = RoundTerms {
        weighting: Weighting::Equal,
        ..terms(&HOSPITALS[..2], 2, 1)
    };
    let mut consortium = Consortium::absent(equal);
    consortium.connects("cleveland");
    consortium.connects("hungarian");
    consortium.answers("cleveland", &[1.0]);
    consortium.answers("hungarian", &[2.0]);
    assert_eq!(consortium.means(), [1.5]);
}

#[test]
fn nobody_is_waited_for_beyond_the_deadline() {
    let mut consortium = Consortium::absent(terms(&HOSPITALS, 1, 1));
    consortium.connects("cleveland");
    consortium.connects("va");
    consortium.answers("cleveland", &[1.0]);
    consortium.deadline_passes();
    assert_eq!(consortium.accepted(), ["cleveland"]);
    assert_eq!(consortium.cause("hungarian"), &MissingCause::NotConnected);
    assert_eq!(consortium.cause("va"), &MissingCause::Late);
    assert_eq!(
        consortium.dropped[&site("va")].code,
        RefusalCode::WrongRound
    );
    assert_eq!(consortium.means(), [1.0]);
}

#[test]
fn an_answer_that_comes_with_the_deadline_is_late() {
    let mut consortium = Consortium::asked(2, 1);
    consortium.answers("cleveland", &[1.0]);
    consortium.answers("hungarian", &[1.0]);
    consortium.now = Millis(5_000 + DEADLINE_MS);
    consortium.answers("va", &[1.0]);
    assert_eq!(consortium.cause("va"), &MissingCause::Late);
}

#[test]
fn a_round_below_its_quorum_fails_and_says_who_is_missing() {
    let mut consortium = Consortium::asked(2, 1);
    consortium.answers("cleveland", &[1.0]);
    consortium.is_lost("va");
    consortium.deadline_passes();
    let failure = consortium.failed.as_ref().unwrap().to_string();
    assert_eq!(
        failure,
        "round 7 needs 2 of 3 sites and can have 1; missing: `hungarian` (late), `va` (not connected)"
    );
    assert!(consortium.round.into_sum().is_none());
}

#[test]
fn a_round_fails_at_once_when_its_quorum_is_out_of_reach() {
    let mut consortium = Consortium::asked(3, 1);
    consortium.refuses("va");
    let failure = consortium.failed.as_ref().unwrap().to_string();
    assert!(failure.contains("`va` (refused: expired"), "{failure}");
    assert!(consortium.round.into_sum().is_none());
}

#[test]
fn a_refusal_is_a_cause_and_the_others_go_on() {
    let mut consortium = Consortium::asked(2, 1);
    consortium.answers("cleveland", &[1.0]);
    consortium.refuses("hungarian");
    consortium.answers("va", &[4.0]);
    assert!(
        matches!(consortium.cause("hungarian"), MissingCause::Refused { refusal }
        if refusal.code == RefusalCode::Expired)
    );
    assert_eq!(consortium.means(), [2.0]);
}

#[test]
fn a_stopped_round_gives_nothing() {
    let mut consortium = Consortium::asked(1, 1);
    consortium.answers("cleveland", &[1.0]);
    consortium.hears(RoundIn::Stop);
    assert_eq!(consortium.failed, Some(RoundFailure::Stopped { round: 7 }));
    consortium.answers("va", &[1.0]);
    assert!(consortium.closed.is_none());
    assert!(consortium.round.into_sum().is_none());
}

#[test]
fn a_site_lost_before_it_sent_anything_is_asked_again() {
    let mut consortium = Consortium::asked(3, 1);
    let before = consortium.asks[&site("va")];
    consortium.is_lost("va");
    consortium.connects("va");
    assert_ne!(consortium.asks[&site("va")], before);
    for (name, _) in HOSPITALS {
        consortium.answers(name, &[1.0]);
    }
    assert_eq!(consortium.accepted().len(), 3);
}

#[test]
fn what_comes_on_the_stream_of_a_void_ask_is_ignored() {
    let mut consortium = Consortium::asked(3, 1);
    let void = consortium.asks[&site("va")];
    consortium.connects("va");
    let valid = consortium.asks.insert(site("va"), void).unwrap();
    consortium.answers("va", &[9.0]);
    consortium.refuses("va");
    consortium.fails("va");
    consortium.asks.insert(site("va"), valid);
    for (name, _) in HOSPITALS {
        consortium.answers(name, &[1.0]);
    }
    assert!(consortium.dropped.is_empty() && consortium.declined.is_empty());
    assert_eq!(consortium.means(), [1.0]);
}

#[test]
fn an_interrupted_upload_goes_on_where_it_stopped() {
    let changes: Vec<_> = (0..3).map(|seed| change(seed, LONG)).collect();
    let mut consortium = Consortium::asked(3, LONG);
    consortium.answers("va", &changes[2]);
    consortium.sends("cleveland", &changes[0], 0, 2);
    consortium.is_lost("cleveland");
    consortium.answers("hungarian", &changes[1]);
    assert!(consortium.closed.is_none());
    consortium.connects("cleveland");
    assert_eq!(consortium.asks[&site("cleveland")].1, 2);
    consortium.answers("cleveland", &changes[0]);
    assert_eq!(consortium.closed.as_ref().unwrap().restarts, 0);
    assert!(consortium.notes.contains(&RoundNote::Resumed {
        site: site("cleveland"),
        from_chunk: 2
    }));
    let names = HOSPITALS.map(|(name, _)| name);
    let wanted: Vec<_> = names.into_iter().zip(changes).collect();
    assert!(consortium.means() == mean_of(3, LONG, &wanted));
}

#[test]
fn half_an_update_never_counts() {
    let changes: Vec<_> = (0..3).map(|seed| change(seed, LONG)).collect();
    let wanted = mean_of(
        2,
        LONG,
        &[
            ("hungarian", changes[1].clone()),
            ("va", changes[2].clone()),
        ],
    );
    type Spoil = fn(&mut Consortium);
    let spoil: [(&str, Spoil); 5] = [
        ("it never comes back", |c| {
            c.is_lost("cleveland");
            c.deadline_passes();
        }),
        ("it comes back with another update", |c| {
            c.is_lost("cleveland");
            c.connects("cleveland");
            c.answers("cleveland", &change(9, LONG));
        }),
        ("it refuses half-way", |c| c.refuses("cleveland")),
        ("its next chunk is no number", |c| {
            let mut bytes = to_le_bytes(&change(0, LONG));
            bytes[(1 << 20) + 4..(1 << 20) + 8].copy_from_slice(&f32::NAN.to_le_bytes());
            c.sends_chunk("cleveland", &bytes, 1);
        }),
        ("its end is not what its head said", |c| {
            let bytes = to_le_bytes(&change(0, LONG));
            c.sends_chunk("cleveland", &bytes, 1);
            c.sends_chunk("cleveland", &to_le_bytes(&change(1, LONG)), 2);
        }),
    ];
    for (what, spoil) in spoil {
        let mut consortium = Consortium::asked(2, LONG);
        consortium.answers("va", &changes[2]);
        consortium.sends("cleveland", &changes[0], 0, 1);
        consortium.answers("hungarian", &changes[1]);
        spoil(&mut consortium);
        assert!(
            consortium
                .notes
                .contains(&RoundNote::Restarted { restarts: 1 }),
            "{what}"
        );
        assert_eq!(consortium.asks[&site("va")].1, 0, "{what}");
        consortium.answers("hungarian", &changes[1]);
        consortium.answers("va", &changes[2]);
        let closed = consortium.closed.as_ref().expect(what);
        assert_eq!(closed.restarts, 1, "{what}");
        assert!(closed.missing.contains_key(&site("cleveland")), "{what}");
        assert!(consortium.means() == wanted, "{what}");
    }
}

#[test]
fn a_restart_asks_those_who_are_there_and_extends_the_deadline_once() {
    let mut consortium = Consortium::asked(1, LONG);
    consortium.answers("va", &change(2, LONG));
    consortium.is_lost("va");
    consortium.sends("cleveland", &change(0, LONG), 0, 1);
    let ask_of_va = consortium.asks[&site("va")];
    consortium.refuses("cleveland");
    assert_eq!(consortium.asks[&site("va")], ask_of_va);
    assert_eq!(
        consortium.round.wake_at(),
        Some(Millis(5_000 + 2 * DEADLINE_MS))
    );
    consortium.answers("hungarian", &change(1, LONG));
    consortium.connects("va");
    assert_ne!(consortium.asks[&site("va")], ask_of_va);
    consortium.answers("va", &change(2, LONG));
    assert_eq!(consortium.accepted(), ["hungarian", "va"]);
}

#[test]
fn a_restart_begins_every_upload_anew() {
    let mut consortium = Consortium::asked(2, LONG);
    consortium.sends("va", &change(2, LONG), 0, 2);
    consortium.sends("cleveland", &change(0, LONG), 0, 1);
    consortium.is_lost("hungarian");
    let void = consortium.asks[&site("va")];
    consortium.refuses("cleveland");
    let (valid, from_chunk) = consortium.asks.insert(site("va"), void).unwrap();
    assert_eq!(from_chunk, 0);
    // The last chunk of the void stream was under way.
    consortium.sends_chunk("va", &to_le_bytes(&change(2, LONG)), 2);
    consortium.asks.insert(site("va"), (valid, 0));
    consortium.connects("hungarian");
    consortium.answers("hungarian", &change(1, LONG));
    consortium.answers("va", &change(2, LONG));
    assert!(consortium.dropped.is_empty());
    let wanted = [("hungarian", change(1, LONG)), ("va", change(2, LONG))];
    assert!(consortium.means() == mean_of(2, LONG, &wanted));
}

#[test]
fn no_restart_where_the_rest_is_below_the_quorum() {
    let mut consortium = Consortium::asked(3, LONG);
    consortium.sends("cleveland", &change(0, LONG), 0, 1);
    consortium.refuses("cleveland");
    assert!(consortium.failed.is_some());
    assert!(
        consortium
            .notes
            .iter()
            .all(|note| !matches!(note, RoundNote::Restarted { .. }))
    );
}

#[test]
fn a_bad_update_is_refused_by_name_and_the_others_go_on() {
    fn with(change: fn(&mut Update)) -> impl Fn(&mut Consortium) {
        move |consortium| {
            let mut update = consortium.update("va", &to_le_bytes(&[1.0, 1.0]));
            change(&mut update);
            consortium.sends_header("va", update);
        }
    }
    fn values(values: [f32; 2]) -> impl Fn(&mut Consortium) {
        move |consortium| consortium.answers("va", &values)
    }
    fn chunk(index: u64, bytes: &'static [u8]) -> impl Fn(&mut Consortium) {
        move |consortium| {
            consortium.sends("va", &[1.0, 1.0], 0, 0);
            let (site, (ask, _)) = (site("va"), consortium.asks[&site("va")]);
            let bytes = Bytes::from_static(bytes);
            consortium.hears(RoundIn::Chunk {
                site,
                ask,
                index,
                bytes,
            });
        }
    }
    type Misdeed = Box<dyn Fn(&mut Consortium)>;
    let misdeeds: [(Misdeed, &str); 13] = [
        (Box::new(values([1.0, f32::NAN])), "value 1 is infinite"),
        (
            Box::new(values([f32::NEG_INFINITY, 0.0])),
            "value 0 is infinite",
        ),
        (Box::new(values([0.0, 2047.5])), "beyond ±2047"),
        (Box::new(with(|u| u.records = 99)), "weighs 99 records"),
        (
            Box::new(with(|u| u.tensors.bytes = 12)),
            "12 bytes long; this run's are 8",
        ),
        (
            Box::new(with(|u| u.tensors.round = 6)),
            "an update of round 6",
        ),
        (
            Box::new(with(|u| u.tensors.run_id = "lung-2".parse().unwrap())),
            "of run `lung-2` came",
        ),
        (Box::new(with(|_| {})), "head of the update came twice"),
        (
            Box::new(chunk(1, &[0; 8])),
            "chunk 1 came where chunk 0 was due",
        ),
        (Box::new(chunk(0, &[0; 4])), "4 bytes long, not 8"),
        (Box::new(chunk(0, &[0; 16])), "16 bytes long, not 8"),
        (Box::new(chunk(0, &[7; 8])), "not the one whose hash"),
        (
            Box::new(|c| c.sends_chunk("va", &[0; 8], 0)),
            "before the head of its update",
        ),
    ];
    for (misdeed, says) in misdeeds {
        let mut consortium = Consortium::asked(2, 2);
        consortium.answers("cleveland", &[1.0, 0.0]);
        misdeed(&mut consortium);
        if says.contains("twice") {
            misdeed(&mut consortium);
        }
        let refusal = &consortium.dropped[&site("va")];
        assert!(refusal.reason.contains(says), "{says}: {refusal}");
        consortium.answers("hungarian", &[4.0, 3.0]);
        assert!(
            matches!(consortium.cause("va"), MissingCause::BadUpdate { .. }),
            "{says}"
        );
        assert_eq!(consortium.closed.as_ref().unwrap().restarts, 0, "{says}");
        let wanted = [("cleveland", vec![1.0, 0.0]), ("hungarian", vec![4.0, 3.0])];
        assert_eq!(consortium.means(), mean_of(2, 2, &wanted), "{says}");
    }
}

#[test]
fn an_update_sent_twice_counts_once() {
    let mut consortium = Consortium::asked(3, 1);
    consortium.answers("va", &[4.0]);
    consortium.answers("va", &[4.0]);
    assert_eq!(consortium.declined.len(), 2);
    assert!(consortium.declined[0].1.reason.contains("sent twice"));
    consortium.answers("cleveland", &[0.0]);
    consortium.answers("hungarian", &[0.0]);
    assert_eq!(consortium.means(), [1.0]);
}

#[test]
fn a_repeated_chunk_is_refused() {
    let mut consortium = Consortium::asked(2, LONG);
    consortium.sends("va", &change(0, LONG), 0, 1);
    consortium.sends_chunk("va", &to_le_bytes(&change(0, LONG)), 0);
    assert!(
        consortium.dropped[&site("va")]
            .reason
            .contains("chunk 0 came where chunk 1")
    );
}

#[test]
fn a_site_that_does_not_take_part_is_declined() {
    let mut consortium = Consortium::asked(3, 1);
    let stranger = site("switzerland");
    consortium.hears(RoundIn::Connected(stranger.clone()));
    consortium.hears(RoundIn::Lost(stranger.clone()));
    assert!(!consortium.asks.contains_key(&stranger));
    let update = consortium.update("va", &to_le_bytes(&[1.0]));
    let ask = AskNumber(1);
    consortium.hears(RoundIn::Header {
        site: stranger.clone(),
        ask,
        update,
    });
    let bytes = Bytes::from_static(&[0; 4]);
    consortium.hears(RoundIn::Chunk {
        site: stranger,
        ask,
        index: 0,
        bytes,
    });
    assert_eq!(consortium.declined.len(), 2);
    assert_eq!(consortium.declined[0].1.code, RefusalCode::NotNamed);
}

#[test]
fn a_fault_is_tried_again_and_the_third_is_the_last() {
    let mut consortium = Consortium::asked(2, 1);
    consortium.fails("va");
    consortium.fails("va");
    assert!(consortium.notes.is_empty());
    consortium.fails("va");
    consortium.fails("va");
    consortium.answers("cleveland", &[1.0]);
    consortium.answers("hungarian", &[1.0]);
    assert!(
        matches!(consortium.cause("va"), MissingCause::Failed { what, .. }
        if what == "the GPU is gone")
    );
}

#[test]
fn a_connection_that_comes_and_goes_is_given_up() {
    let mut consortium = Consortium::asked(2, 1);
    for _ in 0..ASKS_PER_ROUND_MAX {
        consortium.connects("va");
    }
    consortium.answers("cleveland", &[1.0]);
    consortium.answers("hungarian", &[1.0]);
    assert_eq!(consortium.cause("va"), &MissingCause::Unsteady);
}

#[test]
fn impossible_terms_are_refused() {
    let check = |terms: RoundTerms| terms.check().unwrap_err();
    assert!(matches!(
        check(terms(&HOSPITALS, 4, 1)),
        TermsError::QuorumOutOfReach {
            quorum: 4,
            admitted: 3,
            ..
        }
    ));
    assert!(matches!(
        check(terms(&[], 0, 1)),
        TermsError::QuorumOutOfReach { .. }
    ));
    assert!(matches!(
        check(terms(&[("va", 0)], 1, 1)),
        TermsError::NoRecords { .. }
    ));
    assert!(matches!(
        check(terms(&[("va", u64::MAX)], 1, 1)),
        TermsError::TooManyRecords { .. }
    ));
}

#[test]
fn memory_is_one_and_a_half_models_whatever_the_number_of_sites() {
    let many: Vec<(String, u64)> = (0..128).map(|i| (format!("site-{i}"), 10 + i)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    for hospitals in [&many[..4], &many] {
        let round = Round::begin(Millis(0), terms(hospitals, 1, 1000), Accumulator::zeros(0));
        assert_eq!(round.sum.bytes(), 6000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Chunks of three sites in any interleaving, with connections lost in between.
    #[test]
    fn the_result_does_not_depend_on_the_order(
        moves in proptest::collection::vec((0..3_usize, 0..5_u8), 0..30),
    ) {
        let names = HOSPITALS.map(|(name, _)| name);
        let changes: Vec<_> = (0..3).map(|seed| change(seed, LONG)).collect();
        let bytes: Vec<_> = changes.iter().map(|values| to_le_bytes(values)).collect();
        let mut consortium = Consortium::asked(3, LONG);
        let mut due: [Option<u64>; 3] = [None; 3];
        let rest = (0..3).flat_map(|who| [(who, 4); 4]);
        for (who, what) in moves.into_iter().chain(rest) {
            let name = names[who];
            if due[who] == Some(3) {
                continue;
            }
            match (what, due[who]) {
                (0, _) => {
                    consortium.is_lost(name);
                    consortium.connects(name);
                    due[who] = None;
                }
                (_, None) => {
                    let update = consortium.update(name, &bytes[who]);
                    consortium.sends_header(name, update);
                    due[who] = Some(consortium.asks[&site(name)].1);
                }
                (_, Some(index)) => {
                    consortium.sends_chunk(name, &bytes[who], index);
                    due[who] = Some(index + 1);
                }
            }
        }
        prop_assert_eq!(consortium.closed.as_ref().unwrap().restarts, 0);
        let in_order: Vec<_> = names.into_iter().zip(changes).collect();
        prop_assert!(consortium.means() == mean_of(3, LONG, &in_order));
    }
}
