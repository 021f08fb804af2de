//! Queries, as the network brings them, and filters, as researchers type them.

use consilium_protocol::Digest;
use consilium_protocol::message::ANSWER_CELLS_MAX;
use consilium_protocol::query::limits::{
    COLUMN_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, QUERY_BYTES_MAX,
};
use consilium_protocol::query::{BudgetQuestion, Filter, Query, parse};

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "query",
    holds,
    // A short query may name a thousand bins, each with its key.
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 512,
};

/// A query that is accepted is its own canonical text; a filter that is read is written as what it means.
pub fn holds(bytes: &[u8]) {
    match Query::parse(bytes) {
        Ok(query) => {
            assert_eq!(query.text().as_bytes(), bytes);
            assert_eq!(query.digest(), Digest::of(bytes));
            assert!(query.text().len() <= QUERY_BYTES_MAX);
            let again = Query::new(query.document().clone());
            assert_eq!(again.as_ref(), Ok(&query));
            let keys = query.document().statistic.keys().unwrap_or_default();
            assert!(keys.len() <= ANSWER_CELLS_MAX);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(question) = BudgetQuestion::parse(bytes) {
        let text = question.text();
        assert_eq!(text.as_ref().map(String::as_bytes), Ok(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parse::filter(text) {
        Ok(filter) => {
            within_limits(&filter, 0, &mut 0);
            let canonical = filter.canonical();
            let written = canonical.to_string();
            // De Morgan's laws may make it longer than what may be typed or sent.
            if canonical.check().is_ok() && written.len() <= bytes.len() {
                assert_eq!(parse::filter(&written).as_ref(), Ok(&canonical));
            }
            assert_eq!(canonical.clone().canonical(), canonical);
        }
        Err(error) => {
            assert!(error.at >= 1 && error.at <= text.chars().count() + 1);
            assert!(!error.to_string().is_empty());
        }
    }
}

fn within_limits(filter: &Filter, depth: usize, terms: &mut usize) {
    *terms += 1;
    assert!(depth <= FILTER_DEPTH_MAX && *terms <= FILTER_TERMS_MAX);
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            assert!(!parts.is_empty());
            parts
                .iter()
                .for_each(|part| within_limits(part, depth + 1, terms));
        }
        Filter::Not(inner) => within_limits(inner, depth + 1, terms),
        Filter::Compare(comparison) => assert!(comparison.column.len() <= COLUMN_BYTES_MAX),
        Filter::In(membership) => assert!(!membership.values.is_empty()),
        Filter::Missing(column) => assert!(!column.is_empty()),
    }
}
