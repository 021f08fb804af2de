//! An auditor at a copy of a node's folder, with public keys.

use std::fs;

use consilium_journal::checkpoint::{
    CHECKPOINTS_FOLDER, Checkpoint, CheckpointFile, SignedCheckpoint, coordinator_key_name,
    site_key_name,
};
use consilium_journal::{Journal, Limits};
use consilium_link::{
    CertificateAuthority, Credentials, Identity, MemberKey, pem_certificate, wall_clock,
};
use consilium_protocol::Role;
use tempfile::TempDir;

use super::*;
use crate::command::execute;
use crate::output::{Streams, Terminal};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A site's folder as its operator would hand it over.
struct Node {
    folder: TempDir,
    site: Credentials,
    coordinator: Credentials,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::create("heart", wall_clock()).unwrap();
        let member = |role, name: &str| {
            let key = MemberKey::generate().unwrap();
            let request = key.certificate_request().unwrap();
            let identity = Identity::new(role, name.parse().unwrap());
            let issued = authority.issue(&request, &identity, 86_400_000, wall_clock());
            Credentials::new(key, &issued.unwrap(), authority.anchor().clone()).unwrap()
        };
        let node = Self {
            site: member(Role::Site, "va"),
            coordinator: member(Role::Coordinator, "hub"),
            folder,
        };
        let authority = pem_certificate(authority.anchor().der());
        fs::write(node.path("authority.crt"), authority).unwrap();
        node.site
            .save(&node.folder.path().join("identity"))
            .unwrap();
        node
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn journal(&self) -> Journal {
        let folder = self.folder.path().join(JOURNAL_FOLDER);
        Journal::open(&folder, Limits::default()).unwrap().0
    }

    /// A counted, a repeated, a refused and a failed ask.
    fn works(&self) -> &Self {
        let journal = self.journal();
        let ask = |project: &str, action: Value| {
            json!({
                "project": project, "researcher": { "name": "ada", "role": "researcher" }, "purpose": "HMB",
                "dataset": "heart-disease", "run-digest": DIGEST, "action": action,
            })
        };
        let count = ask(
            "cardiology",
            json!({ "kind": "statistic", "statistic": "count", "noisy": true }),
        );
        let train = ask(
            "cardiology",
            json!({ "kind": "train", "round": 1, "rounds": 3 }),
        );
        let receipt =
            json!({ "what": "answer", "frame": DIGEST, "records": 199, "metrics-withheld": false });
        let cost = serde_json::to_value(consilium_privacy::Cost::pure(0.5).unwrap()).unwrap();
        let facts = json!({ "dataset-records": 303, "parameters": 0, "cost": cost });
        for (kind, entry) in [
            (
                "bundle-installed",
                json!({ "name": "hospital", "version": 2, "digest": DIGEST, "officers": ["greta", "omar"] }),
            ),
            (
                "pass-reserved",
                json!({ "ask": count, "facts": facts, "rules": ["counts"], "bundle": DIGEST }),
            ),
            (
                "pass-released",
                json!({ "reserved": 1, "ask": count, "rules": ["counts"], "bundle": DIGEST, "receipt": receipt }),
            ),
            (
                "pass-repeated",
                json!({
                    "reserved": 1, "ask": count, "rules": ["counts"], "bundle": DIGEST, "receipt": receipt,
                    "answer": DIGEST,
                }),
            ),
            (
                "pass-refused",
                json!({
                    "ask": ask("<b>oncology", json!({ "kind": "evaluate" })).as_object().map(|ask| {
                        let mut ask = ask.clone();
                        ask.insert("project".into(), "oncology".into());
                        ask
                    }),
                    "facts": { "dataset-records": null, "parameters": 14 },
                    "refusal": { "code": "expired", "reason": "it ended <yesterday>", "remedy": "" },
                }),
            ),
            (
                "pass-reserved",
                json!({
                    "ask": train, "facts": { "dataset-records": 303, "parameters": 14 }, "rules": ["training"],
                    "bundle": DIGEST,
                }),
            ),
            (
                "pass-failed",
                json!({
                    "reserved": 5, "ask": train, "rules": ["training"], "bundle": DIGEST, "cause": "the device is gone",
                }),
            ),
        ] {
            journal
                .append_json(1_795_526_776_999, kind, &entry)
                .unwrap();
        }
        self
    }

    /// Makes a checkpoint of the journal as it stands, and has it cosigned.
    fn is_witnessed(&self) -> SignedCheckpoint {
        let checkpoint = Checkpoint {
            origin: site_key_name("heart", &"va".parse().unwrap()),
            head: self.journal().snapshot().unwrap().tree_head(),
        };
        let key = self.site.public_key().unwrap();
        let mut signed = checkpoint
            .sign(key, |text| self.site.sign_note(text))
            .unwrap();
        let coordinator = self.coordinator.public_key().unwrap();
        let name = coordinator_key_name("heart");
        let cosignature = signed.cosign(&name, coordinator, 1_795_526_777, |bytes| {
            self.coordinator.sign_note(bytes)
        });
        signed.add(cosignature.unwrap()).unwrap();
        let folder = self
            .folder
            .path()
            .join(JOURNAL_FOLDER)
            .join(CHECKPOINTS_FOLDER);
        let (mut file, _) = CheckpointFile::open(&folder).unwrap();
        file.append(&signed).unwrap();
        for (name, member) in [("a.crt", &self.site), ("b.crt", &self.coordinator)] {
            fs::write(folder.join(name), pem_certificate(member.certificate())).unwrap();
        }
        signed
    }

    /// Types a command line about this folder; what comes back for programs.
    fn types(&self, words: &[&str]) -> Value {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            out: &mut out,
            err: &mut err,
            terminal: Terminal::No,
        };
        let line = ["consilium", "--format", "json", "audit"]
            .iter()
            .chain(words);
        execute(line.map(Into::into), &mut streams);
        serde_json::from_slice(&out).unwrap()
    }

    fn verifies(&self) -> Value {
        self.types(&[
            "verify",
            self.folder.path().to_str().unwrap(),
            "--authority",
            &self.path("authority.crt"),
        ])
    }

    fn segment(&self) -> PathBuf {
        self.folder
            .path()
            .join("journal/00000000000000000000.journal")
    }
}

#[test]
fn what_was_witnessed_is_said_and_what_came_after_too() {
    let node = Node::new();
    node.works().is_witnessed();
    let found = node.verifies();
    assert_eq!(found["data"]["witnessed_entries"], 7, "{found}");
    assert_eq!(found["data"]["end_recorded"], true, "{found}");
    assert!(
        found["data"]["cosigned_by"]
            .as_array()
            .is_some_and(|names| !names.is_empty()),
        "{found}"
    );
    node.works();
    let found = node.verifies();
    assert_eq!(found["data"]["entries"], 14);
    assert_eq!(found["data"]["witnessed_entries"], 7);
    assert_eq!(found["data"]["end_recorded"], false);
}

#[test]
fn a_truncation_behind_a_checkpoint_is_found_in_the_folder_itself() {
    let node = Node::new();
    node.works().is_witnessed();
    let bytes = fs::read(node.segment()).unwrap();
    // To nothing but the header: the chain of no entries is whole.
    fs::write(node.segment(), &bytes[..56]).unwrap();
    let found = node.verifies();
    assert_eq!(found["error"]["code"], "journal-cut", "{found}");
}

#[test]
fn a_truncation_with_its_checkpoints_is_found_by_a_kept_one() {
    let node = Node::new();
    let kept = node.works().is_witnessed();
    fs::write(node.path("kept.txt"), kept.to_string()).unwrap();
    let bytes = fs::read(node.segment()).unwrap();
    fs::write(node.segment(), &bytes[..56]).unwrap();
    fs::remove_dir_all(node.path("journal/checkpoints")).unwrap();
    let folder = node.folder.path().to_str().unwrap();
    assert_eq!(node.types(&["verify", folder])["status"], "ok");
    let kept = node.path("kept.txt");
    let found = node.types(&["verify", folder, "--checkpoint", &kept]);
    assert_eq!(found["error"]["code"], "journal-cut", "{found}");
}

#[test]
fn whoever_requires_a_witness_is_told_where_there_is_none() {
    let node = Node::new();
    node.works();
    let folder = node.folder.path().to_str().unwrap();
    let authority = node.path("authority.crt");
    let required = [
        "verify",
        folder,
        "--require-witness",
        "--authority",
        &authority,
    ];
    assert_eq!(node.verifies()["status"], "ok");
    let found = node.types(&required);
    assert_eq!(found["error"]["code"], "not-witnessed", "{found}");
    assert_eq!(found["exit_code"], 1);
    node.is_witnessed();
    assert_eq!(node.types(&required)["status"], "ok");
    // A checkpoint whose signers nobody knows is none.
    fs::remove_dir_all(node.path("identity")).unwrap();
    for name in ["a.crt", "b.crt"] {
        fs::remove_file(node.path(&format!("journal/checkpoints/{name}"))).unwrap();
    }
    let found = node.types(&["verify", folder, "--require-witness"]);
    assert_eq!(found["error"]["code"], "not-witnessed", "{found}");
    assert!(
        found["error"]["message"]
            .as_str()
            .unwrap()
            .contains("(1 are signed by"),
        "{found}"
    );
}

#[test]
fn a_forged_checkpoint_is_not_believed() {
    let node = Node::new();
    node.works().is_witnessed();
    let file = node.path("forged.txt");
    let forged = node
        .is_witnessed()
        .to_string()
        .replacen("\n7\n", "\n6\n", 1);
    fs::write(&file, forged).unwrap();
    let folder = node.folder.path().to_str().unwrap();
    let found = node.types(&["verify", folder, "--checkpoint", &file]);
    assert_eq!(found["error"]["code"], "bad-checkpoint", "{found}");
    assert!(
        found["error"]["message"]
            .as_str()
            .unwrap()
            .contains("forged.txt")
    );
}

#[test]
fn an_entry_is_proved_to_somebody_with_the_authority_alone() {
    let node = Node::new();
    node.works().is_witnessed();
    let (folder, proof) = (node.folder.path().to_str().unwrap(), node.path("p.json"));
    let made = node.types(&["prove", folder, "2", "--to", &proof]);
    assert_eq!(made["status"], "ok", "{made}");
    let authority = node.path("authority.crt");
    let checked = node.types(&["prove", "--check", &proof, "--authority", &authority]);
    assert_eq!(checked["data"]["witnesses"][0]["name"], "consilium/heart");
    let stranger = Node::new();
    let theirs = stranger.path("authority.crt");
    let foreign = node.types(&["prove", "--check", &proof, "--authority", &theirs]);
    assert_eq!(
        foreign["error"]["code"], "checkpoint-not-signed",
        "{foreign}"
    );
    assert_eq!(
        checked["data"]["entry"]["kind"], "pass-released",
        "{checked}"
    );
    let without = node.types(&["prove", "--check", &proof]);
    assert_eq!(without["error"]["code"], "no-key");
    let late = node.types(&["prove", folder, "99"]);
    assert_eq!(late["error"]["code"], "not-proved");
}

#[test]
fn the_report_says_what_left_what_it_cost_and_what_was_refused() {
    let node = Node::new();
    node.works().is_witnessed();
    let (page, csv) = (node.path("r.html"), node.path("r.csv"));
    let folder = node.folder.path().to_str().unwrap();
    let made = node.types(&["report", folder, "--to", &page, "--csv", &csv]);
    assert_eq!(made["data"]["outcomes"]["released"], 1, "{made}");
    let page = fs::read_to_string(page).unwrap();
    for said in [
        "cosigned by consilium/heart",
        "count (noisy)",
        "it ended &lt;yesterday&gt;",
        "greta, omar",
        "<svg",
        "ε spent",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("<yesterday>") && !page.contains("<script") && !page.contains("http:"));
    let csv = fs::read_to_string(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(
        lines[1]
            .starts_with("left,cardiology,HMB,heart-disease,ada,count (noisy),e3b0c44298fc,,2,")
    );
    assert!(lines[1].contains(",0.5"), "{csv}");
    assert!(lines[2].starts_with("refused,oncology,HMB,heart-disease,ada,evaluation,,expired,1,"));
}

#[test]
fn the_exports_hold_each_pass_and_each_activity() {
    let node = Node::new();
    node.works().is_witnessed();
    let (events, record) = (node.path("a.ndjson"), node.path("r.md"));
    let folder = node.folder.path().to_str().unwrap();
    let made = node.types(&["export", folder, "--fhir", &events, "--article-30", &record]);
    assert_eq!(made["data"]["events"], 4, "{made}");
    let events: Vec<Value> = fs::read_to_string(events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcomes: Vec<&str> = events
        .iter()
        .map(|event| event["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["0", "0", "4", "8"]);
    for event in &events {
        assert_eq!(event["resourceType"], "AuditEvent");
        assert_eq!(event["source"]["site"], "va");
        assert_eq!(event["recorded"], "2026-11-24T13:26:16.999Z");
    }
    balp_query(&events[0]);
    assert!(events[2].get("meta").is_none());
    let record = fs::read_to_string(record).unwrap();
    for said in [
        "Project `cardiology`",
        "DUO `HMB`",
        "Recipients (d): ada",
        "ε = 0.5",
    ] {
        assert!(record.contains(said), "{said}: {record}");
    }
}

/// What IHE's profile "Query" (BALP 1.1) demands, as far as one event can be held against it.
fn balp_query(event: &Value) {
    assert!(
        event["meta"]["profile"][0]
            .as_str()
            .unwrap()
            .ends_with("IHE.BasicAudit.Query")
    );
    assert_eq!(event["type"]["code"], "rest");
    assert_eq!(event["subtype"][0]["code"], "search");
    assert_eq!(
        (&event["action"], &event["outcome"]),
        (&json!("E"), &json!("0"))
    );
    let agents = event["agent"].as_array().unwrap();
    let of = |code: &str| {
        let agent = |agent: &&Value| agent["type"]["coding"][0]["code"] == code;
        let found: Vec<&Value> = agents.iter().filter(agent).collect();
        assert_eq!(found.len(), 1, "{code}");
        found[0].clone()
    };
    for machine in ["110153", "110152"] {
        assert!(of(machine)["who"].is_object() && of(machine)["network"].is_object());
    }
    let user = of("IRCP");
    assert_eq!(user["requestor"], true);
    assert!(user["who"].is_object() && user.get("network").is_none());
    let entities = event["entity"].as_array().unwrap();
    let queries: Vec<&Value> = entities
        .iter()
        .filter(|e| e["type"]["code"] == "2")
        .collect();
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0]["role"]["code"], "24");
    assert!(queries[0]["query"].is_string() && queries[0].get("detail").is_none());
    assert!(queries[0].get("what").is_none());
}
