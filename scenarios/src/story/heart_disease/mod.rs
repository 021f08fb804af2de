//! Four real hospitals train one model over QUIC, each under its own policy.
//!
//! | file | what |
//! |---|---|
//! | `hospitals` | their files, and what was published about them |
//! | `policy` | what their officers decide |
//! | `recipe` | the run files: FLamby's recipe, and the candidates |
//! | `runs` | submitting runs and reading their history |
//! | `selection` | our own best, by cross-validation on training rows |
//! | `baselines` | majority vote, own model, pooled training |
//! | `figures` | means and spreads over seeds |
//! | `findings` | everything that was found, and its JSON |
//! | `tables` | that, as tables beside the published figures |
//! | `page` | that, as a page with charts |

mod baselines;
mod figures;
mod findings;
pub(super) mod hospitals;
mod page;
mod policy;
mod recipe;
mod runs;
mod selection;
mod tables;

use std::path::{Path, PathBuf};

use consilium_link::wall_clock;

use self::baselines::Ward;
use self::figures::{Method, Score, Spread};
use self::findings::{Findings, PolicyAtSite, Refused};
use self::hospitals::{HOSPITALS, Hospital};
use self::recipe::{Choice, FIRST_SEED};
use self::runs::{Desk, Ran, Wanted};
use crate::house::{Consortium, HouseError, Household, Site, Typed, write};
use crate::story::StoryError;
use crate::story::stage::{check_writable, settle_in};
use crate::story::told::step;

/// What was asked for on the command line.
pub struct Options {
    /// How many seeds, counted from FLamby's first.
    pub seeds: u32,
    pub json: Option<PathBuf>,
    pub report: PathBuf,
    /// Where everything stays; a folder that goes when left out.
    pub keep: Option<PathBuf>,
}

/// Tells the story to its end.
///
/// # Errors
/// What went wrong, after every process was ended.
pub fn tell(options: &Options) -> Result<(), StoryError> {
    let began = wall_clock();
    // Before hours of work, and not after them.
    options
        .json
        .iter()
        .try_for_each(|path| check_writable(path, "--json"))?;
    check_writable(&options.report, "--report")?;
    let (root, household) = settle_in(options.keep.as_deref())?;
    let told = tell_in(&root, household, options.seeds);
    let (consortium, mut findings) = told?;
    findings.took_ms = wall_clock().since_ms(began);
    step("All processes are ended; every journal is verified offline.");
    write(&options.report, &page::page(&findings)?)?;
    if let Some(path) = &options.json {
        write(path, &format!("{:#}\n", findings.json()))?;
    }
    tables::print(&findings);
    tables::print_where_things_are(&findings, options, &consortium);
    Ok(())
}

fn tell_in(
    root: &Path,
    household: Household,
    seeds: u32,
) -> Result<(Consortium, Findings), StoryError> {
    step("Founding a consortium: the coordinator makes its certificate authority and starts.");
    let consortium = Consortium::found(root, household, "heart")?;
    step(&format!(
        "The coordinator listens on {} (UDP, QUIC).",
        consortium.address()
    ));
    let found = with_everybody(&consortium, seeds);
    if let (Err(_), fallen) = (&found, consortium.fallen()) {
        fallen.iter().for_each(|line| step(line));
    }
    consortium.end();
    let mut findings = found?;
    let sites: Vec<&str> = HOSPITALS.iter().map(|hospital| hospital.site).collect();
    findings.journals = consortium.verify_journals(&sites)?;
    Ok((consortium, findings))
}

fn with_everybody(consortium: &Consortium, seeds: u32) -> Result<Findings, StoryError> {
    for hospital in &HOSPITALS {
        consortium.join(&Site {
            name: hospital.site,
            officers: &[],
            policy: &policy::agreed(hospital.site),
            files: &hospital.files(),
            datasets: &Hospital::declaration(),
        })?;
        step(&format!(
            "{} made its key at home, enrolled, and its node is up.",
            hospital.title
        ));
    }
    let researcher = consortium.researcher("ada")?;
    step("Ada, a researcher, made her key and enrolled.");
    let desk = Desk {
        researcher,
        folder: consortium.folder("ada-work"),
    };

    let refused = refusal_and_second_thought(consortium, &desk)?;
    let ward = Ward::of(consortium)?;
    let flamby = flambys_runs(&desk, seeds)?;
    step("Choosing our own best by cross-validation on training rows, through the consortium:");
    let candidates = selection::cross_validate(&desk)?;
    let chosen = candidates
        .first()
        .ok_or_else(|| StoryError::unexpected("there is no candidate"))?
        .choice;
    step(&format!(
        "Chosen: {}. Only now its test rows are looked at.",
        chosen.words()
    ));
    let personal = runs_of(&desk, "chosen", &chosen, seeds)?;

    step(
        "Computing what it is compared with: majority vote, each hospital's own model, pooled training.",
    );
    let mut findings = compare(&desk, &ward, &flamby, &personal, seeds)?;
    findings.policies = policies(consortium, &personal)?;
    findings.refused = Some(refused);
    findings.candidates = candidates;
    Ok(findings)
}

/// Switzerland refuses under the policy that all began with; then its officer raises one number.
fn refusal_and_second_thought(consortium: &Consortium, desk: &Desk) -> Result<Refused, StoryError> {
    let (_, first) = Choice::of_flamby()[0];
    let wanted = Wanted {
        name: "refused".to_owned(),
        choice: first,
        seed: FIRST_SEED,
        fold: None,
    };
    step("Ada submits a run to all four. Under the policy that they began with:");
    let cause = match desk.make(&wanted, Typed::Quietly) {
        Err(StoryError::House(HouseError::Command { code, message, .. }))
            if code == "run-failed" =>
        {
            message
        }
        Err(error) => return Err(error),
        Ok(ran) => {
            let why = format!(
                "run `{}` was admitted, and Switzerland should have refused it",
                ran.run_id
            );
            return Err(StoryError::unexpected(why));
        }
    };
    step(&format!(
        "  {}",
        cause
            .replace("; missing: ", ";\n  missing: ")
            .replace("), `", "),\n    `")
    ));
    let policy = policy::raised("switzerland")?;
    replace(
        &consortium.folder("switzerland").join("policy/policy.toml"),
        &policy,
    )?;
    step(
        "Switzerland has 30 training records for 14 parameters, 0.47 for each. Its compliance officer",
    );
    step("raises the limit from 0.33 to 0.6 for this project and says why; no restart is needed.");
    Ok(Refused {
        cause,
        changed_policy: policy,
    })
}

/// As an editor saves: whole, or not at all.
fn replace(path: &Path, text: &str) -> Result<(), StoryError> {
    let beside = path.with_extension("toml.new");
    write(&beside, text)?;
    std::fs::rename(&beside, path).map_err(|source| StoryError::Disk {
        what: format!("cannot write `{}`", path.display()),
        source,
    })
}

/// The three strategies with FLamby's settings, each with every seed.
fn flambys_runs(desk: &Desk, seeds: u32) -> Result<Vec<(&'static str, Vec<Ran>)>, StoryError> {
    let each = Choice::of_flamby().into_iter().map(|(name, choice)| {
        step(&format!("{name} by FLamby's recipe ({}):", choice.words()));
        Ok((name, runs_of(desk, name, &choice, seeds)?))
    });
    each.collect()
}

/// The first seed's run to be watched, the others side by side.
fn runs_of(desk: &Desk, name: &str, choice: &Choice, seeds: u32) -> Result<Vec<Ran>, StoryError> {
    let wanted: Vec<Wanted> = (0..u64::from(seeds))
        .map(|at| FIRST_SEED + at)
        .map(|seed| Wanted {
            name: format!("{}-{seed}", name.to_lowercase()),
            choice: *choice,
            seed,
            fold: None,
        })
        .collect();
    let Some((first, others)) = wanted.split_first() else {
        return Ok(vec![]);
    };
    let mut runs = vec![desk.make(first, Typed::Openly)?];
    if !others.is_empty() {
        runs.extend(desk.make_all("runs with other seeds", others)?);
    }
    Ok(runs)
}

fn compare(
    desk: &Desk,
    ward: &Ward,
    flamby: &[(&'static str, Vec<Ran>)],
    personal: &[Ran],
    seeds: u32,
) -> Result<Findings, StoryError> {
    let all_seeds = || (0..u64::from(seeds)).map(|at| FIRST_SEED + at);
    let own = all_seeds()
        .map(|seed| ward.own_models(seed))
        .collect::<Result<Vec<_>, _>>()?;
    let pooled = all_seeds()
        .map(|seed| ward.pooled_model(seed))
        .collect::<Result<Vec<_>, _>>()?;
    let (pooled_test, pooled): (Vec<f64>, Vec<Vec<Score>>) = pooled.into_iter().unzip();
    let mut pooled_tests = vec![("pooled".to_owned(), Spread::of(pooled_test))];
    let mut losses = Vec::new();
    let mut federated = Vec::new();
    for (name, runs) in flamby {
        let accuracies = runs
            .iter()
            .map(|ran| ward.pooled_test(&desk.download(&ran.run_id, &ran.run_id)?));
        pooled_tests.push((
            (*name).to_owned(),
            Spread::of(accuracies.collect::<Result<_, _>>()?),
        ));
        losses.push(((*name).to_owned(), mean_by_round(runs)));
        federated.push(Method::new(*name, released(runs)));
    }
    if let Some(first) = personal.first() {
        desk.download(&first.run_id, "chosen")?;
    }
    losses.push((findings::CHOSEN.to_owned(), mean_by_round(personal)));
    Ok(Findings {
        seeds,
        rows: ward.rows(),
        pooled_tests,
        losses,
        majority: Method::new("majority vote", vec![ward.majority()]),
        own: Method::new("own model alone", own),
        pooled: Method::new("pooled training", pooled),
        federated,
        personal: Method::new(findings::CHOSEN, released(personal)),
        personal_runs: personal.iter().map(|ran| ran.run_id.clone()).collect(),
        ..Findings::default()
    })
}

/// What the hospitals themselves measured and their policies let out.
fn released(runs: &[Ran]) -> Vec<Vec<Score>> {
    let scores = |ran: &Ran| {
        ran.held_out
            .iter()
            .map(|metrics| Score {
                accuracy: metrics.accuracy,
                auc: metrics.auc,
            })
            .collect()
    };
    runs.iter().map(scores).collect()
}

fn mean_by_round(runs: &[Ran]) -> Vec<f64> {
    let rounds = runs
        .iter()
        .map(|ran| ran.losses.len())
        .min()
        .unwrap_or_default();
    let mean = |round: usize| {
        let losses: Vec<f64> = runs
            .iter()
            .filter_map(|ran| ran.losses.get(round).copied())
            .collect();
        Spread::of(losses).mean()
    };
    (0..rounds).map(mean).collect()
}

/// Which bundle admitted the chosen run at each hospital, and what it says.
fn policies(consortium: &Consortium, personal: &[Ran]) -> Result<Vec<PolicyAtSite>, StoryError> {
    let admissions = personal.first().map(|ran| &ran.admissions);
    let of = |hospital: &Hospital| {
        let path = consortium.folder(hospital.site).join("policy/policy.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| StoryError::Disk {
            what: format!("cannot read `{}`", path.display()),
            source,
        })?;
        let bundle = policy::bundle_of(&text)?;
        let admission = admissions.and_then(|all| all.get(hospital.site)).cloned();
        let admission = admission
            .ok_or_else(|| StoryError::unexpected(format!("{} admitted nothing", hospital.site)))?;
        if admission.bundle != bundle.digest() {
            let what = format!(
                "{} admitted the run by another bundle than lies in its folder",
                hospital.site
            );
            return Err(StoryError::unexpected(what));
        }
        Ok(PolicyAtSite {
            site: hospital.site,
            version: bundle.version(),
            limit: bundle
                .rules()
                .iter()
                .filter_map(|rule| rule.training)
                .map(|bounds| bounds.maximum_parameters_per_record)
                .fold(0.0, f64::max),
            admission,
        })
    };
    HOSPITALS.iter().map(of).collect()
}
