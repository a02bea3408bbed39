//! What is where in an Arrow file: its schema, its record batches and its dictionaries.
//!
//! A file in the file format says so in its footer. A stream says nothing beforehand, so its
//! messages are walked, from header to header. Of each message only the metadata is read.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::{Message, MessageHeader, root_as_footer};
use serde::{Deserialize, Serialize};

use super::error::{corrupt, guarded};
use super::message::{Block, read_metadata};
use crate::batch::logical_type;
use crate::error::{Error, Result};
use crate::memory::{Governor, Reservation};
use crate::sources::file::{FileRef, InputFile};

/// What a file in the file format begins and ends with.
const MAGIC: &[u8; 6] = b"ARROW1";

/// What stands before the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The two forms of Arrow data outside of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// With a footer; also known as Feather, version 2.
    File,
    /// Messages one behind the other.
    Stream,
}

/// A record batch of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) block: Block,
    pub(super) rows: usize,
    /// How many of the dictionary messages come before it.
    pub(super) dictionaries: usize,
}

/// A message with a dictionary, or with more values for one.
#[derive(Debug, Clone, Copy)]
struct Dictionary {
    block: Block,
    id: i64,
    is_delta: bool,
    /// Number of the message that replaces it, if one does.
    replaced: Option<usize>,
}

/// What is where; see the module documentation.
pub struct Contents {
    file: FileRef,
    /// The schema as the file has it.
    stored: SchemaRef,
    /// Names and logical types.
    schema: SchemaRef,
    batches: Vec<Batch>,
    dictionaries: Vec<Dictionary>,
    _held: Reservation,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({})", self.file.path.display())
    }
}

impl Contents {
    /// Finds out what is in a file that must still be what the plan says.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Input` when it changed or is no Arrow file, `OutOfMemory` when
    /// the places of its batches do not fit the budget.
    pub fn read(file: &FileRef, memory: &Governor) -> Result<Arc<Contents>> {
        let opened = InputFile::open(file)?;
        let mut found = guarded(&file.path, || match form(&opened)? {
            Form::File => from_footer(&opened),
            Form::Stream => from_stream(&opened),
        })?;
        opened.check()?;
        note_replaced(&mut found.dictionaries);
        let mut held = memory.reserve("arrow file", 0)?;
        held.grow(
            found.batches.capacity() * size_of::<Batch>()
                + found.dictionaries.capacity() * size_of::<Dictionary>(),
        )?;
        let field = |field: &Arc<Field>| {
            Field::new(field.name(), logical_type(field.data_type()), field.is_nullable())
        };
        let schema = Schema::new(found.schema.fields().iter().map(field).collect::<Vec<_>>());
        Ok(Arc::new(Contents {
            file: file.clone(),
            stored: Arc::new(found.schema),
            schema: Arc::new(schema),
            batches: found.batches,
            dictionaries: found.dictionaries,
            _held: held,
        }))
    }

    /// The file.
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Names and logical types of the columns: strings and binaries are views, dictionaries are
    /// their values.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.rows as u64).sum()
    }

    /// The schema as the file has it.
    pub(super) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// The record batches, in order.
    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The messages that make the dictionaries as they are after the first `messages` of them:
    /// those that were replaced since are left out.
    pub(super) fn dictionaries_after(&self, messages: usize) -> Vec<&Block> {
        let all = self.dictionaries.get(..messages).unwrap_or(&self.dictionaries);
        let is_needed = |dictionary: &&Dictionary| match dictionary.replaced {
            Some(later) => later >= messages,
            None => true,
        };
        all.iter().filter(is_needed).map(|dictionary| &dictionary.block).collect()
    }
}

/// Finds out which messages replace others.
fn note_replaced(dictionaries: &mut [Dictionary]) {
    let mut next = HashMap::new();
    for (number, dictionary) in dictionaries.iter_mut().enumerate().rev() {
        dictionary.replaced = next.get(&dictionary.id).copied();
        if !dictionary.is_delta {
            next.insert(dictionary.id, number);
        }
    }
}

struct Found {
    schema: Schema,
    batches: Vec<Batch>,
    dictionaries: Vec<Dictionary>,
}

fn form(file: &InputFile) -> Result<Form> {
    let mut first = [0; 8];
    if file.size() < first.len() as u64 {
        return Err(corrupt(file.path(), "it is too short"));
    }
    file.read_at(0, &mut first)?;
    if first.starts_with(MAGIC) {
        return Ok(Form::File);
    }
    if first.starts_with(b"FEA1") {
        return Err(Error::input(format!(
            "{} is Feather of version 1; write it again as version 2",
            file.path().display()
        )));
    }
    // Streams of old writers begin with the length of their schema.
    let length = u32::from_le_bytes([first[0], first[1], first[2], first[3]]);
    if first[..4] == CONTINUATION || u64::from(length) < file.size() {
        return Ok(Form::Stream);
    }
    Err(corrupt(file.path(), "it begins with no message"))
}

fn from_footer(file: &InputFile) -> Result<Found> {
    let path = file.path();
    let broken = |what: &str| corrupt(path, what);
    let mut last = [0; 10];
    let end = file.size().checked_sub(last.len() as u64);
    let end = end.filter(|&end| end >= 8).ok_or_else(|| broken("it is too short"))?;
    file.read_at(end, &mut last)?;
    if last[4..] != MAGIC[..] {
        return Err(broken("it has no footer; it may be cut off"));
    }
    let length = i32::from_le_bytes([last[0], last[1], last[2], last[3]]);
    let length = usize::try_from(length).map_err(|_| broken("a footer of negative length"))?;
    let from = end.checked_sub(length as u64);
    let from = from.ok_or_else(|| broken("the footer is longer than the file"))?;
    let mut footer = vec![0; length];
    file.read_at(from, &mut footer)?;
    let footer = root_as_footer(&footer).map_err(|e| broken(&format!("its footer: {e}")))?;
    let schema = footer.schema().ok_or_else(|| broken("its footer has no schema"))?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(broken("its bytes are in the order of another kind of machine"));
    }
    let block = |block: &arrow::ipc::Block| {
        Block::new(file, block.offset(), block.metaDataLength().into(), block.bodyLength())
    };
    let dictionaries = footer.dictionaries().into_iter().flatten().map(|stored| {
        let block = block(stored)?;
        let metadata = read_metadata(file, &block)?;
        dictionary_in(file, block, &metadata.message(path)?)
    });
    let dictionaries = dictionaries.collect::<Result<Vec<_>>>()?;
    let blocks = footer.recordBatches();
    let mut batches = Vec::with_capacity(blocks.map_or(0, |blocks| blocks.len()));
    for stored in blocks.into_iter().flatten() {
        let block = block(stored)?;
        let rows = rows_of(file, &block)?;
        batches.push(Batch { block, rows, dictionaries: dictionaries.len() });
    }
    Ok(Found { schema: fb_to_schema(schema), batches, dictionaries })
}

/// Rows of a record batch, from its metadata.
fn rows_of(file: &InputFile, block: &Block) -> Result<usize> {
    let metadata = read_metadata(file, block)?;
    let message = metadata.message(file.path())?;
    rows_in(file, &message)
}

fn dictionary_in(file: &InputFile, block: Block, message: &Message<'_>) -> Result<Dictionary> {
    let dictionary = message.header_as_dictionary_batch();
    let dictionary = dictionary.ok_or_else(|| corrupt(file.path(), "a dictionary was expected"))?;
    let (id, is_delta) = (dictionary.id(), dictionary.isDelta());
    Ok(Dictionary { block, id, is_delta, replaced: None })
}

fn rows_in(file: &InputFile, message: &Message<'_>) -> Result<usize> {
    let rows = message.header_as_record_batch().map(|batch| batch.length());
    let rows = rows.ok_or_else(|| corrupt(file.path(), "a record batch was expected"))?;
    match u32::try_from(rows) {
        Ok(rows) => Ok(rows as usize),
        Err(_) => Err(corrupt(file.path(), format!("a record batch of {rows} rows"))),
    }
}

fn from_stream(file: &InputFile) -> Result<Found> {
    let path = file.path();
    let mut schema = None;
    let (mut batches, mut dictionaries) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(block) = next_message(file, at)? {
        let metadata = read_metadata(file, &block)?;
        let message = metadata.message(path)?;
        let block = block.with_body(file, message.bodyLength())?;
        match message.header_type() {
            MessageHeader::Schema if schema.is_none() => {
                let stored = message.header_as_schema();
                let stored = stored.ok_or_else(|| corrupt(path, "a schema was expected"))?;
                if !stored.endianness().equals_to_target_endianness() {
                    let what = "its bytes are in the order of another kind of machine";
                    return Err(corrupt(path, what));
                }
                schema = Some(fb_to_schema(stored));
            }
            MessageHeader::DictionaryBatch => {
                dictionaries.push(dictionary_in(file, block, &message)?);
            }
            MessageHeader::RecordBatch => {
                let rows = rows_in(file, &message)?;
                batches.push(Batch { block, rows, dictionaries: dictionaries.len() });
            }
            other => return Err(corrupt(path, format!("a message of kind {other:?}"))),
        }
        at = block.end();
    }
    let schema = schema.ok_or_else(|| corrupt(path, "it has no schema"))?;
    Ok(Found { schema, batches, dictionaries })
}

/// The message at a position of a stream, its body not known yet; `None` at the end.
fn next_message(file: &InputFile, at: u64) -> Result<Option<Block>> {
    let left = file.size() - at;
    if left == 0 {
        return Ok(None);
    }
    let mut head = [0; 8];
    let known = head.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    file.read_at(at, &mut head[..known])?;
    let cut = || corrupt(file.path(), "the stream is cut off");
    let has_mark = head[..4] == CONTINUATION;
    let length = if has_mark { &head[4..] } else { &head[..4] };
    let length = i32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    let prefix = if has_mark { 8 } else { 4 };
    if left < prefix {
        return Err(cut());
    }
    if length == 0 {
        return Ok(None);
    }
    let offset = i64::try_from(at).map_err(|_| cut())?;
    Block::new(file, offset, i64::from(length) + prefix.cast_signed(), 0).map(Some)
}
