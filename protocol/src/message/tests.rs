//! Every message reads back, has kept bytes, and is refused when it breaks a limit.

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::frame;
use crate::limits;
use crate::refusal::RefusalCode;
use crate::search::merge::At;

fn signed_run() -> SignedRun {
    SignedRun {
        text: b"name = \"r\"".to_vec(),
        certificate: vec![0x30, 1],
        signature: vec![9],
    }
}

fn ahead(round: u32) -> TensorsAhead {
    TensorsAhead {
        run_id: "r1".parse().unwrap(),
        round,
        bytes: 56,
        blake3: [7; 32],
    }
}

fn metrics() -> Metrics {
    Metrics {
        records: 104,
        loss: 0.5,
        accuracy: 0.75,
        auc: Some(0.875),
    }
}

fn summary() -> RunSummary {
    RunSummary {
        run_id: "r1".parse().unwrap(),
        name: "Heart".into(),
        project: "cardiology".parse().unwrap(),
        researcher: "ada".parse().unwrap(),
        state: RunState::Running,
        round: 3,
        rounds: 15,
        submitted_at_ms: 1,
        ended_at_ms: 0,
        cause: String::new(),
    }
}

fn event() -> RunEvent {
    RunEvent {
        number: 4,
        at_ms: 5,
        json: r#"{"kind":"round"}"#.into(),
    }
}

fn signed_query() -> SignedQuery {
    SignedQuery {
        text: b"{}".to_vec(),
        certificate: vec![0x30, 1],
        signature: vec![9],
    }
}

fn signed_search() -> SignedSearch {
    SignedSearch {
        text: b"{}".to_vec(),
        reply_key: [5; REPLY_KEY_BYTES],
        expires_at_ms: 6,
        certificate: vec![0x30, 1],
        signature: vec![9],
    }
}

fn disclosed() -> Disclosed {
    Disclosed {
        hits: vec![DisclosedHit {
            handle: [3; HANDLE_BYTES],
            bucket: BUCKETS - 1,
            snippet: "gout".into(),
        }],
        bundle: Digest([1; 32]),
    }
}

fn sealed() -> SealedAnswer {
    SealedAnswer {
        encapsulated_key: vec![1],
        ciphertext: vec![2],
        certificate: vec![0x30],
        signature: vec![9],
    }
}

fn passage() -> PassageHit {
    PassageHit {
        document: "niddk:1".into(),
        passage: 2,
        title: "What is gout?".into(),
        text: "A kind of arthritis.".into(),
        similarity: Some(0.75),
        words: None,
    }
}

fn searched(found: Found) -> SearchResult {
    SearchResult {
        search: Digest([1; 32]),
        found,
        answered: vec![AnsweredBy {
            site: "va".parse().unwrap(),
            noise: Noise::None,
            bundle: Digest([1; 32]),
        }],
        refused: vec![(
            "heart".parse().unwrap(),
            Refusal::new(RefusalCode::Expired, "why", "do"),
        )],
        missing: vec![("hungarian".parse().unwrap(), Missing::Late)],
    }
}

fn sketch_key() -> SketchKey {
    SketchKey {
        public_key: [7; 32],
        linkage: [8; LINKAGE_ID_BYTES],
        certificate: vec![0x30, 1],
        signature: vec![9],
    }
}

fn site_budget() -> SiteBudget {
    SiteBudget {
        datasets: vec![DatasetLeft {
            dataset: "heart-disease".parse().unwrap(),
            spent_epsilon: 1.5,
            budget_epsilon: 3.0,
            left_epsilon: 1.5,
            delta: 1e-6,
        }],
    }
}

fn figure(name: &str, value: Option<f64>) -> Figure {
    Figure {
        name: name.into(),
        value,
        low: -3.0,
        high: 195.5,
        suppressed_at: u32::from(value.is_none()),
    }
}

fn site_answer() -> SiteAnswer {
    SiteAnswer {
        keys: vec!["0".into(), "4".into()],
        values: vec![Some(188.0), None],
        scales: vec![1.0, 1.0],
        noise: Noise::Laplace,
        rounding: 0,
        bundle: Digest([1; 32]),
    }
}

fn cosign() -> Cosign {
    Cosign {
        checkpoint: b"note".to_vec(),
        certificate: vec![0x30, 1],
        old_size: 300,
        proof: vec![[7; 32]],
    }
}

fn every_request() -> Vec<Request> {
    let run_id: RunId = "r1".parse().unwrap();
    vec![
        Request::Enrol {
            token: "t".into(),
            certificate_request: vec![0x30],
        },
        Request::Renew {
            certificate_request: vec![0x30],
        },
        Request::Hello(Hello {
            software_version: "0.1.0".into(),
            datasets: vec!["heart-disease".parse().unwrap()],
        }),
        Request::SubmitRun {
            run: signed_run(),
            token: "t".into(),
        },
        Request::ListRuns,
        Request::ShowRun(run_id.clone()),
        Request::FollowRun {
            run_id: run_id.clone(),
            from_event: 2,
        },
        Request::StopRun(run_id.clone()),
        Request::ResumeRun(run_id.clone()),
        Request::DownloadRun(run_id.clone()),
        Request::Invite(Invite {
            role: Role::Site,
            name: "cleveland".parse().unwrap(),
            lifetime_s: 60,
        }),
        Request::Evict {
            role: Role::Site,
            name: "cleveland".parse().unwrap(),
            reason: "left".into(),
        },
        Request::ListMembers,
        Request::Review {
            run_id: run_id.clone(),
            run: signed_run(),
        },
        Request::Train(Train {
            state: ahead(3),
            from_chunk: 1,
        }),
        Request::Evaluate(ahead(16)),
        Request::EndRun {
            run_id,
            outcome: "finished".into(),
        },
        Request::Query {
            query: signed_query(),
            timeout_ms: 30_000,
        },
        Request::Answer(signed_query()),
        Request::Cosign(cosign()),
        Request::WitnessPeer {
            site: "hungarian".parse().unwrap(),
            cosign: cosign(),
        },
        Request::SketchKey(signed_query()),
        Request::AnswerMasked {
            query: signed_query(),
            keys: vec![sketch_key(), sketch_key()],
        },
        Request::ShowBudget {
            question: signed_query(),
            timeout_ms: 30_000,
        },
        Request::TellBudget(signed_query()),
        Request::Search {
            search: signed_search(),
            timeout_ms: 10_000,
        },
        Request::AnswerSearch(signed_search()),
    ]
}

fn every_response() -> Vec<Response> {
    let digest = Digest([1; 32]);
    let run_id: RunId = "r1".parse().unwrap();
    vec![
        Response::Refusal(
            Refusal::new(RefusalCode::Expired, "why", "do").by_rules(vec!["p".into()]),
        ),
        Response::Fault(Fault {
            what: "disk full".into(),
            remedy: "make room".into(),
        }),
        Response::Certificate(Certificate {
            chain: vec![vec![0x30]],
            ca: vec![0x30, 2],
        }),
        Response::Welcome {
            consortium: "heart".into(),
            software_version: "0.1.0".into(),
            witnessed: Vec::new(),
        },
        Response::Submitted {
            run_id,
            created: true,
        },
        Response::Runs(vec![summary()]),
        Response::RunDetail(RunDetail {
            summary: summary(),
            text: b"x".to_vec(),
            text_sha256: digest,
            events: vec![event()],
        }),
        Response::RunEvent(event()),
        Response::Done,
        Response::Artefact(Artefact {
            model_card_json: "{}".into(),
            bytes: 9,
            sha256: digest,
        }),
        Response::Invitation(Invitation {
            token: "t".into(),
            expires_at_ms: 8,
        }),
        Response::Members(vec![Member {
            role: Role::Researcher,
            name: "ada".parse().unwrap(),
            state: MemberState::Enrolled,
            connected: true,
            certificate_expires_at_ms: 7,
        }]),
        Response::Admitted(Admitted {
            records: 199,
            dataset_version: digest,
            bundle: digest,
        }),
        Response::Update(Update {
            tensors: ahead(3),
            records: 199,
            training_loss: Some(0.25),
            held_out: Some(metrics()),
            metrics_withheld: false,
            bundle: digest,
        }),
        Response::Evaluated(Evaluated {
            held_out: metrics(),
            bundle: digest,
        }),
        Response::QueryResult(QueryResult {
            query: digest,
            figures: vec![figure("0", Some(188.0)), figure("4", None)],
            answered: vec![AnsweredBy {
                site: "cleveland".parse().unwrap(),
                noise: Noise::Laplace,
                bundle: digest,
            }],
            refused: vec![(
                "va".parse().unwrap(),
                Refusal::new(RefusalCode::Expired, "why", "do"),
            )],
            missing: vec![("hungarian".parse().unwrap(), Missing::Late)],
        }),
        Response::SiteAnswer(site_answer()),
        Response::Welcome {
            consortium: "heart".into(),
            software_version: "0.1.0".into(),
            witnessed: b"note".to_vec(),
        },
        Response::Cosigned(Cosigned {
            cosignature: Some(Cosignature {
                line: "consilium/heart AAAA".into(),
                certificate: vec![0x30],
            }),
            last: b"note".to_vec(),
            peer: Some("hungarian".parse().unwrap()),
        }),
        Response::Cosigned(Cosigned::default()),
        Response::SketchKey(sketch_key()),
        Response::MaskedSketch(MaskedSketch {
            bits: vec![1, 128],
            flip: 0.184,
            bundle: digest,
        }),
        Response::SiteBudget(site_budget()),
        Response::BudgetsLeft(BudgetsLeft {
            answered: vec![("cleveland".parse().unwrap(), site_budget())],
            refused: vec![(
                "va".parse().unwrap(),
                Refusal::new(RefusalCode::NotPermitted, "why", "do"),
            )],
            missing: vec![("hungarian".parse().unwrap(), Missing::Late)],
        }),
        Response::SearchAnswer(SearchAnswer::Counts(site_answer())),
        Response::SearchAnswer(SearchAnswer::Disclosed(disclosed())),
        Response::SearchAnswer(SearchAnswer::Sealed(sealed())),
        Response::SearchAnswer(SearchAnswer::Passages(FoundPassages {
            hits: vec![passage()],
            encoder: "blake3:00/384".into(),
            bundle: digest,
        })),
        Response::SearchResult(searched(Found::Figures(vec![figure(
            "patients",
            Some(60.0),
        )]))),
        Response::SearchResult(searched(Found::Sealed(vec![(
            "va".parse().unwrap(),
            sealed(),
        )]))),
        Response::SearchResult(searched(Found::Passages(vec![At {
            site: "va".parse().unwrap(),
            hit: passage(),
            score: 0.5,
        }]))),
    ]
}

/// One line a message: its frame in hexadecimal. The file only ever grows.
fn golden_lines() -> String {
    let requests = every_request().into_iter().map(|request| {
        (
            format!("request {}", request.name()),
            frame::encode(&wire::Request::from(request)),
        )
    });
    let responses = every_response()
        .into_iter()
        .enumerate()
        .map(|(n, response)| {
            (
                format!("response {n}"),
                frame::encode(&wire::Response::from(response)),
            )
        });
    requests
        .chain(responses)
        .map(|(name, bytes)| {
            let hex: String = bytes.unwrap().iter().map(|b| format!("{b:02x}")).collect();
            format!("{name} {hex}\n")
        })
        .collect()
}

#[test]
fn every_message_has_the_bytes_that_were_kept() {
    assert_eq!(golden_lines(), include_str!("golden.txt"));
}

#[test]
fn every_message_reads_back() {
    for request in every_request() {
        assert_eq!(wire::Request::from(request.clone()).try_into(), Ok(request));
    }
    for response in every_response() {
        assert_eq!(
            wire::Response::from(response.clone()).try_into(),
            Ok(response)
        );
    }
}

#[test]
fn a_message_over_a_limit_or_with_an_impossible_value_goes_no_further() {
    let refused = |request: Request| {
        Request::try_from(wire::Request::from(request)).expect_err("must be refused")
    };
    let mut run = signed_run();
    run.text = vec![b' '; limits::RUN_TEXT_BYTES_MAX + 1];
    assert!(matches!(
        refused(Request::SubmitRun {
            run,
            token: "t".into()
        }),
        MessageError::TooLong { field: "text", .. }
    ));
    let mut train = ahead(1);
    train.bytes = u64::MAX;
    assert!(matches!(
        refused(Request::Train(Train {
            state: train,
            from_chunk: 0
        })),
        MessageError::TooLong { field: "bytes", .. }
    ));
    assert_eq!(
        Request::try_from(wire::Request { kind: None }),
        Err(MessageError::Unknown)
    );
    let mut update = wire::Update::from(match every_response().swap_remove(13) {
        Response::Update(update) => update,
        other => panic!("{other:?}"),
    });
    update.training_loss = Some(f64::NAN);
    assert!(Update::try_from(update.clone()).is_err());
    update.training_loss = None;
    update.update_blake3 = vec![0; 31].into();
    assert!(Update::try_from(update).is_err());
    let nobody = wire::Admitted {
        records: 0,
        dataset_version: vec![1; 32].into(),
        bundle_sha256: vec![1; 32].into(),
    };
    assert!(Admitted::try_from(nobody).is_err());
    answers_that_do_not_add_up_are_refused();
    let mut long = cosign();
    long.proof = vec![[0; 32]; limits::PROOF_HASHES_MAX + 1];
    assert!(matches!(
        refused(Request::Cosign(long)),
        MessageError::TooLong { field: "proof", .. }
    ));
    let show = wire::Request {
        kind: Some(Ask::ShowRun(wire::RunQuery {
            run_id: "../x".into(),
        })),
    };
    assert!(matches!(
        Request::try_from(show),
        Err(MessageError::Invalid { .. })
    ));
}

fn answers_that_do_not_add_up_are_refused() {
    let good = wire::SiteAnswer::from(site_answer());
    let broken: [fn(&mut wire::SiteAnswer); 8] = [
        |answer| answer.scales.truncate(1),
        |answer| answer.keys.truncate(1),
        |answer| answer.suppressed.push(2),
        |answer| answer.values[0] = f64::NAN,
        |answer| answer.scales[0] = -1.0,
        |answer| answer.noise = "white".into(),
        |answer| answer.bundle_sha256 = vec![1; 31].into(),
        |answer| {
            answer.values = vec![0.0; ANSWER_CELLS_MAX + 1];
            answer.scales = answer.values.clone();
            answer.keys.clear();
        },
    ];
    for (at, break_it) in broken.into_iter().enumerate() {
        let mut answer = good.clone();
        break_it(&mut answer);
        assert!(SiteAnswer::try_from(answer).is_err(), "{at}");
    }
    let longer = Request::Query {
        query: signed_query(),
        timeout_ms: QUERY_TIMEOUT_MS_MAX + 1,
    };
    assert!(Request::try_from(wire::Request::from(longer)).is_err());
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = frame::decode::<wire::Request>(&bytes).map(Request::try_from);
        let _ = frame::decode::<wire::Response>(&bytes).map(Response::try_from);
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_valid_message(
        which in 0_usize..19, at in any::<prop::sample::Index>(), flip in 1_u8..,
    ) {
        let mut frame = frame::encode(&wire::Request::from(every_request().swap_remove(which))).unwrap();
        let at = at.index(frame.len());
        frame[at] ^= flip;
        if let Ok(wire) = frame::decode::<wire::Request>(&frame)
            && let Ok(request) = Request::try_from(wire)
        {
            let again = wire::Request::from(request.clone());
            prop_assert_eq!(Request::try_from(again), Ok(request));
        }
    }
}

/// Writes `golden.txt` anew: run with `CONSILIUM_KEEP_GOLDEN=1` after adding a message.
#[test]
fn golden_bytes_can_be_kept() {
    if std::env::var_os("CONSILIUM_KEEP_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/message/golden.txt");
        std::fs::write(path, golden_lines()).unwrap();
    }
}
