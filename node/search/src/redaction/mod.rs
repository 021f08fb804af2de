//! Taking out of a text what names a person: the identifiers of HIPAA's Safe Harbor, 45 CFR 164.514(b)(2)(i).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The eighteen classes of Safe Harbor as far as text has them; (Q), photographs, it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// (A) Names.
    Name,
    /// (B) What is smaller than a state; of a ZIP code the first three digits stay where more than 20,000 people live.
    Place,
    /// (C) Dates, but for the year.
    Date,
    /// (C) Ages over 89, which become 90+.
    Age,
    /// (D) Telephone numbers.
    Phone,
    /// (E) Fax numbers.
    Fax,
    /// (F) Email addresses.
    Email,
    /// (G) Social security numbers.
    SocialSecurity,
    /// (H) Medical record numbers.
    RecordNumber,
    /// (I) Health plan beneficiary numbers.
    PlanNumber,
    /// (J) Account numbers.
    Account,
    /// (K) Certificate and licence numbers.
    Licence,
    /// (L) Vehicles, with their plates.
    Vehicle,
    /// (M) Devices and their serial numbers.
    Device,
    /// (N) Web addresses.
    Url,
    /// (O) Internet protocol addresses.
    IpAddress,
    /// (P) Finger and voice prints.
    Biometric,
    /// (R) Any other unique number or code.
    Other,
}

/// A text without what was found in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted {
    pub text: String,
    /// How many of each class were replaced.
    pub found: BTreeMap<Class, u32>,
}
