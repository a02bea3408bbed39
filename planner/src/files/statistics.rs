//! What is known about the rows of a set of files, from what is known about each of them.

use std::cmp::Ordering;

use gristmill_engine::expr::{Literal, Value};
use gristmill_engine::sources::files::PartColumn;

use super::columns::Columns;
use super::partitions::Partitions;
use crate::catalog::{ColumnStatistics, TableStatistics};

/// The statistics of the table.
pub(super) fn unite(
    files: &[TableStatistics],
    columns: &Columns,
    partitions: &Partitions,
) -> TableStatistics {
    let rows = files.iter().map(|file| file.rows).sum::<Option<u64>>();
    let guess = files.iter().map(|file| file.rows_or_guess()).sum::<f64>() as u64;
    let stored = columns.columns.len() - partitions.columns.len();
    let mut all = vec![ColumnStatistics::default(); stored];
    for (number, column) in all.iter_mut().enumerate() {
        let parts = files.iter().zip(&columns.reader_of).map(|(file, &reader)| {
            let column = match columns.readers[reader].columns[number] {
                PartColumn::Stored(position) => file.columns.get(position).cloned(),
                PartColumn::Cast { position, .. } => {
                    // Bounds of another type.
                    let own = file.columns.get(position).cloned();
                    own.map(|own| ColumnStatistics { min: None, max: None, ..own })
                }
                PartColumn::Missing | PartColumn::Constant(_) => None,
            };
            Part { rows: file.rows, column }
        });
        *column = of_column(&parts.collect::<Vec<_>>());
    }
    for number in 0..partitions.columns.len() {
        let values = partitions.values.iter().map(|values| &values[number]);
        all.push(of_partition(&values.collect::<Vec<_>>(), files));
    }
    TableStatistics { rows, rows_guess: Some(guess), columns: all }
}

/// A column in one file; `None` when it is not there.
struct Part {
    rows: Option<u64>,
    column: Option<ColumnStatistics>,
}

fn of_column(parts: &[Part]) -> ColumnStatistics {
    let nulls = parts.iter().map(|part| match &part.column {
        Some(column) => column.nulls,
        None => part.rows,
    });
    // Files of NULLs alone have no bounds.
    let filled = parts.iter().filter(|part| match &part.column {
        Some(column) => {
            part.rows != Some(0) && (column.nulls.is_none() || column.nulls != part.rows)
        }
        None => false,
    });
    let known: Vec<&ColumnStatistics> = filled.filter_map(|part| part.column.as_ref()).collect();
    let min = extreme(known.iter().map(|column| column.min.as_ref()), Ordering::Less);
    let max = extreme(known.iter().map(|column| column.max.as_ref()), Ordering::Greater);
    let counts: Option<Vec<u64>> = known.iter().map(|column| column.distinct).collect();
    let distinct = counts.and_then(|counts| match are_disjoint(&known) {
        true => Some(counts.iter().sum()),
        false => counts.into_iter().max(),
    });
    ColumnStatistics { min, max, nulls: nulls.sum(), distinct }
}

fn of_partition(values: &[&Literal], files: &[TableStatistics]) -> ColumnStatistics {
    let filled: Vec<&Literal> = values.iter().copied().filter(|value| !value.is_null()).collect();
    let mut distinct: Vec<&Literal> = Vec::new();
    for value in &filled {
        if distinct.last() != Some(value) && !distinct.contains(value) {
            distinct.push(value);
        }
    }
    let nulls = values.iter().zip(files).map(|(value, file)| match value.is_null() {
        true => file.rows,
        false => Some(0),
    });
    ColumnStatistics {
        min: extreme(filled.iter().map(|value| Some(*value)), Ordering::Less),
        max: extreme(filled.iter().map(|value| Some(*value)), Ordering::Greater),
        nulls: nulls.sum(),
        distinct: Some(distinct.len() as u64),
    }
}

/// Whether each file's values are above those of the file before it.
fn are_disjoint(files: &[&ColumnStatistics]) -> bool {
    files.windows(2).all(|pair| match (&pair[0].max, &pair[1].min) {
        (Some(before), Some(after)) => compare(before, after) == Some(Ordering::Less),
        _ => false,
    })
}

/// The least or greatest value; `None` when one is unknown.
fn extreme<'a>(
    values: impl Iterator<Item = Option<&'a Literal>>,
    wanted: Ordering,
) -> Option<Literal> {
    let mut best: Option<&Literal> = None;
    for value in values {
        let value = value?;
        match best {
            Some(known) if compare(value, known)? != wanted => {}
            _ => best = Some(value),
        }
    }
    best.cloned()
}

fn compare(a: &Literal, b: &Literal) -> Option<Ordering> {
    if a.data_type != b.data_type {
        return None;
    }
    match (&a.value, &b.value) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::UInt(a), Value::UInt(b)) => Some(a.cmp(b)),
        (Value::Decimal(a), Value::Decimal(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(min: i64, max: i64, nulls: u64, distinct: u64) -> ColumnStatistics {
        ColumnStatistics {
            min: Some(Literal::int(min)),
            max: Some(Literal::int(max)),
            nulls: Some(nulls),
            distinct: Some(distinct),
        }
    }

    fn of(parts: &[(u64, Option<&ColumnStatistics>)]) -> ColumnStatistics {
        let part = |(rows, column): &(u64, Option<&ColumnStatistics>)| Part {
            rows: Some(*rows),
            column: column.cloned(),
        };
        of_column(&parts.iter().map(part).collect::<Vec<_>>())
    }

    #[test]
    fn bounds_span_all_files_and_missing_columns_are_null() {
        let (a, b) = (column(1, 5, 2, 5), column(6, 9, 0, 4));
        assert_eq!(of(&[(10, Some(&a)), (4, Some(&b)), (7, None)]), column(1, 9, 9, 9));
        let overlapping = column(5, 9, 0, 4);
        assert_eq!(of(&[(10, Some(&a)), (4, Some(&overlapping))]), column(1, 9, 2, 5));
        let nulls = ColumnStatistics { nulls: Some(3), ..ColumnStatistics::default() };
        assert_eq!(of(&[(10, Some(&a)), (3, Some(&nulls))]), column(1, 5, 5, 5));
        let unknown = ColumnStatistics::default();
        assert_eq!(of(&[(10, Some(&a)), (3, Some(&unknown))]), unknown);
    }
}
