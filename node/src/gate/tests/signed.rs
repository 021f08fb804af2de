//! Bundles that officers signed: taken up, or refused and left out.

use consilium_link::MemberKey;
use consilium_policies::entry::{BUNDLE_REFUSED, BundleInstalled, BundleRefused};
use consilium_policies::{BundleFiles, Officer, SIGNING_CONTEXT, Signatures};

use super::*;

struct Officers {
    keys: [(&'static str, MemberKey); 2],
}

impl Officers {
    fn appointed() -> Self {
        let key = || MemberKey::generate().unwrap();
        Self {
            keys: [("olga", key()), ("otto", key())],
        }
    }

    fn pinned(&self) -> Signers {
        let officer = |(name, key): &(&str, MemberKey)| Officer {
            name: name.parse().unwrap(),
            key: key.public_key().unwrap(),
        };
        Signers {
            officers: self.keys.iter().map(officer).collect(),
            at_least: 2,
        }
    }

    /// The policy with a version, signed by the first `count`.
    fn sign(&self, version: u32, count: usize) -> BundleFiles {
        let policy = POLICY.replace("version = 3", &format!("version = {version}"));
        let mut files = BundleFiles {
            policy: policy.into_bytes(),
            ..BundleFiles::default()
        };
        let mut signatures = Signatures::default();
        for (name, key) in self.keys.iter().take(count) {
            let message = files.manifest();
            let signature = key.sign(SIGNING_CONTEXT, message.as_bytes()).unwrap();
            signatures.put(name.parse().unwrap(), signature);
        }
        files.signatures = signatures.to_toml().into_bytes();
        files
    }
}

fn write(folder: &Path, files: &BundleFiles) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("policy.toml"), &files.policy).unwrap();
    fs::write(folder.join("signatures.toml"), &files.signatures).unwrap();
    if !files.cases.is_empty() {
        fs::write(folder.join("cases.toml"), &files.cases).unwrap();
    }
}

/// As `consilium policy install` does: written beside, renamed whole.
fn comes_in(site: &Site, files: &BundleFiles) {
    let draft = site.folder.path().join("incoming.tmp");
    write(&draft, files);
    fs::rename(&draft, site.folder.path().join(INCOMING)).unwrap();
}

/// A site whose officers have signed version 3.
fn signed_site(officers: &Officers) -> Site {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &officers.sign(3, 2));
    let site = Site::start(folder, Memory::default(), Memory::default(), JUNE_2026);
    watched(site, officers)
}

fn watched(site: Site, officers: &Officers) -> Site {
    let Site {
        gate,
        folder,
        disk,
        vault,
        storage,
        opened,
    } = site;
    Site {
        gate: gate.with_signers(officers.pinned()),
        folder,
        disk,
        vault,
        storage,
        opened,
    }
}

#[test]
fn a_newer_bundle_with_both_signatures_is_taken_up_without_a_restart() {
    let officers = Officers::appointed();
    let site = signed_site(&officers);
    let _ = site.train(1).unwrap();
    let newer = officers.sign(4, 2);
    comes_in(&site, &newer);
    site.gate.look_at_policy(JUNE_2026).unwrap();
    let entry: BundleInstalled = site.last(BUNDLE_INSTALLED);
    assert_eq!((entry.version, entry.digest), (4, newer.digest()));
    assert_eq!(entry.officers, ["olga", "otto"]);
    assert!(!site.folder.path().join(INCOMING).exists());
    assert_eq!(read_bundle_files(site.folder.path()).unwrap(), newer);
    let released = site.train(2).unwrap();
    assert_eq!(released.wire().message().bundle, newer.digest());
}

#[test]
fn one_that_may_not_be_taken_up_is_journalled_and_what_is_in_force_stays() {
    let officers = Officers::appointed();
    let surprising = BundleFiles {
        cases: b"[[case]]\nname = \"c\"\nresearcher = \"ada\"\nproject = \"cardiology\"\npurpose = \"HMB\"\n\
                 dataset = \"heart-disease\"\naction = \"train\"\non = \"2026-06-01\"\nrecords = 199\n\
                 parameters = 14\nexpect = \"expired\"\n"
            .to_vec(),
        ..BundleFiles::default()
    };
    let signed_surprise = {
        let mut files = BundleFiles {
            cases: surprising.cases,
            ..officers.sign(4, 0)
        };
        let mut signatures = Signatures::default();
        for (name, key) in &officers.keys {
            let signature = key
                .sign(SIGNING_CONTEXT, files.manifest().as_bytes())
                .unwrap();
            signatures.put(name.parse().unwrap(), signature);
        }
        files.signatures = signatures.to_toml().into_bytes();
        files
    };
    let mut edited = officers.sign(4, 2);
    edited.policy.extend_from_slice(b"# one more line\n");
    let broken = BundleFiles {
        policy: b"name = ".to_vec(),
        ..officers.sign(4, 2)
    };
    for (files, says) in [
        (
            officers.sign(4, 1),
            "needs the signatures of 2 officers and has 1",
        ),
        (edited, "`olga` signed something else"),
        (officers.sign(2, 2), "version 2, and version 3 was in force"),
        (
            Officers::appointed().sign(4, 2),
            "signed something else, or with another key",
        ),
        (broken, "not valid"),
        (
            signed_surprise,
            "otherwise than its cases expect: `c`: expected expired",
        ),
    ] {
        let site = signed_site(&officers);
        let _ = site.train(1).unwrap();
        comes_in(&site, &files);
        let released = site.train(2).unwrap();
        let in_force = officers.sign(3, 2).digest();
        assert_eq!(released.wire().message().bundle, in_force);
        let refused: Vec<BundleRefused> = site
            .entries()
            .into_iter()
            .filter(|entry| entry.kind == BUNDLE_REFUSED)
            .map(|entry| entry.parse().unwrap())
            .collect();
        let [refused] = &refused[..] else {
            panic!("{says}: one entry expected, not {}", refused.len())
        };
        assert!(refused.reason.contains(says), "{}", refused.reason);
        assert_eq!(refused.digest, Some(files.digest()));
        assert!(
            site.folder
                .path()
                .join(REFUSED)
                .join("policy.toml")
                .exists()
        );
    }
}

#[test]
fn files_copied_into_the_folder_by_hand_bring_nothing_into_force() {
    let officers = Officers::appointed();
    for (files, says) in [
        (officers.sign(4, 0), "its signatures"),
        (officers.sign(2, 2), "its version"),
    ] {
        let site = signed_site(&officers);
        let _ = site.train(1).unwrap();
        write(site.folder.path(), &files);
        let refusal = refusal(site.train(2));
        assert_eq!(refusal.code, RefusalCode::UnreadableBundle);
        assert!(refusal.reason.contains(says), "{refusal}");
        // A newer one that is signed mends it.
        comes_in(&site, &officers.sign(5, 2));
        let _ = site.train(2).unwrap();
    }
}

#[test]
fn an_older_bundle_is_not_taken_up_after_a_restart_either() {
    let officers = Officers::appointed();
    let site = signed_site(&officers);
    comes_in(&site, &officers.sign(7, 2));
    let _ = site.train(1).unwrap();
    let site = watched(site.killed(), &officers);
    write(site.folder.path(), &officers.sign(6, 2));
    let refusal = refusal(site.train(2));
    assert!(refusal.reason.contains("its version"), "{refusal}");
}

#[test]
fn what_a_crash_left_half_moved_is_moved_again() {
    let officers = Officers::appointed();
    let site = signed_site(&officers);
    let newer = officers.sign(4, 2);
    comes_in(&site, &newer);
    // As if the power had gone after the first file.
    fs::write(site.folder.path().join("policy.toml"), &newer.policy).unwrap();
    let site = watched(site.killed(), &officers);
    let released = site.train(1).unwrap();
    assert_eq!(released.wire().message().bundle, newer.digest());
}

#[test]
fn an_unsigned_site_takes_up_what_comes_in_as_well() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    let officers = Officers::appointed();
    comes_in(&site, &officers.sign(4, 0));
    let released = site.train(2).unwrap();
    assert_eq!(
        released.wire().message().bundle,
        officers.sign(4, 0).digest()
    );
}
