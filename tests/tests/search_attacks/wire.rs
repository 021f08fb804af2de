//! Over the network: what the coordinator carries, and when answers come.

use consilium_link::{
    CloseCode, Connection, Credentials, Dialer, LinkLimits, ReplyKey, wall_clock,
};
use consilium_protocol::message::{
    Disclosed, Found, Request, Response, SealedAnswer, SearchResult, SignedSearch,
};
use consilium_protocol::search::{Ranking, Search, SearchDocument};
use consilium_protocol::{RefusalCode, wire};
use tokio::time::Instant;

use crate::figures::{kolmogorov_smirnov, tell};
use crate::hospital::{asked, generous, handles, snippets, those};
use crate::notes::{MAPPING, Note, all};
use crate::process::{eventually, runtime, types};
use crate::world::{Consortium, Person, Site};

/// Answers of each kind that are timed. A project may ask sixty in a minute, so each kind has a project.
const TIMED: usize = 50;

const PROJECTS: [&str; 4] = ["cohort", "full", "empty", "few"];

/// A site with these notes, running.
fn hospital(consortium: &Consortium, name: &str, notes: &[Note]) -> Site {
    let mut site = consortium.site(name);
    let projects = format!("projects = {PROJECTS:?}");
    site.writes_policy(&generous().replace("projects = [\"cohort\", \"others\"]", &projects));
    let lines: String = notes
        .iter()
        .map(|note| serde_json::to_string(note).unwrap() + "\n")
        .collect();
    std::fs::write(site.path("data/notes.jsonl"), lines).unwrap();
    std::fs::write(site.path("data/notes.mapping.toml"), MAPPING).unwrap();
    let config = std::fs::read_to_string(site.path("node.toml")).unwrap();
    let declared = "\n[[collection]]\nname = \"notes\"\nsource = \"data/notes.jsonl\"\n\
                    mapping = \"data/notes.mapping.toml\"\n";
    std::fs::write(site.path("node.toml"), config + declared).unwrap();
    let folder = site.node.folder().to_str().unwrap();
    types("node", ["--format", "json", "ingest", "--folder", folder]).data();
    site.node.start();
    consortium.knows_as_connected(&[name]);
    site
}

/// A researcher's connection, with nothing between her and what arrives.
struct Desk {
    credentials: Credentials,
    connection: Connection,
}

impl Desk {
    async fn of(person: &Person, consortium: &Consortium) -> Self {
        let credentials = Credentials::load(&person.home).unwrap();
        let dialer = Dialer::member(credentials.clone(), LinkLimits::default());
        let connection = dialer.dial(&consortium.address()).await.unwrap();
        Self {
            credentials,
            connection,
        }
    }

    fn signs(&self, search: &Search) -> (SignedSearch, ReplyKey) {
        let key = ReplyKey::generate().unwrap();
        let text = search.text().as_bytes().to_vec();
        let expires_at_ms = wall_clock().plus_ms(60_000).0;
        let signed = SignedSearch {
            signature: self
                .credentials
                .sign_search(&text, &key.public(), expires_at_ms)
                .unwrap(),
            certificate: self.credentials.certificate().to_vec(),
            reply_key: key.public(),
            expires_at_ms,
            text,
        };
        (signed, key)
    }

    async fn sends(&self, search: SignedSearch) -> Response {
        let mut stream = self.connection.open_request().await.unwrap();
        let request = Request::Search {
            search,
            timeout_ms: 30_000,
        };
        stream.send(&wire::Request::from(request)).await.unwrap();
        stream.finish().unwrap();
        let answer: wire::Response = stream.receive().await.unwrap();
        Response::try_from(answer).unwrap()
    }

    /// What the coordinator had in its hands, and what the asker finds in it.
    async fn asks(&self, document: SearchDocument) -> (SearchResult, SealedAnswer, Disclosed) {
        let search = Search::new(document).unwrap();
        let (signed, key) = self.signs(&search);
        let result = match self.sends(signed).await {
            Response::SearchResult(result) => result,
            other => panic!("{other:?}"),
        };
        let Found::Sealed(sealed) = &result.found else {
            panic!("not sealed: {result:?}");
        };
        let [(site, sealed)] = sealed.as_slice() else {
            panic!("{result:?}");
        };
        let anchor = self.credentials.anchor();
        let opened = key
            .open(&search, site, sealed, anchor, wall_clock())
            .unwrap();
        let sealed = sealed.clone();
        (result, sealed, opened)
    }
}

fn of_project(document: SearchDocument, project: &str) -> SearchDocument {
    SearchDocument {
        project: project.parse().unwrap(),
        ..document
    }
}

/// Waits until the site has heard its witnesses and answers.
async fn answers(desk: &Desk) {
    for _ in 0..200 {
        let search = Search::new(asked("is anybody there", handles(1, Ranking::Both))).unwrap();
        let (signed, _) = desk.signs(&search);
        if let Response::SearchResult(result) = desk.sends(signed).await
            && result.refused.is_empty()
            && result.missing.is_empty()
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the site answers nothing");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_coordinator_carries_what_it_cannot_read_and_all_of_one_size() {
    let consortium = Consortium::found();
    let mut notes: Vec<Note> = all().into_iter().take(400).collect();
    for note in &mut notes {
        note.text = format!("The patient wears a heliotrope sash. {}", note.text);
    }
    let _site = hospital(&consortium, "aci", &notes);
    let ada = consortium.researcher("ada");
    runtime().block_on(async {
        let desk = Desk::of(&ada, &consortium).await;
        answers(&desk).await;
        let text = "a patient who wears a heliotrope sash";
        let mut sizes = Vec::new();
        for (wanted, shows_text) in [
            (handles(10, Ranking::Both), false),
            (snippets(10, Ranking::Both), true),
        ] {
            let found = of_project(asked(text, wanted), "cohort");
            let few = those(found.clone(), &format!("record = '{}'", notes[0].id));
            let none = those(found.clone(), "record = 'nobody'");
            let (result, sealed, opened) = desk.asks(found).await;
            assert_eq!(opened.hits.len(), 10);
            // All that the coordinator sent on, byte for byte.
            let frame = consilium_protocol::frame::encode(&wire::Response::from(
                Response::SearchResult(result),
            ))
            .unwrap();
            for hit in &opened.hits {
                assert!(!contains(&frame, &hit.handle), "a handle in the open");
                assert_eq!(shows_text, !hit.snippet.is_empty());
            }
            for word in ["heliotrope", "patient", "sash"] {
                assert!(!contains(&frame, word.as_bytes()), "{word} in the open");
            }
            if shows_text {
                let snippets: String = opened.hits.iter().map(|hit| hit.snippet.as_str()).collect();
                assert!(snippets.contains("heliotrope"), "{snippets}");
            }
            for empty in [few, none] {
                let (_, other, opened) = desk.asks(empty).await;
                assert!(opened.hits.is_empty());
                assert_eq!(other.ciphertext.len(), sealed.ciphertext.len());
                assert_eq!(other.encapsulated_key.len(), sealed.encapsulated_key.len());
                assert_eq!(other.signature.len(), sealed.signature.len());
            }
            sizes.push(sealed.ciphertext.len());
        }
        tell(&format!(
            "sealed answers of 10 hits: {} bytes at level 2, {} at level 3, whatever is in them",
            sizes[0], sizes[1]
        ));

        // What somebody else signed is no search of hers.
        let bob = consortium.researcher("bob");
        let bob = Desk::of(&bob, &consortium).await;
        let search = Search::new(asked(text, handles(10, Ranking::Both))).unwrap();
        match bob.sends(desk.signs(&search).0).await {
            Response::Refusal(refusal) => assert_eq!(refusal.code, RefusalCode::BadSignature),
            other => panic!("{other:?}"),
        }
        for desk in [desk, bob] {
            desk.connection.close_and_tell(CloseCode::Done, "").await;
        }
    });
    // Its log and journal name no text either.
    let log = consortium.coordinator.log();
    assert!(!log.contains("heliotrope"), "{log}");
    for entry in consortium.happened("query-asked") {
        assert!(!entry.to_string().contains("heliotrope"), "{entry}");
    }
    eventually("searches are journalled", || {
        (!consortium.happened("query-answered").is_empty()).then_some(())
    });
}

/// Printed, and not asserted: a machine that is busy decides it as much as the product.
#[test]
fn when_an_answer_comes_is_measured() {
    let consortium = Consortium::found();
    let notes: Vec<Note> = all().into_iter().take(400).collect();
    let _site = hospital(&consortium, "aci", &notes);
    let ada = consortium.researcher("ada");
    let questions = crate::notes::honest_questions();
    let times = runtime().block_on(async {
        let desk = Desk::of(&ada, &consortium).await;
        answers(&desk).await;
        let mut times: [Vec<f64>; 3] = Default::default();
        for (at, question) in questions.iter().take(TIMED).enumerate() {
            let full = asked(question, handles(10, Ranking::Both));
            let few = those(full.clone(), &format!("record = '{}'", notes[at].id));
            let none = those(full.clone(), &format!("record = 'nobody{at}'"));
            for (kind, (document, project)) in [(full, "full"), (none, "empty"), (few, "few")]
                .into_iter()
                .enumerate()
            {
                let begin = Instant::now();
                desk.asks(of_project(document, project)).await;
                times[kind].push(begin.elapsed().as_secs_f64() * 1000.0);
            }
        }
        desk.connection.close_and_tell(CloseCode::Done, "").await;
        times
    });
    let [full, none, few] = &times;
    let median = |of: &[f64]| {
        let mut of = of.to_vec();
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    tell(&format!(
        "median ms of level 2: found {:.1}, nobody fits {:.1}, too few fit {:.1}",
        median(full),
        median(none),
        median(few)
    ));
    for (what, one, other) in [
        ("found, nobody fits", full, none),
        ("found, too few fit", full, few),
        ("nobody fits, too few fit", none, few),
    ] {
        let (statistic, p) = kolmogorov_smirnov(one, other);
        tell(&format!(
            "times of {what:<26} KS {statistic:.3}, p {p:.3} (aim: above 0.05; n = {TIMED} each)"
        ));
    }
}
