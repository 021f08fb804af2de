//! What the consortium is for.

use crate::process::{eventually, types};
use crate::world::{Consortium, HOSPITALS, RunFile};

#[test]
fn four_hospitals_train_one_model_and_its_card_says_of_what() {
    let consortium = Consortium::found();
    let sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run_id = ada.submits(&RunFile::of(&HOSPITALS).with("rounds", "5"));
    let model = ada.gets_model_of(&run_id);

    let card = &model.card;
    assert_eq!(card["model_sha256"], model.file_sha256.to_string());
    assert_eq!(card["run"]["state"], "finished");
    assert_eq!(card["run"]["researcher"], "ada");
    assert_eq!(card["parameters"], 14);
    assert_eq!(card["rounds"].as_array().unwrap().len(), 5);
    for name in HOSPITALS {
        let site = &card["sites"][name];
        assert!(site["records"].as_u64().unwrap() >= 20, "{site}");
        assert_eq!(site["dataset_version_sha256"].as_str().unwrap().len(), 64);
        assert_eq!(site["policy_bundle_sha256"].as_str().unwrap().len(), 64);
        assert!(
            site["held_out"]["accuracy"].as_f64().unwrap() > 0.2,
            "{site}"
        );
        for round in card["rounds"].as_array().unwrap() {
            assert!(
                round["sites"][name]["training_loss"]
                    .as_f64()
                    .unwrap()
                    .is_finite()
            );
        }
    }

    // Whoever took part may forget the run, and does.
    eventually("the nodes forget the run", || {
        sites
            .iter()
            .all(|site| site.runs().is_empty())
            .then_some(())
    });
    // What happened is in five journals, each whole.
    let mut folders = vec![consortium.coordinator.folder()];
    folders.extend(sites.iter().map(|site| site.node.folder()));
    for folder in folders {
        let line = [
            "--format",
            "json",
            "audit",
            "verify",
            folder.to_str().unwrap(),
        ];
        let data = types("consilium", line).data();
        assert!(data["entries"].as_u64().unwrap() > 5, "{data}");
        assert_eq!(data["torn_tail_bytes"], 0);
    }
    for site in &sites {
        // Once to take part, once a round, once for the final model.
        assert_eq!(site.happened("pass-released").len(), 1 + 5 + 1);
        assert!(site.happened("pass-refused").is_empty());
    }
}
