//! What others remember of a site's journal: a node that was set back answers nothing, and an auditor sees why.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use consilium_journal::{Journal, Limits};
use serde_json::Value;

use crate::process::{Typed, eventually, types};
use crate::world::{Consortium, Person, RunFile, Site};

/// A site whose journal is shown to its witnesses at every entry.
fn watched_site(consortium: &Consortium, name: &str) -> Site {
    let mut site = consortium.site(name);
    let config = site.path("node.toml");
    let text = fs::read_to_string(&config).unwrap();
    let pace = "[checkpoint]\nevery-s = 1\nevery-entries = 1\n";
    fs::write(&config, format!("{text}\n{pace}")).unwrap();
    site.node.start();
    consortium.knows_as_connected(&[name]);
    site
}

fn stops(site: &mut Site) {
    site.node.signal("-TERM");
    assert_eq!(site.node.ends(), 0, "{}", site.node.log());
}

fn copies(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Puts `kept` in the place of the node's folder.
fn restores(site: &Site, kept: &Path) {
    fs::remove_dir_all(site.node.folder()).unwrap();
    copies(kept, site.node.folder());
}

fn audits(line: &[&str]) -> Typed {
    types(
        "consilium",
        ["--format", "json", "audit"].iter().chain(line),
    )
}

/// What an auditor finds in a copy of the site's folder.
fn verifies(folder: &Path) -> Value {
    audits(&["verify", folder.to_str().unwrap()]).data()
}

/// Waits until all of the site's journal has been cosigned.
fn is_witnessed(site: &Site) -> u64 {
    eventually("the journal is witnessed to its end", || {
        let found = verifies(site.node.folder());
        let entries = found["entries"].as_u64().unwrap();
        (entries > 0 && found["witnessed_entries"].as_u64() == Some(entries)).then_some(entries)
    })
}

/// Submits a run and hears that the site refuses it, being behind its witnesses.
fn refuses_as_set_back(ada: &Person, run: &RunFile) -> String {
    let run_id = ada.submits(run);
    let why = ada.hears_why_it_failed(&run_id);
    assert!(why.contains("were witnessed"), "{why}");
    why
}

#[test]
fn a_restored_backup_answers_nothing_and_says_why() {
    let consortium = Consortium::found();
    let mut site = watched_site(&consortium, "va");
    let _peer = watched_site(&consortium, "switzerland");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["va"]).with("rounds", "1");
    ada.gets_model_of(&ada.submits(&run));
    let before = is_witnessed(&site);
    stops(&mut site);
    let yesterday = consortium.path("yesterday");
    copies(site.node.folder(), &yesterday);

    site.node.start();
    consortium.knows_as_connected(&["va"]);
    ada.gets_model_of(&ada.submits(&run));
    let since = is_witnessed(&site);
    assert!(since > before);
    stops(&mut site);
    let today = consortium.path("today");
    copies(site.node.folder(), &today);

    restores(&site, &yesterday);
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    let why = refuses_as_set_back(&ada, &run);
    assert!(why.contains(&since.to_string()), "{why}");
    assert!(site.node.log().contains("answers nothing any more"));
    stops(&mut site);

    // A coordinator that forgot it, or would rather not say: the other site remembers.
    let forgotten = consortium.coordinator.folder().join("witnessed");
    for file in fs::read_dir(&forgotten).unwrap() {
        let file = file.unwrap().path();
        if file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("va-")
        {
            fs::remove_file(file).unwrap();
        }
    }
    let mut consortium = consortium;
    consortium.coordinator.kill_9();
    consortium.coordinator.start();
    consortium.is_up();
    consortium.knows_as_connected(&["switzerland"]);
    restores(&site, &yesterday);
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    refuses_as_set_back(&ada, &run);
    stops(&mut site);

    // The newer folder put back, the site goes on.
    restores(&site, &today);
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    ada.gets_model_of(&ada.submits(&run));
}

#[test]
fn a_history_that_forked_is_not_cosigned_however_long_it_is() {
    let consortium = Consortium::found();
    let mut site = watched_site(&consortium, "va");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["va"]).with("rounds", "1");
    ada.gets_model_of(&ada.submits(&run));
    is_witnessed(&site);
    stops(&mut site);
    let fork = consortium.path("fork");
    copies(site.node.folder(), &fork);
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    ada.gets_model_of(&ada.submits(&run));
    let witnessed = is_witnessed(&site);
    stops(&mut site);

    let (journal, _) = Journal::open(&fork.join("journal"), Limits::default()).unwrap();
    let journal = Arc::new(journal);
    for number in 0..2 * witnessed {
        journal.append_json(0, "elsewhere", &number).unwrap();
    }
    drop(journal);
    restores(&site, &fork);
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    let why = refuses_as_set_back(&ada, &run);
    assert!(why.contains("went on from an older state"), "{why}");
    stops(&mut site);
    let kept = verifies(site.node.folder());
    assert!(kept["witnessed_entries"].as_u64().unwrap() < witnessed);
}

/// The auditor has the authority's certificate and copies of folders, and nothing that runs.
#[test]
fn an_auditor_finds_an_edit_and_a_truncation_and_believes_a_proof_with_public_keys_alone() {
    let consortium = Consortium::found();
    let mut site = watched_site(&consortium, "va");
    let ada = consortium.researcher("ada");
    ada.gets_model_of(&ada.submits(&RunFile::of(&["va"]).with("rounds", "1")));
    let entries = is_witnessed(&site);
    stops(&mut site);
    let journal = consortium.path("copy");
    copies(&site.path("journal"), &journal);
    let authority = consortium.path("authority.crt");
    copies(&site.path("identity/consortium-ca.crt"), &authority);
    let (journal, authority) = (journal.to_str().unwrap(), authority.to_str().unwrap());
    let trusted = |line: &[&str]| audits(&[line, &["--authority", authority]].concat());

    let found = trusted(&["verify", journal]).data();
    assert_eq!(found["witnessed_entries"].as_u64(), Some(entries));

    let proof = consortium.path("proof.json");
    let proof = proof.to_str().unwrap();
    trusted(&["prove", journal, "1", "--to", proof]).data();
    let proved = trusted(&["prove", "--check", proof]).data();
    assert_eq!(proved["entry"]["seq"], 1);
    assert!(!proved["witnesses"].as_array().unwrap().is_empty());
    let edited = fs::read_to_string(proof)
        .unwrap()
        .replacen("cardiology", "oncology!!", 1);
    let forged = consortium.path("forged.json");
    fs::write(&forged, edited).unwrap();
    let (exit, code, _) = trusted(&["prove", "--check", forged.to_str().unwrap()]).error();
    assert_eq!((exit, code.as_str()), (1, "proof-does-not-hold"));

    for (to, line) in [
        ("report.html", vec!["report", journal, "--to"]),
        ("audit.ndjson", vec!["export", journal, "--fhir"]),
        ("record.md", vec!["export", journal, "--article-30"]),
    ] {
        let path = consortium.path(to);
        audits(&[line.as_slice(), &[path.to_str().unwrap()]].concat()).data();
        assert!(
            fs::read_to_string(path).unwrap().contains("cardiology"),
            "{to}"
        );
    }

    let segment = Path::new(journal).join(format!("{:020}.journal", 0));
    let whole = fs::read(&segment).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let (exit, code, message) = trusted(&["verify", journal]).error();
    assert_eq!((exit, code.as_str()), (1, "journal-edited"), "{message}");
    assert!(
        message.contains("byte") && message.contains("entry"),
        "{message}"
    );

    fs::write(&segment, &whole[..last_frame_at(&whole)]).unwrap();
    let (exit, code, message) = trusted(&["verify", journal]).error();
    assert_eq!((exit, code.as_str()), (1, "journal-cut"), "{message}");
    assert!(message.contains("1 missing"), "{message}");
}

/// Where the last entry of a segment begins: frames are a length, a checksum, so many bytes, and 1 to 8 of padding.
fn last_frame_at(segment: &[u8]) -> usize {
    let mut at = 56;
    loop {
        let length: [u8; 4] = segment[at..at + 4].try_into().unwrap();
        let next = at + (8 + u32::from_le_bytes(length) as usize) / 8 * 8 + 8;
        if next >= segment.len() {
            return at;
        }
        at = next;
    }
}
