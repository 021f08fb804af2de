//! Which documents a filter holds of. The semantics are those of statistics: two-valued, so that `not` of a comparison
//! holds of a document without a value.
//!
//! A word that no document has matches nothing and is no misfit: an error would tell a stranger that nobody has it.

use consilium_protocol::query::{Comparison, Filter, Literal, Membership, Operator};

use super::columns::{Table, Tables};
use super::document::parse_day;
use super::error::Misfit;

/// For each document whether the filter holds of it.
pub(super) fn holds(
    tables: &Tables,
    documents: usize,
    filter: &Filter,
) -> Result<Vec<bool>, Misfit> {
    match filter {
        Filter::And(parts) => joined(tables, documents, parts, true, |all, one| all && one),
        Filter::Or(parts) => joined(tables, documents, parts, false, |any, one| any || one),
        Filter::Not(inner) => {
            let mut those = holds(tables, documents, inner)?;
            those.iter_mut().for_each(|one| *one = !*one);
            Ok(those)
        }
        Filter::Missing(name) => Ok(match tables.column(name)?.1 {
            Table::Words { has, .. } => has.iter().map(|has| !has).collect(),
            Table::Numbers(cells) => cells.iter().map(Option::is_none).collect(),
            Table::Days(cells) => cells.iter().map(Option::is_none).collect(),
        }),
        Filter::Compare(Comparison {
            column,
            operator,
            value,
        }) => compared(tables, column, *operator, value),
        Filter::In(Membership { column, values }) => {
            let mut those = vec![false; documents];
            for value in values {
                let equal = compared(tables, column, Operator::Equal, value)?;
                those
                    .iter_mut()
                    .zip(equal)
                    .for_each(|(one, equal)| *one |= equal);
            }
            Ok(those)
        }
    }
}

fn joined(
    tables: &Tables,
    documents: usize,
    parts: &[Filter],
    of_none: bool,
    join: fn(bool, bool) -> bool,
) -> Result<Vec<bool>, Misfit> {
    let mut those = vec![of_none; documents];
    for part in parts {
        let one = holds(tables, documents, part)?;
        those
            .iter_mut()
            .zip(one)
            .for_each(|(all, one)| *all = join(*all, one));
    }
    Ok(those)
}

fn compared(
    tables: &Tables,
    column: &str,
    operator: Operator,
    value: &Literal,
) -> Result<Vec<bool>, Misfit> {
    let (kind, table) = tables.column(column)?;
    let wrong_type = |wanted| Misfit::WrongType {
        column: column.to_owned(),
        holds: kind.holds(),
        wanted,
    };
    match (table, value) {
        (Table::Words { .. }, _) if operator.is_order() => Err(wrong_type("an order")),
        (Table::Words { documents, has }, _) => {
            let word = match value {
                Literal::Text(text) => text.clone(),
                other => other.to_string(),
            };
            let (of_those, of_others) = match operator {
                Operator::NotEqual => (false, true),
                _ => (true, false),
            };
            let mut those: Vec<bool> = has.iter().map(|has| *has && of_others).collect();
            for document in documents.get(word.as_str()).into_iter().flatten() {
                if let Some(one) = those.get_mut(*document as usize) {
                    *one = of_those;
                }
            }
            Ok(those)
        }
        (Table::Numbers(cells), Literal::Number(wanted)) => Ok(each(cells, operator, wanted)),
        (Table::Days(cells), Literal::Text(text)) => match day(text) {
            Some(day) => Ok(each(cells, operator, &day)),
            None => Err(Misfit::NotAValue {
                column: column.to_owned(),
                value: text.clone(),
            }),
        },
        (_, Literal::Number(_)) => Err(wrong_type("a comparison with a number")),
        (_, Literal::Text(_)) => Err(wrong_type("a comparison with a text")),
        (_, Literal::Boolean(_)) => Err(wrong_type("a comparison with true or false")),
    }
}

/// A day, or a year as its first day.
fn day(text: &str) -> Option<i32> {
    let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_year {
        true => parse_day(&format!("{text}-01-01")),
        false => parse_day(text),
    }
}

fn each<T: PartialOrd>(cells: &[Option<T>], operator: Operator, wanted: &T) -> Vec<bool> {
    let stands = |cell: &T| match operator {
        Operator::Equal => cell == wanted,
        Operator::NotEqual => cell != wanted,
        Operator::Less => cell < wanted,
        Operator::AtMost => cell <= wanted,
        Operator::Greater => cell > wanted,
        Operator::AtLeast => cell >= wanted,
    };
    cells
        .iter()
        .map(|cell| cell.as_ref().is_some_and(stands))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::document::{Value, When};
    use super::super::mapping::Kind;
    use super::*;

    fn tables() -> Tables {
        let columns = vec![
            ("code".to_owned(), Kind::Words),
            ("age".to_owned(), Kind::Number),
            ("date".to_owned(), Kind::Date),
        ];
        let mut tables = Tables::new(&columns);
        let words =
            |words: &[&str]| Value::Words(words.iter().map(|word| (*word).to_owned()).collect());
        tables.push(
            0,
            vec![
                words(&["R05", "R50"]),
                Value::Number(61.0),
                Value::Date(When::Year(2019)),
            ],
        );
        tables.push(
            1,
            vec![
                words(&["R50"]),
                Value::Missing,
                Value::Date(When::Day(18_000)),
            ],
        );
        tables.push(2, vec![Value::Missing, Value::Number(40.0), Value::Missing]);
        tables
    }

    fn of(filter: &str) -> Result<Vec<u32>, Misfit> {
        let filter = consilium_protocol::query::parse::filter(filter).unwrap();
        let those = holds(&tables(), 3, &filter)?;
        Ok((0u32..)
            .zip(those)
            .filter_map(|(document, holds)| holds.then_some(document))
            .collect())
    }

    #[test]
    fn a_filter_leaves_the_documents_that_it_holds_of() {
        let cases: [(&str, &[u32]); 12] = [
            ("code = 'R05'", &[0]),
            ("code = 'R50'", &[0, 1]),
            ("code != 'R05'", &[1]),
            ("not (code = 'R05')", &[1, 2]),
            ("code = 'Z99'", &[]),
            ("code in ('R05', 'Z99')", &[0]),
            ("code is missing", &[2]),
            ("age < 60", &[2]),
            ("not (age < 60)", &[0, 1]),
            ("date = '2019'", &[0]),
            ("date >= '2019-01-02'", &[1]),
            ("code = 'R50' and (age > 60 or date is missing)", &[0]),
        ];
        for (filter, expected) in cases {
            assert_eq!(of(filter).unwrap(), expected, "{filter}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said_in_the_querys_own_words() {
        assert_eq!(
            of("colour = 1").unwrap_err().to_string(),
            "the collection has no column `colour`"
        );
        assert_eq!(
            of("code < 'R05'").unwrap_err().to_string(),
            "column `code` holds words, and an order is asked of it"
        );
        assert_eq!(
            of("age = 'old'").unwrap_err().to_string(),
            "column `age` holds numbers, and a comparison with a text is asked of it"
        );
        assert_eq!(
            of("date = 'May'").unwrap_err().to_string(),
            "`May` is no value of column `date`"
        );
    }

    proptest! {
        /// Negation turns every answer around, whatever the filter.
        #[test]
        fn a_filter_or_its_negation_holds_of_each(age in -100i32..100, word in "R[05]{2}|Z9", or in any::<bool>()) {
            let joint = if or { "or" } else { "and" };
            let filter = format!("code = '{word}' {joint} age >= {age}");
            let both = [of(&filter).unwrap(), of(&format!("not ({filter})")).unwrap()].concat();
            let distinct: std::collections::BTreeSet<u32> = both.iter().copied().collect();
            prop_assert_eq!((both.len(), distinct.len()), (3, 3));
        }
    }
}
