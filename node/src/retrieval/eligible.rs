//! Which rows may be candidates at all: those that the question's filter leaves, whose patients agreed to its
//! purpose, and whose embargo is over. Before the search and not after it: a row that was found and then taken out
//! would leave a gap.

use consilium_policies::Day;
use consilium_protocol::query::{Comparison, Filter, Literal, Operator};
use consilium_protocol::{Millis, Purpose};
use consilium_search::collection::Misfit;
use consilium_search::vector::RowSet;

use crate::collections::OpenCollection;

/// The rows that this question may find.
///
/// # Errors
/// The filter names a column that is not there, or compares it with what it cannot hold; or the declaration does.
pub fn eligible_rows(
    open: &OpenCollection,
    asked: Option<&Filter>,
    purpose: &Purpose,
    now: Millis,
) -> Result<RowSet, Misfit> {
    let declared = &open.declaration;
    let consent = declared.consent_column.as_deref();
    let embargo = declared.embargo_column.as_deref();
    let parts: Vec<Filter> = asked
        .cloned()
        .into_iter()
        .chain(consent.map(|column| consents(column, purpose)))
        .chain(embargo.map(|column| is_over(column, now)))
        .collect();
    match parts.is_empty() {
        true => open.collection.rows_where(None),
        false => open.collection.rows_where(Some(&Filter::And(parts))),
    }
}

/// The column holds the codes of the purposes that a patient agreed to; who has none agreed to nothing.
fn consents(column: &str, purpose: &Purpose) -> Filter {
    Filter::Compare(Comparison {
        column: column.to_owned(),
        operator: Operator::Equal,
        value: Literal::Text(purpose.as_str().to_owned()),
    })
}

/// The column holds the day before which a record is not searched; without one it may be at once.
///
/// A redacted collection keeps of a day its year alone, and compares it as the year's first day. So what is of the
/// first day of this year is taken for a day that is not known, and not searched until the year is over.
fn is_over(column: &str, now: Millis) -> Filter {
    let today = Day::of(now).to_string();
    let year = today.get(..4).unwrap_or(&today).to_owned();
    let compared = |operator, day: &str| {
        Filter::Compare(Comparison {
            column: column.to_owned(),
            operator,
            value: Literal::Text(day.to_owned()),
        })
    };
    Filter::Or(vec![
        Filter::Missing(column.to_owned()),
        compared(Operator::Less, &year),
        Filter::And(vec![
            compared(Operator::Greater, &year),
            compared(Operator::AtMost, &today),
        ]),
    ])
}
