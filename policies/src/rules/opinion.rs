//! What each rule says by itself, for people who ask before anybody does.
//!
//! Some of what a rule looks at is known beforehand: who, which project, purpose, action and data set, what would
//! leave, which approval the permits want. A rule that looks at nothing else is evaluated. One that looks at
//! quantities is not: what it says depends on them, and that is what is told.

use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Effect as CedarEffect, Entities, EntityUid, Policy,
    PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint,
};

use super::{ALL_THAT_PERMITS_COVER, Asked, RuleId, Rules};

/// What can be known of an ask before there is one, as rules name it.
const KNOWN: [&str; 8] = [
    "project",
    "purpose",
    "release",
    "approval",
    "agreed",
    "namedResearcher",
    "namedProject",
    // Of today; the caller says which day is meant.
    "date",
];

/// What one rule says about asks of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opinion {
    pub(crate) id: RuleId,
    pub(crate) forbids: bool,
    pub(crate) says: Says,
}

/// Whether a rule's conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// For every ask of the kind.
    Always,
    /// For some, perhaps.
    Depends,
    /// For none.
    Never,
}

impl Rules {
    /// What each rule says about asks like this one, whatever their quantities. `anybody`: the researcher in it stands
    /// for all whom no rule names.
    pub(crate) fn opinions(&self, asked: &Asked<'_>, anybody: bool) -> Option<Vec<Opinion>> {
        let slice = self.slices.get(asked.dataset);
        let (request, elsewhere) = asked.request(slice.is_some())?;
        let (policies, entities) = match (slice, &elsewhere) {
            (Some(slice), _) => (&slice.rules.policies, &slice.entities),
            (None, Some(entities)) => (&self.elsewhere.policies, entities),
            (None, None) => return None,
        };
        let opinion = |policy: &Policy| {
            let id = policy.id().to_string();
            if id == ALL_THAT_PERMITS_COVER {
                return None;
            }
            Some(Opinion {
                id: id.parse().ok()?,
                forbids: policy.effect() == CedarEffect::Forbid,
                says: says(policy, &request, entities, anybody),
            })
        };
        Some(policies.policies().filter_map(opinion).collect())
    }

    /// Whether the file has permits of its own, one of which must hold.
    pub(crate) fn has_permits(&self) -> bool {
        self.written.iter().any(|rule| !rule.forbids)
    }

    /// The text of an officer's rule, on one line.
    pub(crate) fn text(&self, id: &RuleId) -> Option<String> {
        let wanted = PolicyId::new(id.as_str());
        let all = self.slices.values().map(|slice| &slice.rules.policies);
        let found = all
            .chain([&self.elsewhere.policies])
            .find_map(|policies| policies.policy(&wanted))?;
        let text = found.to_string();
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

fn says(policy: &Policy, request: &Request, entities: &Entities, anybody: bool) -> Says {
    let in_scope = (|| {
        let principal = principal(policy, request.principal()?, anybody);
        let action = acts(policy, request.action()?, entities);
        let resource = concerns(policy, request.resource()?);
        Some(if action && resource {
            principal
        } else {
            Says::Never
        })
    })();
    match in_scope.unwrap_or(Says::Depends) {
        Says::Never => Says::Never,
        scope if !policy.has_non_scope_constraint() => scope,
        _ if looks_further(policy) => Says::Depends,
        // Evaluated with the scope, which is why a rule about somebody else is left as it is.
        Says::Depends => Says::Depends,
        Says::Always => holds(policy, request, entities),
    }
}

/// Whether a rule looks at what is not known beforehand. Conservative: whatever is not recognised, it does.
fn looks_further(policy: &Policy) -> bool {
    let text = policy.to_string();
    // The scope names the principal once; a condition that does so too may single somebody out.
    if text.matches("principal").count() > 1 {
        return true;
    }
    text.match_indices("context").any(|(at, word)| {
        let rest = text.get(at + word.len()..).unwrap_or_default();
        let Some(attribute) = rest.strip_prefix('.') else {
            return true;
        };
        let end = attribute
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(attribute.len());
        !KNOWN.contains(&attribute.get(..end).unwrap_or_default())
    })
}

fn holds(policy: &Policy, request: &Request, entities: &Entities) -> Says {
    // A forbid alone always ends in no; beside a permit of everything it tells whether it holds.
    let all = Policy::parse(
        Some(PolicyId::new(ALL_THAT_PERMITS_COVER)),
        "permit (principal, action, resource);",
    );
    let forbids = policy.effect() == CedarEffect::Forbid;
    let set = match (forbids, all) {
        (true, Ok(all)) => PolicySet::from_policies([policy.clone(), all]),
        (false, _) => PolicySet::from_policies([policy.clone()]),
        (true, Err(_)) => return Says::Depends,
    };
    let Ok(set) = set else {
        return Says::Depends;
    };
    let response = Authorizer::new().is_authorized(request, &set, entities);
    // One that fails refuses the ask, as a forbid that holds does.
    let failed = response.diagnostics().errors().next().is_some();
    match (response.decision(), forbids) {
        _ if failed => Says::Depends,
        (Decision::Deny, true) | (Decision::Allow, false) => Says::Always,
        (Decision::Allow, true) | (Decision::Deny, false) => Says::Never,
    }
}

fn principal(policy: &Policy, asked: &EntityUid, anybody: bool) -> Says {
    let named = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => return Says::Always,
        PrincipalConstraint::Eq(named)
        | PrincipalConstraint::In(named)
        | PrincipalConstraint::IsIn(_, named) => named,
    };
    match (anybody, named == *asked) {
        (true, _) => Says::Depends,
        (false, true) => Says::Always,
        (false, false) => Says::Never,
    }
}

fn acts(policy: &Policy, asked: &EntityUid, entities: &Entities) -> bool {
    let is_or_in = |named: &EntityUid| named == asked || entities.is_ancestor_of(named, asked);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named == *asked,
        ActionConstraint::In(named) => named.iter().any(is_or_in),
    }
}

fn concerns(policy: &Policy, asked: &EntityUid) -> bool {
    match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::Eq(named)
        | ResourceConstraint::In(named)
        | ResourceConstraint::IsIn(_, named) => named == *asked,
    }
}
