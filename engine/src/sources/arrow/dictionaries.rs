//! The dictionaries that a record batch refers to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arrow::array::{AnyDictionaryArray, Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::RecordBatchDecoder;

use super::contents::Contents;
use super::error::{corrupt, from_arrow, guarded};
use super::message::{assemble, read_metadata};
use crate::batch::{Column, Domain, Indices, NULL_INDEX, to_physical};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::sources::file::InputFile;

/// The dictionaries of some record batches, decoded.
pub(super) struct Dictionaries {
    pub(super) by_id: HashMap<i64, ArrayRef>,
    /// For columns of the file, by position: the values as columns hold them.
    values: Mutex<HashMap<usize, (ArrayRef, Domain)>>,
    _held: Reservation,
}

/// Those that somebody is using, by the number of messages that they come from.
#[derive(Default)]
pub(super) struct DictionaryCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    used: HashMap<usize, Weak<Dictionaries>>,
    /// The last ones, which the next batch is likely to want.
    last: Option<Arc<Dictionaries>>,
}

impl DictionaryCache {
    /// The dictionaries as they are after the first `messages` messages.
    pub(super) fn get(
        &self,
        file: &InputFile,
        contents: &Contents,
        messages: usize,
        held: impl FnOnce() -> Result<Reservation>,
    ) -> Result<Arc<Dictionaries>> {
        let mut cache = self.lock();
        if let Some(known) = cache.used.get(&messages).and_then(Weak::upgrade) {
            return Ok(known);
        }
        cache.last = None;
        let read = || Dictionaries::read(file, contents, messages, held()?);
        let dictionaries = Arc::new(guarded(file.path(), read)?);
        cache.used.retain(|_, dictionaries| dictionaries.strong_count() > 0);
        cache.used.insert(messages, Arc::downgrade(&dictionaries));
        cache.last = Some(dictionaries.clone());
        Ok(dictionaries)
    }

    /// No batch will come any more: what nobody is using is dropped.
    pub(super) fn release(&self) {
        self.lock().last = None;
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Dictionaries {
    fn read(
        file: &InputFile,
        contents: &Contents,
        messages: usize,
        mut held: Reservation,
    ) -> Result<Dictionaries> {
        let path = file.path();
        let mut by_id = HashMap::new();
        for block in contents.dictionaries_after(messages) {
            let metadata = read_metadata(file, block)?;
            let message = metadata.message(path)?;
            let dictionary = message.header_as_dictionary_batch();
            let dictionary =
                dictionary.ok_or_else(|| corrupt(path, "a dictionary was expected"))?;
            let batch = dictionary.data().ok_or_else(|| corrupt(path, "an empty dictionary"))?;
            let all: Vec<usize> = (0..batch.buffers().map_or(0, |all| all.len())).collect();
            let assembled = assemble(file, block, &batch, &all, &mut held)?;
            let value_type = value_type(contents.stored(), dictionary.id())
                .ok_or_else(|| corrupt(path, "a dictionary that no column has"))?;
            let schema = Arc::new(Schema::new(vec![Field::new("", value_type, true)]));
            let batch = assembled.batch(path)?;
            let (body, version) = (&assembled.body, message.version());
            let decoded = RecordBatchDecoder::try_new(body, batch, schema, &by_id, &version)
                .and_then(RecordBatchDecoder::read_record_batch)
                .map_err(|e| from_arrow(path, e))?;
            let mut values = decoded.column(0).clone();
            if dictionary.isDelta() {
                let known = by_id.get(&dictionary.id());
                let known = known.ok_or_else(|| corrupt(path, "values for no dictionary"))?;
                values = concat(&[known, &values]).map_err(|e| from_arrow(path, e))?;
            }
            by_id.insert(dictionary.id(), values);
        }
        Ok(Dictionaries { by_id, values: Mutex::default(), _held: held })
    }

    /// A column of codes into the dictionary of the file's column at `position`.
    pub(super) fn column(
        &self,
        position: usize,
        logical: &DataType,
        array: &dyn AnyDictionaryArray,
    ) -> Result<Column> {
        let (base, domain) = {
            let mut values = self.values.lock().unwrap_or_else(|e| e.into_inner());
            match values.get(&position) {
                Some(known) => known.clone(),
                None => {
                    let new = (to_physical(array.values())?, Domain::unique());
                    values.insert(position, new.clone());
                    new
                }
            }
        };
        let rows = array.keys().len();
        if base.is_empty() {
            let codes = Indices::with_nulls(vec![NULL_INDEX; rows]);
            return Ok(Column::indexed(logical.clone(), Arc::new(codes), base, Some(domain)));
        }
        let code =
            |key: usize| u32::try_from(key).ok().filter(|&code| (code as usize) < base.len());
        let keys = array.normalized_keys().into_iter().map(code).collect::<Option<Vec<u32>>>();
        let mut codes = keys.ok_or_else(|| Error::internal("a code beyond its dictionary"))?;
        let indices = match array.keys().nulls() {
            Some(nulls) => {
                let valid = nulls.iter();
                codes.iter_mut().zip(valid).filter(|(_, v)| !v).for_each(|(c, _)| *c = NULL_INDEX);
                Indices::with_nulls(codes)
            }
            None => Indices::new(codes),
        };
        Ok(Column::indexed(logical.clone(), Arc::new(indices), base, Some(domain)))
    }
}

/// The type of the values of the dictionary with this number.
#[allow(deprecated, reason = "the decoder itself finds dictionaries by the numbers in fields")]
fn value_type(schema: &Schema, id: i64) -> Option<DataType> {
    let field = schema.fields_with_dict_id(id).into_iter().next()?;
    match field.data_type() {
        DataType::Dictionary(_, values) => Some(values.as_ref().clone()),
        _ => None,
    }
}
