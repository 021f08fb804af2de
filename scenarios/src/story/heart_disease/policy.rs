//! The officers' policies.

use consilium_policies::Bundle;

use crate::story::StoryError;

/// What the members of the consortium agreed to begin with; the limit of 0.33 parameters for
/// each training record is DataSHIELD's.
const AGREED: &str = include_str!("../../../../policies/bundles/consortium/policy.toml");

const AGREED_LIMIT: &str = "maximum-parameters-per-record = 0.33    # DataSHIELD's nfilter.glm";

/// 14 parameters on 30 records are 0.47, and on the 24 of a five-fold cross-validation 0.58.
const SWISS_LIMIT: &str = "\
# Raised from DataSHIELD's 0.33 for this project: we have 30 training records, and 24 of them in
# a five-fold cross-validation, for a model of 14 parameters. It is a logistic regression over
# ten coarse columns, and no other hospital sees our update. Everything else in this permit is
# as the consortium agreed. Decided by the officer, who was shown the run file.
maximum-parameters-per-record = 0.6";

/// A hospital's policy as it begins.
#[must_use]
pub(super) fn agreed(site: &str) -> String {
    AGREED.replace("name = \"consortium\"", &format!("name = \"{site}\""))
}

/// Switzerland's after its officer thought again.
///
/// # Errors
/// If the policy that ships has changed so that this no longer changes it.
pub(super) fn raised(site: &str) -> Result<String, StoryError> {
    let raised = agreed(site)
        .replace(AGREED_LIMIT, SWISS_LIMIT)
        .replace("version = 1", "version = 2");
    let bundle = Bundle::parse("policy.toml", raised.as_bytes()).map_err(StoryError::unexpected)?;
    match bundle
        .rules()
        .iter()
        .filter_map(|rule| rule.training)
        .any(|bounds| bounds.maximum_parameters_per_record > 0.5)
        && bundle.version() == 2
    {
        true => Ok(raised),
        false => Err(StoryError::unexpected(
            "the consortium's bundle is not the one that this story was written for",
        )),
    }
}

/// What decides at a site: name, version, digest, limit of parameters for each record.
///
/// # Errors
/// If it is no policy.
pub(super) fn bundle_of(text: &str) -> Result<Bundle, StoryError> {
    Bundle::parse("policy.toml", text.as_bytes()).map_err(StoryError::unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_officers_change_raises_one_limit_and_nothing_else() {
        let (before, after) = (
            bundle_of(&agreed("switzerland")).unwrap(),
            bundle_of(&raised("switzerland").unwrap()).unwrap(),
        );
        assert_eq!(
            (before.name(), before.version(), after.version()),
            ("switzerland", 1, 2)
        );
        let mut rule = after.rules()[0].clone();
        let mut bounds = rule.training.unwrap();
        assert!((bounds.maximum_parameters_per_record - 0.6).abs() < 1e-12);
        bounds.maximum_parameters_per_record = 0.33;
        rule.training = Some(bounds);
        assert_eq!(rule, before.rules()[0]);
    }
}
