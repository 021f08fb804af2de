//! What waits for an officer's word.

use consilium_link::MemberKey;
use consilium_policies::signed::Officer;
use consilium_privacy::Cost;

use super::*;

const RUN_FILE: &[u8] = b"name = \"heart\"\n";

struct Officers {
    olga: MemberKey,
    stranger: MemberKey,
}

impl Officers {
    fn new() -> Self {
        Self {
            olga: MemberKey::generate().unwrap(),
            stranger: MemberKey::generate().unwrap(),
        }
    }

    fn site(&self, approval: &str) -> Site {
        let policy = with_budgets(40.0, 40.0).replacen(
            "release =",
            &format!("approval = \"{approval}\"\nofficers = [\"olga\"]\nrelease ="),
            1,
        );
        self.staff(Site::with_policy(&policy))
    }

    fn staff(&self, site: Site) -> Site {
        let approvals = self.approvals(&site);
        Site {
            gate: site.gate.with_approvals(approvals),
            ..site
        }
    }

    fn approvals(&self, site: &Site) -> Approvals {
        let officer = |name: &str, key: &MemberKey| Officer {
            name: name.parse().unwrap(),
            key: key.public_key().unwrap(),
        };
        let officers = vec![officer("olga", &self.olga), officer("igor", &self.stranger)];
        Approvals::new(&site.folder.path().join("approvals"), officers)
    }
}

fn train(site: &Site, round: u32) -> Result<Released<OutgoingUpdate>, NotReleased> {
    let ask = Ask {
        run_digest: Digest::of(RUN_FILE),
        ..ada(Action::Train { round, rounds: 15 })
    };
    site.gate.pass(&ask, &facts(), JUNE_2026, |_| Ok(update()))
}

#[test]
fn a_run_waits_until_an_officer_has_approved_exactly_its_text() {
    let officers = Officers::new();
    let site = officers.site("before");
    let approvals = officers.approvals(&site);
    let refused = refusal(train(&site, 1));
    assert_eq!(refused.code, RefusalCode::NeedsApproval);
    assert!(refused.reason.contains(&Digest::of(RUN_FILE).to_string()));
    // Asking again and again fills no journal.
    assert_eq!(refusal(train(&site, 1)).code, RefusalCode::NeedsApproval);
    assert_eq!(site.kinds(), [BUNDLE_INSTALLED, PASS_REFUSED]);

    assert_eq!(approvals.pending().unwrap(), []);
    site.gate.lay_before_officers(b"of nobody's run").unwrap();
    site.gate.lay_before_officers(RUN_FILE).unwrap();
    let pending = approvals.pending().unwrap();
    let hash = Digest::of(RUN_FILE);
    assert_eq!((pending.len(), pending[0].hash), (1, hash));
    assert_eq!(pending[0].text.as_bytes(), RUN_FILE);
    assert_eq!(
        pending[0].asked_by,
        "ada of project cardiology for train on heart-disease, purpose HMB"
    );

    // Not by whom the policy does not name, not for another text.
    let by_igor = approvals.approve(Wanted::Approval, hash, &officers.stranger);
    assert!(matches!(by_igor, Err(ApprovalError::NotAnOfficer { .. })));
    let unknown = approvals.approve(Wanted::Approval, Digest::of(b"other"), &officers.olga);
    assert!(matches!(unknown, Err(ApprovalError::Unknown { .. })));
    assert_eq!(refusal(train(&site, 1)).code, RefusalCode::NeedsApproval);

    approvals
        .approve(Wanted::Approval, hash, &officers.olga)
        .unwrap();
    assert_eq!(approvals.pending().unwrap(), []);
    let _ = train(&site, 1).unwrap();
    let reserved: PassReserved = site.entries()[2].parse().unwrap();
    assert_eq!(reserved.approved_by, Some("olga".parse().unwrap()));
    // Another round of the same text needs nothing more.
    let _ = train(&site, 2).unwrap();
}

#[test]
fn a_changed_text_or_a_forged_word_approves_nothing() {
    let officers = Officers::new();
    let site = officers.site("before");
    let approvals = officers.approvals(&site);
    refusal(train(&site, 1));
    site.gate.lay_before_officers(RUN_FILE).unwrap();
    let hash = Digest::of(RUN_FILE);
    let folder = site.folder.path().join("approvals");
    let asked = folder.join(format!("approval-{hash}.asked"));
    let text = fs::read_to_string(&asked).unwrap();
    fs::write(&asked, text.replace("heart\\\"", "hearts\\\"")).unwrap();
    let changed = approvals.approve(Wanted::Approval, hash, &officers.olga);
    assert!(
        matches!(changed, Err(ApprovalError::Changed { .. })),
        "{changed:?}"
    );

    let forged = format!(
        "{{\"officer\":\"olga\",\"signature\":\"{}\"}}",
        "0".repeat(128)
    );
    for word in [forged.as_str(), "yes", "{}"] {
        fs::write(folder.join(format!("approval-{hash}.yes")), word).unwrap();
        assert_eq!(
            refusal(train(&site, 1)).code,
            RefusalCode::NeedsApproval,
            "{word}"
        );
    }
}

#[test]
fn a_result_stays_in_the_outbox_until_an_officer_lets_it_go() {
    let officers = Officers::new();
    let site = officers.site("outbox");
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let costs = Facts {
        cost: Cost::pure(0.5).unwrap(),
        ..facts()
    };
    let worked = Cell::new(0);
    let pass = |site: &Site| {
        let touches = Touches {
            dataset_version: Digest::of(b"version"),
            state: None,
            patients: Cohort::first(100).unwrap(),
        };
        site.gate
            .pass_touching(&ask, &costs, &touches, JUNE_2026, |_, _| {
                worked.set(worked.get() + 1);
                Ok(TrainedUpdate {
                    training_loss: Some(f64::from(worked.get())),
                    ..update()
                })
            })
    };
    assert_eq!(refusal(pass(&site)).code, RefusalCode::AwaitsRelease);
    assert_eq!(refusal(pass(&site)).code, RefusalCode::AwaitsRelease);
    assert_eq!(
        site.kinds(),
        [BUNDLE_INSTALLED, PASS_RESERVED, PASS_REFUSED]
    );

    // Another process, and still no second sample.
    let site = officers.staff(site.killed());
    assert_eq!(refusal(pass(&site)).code, RefusalCode::AwaitsRelease);
    let approvals = officers.approvals(&site);
    let pending = approvals.pending().unwrap();
    assert_eq!((pending.len(), pending[0].wanted), (1, Wanted::Release));
    let hash = pending[0].hash;
    let wrong_kind = approvals.approve(Wanted::Approval, hash, &officers.olga);
    assert!(matches!(wrong_kind, Err(ApprovalError::Unknown { .. })));
    approvals
        .approve(Wanted::Release, hash, &officers.olga)
        .unwrap();

    let released = pass(&site).unwrap();
    assert_eq!(
        Digest::of(&TrainedUpdate::keep(released.wire()).unwrap()),
        hash
    );
    assert_eq!((worked.get(), released.is_repeated()), (1, true));
    let entry: PassRepeated = site.last(PASS_REPEATED);
    assert_eq!(entry.released_by, Some("olga".parse().unwrap()));
}
