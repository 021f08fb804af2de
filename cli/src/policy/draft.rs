//! An officer's choices, as the text of a bundle: permits and terms with comments, starting rules, and cases that say
//! what she meant. Pure.

use std::collections::BTreeSet;

use consilium_policies::{Bundle, BundleError, BundleFiles, Day, DuoCode};
use consilium_protocol::Millis;

/// What must never be, whatever a permit says: as at a careful hospital.
const RULES: &str = include_str!("../../../policies/bundles/hospital/rules.cedar");

/// The δ of every budget; an officer is asked for ε alone.
const DELTA: f64 = 1e-6;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Everybody, in place of names.
pub(super) const ANY: &str = "*";

/// What an officer chose; every word is a name that a policy can hold, or [`ANY`] alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) dataset: String,
    pub(super) codes: BTreeSet<DuoCode>,
    /// Those whose conditions a project agreed to.
    pub(super) agreed: BTreeSet<DuoCode>,
    pub(super) floor: u32,
    pub(super) projects: Vec<String>,
    pub(super) researchers: Vec<String>,
    pub(super) purposes: Vec<String>,
    pub(super) training: bool,
    pub(super) statistics: bool,
    pub(super) until: Day,
    pub(super) minimum_records: u64,
    pub(super) epsilon: Epsilons,
    /// `none`, `before` or `outbox`.
    pub(super) approval: &'static str,
    pub(super) officers: Vec<String>,
}

/// What may be spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Epsilons {
    /// By one project.
    pub(super) project: f64,
    /// By all projects on the data set.
    pub(super) dataset: f64,
    /// On one patient.
    pub(super) patient: f64,
}

impl Draft {
    /// The files of the bundle as of `now`.
    pub(super) fn files(&self, now: Millis) -> BundleFiles {
        BundleFiles {
            policy: self.policy().into_bytes(),
            rules: RULES.as_bytes().to_vec(),
            cases: self.cases(now).into_bytes(),
            signatures: Vec::new(),
        }
    }

    /// The permits and terms alone.
    pub(super) fn bundle(&self) -> Result<Bundle, BundleError> {
        Bundle::parse("policy.toml", self.policy().as_bytes())
    }

    fn policy(&self) -> String {
        let budgets = match self.statistics {
            false => String::new(),
            true => format!(
                "# What all projects together may spend, and what may be spent on any one patient. Epsilon is how much \
                 can be\n# learned of a patient; delta the chance that this does not hold.\n\
                 budget = {}\nbudget-patient = {}\n",
                budget(self.epsilon.dataset),
                budget(self.epsilon.patient)
            ),
        };
        let until = match self.codes.contains(&DuoCode::Ts) {
            false => String::new(),
            true => format!(
                "# The consent is limited in time (TS): the last day of any use.\nuntil = \"{}\"\n",
                self.until
            ),
        };
        let mut policy = format!(
            "# Who may do what with which data, decided at this site. What no permit covers is refused.\n\
             # The guide for officers explains every line. Rules that hold over every permit stand in rules.cedar,\n\
             # and what you expect of both in cases.toml.\n\n\
             name = \"{}\"\n\
             # Grows with every change: a node takes a policy only if its version is greater.\n\
             version = 1\n\n\
             # The terms of the data set; they hold for every permit.\n\
             [dataset.\"{}\"]\n\
             # What the patients consented to, in codes of the Data Use Ontology.\n\
             duo = {}\n\
             unit = \"patient\"\n\
             # Fewest patients behind any exact number that leaves.\n\
             floor-patients = {}\n\
             # Exact counts are rounded to multiples of this.\n\
             rounding = 10\n\
             # The same question asked again gets the same answer, at no cost.\n\
             repeats = \"same\"\n\
             {until}{budgets}",
            self.name,
            self.dataset,
            words(self.codes.iter().map(|code| code.as_str())),
            self.floor,
        );
        if self.training {
            policy += &self.permit(
                "training",
                "train",
                &format!(
                    "# With fewer training records nothing is done; a model may have so many parameters for each of \
                     them.\nminimum-records = {}\nmaximum-parameters-per-record = 0.33\nmaximum-rounds = 100\n\
                     # The trained change of the model; \"metrics\" would let loss and accuracy leave too.\n\
                     release = [\"update\"]\n",
                    self.minimum_records
                ),
            );
        }
        if self.statistics {
            policy += &self.permit(
                "questions",
                "statistics",
                &format!(
                    "# Answers with noise, and what one project may spend on them.\n\
                     release = [\"noisy-statistics\"]\nbudget = {}\n",
                    budget(self.epsilon.project)
                ),
            );
        }
        policy
    }

    fn permit(&self, id: &str, action: &str, bounds: &str) -> String {
        let names = |names: &[String]| words(names.iter().map(String::as_str));
        let agreed = match self.agreed.is_empty() {
            true => String::new(),
            false => format!(
                "# Conditions of consent codes that the project agreed to, on paper that you hold.\nagreed = {}\n",
                words(self.agreed.iter().map(|code| code.as_str()))
            ),
        };
        let approval = match self.approval {
            "none" => String::new(),
            approval => format!(
                "# One of these looks each time: before anything is done, or at the result in the outbox.\n\
                 approval = \"{approval}\"\nofficers = {}\n",
                names(&self.officers)
            ),
        };
        format!(
            "\n[[permit]]\n\
             # Named in every refusal and in every line of the journal.\n\
             id = \"{id}\"\n\
             researchers = {}\n\
             projects = {}\n\
             purposes = {}\n\
             actions = [\"{action}\"]\n\
             dataset = \"{}\"\n\
             # The last day, counted in UTC.\n\
             until = \"{}\"\n\
             {bounds}{agreed}{approval}",
            names(&self.researchers),
            names(&self.projects),
            names(&self.purposes),
            self.dataset,
            self.until,
        )
    }

    fn cases(&self, now: Millis) -> String {
        let today = Day::of(now);
        let after = Day::of(self.until.begins_at().plus_ms(DAY_MS));
        let mut cases =
            "# What this policy should decide. Add a case for whatever must never change.\n"
                .to_owned();
        let project = named(&self.projects, "any-project");
        for (asked, action, id) in [
            (self.training, "train", "training"),
            (self.statistics, "count", "questions"),
        ] {
            if !asked {
                continue;
            }
            let expect = format!(
                "expect = \"permit\"\nrules = [\"{id}\"]\napproval = \"{}\"\n",
                self.approval
            );
            cases += &self.case(
                &format!("{id} as permitted"),
                action,
                project,
                today,
                &expect,
            );
            if self.projects.iter().all(|name| name != ANY) {
                let other = self.another_project();
                let expect = "expect = \"not-permitted\"\n";
                cases += &self.case(
                    &format!("{id} for another project"),
                    action,
                    &other,
                    today,
                    expect,
                );
            }
            let expect = "expect = \"expired\"\n";
            cases += &self.case(
                &format!("{id} after the last day"),
                action,
                project,
                after,
                expect,
            );
        }
        cases
    }

    fn case(&self, name: &str, action: &str, project: &str, on: Day, expect: &str) -> String {
        // Enough of everything that has a floor.
        let patients = u64::from(self.floor) * 10;
        let records = patients.max(100).max(self.minimum_records);
        let asked = match action {
            "train" => "parameters = 10\n".to_owned(),
            _ => format!("noisy = true\ncost-epsilon = {:?}\n", self.small_cost()),
        };
        format!(
            "\n[[case]]\nname = \"{name}\"\nresearcher = \"{}\"\nproject = \"{project}\"\npurpose = \"{}\"\n\
             dataset = \"{}\"\naction = \"{action}\"\non = \"{on}\"\nrecords = {records}\npatients = {patients}\n\
             {asked}{expect}",
            named(&self.researchers, "any-researcher"),
            self.purposes.first().map_or("HMB", String::as_str),
            self.dataset,
        )
    }

    /// Well within every budget, and cheap enough for the rules.
    fn small_cost(&self) -> f64 {
        let Epsilons {
            project,
            dataset,
            patient,
        } = self.epsilon;
        0.1_f64
            .min(project / 2.0)
            .min(dataset / 2.0)
            .min(patient / 2.0)
    }

    fn another_project(&self) -> String {
        let mut other = "another-project".to_owned();
        let mut number = 1;
        while self.projects.contains(&other) {
            number += 1;
            other = format!("another-project-{number}");
        }
        other
    }
}

/// The first name, or one that stands for any.
fn named<'a>(names: &'a [String], anybody: &'a str) -> &'a str {
    match names.first().map(String::as_str) {
        None | Some(ANY) => anybody,
        Some(name) => name,
    }
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn budget(epsilon: f64) -> String {
    format!("{{ epsilon = {epsilon:?}, delta = {DELTA:?} }}")
}
