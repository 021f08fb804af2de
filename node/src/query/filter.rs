//! Which rows a filter holds of: one walk over a column for each of its terms.

use consilium_protocol::query::{Comparison, Filter, Literal, Membership, Operator};

use crate::data::{Column, ColumnSpec, DataSet, Value};

/// Why a query does not fit a data set. Names columns and the query's own words, never a value of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("the data set has no column `{column}`")]
    UnknownColumn { column: String },
    #[error("column `{column}` tells patients apart, and no query may look at it")]
    PatientKey { column: String },
    #[error("column `{column}` holds {holds}, and {wanted} is asked of it")]
    WrongType {
        column: String,
        holds: &'static str,
        wanted: &'static str,
    },
    #[error("`{value}` is no value of column `{column}`")]
    NotAValue { column: String, value: String },
}

/// For each row whether the filter holds of it; of no filter, always.
///
/// # Errors
/// The filter names a column that is not there, or compares it with what it cannot hold.
pub fn rows_where(dataset: &DataSet, filter: Option<&Filter>) -> Result<Vec<bool>, Misfit> {
    match filter {
        None => Ok(vec![true; dataset.table().rows()]),
        Some(filter) => holds(dataset, filter),
    }
}

/// A column that queries may look at.
pub(super) fn column<'a>(
    dataset: &'a DataSet,
    name: &str,
) -> Result<(&'a ColumnSpec, &'a Column), Misfit> {
    if dataset.identifies(name) {
        return Err(Misfit::PatientKey {
            column: name.to_owned(),
        });
    }
    dataset
        .table()
        .column(name)
        .ok_or_else(|| Misfit::UnknownColumn {
            column: name.to_owned(),
        })
}

/// What a column's cells are, in a person's words.
pub(super) fn kind_of(column: &Column) -> &'static str {
    match column {
        Column::Integer(_) => "whole numbers",
        Column::Float(_) => "numbers",
        Column::Category(_) => "categories",
        Column::Text(_) => "text",
        Column::Boolean(_) => "true and false",
        Column::Date(_) => "dates",
    }
}

/// The cells as numbers, where they are some; true is 1 and false is 0.
pub(super) fn numbers<'a>(
    spec: &ColumnSpec,
    column: &'a Column,
    wanted: &'static str,
) -> Result<Box<dyn Iterator<Item = Option<f64>> + 'a>, Misfit> {
    match column {
        Column::Integer(cells) => Ok(Box::new(
            cells.iter().map(|cell| cell.map(|value| value as f64)),
        )),
        Column::Float(cells) => Ok(Box::new(cells.iter().copied())),
        Column::Boolean(cells) => Ok(Box::new(
            cells
                .iter()
                .map(|cell| cell.map(|value| f64::from(u8::from(value)))),
        )),
        other => Err(wrong_type(spec, other, wanted)),
    }
}

fn holds(dataset: &DataSet, filter: &Filter) -> Result<Vec<bool>, Misfit> {
    match filter {
        Filter::And(parts) => joined(dataset, parts, true, |all, one| all && one),
        Filter::Or(parts) => joined(dataset, parts, false, |any, one| any || one),
        Filter::Not(inner) => {
            let mut rows = holds(dataset, inner)?;
            rows.iter_mut().for_each(|row| *row = !*row);
            Ok(rows)
        }
        Filter::Missing(name) => Ok(missing(column(dataset, name)?.1)),
        Filter::Compare(Comparison {
            column: name,
            operator,
            value,
        }) => {
            let (spec, cells) = column(dataset, name)?;
            compared(spec, cells, *operator, value)
        }
        Filter::In(Membership {
            column: name,
            values,
        }) => {
            let (spec, cells) = column(dataset, name)?;
            let mut rows = vec![false; dataset.table().rows()];
            for value in values {
                let equal = compared(spec, cells, Operator::Equal, value)?;
                rows.iter_mut()
                    .zip(equal)
                    .for_each(|(row, one)| *row |= one);
            }
            Ok(rows)
        }
    }
}

fn joined(
    dataset: &DataSet,
    parts: &[Filter],
    of_none: bool,
    join: fn(bool, bool) -> bool,
) -> Result<Vec<bool>, Misfit> {
    let mut rows = vec![of_none; dataset.table().rows()];
    for part in parts {
        let one = holds(dataset, part)?;
        rows.iter_mut()
            .zip(one)
            .for_each(|(row, one)| *row = join(*row, one));
    }
    Ok(rows)
}

fn missing(column: &Column) -> Vec<bool> {
    fn none<T>(cells: &[Option<T>]) -> Vec<bool> {
        cells.iter().map(Option::is_none).collect()
    }
    match column {
        Column::Integer(cells) => none(cells),
        Column::Float(cells) => none(cells),
        Column::Category(cells) => none(cells),
        Column::Text(cells) => none(cells),
        Column::Boolean(cells) => none(cells),
        Column::Date(cells) => none(cells),
    }
}

fn compared(
    spec: &ColumnSpec,
    column: &Column,
    operator: Operator,
    value: &Literal,
) -> Result<Vec<bool>, Misfit> {
    match (column, value) {
        (Column::Integer(_) | Column::Float(_) | Column::Boolean(_), Literal::Number(wanted)) => {
            let numbers = numbers(spec, column, "a comparison with a number")?;
            let rows = numbers.map(|cell| cell.is_some_and(|cell| stands(&cell, operator, wanted)));
            Ok(rows.collect())
        }
        (Column::Boolean(cells), Literal::Boolean(wanted)) => Ok(each(cells, operator, wanted)),
        (Column::Date(cells), Literal::Text(text)) => match spec.value_of(text) {
            Some(Value::Date(day)) => Ok(each(cells, operator, &day)),
            _ => Err(not_a_value(spec, text)),
        },
        (Column::Category(_) | Column::Text(_), _) if operator.is_order() => {
            Err(wrong_type(spec, column, "an order"))
        }
        (Column::Category(cells), Literal::Text(_) | Literal::Number(_)) => {
            let text = match value {
                Literal::Text(text) => text.clone(),
                other => other.to_string(),
            };
            match spec.value_of(&text) {
                Some(Value::Category(level)) => Ok(each(cells, operator, &level)),
                _ => Err(not_a_value(spec, &text)),
            }
        }
        (Column::Text(cells), Literal::Text(wanted)) => {
            let wanted: Box<str> = wanted.as_str().into();
            Ok(each(cells, operator, &wanted))
        }
        (_, Literal::Number(_)) => Err(wrong_type(spec, column, "a comparison with a number")),
        (_, Literal::Text(_)) => Err(wrong_type(spec, column, "a comparison with a text")),
        (_, Literal::Boolean(_)) => {
            Err(wrong_type(spec, column, "a comparison with true or false"))
        }
    }
}

fn each<T: PartialOrd>(cells: &[Option<T>], operator: Operator, wanted: &T) -> Vec<bool> {
    let holds = |cell: &Option<T>| {
        cell.as_ref()
            .is_some_and(|cell| stands(cell, operator, wanted))
    };
    cells.iter().map(holds).collect()
}

fn stands<T: PartialOrd>(cell: &T, operator: Operator, wanted: &T) -> bool {
    match operator {
        Operator::Equal => cell == wanted,
        Operator::NotEqual => cell != wanted,
        Operator::Less => cell < wanted,
        Operator::AtMost => cell <= wanted,
        Operator::Greater => cell > wanted,
        Operator::AtLeast => cell >= wanted,
    }
}

pub(super) fn wrong_type(spec: &ColumnSpec, column: &Column, wanted: &'static str) -> Misfit {
    Misfit::WrongType {
        column: spec.name.clone(),
        holds: kind_of(column),
        wanted,
    }
}

pub(super) fn not_a_value(spec: &ColumnSpec, value: &str) -> Misfit {
    Misfit::NotAValue {
        column: spec.name.clone(),
        value: value.to_owned(),
    }
}
