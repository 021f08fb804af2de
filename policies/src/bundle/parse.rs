//! `policy.toml` into permits and terms: text first into a document with positions, then field by field into types
//! that cannot hold anything else.

use toml::Spanned;

use super::source::{BudgetDocument, Source, Words, name, one_of};
use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    name: Spanned<String>,
    version: Spanned<i64>,
    #[serde(default)]
    dataset: BTreeMap<String, Spanned<dataset::DatasetDocument>>,
    #[serde(default)]
    permit: Vec<PermitDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PermitDocument {
    id: Spanned<String>,
    researchers: Words,
    projects: Words,
    purposes: Words,
    actions: Words,
    dataset: Spanned<String>,
    until: Spanned<String>,
    minimum_records: Option<Spanned<i64>>,
    maximum_parameters_per_record: Option<Spanned<f64>>,
    maximum_rounds: Option<Spanned<i64>>,
    release: Words,
    budget: Option<Spanned<BudgetDocument>>,
    approval: Option<Spanned<String>>,
    officers: Option<Words>,
    agreed: Option<Words>,
}

/// The permits and terms; the rest of the bundle is empty.
pub(super) fn policy(file: &str, text: &[u8]) -> Result<Bundle, BundleError> {
    let toml = text_of(file, text)?;
    let source = Source { file, toml };
    let document: Document = toml::from_str(toml).map_err(|error| source.syntax(&error))?;
    if let Some(first_too_many) = document.permit.get(PERMITS_MAX) {
        return Err(source.at(first_too_many.id.span(), "id", Problem::TooManyPermits));
    }
    let datasets = source.datasets(&document.dataset)?;
    let mut rules: Vec<Rule> = Vec::with_capacity(document.permit.len());
    for permit in &document.permit {
        let rule = source.rule(permit)?;
        if rules.iter().any(|other| other.id == rule.id) {
            let id = rule.id.to_string();
            return Err(source.at(permit.id.span(), "id", Problem::IdTwice { id }));
        }
        source.fits_the_terms(permit, &rule, &datasets)?;
        source.fits_the_others(permit, &rule, &rules)?;
        rules.push(rule);
    }
    let name: RuleId = source.id("name", &document.name)?;
    Ok(Bundle {
        name: name.into(),
        version: source.whole("version", &document.version, u32::MAX)?,
        rules,
        cedar: Rules::read(RULES_FILE, &[], &datasets)?,
        datasets,
        cases: Cases::default(),
        signatures: Signatures::default(),
        manifest: String::new(),
        digest: Digest::of(&[]),
    })
}

impl Source<'_> {
    fn rule(&self, permit: &PermitDocument) -> Result<Rule, BundleError> {
        let actions = self.words("actions", &permit.actions, |text| {
            let known = "train, statistics, search";
            one_of(text, &Activity::ALL, Activity::as_str, known)
        })?;
        Ok(Rule {
            id: self.id("id", &permit.id)?,
            researchers: self.named("researchers", &permit.researchers)?,
            projects: self.named("projects", &permit.projects)?,
            purposes: self.words("purposes", &permit.purposes, |text| match text {
                ANY => Err(Problem::AnyPurpose),
                _ if !PURPOSES.contains(&text.to_ascii_uppercase().as_str()) => {
                    Err(Problem::NotAPurpose {
                        text: text.to_owned(),
                    })
                }
                _ => name(text),
            })?,
            dataset: match permit.dataset.get_ref().as_str() {
                ANY => Named::Any,
                text => Named::These(BTreeSet::from([name(text)
                    .map_err(|problem| self.at(permit.dataset.span(), "dataset", problem))?])),
            },
            until: self.day("until", &permit.until)?,
            training: self.training(permit, actions.contains(&Activity::Train))?,
            release: self.releases(permit, &actions)?,
            budget: match &permit.budget {
                Some(written) => Some(self.budget("budget", written)?),
                None => None,
            },
            approval: self.approval(permit)?,
            agreed: match &permit.agreed {
                Some(written) => {
                    self.words("agreed", written, |text| text.parse().map_err(Problem::Duo))?
                }
                None => BTreeSet::new(),
            },
            line: self.line(permit.id.span().start),
            actions,
        })
    }

    fn releases(
        &self,
        permit: &PermitDocument,
        actions: &BTreeSet<Activity>,
    ) -> Result<BTreeSet<Release>, BundleError> {
        let projects: Named<ProjectName> = self.named("projects", &permit.projects)?;
        self.words("release", &permit.release, |text| {
            let known = "update, metrics, noisy-update, exact-statistics, noisy-statistics, \
                         distinct-sketch, search-l0 to search-l4";
            let release = one_of(text, &Release::ALL, Release::as_str, known)?;
            let action = release.activity();
            if release == Release::SearchL3 && projects == Named::Any {
                return Err(Problem::SnippetsForAnyone);
            }
            match actions.contains(&action) {
                true => Ok(release),
                false => Err(Problem::ReleaseOfNoAction {
                    release: release.as_str(),
                    action: action.as_str(),
                }),
            }
        })
    }

    /// The bounds of training: all three for `train`, none without it.
    fn training(
        &self,
        permit: &PermitDocument,
        trains: bool,
    ) -> Result<Option<TrainingBounds>, BundleError> {
        let bounds = (
            &permit.minimum_records,
            &permit.maximum_parameters_per_record,
            &permit.maximum_rounds,
        );
        if !trains {
            let (records, parameters, rounds) = bounds;
            let written = [
                ("minimum-records", records.as_ref().map(Spanned::span)),
                (
                    "maximum-parameters-per-record",
                    parameters.as_ref().map(Spanned::span),
                ),
                ("maximum-rounds", rounds.as_ref().map(Spanned::span)),
            ];
            for (field, span) in written {
                if let Some(span) = span {
                    let why = "it bounds `train`, which is not among the permit's actions";
                    return Err(self.at(span, field, Problem::Surplus { field, why }));
                }
            }
            return Ok(None);
        }
        let missing = |field, example: &str| {
            let why = format!("a permit to `train` says it, as in `{example}`");
            self.at(permit.id.span(), field, Problem::Missing { field, why })
        };
        match bounds {
            (Some(records), Some(parameters), Some(rounds)) => Ok(Some(TrainingBounds {
                minimum_records: self.whole("minimum-records", records, RECORDS_MAX)?,
                maximum_parameters_per_record: self.share(parameters)?,
                maximum_rounds: self.whole("maximum-rounds", rounds, ROUNDS_MAX)?,
            })),
            (None, _, _) => Err(missing("minimum-records", "minimum-records = 50")),
            (_, None, _) => Err(missing(
                "maximum-parameters-per-record",
                "maximum-parameters-per-record = 0.33",
            )),
            (_, _, None) => Err(missing("maximum-rounds", "maximum-rounds = 100")),
        }
    }

    fn approval(&self, permit: &PermitDocument) -> Result<Approval, BundleError> {
        let word = permit.approval.as_ref();
        let officers = match &permit.officers {
            Some(written) => Some(self.words("officers", written, name)?),
            None => None,
        };
        let needs_officers = |approval: fn(BTreeSet<MemberName>) -> Approval| match officers.clone()
        {
            Some(officers) => Ok(approval(officers)),
            None => {
                let field = "officers";
                let why = "an approval is somebody's; name them, as in `officers = [\"olga\"]`";
                let problem = Problem::Missing {
                    field,
                    why: why.to_owned(),
                };
                Err(self.at(permit.id.span(), field, problem))
            }
        };
        match word.map_or("none", |word| word.get_ref().as_str()) {
            "none" => match &permit.officers {
                None => Ok(Approval::None),
                Some(written) => {
                    let why =
                        "the permit wants no approval; write `approval = \"before\"`, or remove it";
                    let field = "officers";
                    Err(self.at(written.span(), field, Problem::Surplus { field, why }))
                }
            },
            "before" => needs_officers(|officers| Approval::Before { officers }),
            "outbox" => needs_officers(|officers| Approval::Outbox { officers }),
            text => {
                let problem = Problem::UnknownWord {
                    text: text.to_owned(),
                    known: "none, before, outbox",
                };
                let span = word.map_or(permit.id.span(), Spanned::span);
                Err(self.at(span, "approval", problem))
            }
        }
    }

    /// What costs something needs budgets, and what is more than training needs a floor.
    fn fits_the_terms(
        &self,
        permit: &PermitDocument,
        rule: &Rule,
        datasets: &BTreeMap<DatasetName, Dataset>,
    ) -> Result<(), BundleError> {
        let at = permit.id.span();
        let missing = |field, why| self.at(at.clone(), field, Problem::Missing { field, why });
        let costly = rule.release.iter().find(|release| release.costs());
        if let (Some(release), None) = (costly, &rule.budget) {
            let why = format!(
                "`{}` has a cost; say what a project may spend, as in `budget = {{ epsilon = 3.0, delta = 1e-6 }}`",
                release.as_str()
            );
            return Err(missing("budget", why));
        }
        if let (None, Some(written)) = (costly, &permit.budget) {
            let why = "nothing that the permit releases has a cost";
            let field = "budget";
            return Err(self.at(written.span(), field, Problem::Surplus { field, why }));
        }
        let Named::These(names) = &rule.dataset else {
            return Ok(());
        };
        let wants_terms = rule
            .release
            .iter()
            .find(|release| release.activity() != Activity::Train || release.costs());
        let Some(release) = wants_terms.map(|release| release.as_str()) else {
            return Ok(());
        };
        for name in names {
            let Some(dataset) = datasets.get(name) else {
                let why = format!(
                    "`{release}` needs the data set's terms; add a section [dataset.{name}] with its codes and floor"
                );
                return Err(missing("dataset", why));
            };
            let Some(release) = costly.map(|release| release.as_str()) else {
                continue;
            };
            if dataset.budget.is_none() {
                let why = format!("`{release}` has a cost; add `budget` to [dataset.{name}]");
                return Err(missing("budget", why));
            }
            if dataset.budget_patient.is_none() {
                let why =
                    format!("`{release}` has a cost; add `budget-patient` to [dataset.{name}]");
                return Err(missing("budget-patient", why));
            }
        }
        Ok(())
    }

    /// An ask may fall under several permits; then it cannot wait both before its work and after it.
    fn fits_the_others(
        &self,
        permit: &PermitDocument,
        rule: &Rule,
        others: &[Rule],
    ) -> Result<(), BundleError> {
        let meets = |other: &&Rule| match (&rule.dataset, &other.dataset) {
            (Named::These(these), Named::These(those)) => !these.is_disjoint(those),
            _ => true,
        };
        let differs = |other: &&Rule| {
            rule.approval != Approval::None
                && other.approval != Approval::None
                && rule.approval.as_str() != other.approval.as_str()
        };
        match others.iter().filter(meets).find(differs) {
            None => Ok(()),
            Some(other) => {
                let problem = Problem::MixedApprovals {
                    this: rule.approval.as_str(),
                    other: other.id.to_string(),
                    that: other.approval.as_str(),
                };
                Err(self.at(permit.id.span(), "approval", problem))
            }
        }
    }
}
