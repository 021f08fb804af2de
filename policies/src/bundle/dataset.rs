//! `[dataset.NAME]`: the terms of one data set.

use consilium_protocol::query::limits::{COLUMN_BYTES_MAX, FILTER_TERMS_MAX};
use toml::Spanned;

use super::source::{BudgetDocument, Source, Words, name, one_of};
use super::*;
use crate::limits::DATASETS_MAX;
use crate::terms::{FLOORS, ROUNDINGS};

/// Conditions that a search's filter may join, where the section does not say: with more, any few patients can be
/// picked.
const FILTER_CONDITIONS_UNLESS_WRITTEN: u16 = 3;

/// Where the section says no rounding, exact counts are rounded to tens.
const ROUNDING_UNLESS_WRITTEN: u32 = 10;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct DatasetDocument {
    duo: Words,
    unit: Spanned<String>,
    floor_patients: Spanned<i64>,
    rounding: Option<Spanned<i64>>,
    repeats: Option<Spanned<String>>,
    redaction: Option<Spanned<String>>,
    filter_columns: Option<Words>,
    filter_conditions: Option<Spanned<i64>>,
    budget: Option<Spanned<BudgetDocument>>,
    budget_patient: Option<Spanned<BudgetDocument>>,
    until: Option<Spanned<String>>,
}

impl Source<'_> {
    pub(super) fn datasets(
        &self,
        written: &BTreeMap<String, Spanned<DatasetDocument>>,
    ) -> Result<BTreeMap<DatasetName, Dataset>, BundleError> {
        if let Some((_, first_too_many)) = written.iter().nth(DATASETS_MAX) {
            let message = format!("there are more than {DATASETS_MAX} data sets");
            return Err(self.at(
                first_too_many.span(),
                "dataset",
                Problem::Syntax { message },
            ));
        }
        let read = |(called, section): (&String, &Spanned<DatasetDocument>)| {
            let named =
                name(called).map_err(|problem| self.at(section.span(), "dataset", problem))?;
            Ok((named, self.dataset(section)?))
        };
        written.iter().map(read).collect()
    }

    fn dataset(&self, section: &Spanned<DatasetDocument>) -> Result<Dataset, BundleError> {
        let written = section.get_ref();
        let unit = written.unit.get_ref();
        if unit != "patient" {
            let problem = Problem::UnknownWord {
                text: unit.clone(),
                known: "patient",
            };
            return Err(self.at(written.unit.span(), "unit", problem));
        }
        let duo: BTreeSet<DuoCode> = self.words("duo", &written.duo, |text| {
            text.parse().map_err(Problem::Duo)
        })?;
        if !duo.iter().any(|code| code.is_permission()) {
            return Err(self.at(written.duo.span(), "duo", Problem::NoPermission));
        }
        let until = match &written.until {
            Some(day) => Some(self.day("until", day)?),
            None if duo.contains(&DuoCode::Ts) => {
                let why = "the code TS limits use in time; write the last day, as in `until = \"2030-12-31\"`";
                let problem = Problem::Missing {
                    field: "until",
                    why: why.to_owned(),
                };
                return Err(self.at(section.span(), "until", problem));
            }
            None => None,
        };
        Ok(Dataset {
            duo,
            floor_patients: self.step("floor-patients", &written.floor_patients, &FLOORS)?,
            rounding: match &written.rounding {
                Some(rounding) => self.step("rounding", rounding, &ROUNDINGS)?,
                None => ROUNDING_UNLESS_WRITTEN,
            },
            repeats: match &written.repeats {
                Some(word) => self.word("repeats", word, |text| {
                    let all = [Repeats::Same, Repeats::Refused];
                    one_of(text, &all, |one| one.as_str(), "same, refused")
                })?,
                None => Repeats::Same,
            },
            redaction: match &written.redaction {
                Some(word) => self.word("redaction", word, |text| {
                    let all = [Redaction::SafeHarbor, Redaction::None];
                    one_of(text, &all, |one| one.as_str(), "safe-harbor, none")
                })?,
                None => Redaction::SafeHarbor,
            },
            filter_columns: match &written.filter_columns {
                Some(words) => Some(self.words("filter-columns", words, |text| {
                    match (1..=COLUMN_BYTES_MAX).contains(&text.len()) {
                        true => Ok(text.to_owned()),
                        false => Err(Problem::ColumnName),
                    }
                })?),
                None => None,
            },
            filter_conditions: match &written.filter_conditions {
                Some(number) => self.whole("filter-conditions", number, FILTER_TERMS_MAX as u16)?,
                None => FILTER_CONDITIONS_UNLESS_WRITTEN,
            },
            budget: match &written.budget {
                Some(budget) => Some(self.budget("budget", budget)?),
                None => None,
            },
            budget_patient: match &written.budget_patient {
                Some(budget) => Some(self.budget("budget-patient", budget)?),
                None => None,
            },
            until,
            line: self.line(section.span().start),
        })
    }
}
