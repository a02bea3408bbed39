//! What values of several types are cast to where they meet.
//!
//! The borrowed coercion brings most types together; here is what it gets wrong, at any depth of
//! lists, structures and maps:
//!
//! * **A double meets a decimal as a double.** The coercion makes decimals of the two: a double
//!   beyond their digits becomes zero or an error there, and so do NaN and the infinities. The same
//!   is true of a BIGINT UNSIGNED and an integer with a sign, which meet as decimals, when a double
//!   is with them. In other engines and the standard approximate wins over exact.
//! * **A date meets a timestamp** as one of its precision, and so does a text where it is compared;
//!   the coercion makes nanoseconds of them and of the timestamps: those hold the years from 1677
//!   to 2262 only.
//! * **Times of a day** that count different units meet in the finest one; the coercion knows no
//!   type for seconds and nanoseconds.
//! * **A date meets no integer**: the coercion would count days since 1970.
//!
//! Sound: every decimal has a nearest double, every date is a timestamp.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use datafusion_common::{Result, plan_err};
use datafusion_expr::type_coercion::binary::{comparison_coercion, type_union_coercion};

use super::timezone::{UTC, is_utc};

/// What values meet for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// Texts are moments where moments are.
    Compared,
    /// The result is one of them. Texts are moments if they are constants.
    Chosen,
    /// They are rows of one column.
    United,
    /// They are added, or subtracted: a text may be an interval, an integer may be days.
    Added,
    Other,
}

/// What values of these types are cast to, those that need it before the borrowed coercion sees
/// them. A type may be unknown.
///
/// # Errors
/// When they have no common type, though the borrowed coercion knows one.
pub(crate) fn targets(
    types: &[Option<DataType>],
    meeting: Meeting,
) -> Result<Vec<Option<DataType>>> {
    let known: Vec<&DataType> = types.iter().flatten().collect();
    if known.iter().any(|t| t.is_nested()) {
        let common = nested(&known, meeting)?;
        let target = |t: &Option<DataType>| {
            let common = common.as_ref()?;
            t.as_ref().filter(|t| !t.is_null() && *t != common).map(|_| common.clone())
        };
        return Ok(types.iter().map(target).collect());
    }
    let has_double = known.iter().any(|t| t.is_floating());
    let is_exact = |t: &DataType| {
        let has_sign = || known.iter().any(|t| t.is_signed_integer());
        t.is_decimal() || *t == DataType::UInt64 && has_sign()
    };
    if has_double && known.iter().any(|t| is_exact(t)) {
        let target = |t: &DataType| is_exact(t).then_some(DataType::Float64);
        return Ok(types.iter().map(|t| t.as_ref().and_then(target)).collect());
    }
    let is_date = |t: &&DataType| matches!(t, DataType::Date32 | DataType::Date64);
    if let (Some(date), Some(integer)) =
        (known.iter().find(|t| is_date(t)), known.iter().find(|t| t.is_integer()))
        && !matches!(meeting, Meeting::Added | Meeting::Other)
    {
        return plan_err!("{date} and {integer} have no common type; cast one of them");
    }
    Ok(match meeting {
        Meeting::Other => vec![None; types.len()],
        _ if known.iter().any(|t| time_unit(t).is_some()) => times(types),
        meeting => moments(types, matches!(meeting, Meeting::Compared | Meeting::Chosen)),
    })
}

/// The type of values of these types that meet, if there is one.
///
/// # Errors
/// As `targets`.
pub(crate) fn common_type(types: &[&DataType], meeting: Meeting) -> Result<Option<DataType>> {
    let known: Vec<Option<DataType>> = types.iter().map(|t| Some((*t).clone())).collect();
    let targets = targets(&known, meeting)?;
    let mut met = targets.into_iter().zip(types).map(|(to, from)| to.unwrap_or((*from).clone()));
    let coerced = |left: DataType, right: DataType| match meeting {
        Meeting::Compared => comparison_coercion(&left, &right),
        _ => type_union_coercion(&left, &right),
    };
    let first = met.next();
    Ok(first.and_then(|first| met.try_fold(first, coerced)))
}

/// The type of nested values that the borrowed coercion gets wrong.
fn nested(types: &[&DataType], meeting: Meeting) -> Result<Option<DataType>> {
    let mut types: Vec<&DataType> = types.iter().copied().filter(|t| !t.is_null()).collect();
    types.dedup();
    let [first, others @ ..] = &types[..] else { return Ok(None) };
    if others.is_empty() {
        return Ok(None);
    }
    Ok(match first {
        DataType::Struct(fields) => {
            let all = types.iter().map(|t| match t {
                DataType::Struct(fields) => Some(fields),
                _ => None,
            });
            let Some(all) = all.collect::<Option<Vec<_>>>() else { return Ok(None) };
            members(fields, &all, meeting)?.map(DataType::Struct)
        }
        DataType::Map(entries, is_sorted) => {
            let all = types.iter().map(|t| match t {
                DataType::Map(entries, _) => Some(entries.data_type()),
                _ => None,
            });
            let Some(all) = all.collect::<Option<Vec<_>>>() else { return Ok(None) };
            nested(&all, meeting)?
                .map(|common| DataType::Map(of_type(entries, common, false), *is_sorted))
        }
        _ => {
            let Some(all) = types.iter().map(|t| element(t)).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            let each: Vec<&DataType> = all.iter().map(|field| field.data_type()).collect();
            let is_large = types.iter().any(|t| matches!(t, DataType::LargeList(_)));
            inner(&each, meeting)?.map(|common| {
                let field = of_type(all[0], common, true);
                if is_large { DataType::LargeList(field) } else { DataType::List(field) }
            })
        }
    })
}

/// The type of what is in nested values, if one of them is cast to another than the borrowed
/// coercion would.
fn inner(types: &[&DataType], meeting: Meeting) -> Result<Option<DataType>> {
    let known: Vec<Option<DataType>> = types.iter().map(|t| Some((*t).clone())).collect();
    if targets(&known, meeting)?.iter().all(Option::is_none) {
        return Ok(None);
    }
    common_type(types, meeting)
}

/// The members of structures: those of one name, or, where the names differ, those in one place.
fn members(first: &Fields, all: &[&Fields], meeting: Meeting) -> Result<Option<Fields>> {
    if all.iter().any(|fields| fields.len() != first.len()) {
        return Ok(None);
    }
    let are_named = all.iter().all(|fields| first.iter().all(|f| fields.find(f.name()).is_some()));
    let mut common = Vec::with_capacity(first.len());
    let mut is_ours = false;
    for (at, field) in first.iter().enumerate() {
        let mut members = Vec::with_capacity(all.len());
        for fields in all {
            members.push(match fields.find(field.name()) {
                Some((_, member)) if are_named => member,
                _ => &fields[at],
            });
        }
        let types: Vec<&DataType> = members.iter().map(|member| member.data_type()).collect();
        is_ours |= inner(&types, meeting)?.is_some();
        let Some(met) = common_type(&types, meeting)? else { return Ok(None) };
        common.push(of_type(field, met, members.iter().any(|member| member.is_nullable())));
    }
    Ok(is_ours.then(|| common.into()))
}

fn of_type(field: &FieldRef, data_type: DataType, nullable: bool) -> FieldRef {
    let nullable = nullable || field.is_nullable();
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(nullable))
}

fn element(lists: &DataType) -> Option<&FieldRef> {
    match lists {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field)
        }
        _ => None,
    }
}

/// What moments of different types are cast to. Texts are moments where they are `compared`.
fn moments(types: &[Option<DataType>], compared: bool) -> Vec<Option<DataType>> {
    let stamps = types.iter().flatten().filter_map(|data_type| match data_type {
        DataType::Timestamp(unit, zone) => Some((*unit, zone.as_ref())),
        _ => None,
    });
    let Some(finest) = stamps.clone().map(|(unit, _)| unit).max() else {
        return vec![None; types.len()];
    };
    let mut zones = stamps.filter_map(|(_, zone)| zone);
    let has_other = zones.clone().any(|zone| !is_utc(zone));
    let zone: Option<Arc<str>> =
        zones.next().map(|zone| if has_other { UTC.into() } else { zone.clone() });
    let target = |data_type: &Option<DataType>| match data_type.as_ref()? {
        DataType::Date32 | DataType::Date64 => Some(DataType::Timestamp(finest, zone.clone())),
        DataType::Timestamp(unit, None) if has_other => {
            Some(DataType::Timestamp(*unit, zone.clone()))
        }
        text if compared && text.is_string() => {
            Some(DataType::Timestamp(finest.max(TimeUnit::Microsecond), zone.clone()))
        }
        _ => None,
    };
    types.iter().map(target).collect()
}

/// The unit that times of a day count.
fn time_unit(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::Time32(unit) | DataType::Time64(unit) => Some(*unit),
        _ => None,
    }
}

/// What times of a day are cast to, which are the only moments among others of these types.
fn times(types: &[Option<DataType>]) -> Vec<Option<DataType>> {
    let units = types.iter().flatten().filter_map(time_unit);
    let common = units.max().map(|finest| match finest {
        TimeUnit::Second | TimeUnit::Millisecond => DataType::Time32(finest),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => DataType::Time64(finest),
    });
    let target = |data_type: &Option<DataType>| {
        let unit = time_unit(data_type.as_ref()?);
        common.clone().filter(|common| unit.is_some() && data_type.as_ref() != Some(common))
    };
    types.iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: DataType) -> DataType {
        DataType::new_list(of, true)
    }

    fn structure(of: &[(&str, DataType)]) -> DataType {
        use arrow::datatypes::Field;
        let fields = of.iter().map(|(name, t)| Field::new(*name, t.clone(), true));
        DataType::Struct(fields.collect())
    }

    #[test]
    fn approximate_wins_over_exact_at_any_depth() {
        use DataType::{Decimal128, Float32, Float64, Int64, UInt64, Utf8};
        let decimal = Decimal128(10, 2);
        let cases = [
            (vec![decimal.clone(), Float64], Some(Float64)),
            (vec![decimal.clone(), Float32], Some(Float64)),
            (vec![UInt64, Int64, Float64], Some(Float64)),
            (vec![UInt64, Int64], Some(Decimal128(20, 0))),
            (vec![list(decimal.clone()), list(Float64)], Some(list(Float64))),
            (
                vec![list(DataType::Null), list(Int64), list(UInt64), list(Float64)],
                Some(list(Float64)),
            ),
            (vec![list(list(Float64)), list(list(decimal.clone()))], Some(list(list(Float64)))),
            (
                vec![
                    structure(&[("a", decimal.clone()), ("b", Utf8)]),
                    structure(&[("b", Utf8), ("a", Float64)]),
                ],
                Some(structure(&[("a", Float64), ("b", Utf8)])),
            ),
            (vec![list(Utf8), structure(&[("a", Int64)])], None),
        ];
        for (types, wanted) in cases {
            let of: Vec<&DataType> = types.iter().collect();
            let common = common_type(&of, Meeting::United).expect("no dates among integers");
            assert_eq!(common, wanted, "{types:?}");
        }
    }

    #[test]
    fn integers_are_no_dates_but_in_sums() {
        let types = [Some(DataType::Int32), Some(DataType::Date32)];
        for meeting in [Meeting::Compared, Meeting::Chosen, Meeting::United] {
            targets(&types, meeting).expect_err("no common type");
            let lists = types.clone().map(|t| t.map(list));
            targets(&lists, meeting).expect_err("no common type of elements");
        }
        assert_eq!(targets(&types, Meeting::Added).expect("days"), [None, None]);
    }

    #[test]
    fn times_of_a_day_meet_in_the_finest_unit() {
        use TimeUnit::{Microsecond, Millisecond, Second};
        let (seconds, micros) = (DataType::Time32(Second), DataType::Time64(Microsecond));
        let types = [Some(seconds.clone()), Some(micros.clone()), Some(DataType::Null)];
        let met = targets(&types, Meeting::Compared).expect("times");
        assert_eq!(met, [Some(micros), None, None]);
        let types = [Some(seconds), Some(DataType::Time32(Millisecond))];
        let met = targets(&types, Meeting::United).expect("times");
        assert_eq!(met, [Some(DataType::Time32(Millisecond)), None]);
    }
}
