//! What a node adds to a search: a proven signature, the policy's decision, the ledger, the journal, the test of what
//! lies too close, and QUIC. Printed and never asserted:
//!
//! `TMPDIR=/dev/shm cargo bench --profile dev -p consilium-tests --bench search`
//!
//! With its files in memory a sync costs nothing, so that what is left is the node's own. Answers about patients are
//! held back to one of a few times (docs/decisions/0015-search-answers.md); neither that nor sealing is in these
//! figures.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on stops"
)]

#[path = "../tests/search_attacks/hospital.rs"]
#[expect(dead_code, reason = "the attack suite needs more of it")]
mod hospital;
#[path = "../tests/search_attacks/notes.rs"]
#[expect(dead_code, reason = "the attack suite needs more of it")]
mod notes;

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Instant;

use consilium_link::{CertificateAuthority, Connection, Dialer, LinkLimits, Listener, wall_clock};
use consilium_node::node::Node;
use consilium_node::retrieval::{self, Searched};
use consilium_protocol::message::{Request, Response, SearchAnswer, SignedSearch};
use consilium_protocol::search::{RANK_DEPTH, Ranking, Search, SearchDocument, Wanted};
use consilium_protocol::{Millis, Role, wire};
use consilium_search::redaction::Redactor;
use consilium_search::vector::{Effort, UnitVector};
use hospital::{Declared, Hospital, Person, asked, handles, member, snippets};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

const QUESTIONS: usize = 300;

/// So many come first and are not counted.
const WARMING: usize = 30;

fn main() {
    let notes = notes::all();
    let hospital = Hospital::of(&notes, &Declared::default());
    let ada = hospital.researcher("ada", "cohort");
    println!("{} notes, {QUESTIONS} questions each\n", notes.len());
    println!(
        "| | search alone, µs p50, p99 | through the node | over QUIC as well |\n|---|---:|---:|---:|"
    );
    for (name, wanted, ranking) in [
        (
            "handles, by vectors",
            handles as fn(u16, Ranking) -> Wanted,
            Ranking::Vectors,
        ),
        ("handles, by words", handles, Ranking::Words),
        ("handles, by both", handles, Ranking::Both),
        ("snippets, by both", snippets, Ranking::Both),
    ] {
        let question = |nth: usize, way: &str| {
            let complaints = notes[nth % notes.len()].complaints.join(", ");
            asked(&format!("{complaints} {way} {nth}"), wanted(10, ranking))
        };
        let alone = times(|nth| {
            let document = question(nth, "alone");
            timed(|| search_alone(hospital.node(), &document))
        });
        let through = times(|nth| {
            let (signed, now) = signed(&hospital, &ada, &question(nth, "through"));
            timed(|| drop(answered(hospital.node(), &signed, now)))
        });
        let over_quic = over_quic(&hospital, &ada, &|nth| question(nth, "over"));
        println!("| {name} | {alone} | {through} | {over_quic} |");
    }
}

/// p50 and p99 of the questions' times.
fn times(mut us: impl FnMut(usize) -> f64) -> String {
    let mut times: Vec<f64> = (0..WARMING + QUESTIONS).map(&mut us).collect();
    times.drain(..WARMING);
    summary(times)
}

fn summary(mut times: Vec<f64>) -> String {
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{:.0}, {:.0}", at(0.5), at(0.99))
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6
}

fn signed(hospital: &Hospital, who: &Person, document: &SearchDocument) -> (SignedSearch, Millis) {
    // Under 60 a minute and 2,000 a day.
    let now = hospital.later(45_000);
    (
        hospital.signed(who, &Search::new(document.clone()).unwrap()),
        now,
    )
}

/// What the node does to find hits: the question redacted and encoded, every passage by vector and by words.
fn search_alone(node: &Node, document: &SearchDocument) {
    let open = node.collection(&document.collection).unwrap().unwrap();
    let (_, ranking) = document.wanted.hits().unwrap();
    let rows = open.collection.rows_where(None).unwrap();
    let redacted = REDACTOR.redact(&document.text).text;
    if ranking != Ranking::Words {
        let vector = open.encoder.encode(&[&redacted]).unwrap().pop().unwrap();
        let vector = UnitVector::parse(&vector).unwrap();
        let found = open
            .collection
            .nearest(&vector, RANK_DEPTH, &rows, Effort::Exact);
        assert!(!found.unwrap().is_empty());
    }
    if ranking != Ranking::Vectors {
        open.collection.words(&redacted, RANK_DEPTH, &rows).unwrap();
    }
}

/// What the node's session does with a search, but for sealing and holding back.
fn answered(node: &Node, signed: &SignedSearch, now: Millis) -> SearchAnswer {
    let (search, ask) = retrieval::prove(node, signed, now).unwrap();
    match retrieval::answer(node, &search, &ask, now) {
        Ok(Searched::Released(released)) => released.into_inner(),
        Ok(Searched::Nothing(nothing)) => SearchAnswer::Disclosed(nothing),
        Err(_) => panic!("the search was refused"),
    }
}

fn over_quic(
    hospital: &Hospital,
    who: &Person,
    question: &dyn Fn(usize) -> SearchDocument,
) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let authority = CertificateAuthority::create("measured", wall_clock()).unwrap();
    let hub = member(&authority, Role::Coordinator, "hub");
    let site = member(&authority, Role::Site, "hospital");
    runtime.block_on(async {
        let here = (Ipv4Addr::LOCALHOST, 0).into();
        let mut listener = Listener::bind(here, &hub, LinkLimits::default()).unwrap();
        let address = listener.local_address().unwrap().to_string();
        let dialer = Dialer::member(site, LinkLimits::default());
        let (dialled, accepted) = tokio::join!(dialer.dial(&address), listener.accept());
        let (node_side, hub_side) = (dialled.unwrap(), accepted.unwrap());
        let mut times = Vec::new();
        for nth in 0..WARMING + QUESTIONS {
            let (signed, now) = signed(hospital, who, &question(nth));
            let began = Instant::now();
            let (heard, ()) = tokio::join!(
                ask(&hub_side, signed),
                answer(&node_side, hospital.node(), now)
            );
            assert!(matches!(heard, Response::SearchAnswer(_)));
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        times.drain(..WARMING);
        summary(times)
    })
}

async fn ask(connection: &Connection, signed: SignedSearch) -> Response {
    let stream = connection.ask(Request::AnswerSearch(signed)).await;
    let response: wire::Response = stream.unwrap().receive().await.unwrap();
    response.try_into().unwrap()
}

async fn answer(connection: &Connection, node: &Node, now: Millis) {
    let mut stream = connection.accept_request().await.unwrap();
    let request: wire::Request = stream.receive().await.unwrap();
    let Request::AnswerSearch(signed) = request.try_into().unwrap() else {
        panic!("a search was asked")
    };
    let answer = answered(node, &signed, now);
    let response = wire::Response::from(Response::SearchAnswer(answer));
    stream.send(&response).await.unwrap();
    stream.finish().unwrap();
}
