//! Nested values without anything under their NULLs: the members of a structure that is NULL are
//! NULL, and a list or a map that is NULL is empty.
//!
//! Whoever reads a member or the elements need not ask for the NULLs around them then. Arrow lets
//! values stand there: files bring them, and functions that only put NULLs over what is there
//! leave them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray, MapArray,
    OffsetSizeTrait, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{nullif, take};
use arrow::datatypes::DataType;

use crate::error::Result;

/// The values without anything under their NULLs. Where nothing is, which takes no copy to find
/// out, they are the same array.
///
/// # Errors
/// Those of Arrow.
pub fn settled(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(changed(array)?.unwrap_or_else(|| array.clone()))
}

/// Whether nothing stands under NULLs.
pub(super) fn is_settled(array: &ArrayRef) -> bool {
    matches!(changed(array), Ok(None))
}

/// What the values become, when something stands under their NULLs.
fn changed(array: &ArrayRef) -> Result<Option<ArrayRef>> {
    match array.data_type() {
        DataType::Struct(_) => changed_struct(array.as_struct()),
        DataType::List(_) => changed_list(array.as_list::<i32>()),
        DataType::LargeList(_) => changed_list(array.as_list::<i64>()),
        DataType::Map(..) => changed_map(array.as_map()),
        DataType::FixedSizeList(..) => changed_fixed(array.as_fixed_size_list()),
        _ => Ok(None),
    }
}

fn changed_struct(of: &StructArray) -> Result<Option<ArrayRef>> {
    let mut columns = of.columns().to_vec();
    let mut is_changed = false;
    for member in &mut columns {
        if let Some(other) = changed_under(member, of.nulls())? {
            *member = other;
            is_changed = true;
        }
    }
    let settled = || StructArray::try_new(of.fields().clone(), columns, of.nulls().cloned());
    Ok(if is_changed { Some(Arc::new(settled()?)) } else { None })
}

/// What values become that are NULL where others are.
fn changed_under(values: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<Option<ArrayRef>> {
    let below = nulls.map(|nulls| masked(values, nulls)).transpose()?.flatten();
    let inside = changed(below.as_ref().unwrap_or(values))?;
    Ok(inside.or(below))
}

/// The values with NULL where others are; nothing when they are NULL there already.
fn masked(values: &ArrayRef, nulls: &NullBuffer) -> Result<Option<ArrayRef>> {
    let hidden = match values.nulls() {
        _ if nulls.null_count() == 0 || *values.data_type() == DataType::Null => return Ok(None),
        Some(own) => (&!nulls.inner() & own.inner()).count_set_bits(),
        None => nulls.null_count(),
    };
    Ok(match values.data_type() {
        _ if hidden == 0 => None,
        // These have no NULLs of their own.
        DataType::Union(..) | DataType::RunEndEncoded(..) => None,
        _ => Some(nullif(values, &BooleanArray::new(!nulls.inner(), None))?),
    })
}

fn changed_list<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<Option<ArrayRef>> {
    if let Some(places) = hidden(lists.offsets(), lists.nulls()) {
        let shown = take(lists, &places, None)?;
        return Ok(Some(settled(&shown)?));
    }
    let (own, offsets) = own(lists.offsets());
    let Some(values) = changed(&lists.values().slice(own.start, own.len()))? else {
        return Ok(None);
    };
    let (DataType::List(field) | DataType::LargeList(field)) = lists.data_type() else {
        return Ok(None);
    };
    let nulls = lists.nulls().cloned();
    Ok(Some(Arc::new(GenericListArray::try_new(field.clone(), offsets, values, nulls)?)))
}

fn changed_map(maps: &MapArray) -> Result<Option<ArrayRef>> {
    if let Some(places) = hidden(maps.offsets(), maps.nulls()) {
        let shown = take(maps, &places, None)?;
        return Ok(Some(settled(&shown)?));
    }
    let (own, offsets) = own(maps.offsets());
    let Some(entries) = changed_struct(&maps.entries().slice(own.start, own.len()))? else {
        return Ok(None);
    };
    let DataType::Map(field, is_sorted) = maps.data_type() else { return Ok(None) };
    let (entries, nulls) = (entries.as_struct().clone(), maps.nulls().cloned());
    Ok(Some(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *is_sorted)?)))
}

/// The places of all lists, with those as NULL that are; nothing when all of these are empty.
fn hidden<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    nulls: Option<&NullBuffer>,
) -> Option<UInt32Array> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    let mut lengths = offsets.windows(2).zip(nulls);
    let is_hidden = lengths.any(|(ends, is_valid)| !is_valid && ends[0] < ends[1]);
    is_hidden.then(|| UInt32Array::new((0..nulls.len() as u32).collect(), Some(nulls.clone())))
}

/// Where the elements of lists are, which may be a small part of an array, and the offsets in that
/// part.
fn own<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (Range<usize>, OffsetBuffer<O>) {
    let first = offsets.first().copied().unwrap_or_default();
    let last = offsets.last().copied().unwrap_or_default();
    let range = first.as_usize()..last.as_usize();
    if first == O::default() {
        return (range, offsets.clone());
    }
    (range, OffsetBuffer::new(offsets.iter().map(|&offset| offset - first).collect()))
}

fn changed_fixed(lists: &FixedSizeListArray) -> Result<Option<ArrayRef>> {
    let nulls = lists.nulls().map(|nulls| nulls.expand(lists.value_length() as usize));
    let Some(values) = changed_under(lists.values(), nulls.as_ref())? else { return Ok(None) };
    let DataType::FixedSizeList(field, size) = lists.data_type() else { return Ok(None) };
    let (nulls, rows) = (lists.nulls().cloned(), lists.len());
    let settled =
        FixedSizeListArray::try_new_with_length(field.clone(), *size, values, nulls, rows)?;
    Ok(Some(Arc::new(settled)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::{Field, Fields, Int64Type};

    use super::*;

    const NULLS: [bool; 4] = [true, false, true, false];

    fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(values))
    }

    fn fields(members: &[(&str, &ArrayRef)]) -> Fields {
        let field =
            |(name, array): &(&str, &ArrayRef)| Field::new(*name, array.data_type().clone(), true);
        members.iter().map(field).collect()
    }

    /// A map of two entries each.
    fn maps(keys: &ArrayRef, values: &ArrayRef, nulls: &[bool]) -> ArrayRef {
        let fields = Fields::from(vec![
            Field::new("keys", keys.data_type().clone(), false),
            Field::new("values", values.data_type().clone(), true),
        ]);
        let entries = StructArray::new(fields, vec![keys.clone(), values.clone()], None);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let offsets = OffsetBuffer::from_repeated_length(2, nulls.len());
        Arc::new(MapArray::new(field, offsets, entries, Some(nulls.to_vec().into()), false))
    }

    fn pairs(keys: &ArrayRef, values: &ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
        let fields = fields(&[("keys", keys), ("values", values)]);
        Arc::new(StructArray::new(fields, vec![keys.clone(), values.clone()], nulls))
    }

    /// Lists of two values each.
    fn lists(values: &ArrayRef, nulls: &[bool]) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_repeated_length(2, nulls.len());
        Arc::new(ListArray::new(field, offsets, values.clone(), Some(nulls.to_vec().into())))
    }

    #[test]
    fn members_of_a_null_are_null_at_any_depth() {
        let inner = pairs(&numbers(0..4), &lists(&numbers(0..8), &[true; 4]), None);
        let outer = pairs(&numbers(0..4), &inner, Some(NULLS.to_vec().into()));
        assert!(!is_settled(&outer));
        for part in [settled(&outer), settled(&outer.slice(1, 3))] {
            let part = part.expect("settled");
            let nulls = part.nulls().expect("NULLs").clone();
            assert!(is_settled(&part));
            let [keys, inner] = part.as_struct().columns() else { panic!("two members") };
            assert_eq!(keys.nulls(), Some(&nulls));
            assert_eq!(inner.nulls(), Some(&nulls));
            let lists = inner.as_struct().column(1).as_list::<i32>();
            assert_eq!(lists.nulls(), Some(&nulls));
            let lengths: Vec<usize> = lists.offsets().lengths().collect();
            assert_eq!(
                lengths,
                nulls.iter().map(|is_valid| 2 * usize::from(is_valid)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn lists_that_are_null_are_empty_and_the_others_stay() {
        let inner = lists(&numbers(0..16), &[true, true, true, false, true, false, true, true]);
        let outer = lists(&inner, &NULLS);
        let part = settled(&outer.slice(1, 3)).expect("settled");
        let inner =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(8), Some(9)]), None]);
        let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([0, 2, 0]);
        let nulls = Some(vec![false, true, false].into());
        let wanted: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(inner), nulls));
        assert_eq!(&part, &wanted);
        assert_eq!(part.as_list::<i32>().values().len(), 2);
    }

    #[test]
    fn maps_and_lists_of_one_length_are_settled_too() {
        let inside = pairs(
            &numbers(0..8),
            &numbers(8..16),
            Some(vec![true, true, true, true, false, true, true, true].into()),
        );
        let maps = settled(&maps(&numbers(0..8), &inside, &NULLS)).expect("settled");
        let entries = maps.as_map().entries();
        assert_eq!((entries.len(), entries.column(1).as_struct().column(0).null_count()), (4, 1));
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let fixed = FixedSizeListArray::new(field, 2, numbers(0..8), Some(NULLS.to_vec().into()));
        let fixed: ArrayRef = Arc::new(fixed);
        let fixed = settled(&fixed).expect("settled");
        assert_eq!(fixed.as_fixed_size_list().values().null_count(), 4);
        assert!(is_settled(&maps) && is_settled(&fixed));
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_hidden() {
        let outer = lists(&pairs(&numbers(0..8), &numbers(0..8), None), &[true; 4]);
        assert!(Arc::ptr_eq(&settled(&outer).expect("settled"), &outer));
        let flat = numbers(0..8);
        assert!(Arc::ptr_eq(&settled(&flat).expect("settled"), &flat));
    }
}
