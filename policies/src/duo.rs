//! Consent codes of data sets, from the GA4GH Data Use Ontology (DUO), and what each of them forbids.
//!
//! Every code does something. Those about purposes, persons, projects and time are checked by machine. The others
//! speak of what no request can show (an ethics approval, a promise to publish): these forbid until an officer has
//! written on the permit that it is agreed to, or wants to look at each ask herself.
//!
//! The ontology says of itself that it is no tool for legal compliance; neither is this file.

use std::fmt;
use std::str::FromStr;

/// The ontology's terms as they were published: `duo/SOURCE.md` says where and when.
const TERMS: &str = include_str!("../duo/duo.csv");

/// Two terms that name groups of codes.
const GROUPS: [(&str, &str); 2] = [
    ("DUO:0000001", "data use permission"),
    ("DUO:0000017", "data use modifier"),
];

/// A code that a data set can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DuoCode {
    /// No restriction.
    Nres,
    /// General research use.
    Gru,
    /// Health, medical or biomedical research.
    Hmb,
    /// Research on one disease.
    Ds,
    /// Population origins or ancestry research only.
    Poa,
    /// Clinical care use.
    Cc,
    /// No population origins or ancestry research.
    Npoa,
    /// Approved users only.
    Us,
    /// Approved projects only.
    Ps,
    /// A limit in time.
    Ts,
    /// Ethics approval required.
    Irb,
    /// Publication required.
    Pub,
    /// Collaboration required.
    Col,
    /// Non-commercial use only.
    Ncu,
    /// Not-for-profit, non-commercial use only.
    Npuncu,
    /// Not-for-profit organisations only.
    Npu,
    /// Certain types of research only.
    Rs,
    /// No publication before a date.
    Mor,
    /// Genetic studies only.
    Gso,
    /// Results return to the database.
    Rtn,
    /// No general methods research.
    Nmds,
    /// Approved institutions only.
    Is,
    /// Certain regions only.
    Gs,
}

/// What a code forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Every purpose but these; clinical care too unless the data set carries `CC`.
    OtherPurposes(&'static [&'static str]),
    /// This purpose.
    Purpose(&'static str),
    /// Researchers whom no permit names.
    UnnamedResearchers,
    /// Projects that no permit names.
    UnnamedProjects,
    /// Everything after the data set's last day.
    AfterTheLastDay,
    /// Everything, until it is agreed to on the permit or the permit wants approval.
    Unagreed,
}

/// Text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DuoError {
    /// It stands for several.
    #[error("`{id}` ({label}) names a group of codes; write the code that is meant")]
    Group {
        /// What is written.
        id: &'static str,
        /// What the ontology calls it.
        label: &'static str,
    },
    /// It is none.
    #[error(
        "`{text}` is not a code of the Data Use Ontology; the codes are {}",
        all_words()
    )]
    NotACode {
        /// What is written.
        text: String,
    },
}

fn all_words() -> String {
    DuoCode::ALL.map(DuoCode::as_str).join(", ")
}

impl DuoCode {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Nres,
        Self::Gru,
        Self::Hmb,
        Self::Ds,
        Self::Poa,
        Self::Cc,
        Self::Npoa,
        Self::Us,
        Self::Ps,
        Self::Ts,
        Self::Irb,
        Self::Pub,
        Self::Col,
        Self::Ncu,
        Self::Npuncu,
        Self::Npu,
        Self::Rs,
        Self::Mor,
        Self::Gso,
        Self::Rtn,
        Self::Nmds,
        Self::Is,
        Self::Gs,
    ];

    /// The ontology's id and shorthand.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Nres => ("DUO:0000004", "NRES"),
            Self::Gru => ("DUO:0000042", "GRU"),
            Self::Hmb => ("DUO:0000006", "HMB"),
            Self::Ds => ("DUO:0000007", "DS"),
            Self::Poa => ("DUO:0000011", "POA"),
            Self::Cc => ("DUO:0000043", "CC"),
            Self::Npoa => ("DUO:0000044", "NPOA"),
            Self::Us => ("DUO:0000026", "US"),
            Self::Ps => ("DUO:0000027", "PS"),
            Self::Ts => ("DUO:0000025", "TS"),
            Self::Irb => ("DUO:0000021", "IRB"),
            Self::Pub => ("DUO:0000019", "PUB"),
            Self::Col => ("DUO:0000020", "COL"),
            Self::Ncu => ("DUO:0000046", "NCU"),
            Self::Npuncu => ("DUO:0000018", "NPUNCU"),
            Self::Npu => ("DUO:0000045", "NPU"),
            Self::Rs => ("DUO:0000012", "RS"),
            Self::Mor => ("DUO:0000024", "MOR"),
            Self::Gso => ("DUO:0000016", "GSO"),
            Self::Rtn => ("DUO:0000029", "RTN"),
            Self::Nmds => ("DUO:0000015", "NMDS"),
            Self::Is => ("DUO:0000028", "IS"),
            Self::Gs => ("DUO:0000022", "GS"),
        }
    }

    /// The shorthand: `HMB`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.names().1
    }

    /// The ontology's id: `DUO:0000006`.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.names().0
    }

    /// What the ontology calls it: `health or medical or biomedical research`.
    #[must_use]
    pub fn label(self) -> &'static str {
        let row = TERMS.lines().find(|line| line.starts_with(self.id()));
        row.and_then(third_field).unwrap_or_default()
    }

    /// Whether it says for what the data may be used at all; every data set carries one that does.
    #[must_use]
    pub fn is_permission(self) -> bool {
        matches!(
            self,
            Self::Nres | Self::Gru | Self::Hmb | Self::Ds | Self::Poa | Self::Cc
        )
    }

    /// Whether an officer must write on a permit that it is agreed to, as no request can show it.
    #[must_use]
    pub fn wants_agreement(self) -> bool {
        self.effects().contains(&Effect::Unagreed)
    }

    pub(crate) fn effects(self) -> &'static [Effect] {
        match self {
            Self::Nres => &[],
            Self::Gru => &[Effect::OtherPurposes(&["GRU", "HMB", "DS", "POA"])],
            Self::Hmb => &[Effect::OtherPurposes(&["HMB", "DS"])],
            // Which disease, no purpose says.
            Self::Ds => &[Effect::OtherPurposes(&["DS"]), Effect::Unagreed],
            Self::Poa => &[Effect::OtherPurposes(&["POA"])],
            Self::Cc => &[Effect::OtherPurposes(&[])],
            Self::Npoa => &[Effect::Purpose("POA")],
            Self::Us => &[Effect::UnnamedResearchers],
            Self::Ps => &[Effect::UnnamedProjects],
            Self::Ts => &[Effect::AfterTheLastDay],
            Self::Irb
            | Self::Pub
            | Self::Col
            | Self::Ncu
            | Self::Npuncu
            | Self::Npu
            | Self::Rs
            | Self::Mor
            | Self::Gso
            | Self::Rtn
            | Self::Nmds
            | Self::Is
            | Self::Gs => &[Effect::Unagreed],
        }
    }
}

/// The third field of a line of CSV whose first two have no quotes.
fn third_field(line: &str) -> Option<&str> {
    let rest = line.splitn(3, ',').nth(2)?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(',').next(),
    }
}

impl FromStr for DuoCode {
    type Err = DuoError;

    /// A shorthand or an id, in any case.
    fn from_str(text: &str) -> Result<Self, DuoError> {
        let upper = text.to_ascii_uppercase();
        if let Some((id, label)) = GROUPS.into_iter().find(|(id, _)| *id == upper) {
            return Err(DuoError::Group { id, label });
        }
        let found = Self::ALL
            .into_iter()
            .find(|code| code.as_str() == upper || code.id() == upper);
        found.ok_or_else(|| DuoError::NotACode {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for DuoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_of_the_ontology_is_a_code_or_a_group() {
        let rows: Vec<Vec<&str>> = TERMS
            .lines()
            .skip(1)
            .map(|line| line.splitn(3, ',').collect())
            .collect();
        assert_eq!(rows.len(), 25);
        for row in rows {
            match row[0].parse::<DuoCode>() {
                Ok(code) => {
                    assert_eq!((code.id(), code.as_str()), (row[0], row[1]));
                    assert_eq!(row[1].to_lowercase().parse(), Ok(code));
                    assert!(!code.label().is_empty());
                }
                Err(error) => {
                    assert_eq!(row[1], "", "{error}");
                    assert!(matches!(error, DuoError::Group { .. }));
                }
            }
        }
        assert_eq!(
            DuoCode::Npuncu.label(),
            "not for profit, non commercial use only"
        );
        assert_eq!(
            DuoCode::Hmb.label(),
            "health or medical or biomedical research"
        );
    }

    #[test]
    fn every_code_but_no_restriction_forbids_something() {
        for code in DuoCode::ALL {
            assert_eq!(code.effects().is_empty(), code == DuoCode::Nres, "{code}");
        }
    }
}
