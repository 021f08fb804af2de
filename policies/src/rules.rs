//! `rules.cedar`: an officer's rules beside the permits, and those that consent codes make.
//!
//! A permit says who may; a rule of Cedar says what must never be, over every permit, and may look at quantities. An
//! ask must pass both: a permit of `policy.toml` covers it, no rule forbids it, and some rule permits it. A file with
//! forbids only, or none, is read as if one rule permitted everything, since the permits do that already; one with
//! permits of its own means them.
//!
//! Rules are validated strictly against `schema.cedarschema` before they are taken up. What can still fail at an ask
//! is arithmetic; then the answer is no, in the name of the rule that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::OnceLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Effect as CedarEffect, Entities, Entity, EntityId,
    EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request, ResourceConstraint,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use consilium_protocol::DatasetName;

use crate::bundle::{BundleError, Dataset, Problem, RuleId, text_of};
use crate::duo::{DuoCode, Effect};
use crate::files::RULES_FILE;
use crate::limits::CEDAR_RULES_MAX;

mod ask;
mod joined;
mod opinion;

pub(crate) use ask::Asked;
pub(crate) use opinion::{Opinion, Says};

/// What rules can speak of.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The name of the rule that stands in for permits in `rules.cedar`, where it has none.
pub(crate) const ALL_THAT_PERMITS_COVER: &str = "all-that-permits-cover";

/// What the names of rules begin with that consent codes make: `duo.hmb`.
pub(crate) const DUO_PREFIX: &str = "duo.";

/// A rule of the officer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CedarRule {
    /// Its `@id`.
    pub id: RuleId,
    /// Whether it forbids.
    pub forbids: bool,
    /// Its `@reason`, which whoever it refuses is told.
    pub reason: Option<String>,
    /// Its line in the file, from 1.
    pub line: usize,
    /// Whether it looks at anything but who, what and which data set.
    pub has_conditions: bool,
}

/// The rules of one bundle, ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    written: Vec<CedarRule>,
    /// For each data set with terms, the rules that can be about it.
    slices: BTreeMap<DatasetName, Slice>,
    /// The rules that can be about a data set of no terms.
    elsewhere: Asking,
}

/// The rules that can be about one data set, and the data set as they see it.
#[derive(Debug, Clone, PartialEq)]
struct Slice {
    rules: Asking,
    entities: Entities,
}

/// Rules that are evaluated together.
#[derive(Debug, Clone, PartialEq)]
struct Asking {
    policies: PolicySet,
    /// The same, with all forbids as one.
    joined: Option<PolicySet>,
}

/// What the rules say about one ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// None forbids, and some permits.
    Permitted,
    /// These forbid.
    Forbidden(Vec<RuleId>),
    /// None permits.
    NotPermitted,
    /// These could not be evaluated.
    Broken(Vec<RuleId>),
}

impl Rules {
    /// Reads an officer's rules and adds those of the consent codes.
    ///
    /// # Errors
    /// What is wrong, by line of the file.
    pub(crate) fn read(
        file: &str,
        text: &[u8],
        datasets: &BTreeMap<DatasetName, Dataset>,
    ) -> Result<Self, BundleError> {
        let (mut all, written) = officers(file, text)?;
        if written.iter().all(|rule| rule.forbids) {
            all.push(generated(
                ALL_THAT_PERMITS_COVER,
                "permit (principal, action, resource);",
            )?);
        }
        let with_codes = datasets.iter().map(|(name, dataset)| {
            let about: Vec<Policy> = about(&all, Some(name)).cloned().collect();
            let of_codes = rules_of_codes(name, dataset)?;
            Ok((name.clone(), slice(name, dataset, about, of_codes)?))
        });
        let slices = with_codes.collect::<Result<_, BundleError>>()?;
        let elsewhere = Asking::new(policy_set(about(&all, None).cloned())?);
        Ok(Self {
            written,
            slices,
            elsewhere,
        })
    }

    /// The officer's rules, in the order of the file.
    #[must_use]
    pub fn written(&self) -> &[CedarRule] {
        &self.written
    }

    /// Evaluates all rules over one ask.
    pub(crate) fn say(&self, asked: &Asked<'_>) -> Said {
        let Some((request, elsewhere)) = asked.request(self.slices.contains_key(asked.dataset))
        else {
            return Said::Broken(Vec::new());
        };
        let (rules, entities) = match (self.slices.get(asked.dataset), &elsewhere) {
            (Some(slice), _) => (&slice.rules, &slice.entities),
            (None, Some(entities)) => (&self.elsewhere, entities),
            (None, None) => return Said::Broken(Vec::new()),
        };
        match rules.permit(&request, entities) {
            true => Said::Permitted,
            false => rules.say(&request, entities),
        }
    }

    /// Why a rule forbids, for whoever asked: the officer's words, or the ontology's.
    pub(crate) fn told(&self, id: &RuleId) -> Option<String> {
        if let Some(code) = code_of(id) {
            let why = match code.effects().contains(&Effect::Unagreed) {
                true => ", and no permit of the project records that it is agreed to",
                false => "",
            };
            return Some(format!(
                "the data set carries the consent code {code} ({}){why}",
                code.label()
            ));
        }
        let rule = self.written.iter().find(|rule| rule.id == *id)?;
        rule.reason.clone()
    }
}

impl Asking {
    fn new(policies: PolicySet) -> Self {
        Self {
            joined: joined::joined(&policies),
            policies,
        }
    }

    /// Whether none forbids, some permits, and each can be evaluated; where it is not seen at once, false.
    fn permit(&self, request: &Request, entities: &Entities) -> bool {
        self.joined.as_ref().is_some_and(|joined| {
            let response = Authorizer::new().is_authorized(request, joined, entities);
            let is_whole = response.diagnostics().errors().next().is_none();
            is_whole && response.decision() == Decision::Allow
        })
    }

    /// What each of them says, asked by itself.
    fn say(&self, request: &Request, entities: &Entities) -> Said {
        let response = Authorizer::new().is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        let broken: Vec<RuleId> = diagnostics
            .errors()
            .filter_map(|AuthorizationError::PolicyEvaluationError(error)| {
                error.policy_id().to_string().parse().ok()
            })
            .collect();
        if diagnostics.errors().next().is_some() {
            return Said::Broken(broken);
        }
        let mut decided_by: Vec<RuleId> = diagnostics
            .reason()
            .filter_map(|id| id.to_string().parse().ok())
            .collect();
        match response.decision() {
            Decision::Allow => Said::Permitted,
            Decision::Deny if diagnostics.reason().next().is_none() => Said::NotPermitted,
            Decision::Deny => {
                decided_by.sort_unstable();
                Said::Forbidden(decided_by)
            }
        }
    }
}

/// The consent code that a rule was made of.
pub(crate) fn code_of(id: &RuleId) -> Option<DuoCode> {
    let rest = id.as_str().strip_prefix(DUO_PREFIX)?;
    rest.split('.').next()?.parse().ok()
}

/// The schema, read once.
pub(crate) fn schema() -> Option<&'static Schema> {
    static READ: OnceLock<Option<Schema>> = OnceLock::new();
    READ.get_or_init(|| Schema::from_str(SCHEMA).ok()).as_ref()
}

fn fault(file: &str, line: Option<usize>, message: impl Into<String>) -> BundleError {
    BundleError {
        file: file.to_owned(),
        line,
        field: None,
        problem: Problem::Syntax {
            message: message.into(),
        },
    }
}

/// The officer's rules, each under its own name, validated.
fn officers(file: &str, text: &[u8]) -> Result<(Vec<Policy>, Vec<CedarRule>), BundleError> {
    let text = text_of(file, text)?;
    if let Some(line) = too_deep(text) {
        return Err(fault(
            file,
            Some(line),
            "brackets are nested too deeply; write two rules",
        ));
    }
    let parsed = PolicySet::from_str(text).map_err(|errors| located(file, text, &errors))?;
    if let Some(template) = parsed.templates().next() {
        let line = line_of_rule(text, template.annotation("id"));
        return Err(fault(
            file,
            line,
            "a rule with `?principal` or `?resource` is a template; write the name that is meant",
        ));
    }
    if parsed.num_of_policies() > CEDAR_RULES_MAX {
        let message = format!("there are more than {CEDAR_RULES_MAX} rules; join some");
        return Err(fault(file, None, message));
    }
    let mut all = Vec::new();
    let mut written: Vec<CedarRule> = Vec::new();
    for policy in parsed.policies() {
        let rule = described(file, text, policy)?;
        if written.iter().any(|other| other.id == rule.id) {
            let message = format!(
                "a rule above has the id `{}` too; give each its own",
                rule.id
            );
            return Err(fault(file, Some(rule.line), message));
        }
        all.push(policy.new_id(PolicyId::new(rule.id.as_str())));
        written.push(rule);
    }
    validated(file, text, &all)?;
    written.sort_by_key(|rule| rule.line);
    Ok((all, written))
}

fn described(file: &str, text: &str, policy: &Policy) -> Result<CedarRule, BundleError> {
    let annotation = policy.annotation("id");
    let line = line_of_rule(text, annotation);
    let Some(id) = annotation.filter(|id| !id.is_empty()) else {
        return Err(fault(
            file,
            None,
            "a rule has no name; write `@id(\"a-name\")` before every `forbid` and `permit`",
        ));
    };
    let id: RuleId = id
        .parse()
        .map_err(|error| fault(file, line, format!("`{id}`: {error}")))?;
    if id.as_str().starts_with(DUO_PREFIX) || id.as_str() == ALL_THAT_PERMITS_COVER {
        let message = format!("the id `{id}` is kept for rules that are made by the software");
        return Err(fault(file, line, message));
    }
    Ok(CedarRule {
        id,
        forbids: policy.effect() == CedarEffect::Forbid,
        reason: policy.annotation("reason").map(str::to_owned),
        line: line.unwrap_or(1),
        has_conditions: policy.has_non_scope_constraint(),
    })
}

fn validated(file: &str, text: &str, all: &[Policy]) -> Result<(), BundleError> {
    let schema = schema().ok_or_else(|| fault(file, None, "the schema of rules cannot be read"))?;
    let set = policy_set(all.iter().cloned())?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(error) => Err(located(file, text, error)),
    }
}

/// An error of the library, at the line that it is about.
fn located<E>(file: &str, text: &str, error: &E) -> BundleError
where
    for<'a> DetailedError: From<&'a E>,
{
    let detailed = DetailedError::from(error);
    let offset = detailed
        .source_locations
        .first()
        .map(|label| label.loc.start);
    let line = offset.map(|offset| {
        let before = text.get(..offset).unwrap_or(text);
        before.matches('\n').count() + 1
    });
    let mut message = detailed.message.replace('\n', ", ");
    if let Some(help) = detailed.help {
        message = format!("{message}; {}", help.replace('\n', ", "));
    }
    message.truncate(message.floor_char_boundary(600));
    fault(file, line, message)
}

/// Cedar's reader descends one call for each bracket: the first line at which there are too many.
fn too_deep(text: &str) -> Option<usize> {
    const DEPTH_MAX: usize = 40;
    let mut depth = 0_usize;
    for (number, line) in text.lines().enumerate() {
        for c in line.chars() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_MAX {
                return Some(number + 1);
            }
        }
    }
    None
}

fn line_of_rule(text: &str, id: Option<&str>) -> Option<usize> {
    let quoted = format!("\"{}\"", id?);
    let at = text
        .match_indices(&quoted)
        .find(|(at, _)| {
            text.get(..*at)
                .is_some_and(|before| before.trim_end().ends_with("@id("))
        })
        .map(|(at, _)| at)?;
    Some(text.get(..at)?.matches('\n').count() + 1)
}

fn policy_set(policies: impl IntoIterator<Item = Policy>) -> Result<PolicySet, BundleError> {
    PolicySet::from_policies(policies).map_err(|error| fault(RULES_FILE, None, error.to_string()))
}

/// The rules that can be about this data set, or about one that has no terms.
fn about<'a>(
    all: &'a [Policy],
    dataset: Option<&'a DatasetName>,
) -> impl Iterator<Item = &'a Policy> {
    all.iter().filter(move |policy| {
        let (ResourceConstraint::Eq(named) | ResourceConstraint::In(named)) =
            policy.resource_constraint()
        else {
            return true;
        };
        // Of a data set without terms the name is not known here, so every rule that names one stays.
        dataset.is_none_or(|dataset| named.id().unescaped() == dataset.as_str())
    })
}

fn slice(
    name: &DatasetName,
    dataset: &Dataset,
    about: Vec<Policy>,
    of_codes: Vec<Policy>,
) -> Result<Slice, BundleError> {
    let words = dataset.duo.iter().map(|code| code.as_str());
    let entities = entities(name, words, dataset.floor_patients)
        .ok_or_else(|| fault(RULES_FILE, None, format!("`{name}` cannot be a data set")))?;
    Ok(Slice {
        rules: Asking::new(policy_set(about.into_iter().chain(of_codes))?),
        entities,
    })
}

/// A data set as rules see it, and what actions belong to which group.
pub(crate) fn entities<'a>(
    name: &DatasetName,
    codes: impl IntoIterator<Item = &'a str>,
    floor: u32,
) -> Option<Entities> {
    let duo = codes
        .into_iter()
        .map(|code| RestrictedExpression::new_string(code.to_owned()));
    let attributes = [
        ("duo".to_owned(), RestrictedExpression::new_set(duo)),
        (
            "floor".to_owned(),
            RestrictedExpression::new_long(i64::from(floor)),
        ),
    ];
    let dataset = Entity::new(
        uid(Kind::DataSet, name.as_str())?,
        attributes.into_iter().collect(),
        Default::default(),
    )
    .ok()?;
    let actions = schema()?.action_entities().ok()?;
    actions.add_entities([dataset], None).ok()
}

/// What there is in the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Researcher,
    Action,
    DataSet,
}

pub(crate) fn uid(kind: Kind, id: &str) -> Option<EntityUid> {
    // Cedar parses a name like a policy; three of them would be half of a decision.
    static NAMES: OnceLock<[Option<EntityTypeName>; 3]> = OnceLock::new();
    let read = |name: &str| EntityTypeName::from_str(name).ok();
    let [researcher, action, dataset] =
        NAMES.get_or_init(|| ["Researcher", "Action", "DataSet"].map(read));
    let name = match kind {
        Kind::Researcher => researcher,
        Kind::Action => action,
        Kind::DataSet => dataset,
    };
    Some(EntityUid::from_type_name_and_id(
        name.clone()?,
        EntityId::new(id),
    ))
}

fn generated(id: &str, text: &str) -> Result<Policy, BundleError> {
    Policy::parse(Some(PolicyId::new(id)), text)
        .map_err(|error| fault(RULES_FILE, None, format!("`{id}`: {error}")))
}

/// The rules that a data set's consent codes make.
fn rules_of_codes(name: &DatasetName, dataset: &Dataset) -> Result<Vec<Policy>, BundleError> {
    let mut rules = Vec::new();
    for code in &dataset.duo {
        for (number, effect) in code.effects().iter().enumerate() {
            let Some(condition) = condition(*code, *effect, dataset) else {
                continue;
            };
            // Unique among the rules about one data set, and short enough for a name.
            let id = match number {
                0 => format!("{DUO_PREFIX}{code}"),
                _ => format!("{DUO_PREFIX}{code}.{number}"),
            };
            let resource = format!("DataSet::\"{}\"", EntityId::new(name.as_str()).escaped());
            let text = format!(
                "forbid (principal, action, resource == {resource}) unless {{ {condition} }};"
            );
            rules.push(generated(&id.to_ascii_lowercase(), &text)?);
        }
    }
    Ok(rules)
}

/// What must hold so that a code does not forbid; `None` where it adds nothing to the others.
fn condition(code: DuoCode, effect: Effect, dataset: &Dataset) -> Option<String> {
    let care = dataset.duo.contains(&DuoCode::Cc);
    Some(match effect {
        Effect::OtherPurposes(purposes) => {
            let permissions: BTreeSet<&DuoCode> = dataset
                .duo
                .iter()
                .filter(|code| code.is_permission())
                .collect();
            // Clinical care is allowed beside what the other codes allow.
            if code == DuoCode::Cc && permissions.len() > 1 {
                return None;
            }
            let with_care = purposes.iter().copied().chain(care.then_some("CC"));
            let quoted: Vec<String> = with_care.map(|word| format!("\"{word}\"")).collect();
            format!("[{}].contains(context.purpose)", quoted.join(", "))
        }
        Effect::Purpose(purpose) => format!("context.purpose != \"{purpose}\""),
        Effect::UnnamedResearchers => "context.namedResearcher".to_owned(),
        Effect::UnnamedProjects => "context.namedProject".to_owned(),
        Effect::AfterTheLastDay => {
            let last = dataset.until?.as_number();
            format!("context.date <= {last}")
        }
        Effect::Unagreed => format!(
            "context.approval != \"none\" || context.agreed.contains(\"{}\")",
            code.as_str()
        ),
    })
}

#[cfg(test)]
mod tests;
