//! One hospital's node in this process, an authority, and people whose searches are signed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consilium_link::{
    CertificateAuthority, Credentials, Identity, MemberKey, ReplyKey, wall_clock,
};
use consilium_node::collections::{IngestOptions, ingest};
use consilium_node::config::Config;
use consilium_node::gate::NotReleased;
use consilium_node::node::Node;
use consilium_node::retrieval::{self, Searched};
use consilium_protocol::message::{Disclosed, DisclosedHit, SearchAnswer, SignedSearch};
use consilium_protocol::query::{Accuracy, Filter, parse};
use consilium_protocol::search::{Ranking, Search, SearchDocument, Wanted};
use consilium_protocol::{Millis, Refusal, Role};
use consilium_search::collection::{Beginning, Gone};

use crate::notes::{MAPPING, Note};

/// Between two searches of a test: under 60 a minute and 2,000 a day.
const STEP_MS: u64 = 45_000;

const LIFETIME_MS: u64 = 400 * 86_400_000;

/// What σ = 10 patients costs.
pub(crate) const RHO: f64 = 0.005;

/// What an officer permits to the project `cohort`: all levels below whole passages. ε of a patient, and of the
/// project.
pub(crate) fn policy(patient: f64, project: f64) -> String {
    format!(
        r#"
name = "hospital"
version = 1

[dataset.notes]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
budget = {{ epsilon = 1000.0, delta = 1e-6 }}
budget-patient = {{ epsilon = {patient:.1}, delta = 1e-6 }}

[[permit]]
id = "counting"
researchers = ["*"]
projects = ["cohort", "others"]
purposes = ["HMB"]
actions = ["search"]
dataset = "notes"
until = "2099-12-31"
release = ["search-l0", "search-l1"]
budget = {{ epsilon = {project:.1}, delta = 1e-6 }}

[[permit]]
id = "finding"
researchers = ["*"]
projects = ["cohort", "others"]
purposes = ["HMB"]
actions = ["search"]
dataset = "notes"
until = "2099-12-31"
release = ["search-l2", "search-l3"]
"#
    )
}

/// No budget is in an attacker's way.
pub(crate) fn generous() -> String {
    policy(1000.0, 1000.0)
}

/// What a hospital has of its own.
pub(crate) struct Declared<'a> {
    pub(crate) policy: String,
    /// More lines of `[[collection]]`.
    pub(crate) lines: &'a str,
    /// What no snippet may show.
    pub(crate) never_leaves: &'a [&'a str],
}

impl Default for Declared<'_> {
    fn default() -> Self {
        Self {
            policy: generous(),
            lines: "",
            never_leaves: &[],
        }
    }
}

/// A hospital whose node answers.
pub(crate) struct Hospital {
    node: Option<Arc<Node>>,
    authority: CertificateAuthority,
    now_ms: AtomicU64,
    // Goes last: the node has files in it.
    folder: tempfile::TempDir,
}

/// A researcher of a project.
pub(crate) struct Person {
    pub(crate) credentials: Credentials,
    pub(crate) project: &'static str,
}

/// What a site says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Counts(Vec<f64>),
    Hits(Vec<DisclosedHit>),
    Refused(Refusal),
}

/// An answer, and whether it was paid for before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) heard: Heard,
    pub(crate) is_repeated: bool,
}

impl Answered {
    /// The hits of level 2 or 3.
    pub(crate) fn hits(self) -> Vec<DisclosedHit> {
        match self.heard {
            Heard::Hits(hits) => hits,
            other => panic!("no hits: {other:?}"),
        }
    }

    /// The first count of level 0 or 1.
    pub(crate) fn count(&self) -> f64 {
        match &self.heard {
            Heard::Counts(counts) => counts[0],
            other => panic!("no count: {other:?}"),
        }
    }
}

/// A new member's credentials.
pub(crate) fn member(authority: &CertificateAuthority, role: Role, name: &str) -> Credentials {
    let key = MemberKey::generate().unwrap();
    let request = key.certificate_request().unwrap();
    let identity = Identity {
        role,
        name: name.parse().unwrap(),
    };
    let certificate = authority
        .issue(&request, &identity, LIFETIME_MS, wall_clock())
        .unwrap();
    Credentials::new(key, &certificate, authority.anchor().clone()).unwrap()
}

impl Hospital {
    /// Enrols, takes these notes in, and opens.
    pub(crate) fn of(notes: &[Note], declared: &Declared<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let authority = CertificateAuthority::create("attacked", wall_clock()).unwrap();
        member(&authority, Role::Site, "hospital")
            .save(&root.join("identity"))
            .unwrap();
        fs::create_dir_all(root.join("policy")).unwrap();
        fs::write(root.join("policy/policy.toml"), &declared.policy).unwrap();
        let lines = notes
            .iter()
            .map(|note| serde_json::to_string(note).unwrap() + "\n");
        fs::write(root.join("notes.jsonl"), lines.collect::<String>()).unwrap();
        fs::write(root.join("mapping.toml"), MAPPING).unwrap();
        fs::write(root.join("never.txt"), declared.never_leaves.join("\n")).unwrap();
        let config = format!(
            "coordinator = \"127.0.0.1:1\"\ndevice = \"cpu\"\npolicy-folder = \"policy\"\n\n\
             [policy]\nunsigned = true\n\n[[collection]]\nname = \"notes\"\nsource = \"notes.jsonl\"\n\
             mapping = \"mapping.toml\"\nnever-leaves = \"never.txt\"\n{}\n",
            declared.lines
        );
        fs::write(root.join("node.toml"), config).unwrap();
        let config = Config::load(root).unwrap();
        let options = IngestOptions {
            collection: None,
            beginning: Beginning::Continue,
            gone: Gone::Erase,
        };
        for ingested in ingest(&config, root, &options, &mut |_, _| {}).unwrap() {
            let report = ingested.ended.unwrap();
            assert!(report.skipped.is_empty(), "{:?}", report.first_skipped);
        }
        let node = Node::open(root).unwrap();
        Self {
            node: Some(node),
            authority,
            now_ms: AtomicU64::new(wall_clock().0),
            folder,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// The process ends and starts again.
    pub(crate) fn restarts(&mut self) {
        self.node = None;
        self.node = Some(Node::open(self.folder.path()).unwrap());
    }

    pub(crate) fn researcher(&self, name: &str, project: &'static str) -> Person {
        Person {
            credentials: member(&self.authority, Role::Researcher, name),
            project,
        }
    }

    /// The test's clock.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.now_ms.load(Ordering::Relaxed))
    }

    /// Time passes.
    pub(crate) fn later(&self, ms: u64) -> Millis {
        Millis(self.now_ms.fetch_add(ms, Ordering::Relaxed) + ms)
    }

    /// A search, signed now.
    pub(crate) fn signed(&self, who: &Person, search: &Search) -> SignedSearch {
        signed(&who.credentials, search, self.now())
    }

    /// What the node says to what came in, now.
    pub(crate) fn hears(&self, signed: &SignedSearch) -> Answered {
        let refused = |refusal| Answered {
            heard: Heard::Refused(refusal),
            is_repeated: false,
        };
        let now = self.now();
        let (search, ask) = match retrieval::prove(self.node(), signed, now) {
            Ok(proven) => proven,
            Err(refusal) => return refused(refusal),
        };
        match retrieval::answer(self.node(), &search, &ask, now) {
            Ok(Searched::Nothing(Disclosed { hits, .. })) => Answered {
                heard: Heard::Hits(hits),
                is_repeated: false,
            },
            Ok(Searched::Released(released)) => {
                let is_repeated = released.is_repeated();
                let heard = match released.into_inner() {
                    SearchAnswer::Counts(counts) => {
                        Heard::Counts(counts.values.into_iter().map(Option::unwrap).collect())
                    }
                    SearchAnswer::Disclosed(disclosed) => Heard::Hits(disclosed.hits),
                    other => panic!("no answer about patients: {other:?}"),
                };
                Answered { heard, is_repeated }
            }
            Err(NotReleased::Refused(refusal)) => refused(refusal),
            Err(NotReleased::Failed(fault)) => panic!("{fault}"),
        }
    }

    /// Some time later, somebody asks.
    pub(crate) fn answers(&self, who: &Person, asked: &SearchDocument) -> Answered {
        self.later(STEP_MS);
        let search = Search::new(SearchDocument {
            project: who.project.parse().unwrap(),
            ..asked.clone()
        })
        .unwrap();
        self.hears(&self.signed(who, &search))
    }
}

/// A search, signed at `now` and good for a minute.
pub(crate) fn signed(credentials: &Credentials, search: &Search, now: Millis) -> SignedSearch {
    let key = ReplyKey::generate().unwrap();
    let text = search.text().as_bytes().to_vec();
    let expires_at_ms = now.plus_ms(60_000).0;
    SignedSearch {
        signature: credentials
            .sign_search(&text, &key.public(), expires_at_ms)
            .unwrap(),
        certificate: credentials.certificate().to_vec(),
        reply_key: key.public(),
        expires_at_ms,
        text,
    }
}

/// A search for this text.
pub(crate) fn asked(text: &str, wanted: Wanted) -> SearchDocument {
    SearchDocument {
        project: "cohort".parse().unwrap(),
        purpose: "HMB".parse().unwrap(),
        collection: "notes".parse().unwrap(),
        sites: [].into(),
        text: text.to_owned(),
        filter: None,
        wanted,
    }
}

/// With a filter, as it is typed.
pub(crate) fn those(asked: SearchDocument, filter: &str) -> SearchDocument {
    let filter: Filter = parse::filter(filter).unwrap();
    SearchDocument {
        filter: Some(filter),
        ..asked
    }
}

pub(crate) fn count(nearness: u8) -> Wanted {
    Wanted::Count {
        nearness,
        accuracy: Accuracy::Rho(RHO),
    }
}

pub(crate) fn handles(hits: u16, ranking: Ranking) -> Wanted {
    Wanted::Handles { hits, ranking }
}

pub(crate) fn snippets(hits: u16, ranking: Ranking) -> Wanted {
    Wanted::Snippets { hits, ranking }
}
