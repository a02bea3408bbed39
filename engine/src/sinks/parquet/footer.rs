//! What a file ends with: the page indexes of all row groups, and the footer that says where
//! pages and indexes are.
//!
//! ```text
//! file = PAR1 | row groups | column indexes | offset indexes | footer | its length | PAR1
//! ```
//!
//! A row group is remembered by the bytes that these parts will have of it, which are far less
//! than what the `parquet` crate keeps. The crate writes them: once per row group, as the end of a
//! file that has no other; and once per file, as the footer of a file that has none, in which our
//! row groups then take their place. Where page indexes are is known at the end only; those fields
//! are written anew.
//!
//! Memory: see `remembered`; and the bytes of one row group.

use std::io::Write;
use std::sync::Arc;

use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::encode::Format;
use super::remembered::{Remembered, Section};
use crate::error::{Error, Result};
use crate::memory::Governor;
use crate::thrift::{
    Compact, Fault, FieldWriter, Fields, Read, TYPE_I32, TYPE_I64, TYPE_LIST, TYPE_STRUCT,
};

/// What files begin and end with.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";

/// Of a footer, the field of the row groups; the number of rows is before it.
const ROWS: i16 = 3;
const GROUPS: i16 = 4;

/// Of a row group, the field of its columns.
const COLUMNS: i16 = 1;

/// Of a column, the last field before those that say where its page indexes are, and these.
const COLUMN_FACTS: i16 = 3;
const OFFSET_INDEX_AT: i16 = 4;
const OFFSET_INDEX_BYTES: i16 = 5;
const COLUMN_INDEX_AT: i16 = 6;
const COLUMN_INDEX_BYTES: i16 = 7;

/// What is known of a row group that is written.
pub(super) struct WrittenGroup {
    pub metadata: RowGroupMetaData,
    pub column_indexes: Vec<Option<ColumnIndexMetaData>>,
    pub offset_indexes: Vec<Option<OffsetIndexMetaData>>,
}

/// The end of a file under construction; see the module documentation.
pub(super) struct Footer {
    remembered: Remembered,
    groups: usize,
    rows: i64,
    /// Metadata of a file without columns: only row groups are wanted of it.
    bare: FileMetaData,
}

impl Footer {
    /// The end of a file that has no row groups yet.
    pub fn new(memory: &Governor, who: &'static str) -> ParquetResult<Self> {
        let schema = SchemaDescriptor::new(Arc::new(Type::group_type_builder("bare").build()?));
        let bare = FileMetaData::new(1, 0, None, None, Arc::new(schema), None);
        Ok(Footer { remembered: Remembered::new(memory, who), groups: 0, rows: 0, bare })
    }

    /// Row groups so far.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.remembered.held_bytes()
    }

    /// Remembers the next row group.
    ///
    /// # Errors
    /// `OutOfMemory` or `Io` when it has no room in memory and cannot be written to disk.
    pub fn add(&mut self, group: WrittenGroup, format: &Format) -> Result<()> {
        self.groups += 1;
        self.rows += group.metadata.num_rows();
        let columns = group.column_indexes.into_iter();
        let columns = columns.map(|index| index.unwrap_or(ColumnIndexMetaData::NONE)).collect();
        let offsets = group.offset_indexes.into_iter().collect::<Option<Vec<_>>>();
        let alone = ParquetMetaDataBuilder::new(self.bare.clone())
            .add_row_group(group.metadata)
            .set_column_index(Some(vec![columns]))
            .set_offset_index(offsets.map(|offsets| vec![offsets]))
            .build();
        let mut bytes = Vec::new();
        let written = ParquetMetaDataWriter::new(&mut bytes, &alone).finish();
        written.map_err(|e| format.error(e))?;
        let [columns, offsets, group] = split(&bytes).map_err(unreadable)?;
        self.remembered.push(Section::ColumnIndexes, columns.into())?;
        self.remembered.push(Section::OffsetIndexes, offsets.into())?;
        self.remembered.push(Section::Groups, group.into())
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// `Io` when it cannot be written, `OutOfMemory` or `Io` when what is remembered cannot be
    /// read, `Input` when it is longer than a file can have it.
    pub fn write<W: Write>(self, format: &Format, output: &mut TrackedWrite<W>) -> Result<()> {
        let failed = |e| Error::io("write", format.path(), e);
        let empty = format.empty_file()?;
        let frame = Frame::of(&empty).map_err(unreadable)?;
        let mut remembered = self.remembered.finish()?;
        let mut places = Places { column_index: output.bytes_written() as i64, offset_index: 0 };
        remembered.each(Section::ColumnIndexes, |bytes| output.write_all(bytes).map_err(failed))?;
        places.offset_index = output.bytes_written() as i64;
        remembered.each(Section::OffsetIndexes, |bytes| output.write_all(bytes).map_err(failed))?;

        let start = output.bytes_written();
        let mut bytes = frame.before.to_vec();
        let mut fields = FieldWriter::after(ROWS - 1, &mut bytes);
        fields.i64(ROWS, self.rows);
        fields.list(GROUPS, TYPE_STRUCT, self.groups);
        output.write_all(&bytes).map_err(failed)?;
        remembered.each(Section::Groups, |group| {
            bytes.clear();
            places.write(&Group::of(group).map_err(unreadable)?, &mut bytes);
            output.write_all(&bytes).map_err(failed)
        })?;
        output.write_all(frame.after).map_err(failed)?;
        let Ok(length) = u32::try_from(output.bytes_written() - start) else {
            let path = format.path().display();
            return Err(Error::input(format!(
                "the footer of {path} would have more than 4 GB; write several files, or larger \
                 row groups, for which more memory may be needed"
            )));
        };
        output.write_all(&length.to_le_bytes()).map_err(failed)?;
        output.write_all(&MAGIC).map_err(failed)
    }
}

/// Ours is not what the crate wrote.
fn unreadable(_: Fault) -> Error {
    Error::internal("a footer that was just written cannot be read")
}

/// Takes the end of a file that has one row group apart: its column indexes, its offset indexes,
/// and what the footer says of it.
fn split(end: &[u8]) -> Read<[&[u8]; 3]> {
    let group = Frame::of(end)?.groups;
    let columns = Group::of(group)?.columns;
    let bytes = |length: Option<i32>| length.map_or(Ok(0), usize::try_from);
    let sum = |of: fn(&Column<'_>) -> Option<i32>| -> Result<usize, _> {
        columns.iter().map(|column| bytes(of(column))).sum()
    };
    let column_bytes = sum(|column| column.column_index).map_err(|_| Fault::Malformed)?;
    let offset_bytes = sum(|column| column.offset_index).map_err(|_| Fault::Malformed)?;
    let (column_indexes, rest) = end.split_at_checked(column_bytes).ok_or(Fault::Short)?;
    let offset_indexes = rest.get(..offset_bytes).ok_or(Fault::Short)?;
    Ok([column_indexes, offset_indexes, group])
}

/// The parts of a footer.
struct Frame<'a> {
    /// What is before the number of rows.
    before: &'a [u8],
    /// The row groups, one behind the other.
    groups: &'a [u8],
    after: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The footer that bytes end with, as a file does.
    fn of(file: &'a [u8]) -> Read<Frame<'a>> {
        let (file, [length @ .., _, _, _, _]) = file.split_last_chunk::<8>().ok_or(Fault::Short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let start = file.len().checked_sub(length).ok_or(Fault::Short)?;
        let footer = &file[start..];

        let (mut input, mut fields) = (Compact::new(footer), Fields::default());
        let (mut before, mut groups) = (0, None);
        while let Some((id, field)) = fields.next(&mut input)? {
            if (id, field) == (GROUPS, TYPE_LIST) {
                let count = input.list(TYPE_STRUCT)?;
                let start = input.position();
                (0..count).try_for_each(|_| input.skip(TYPE_STRUCT))?;
                groups = Some(start..input.position());
                continue;
            }
            input.skip(field)?;
            if id < ROWS {
                before = input.position();
            }
        }
        let groups = groups.ok_or(Fault::Malformed)?;
        Ok(Frame {
            before: &footer[..before],
            groups: &footer[groups.clone()],
            after: &footer[groups.end..],
        })
    }
}

/// What a footer says of a row group.
struct Group<'a> {
    columns: Vec<Column<'a>>,
    /// What stands behind the columns.
    rest: &'a [u8],
}

/// What a footer says of a column of a row group.
struct Column<'a> {
    /// Its bytes up to where its page indexes are.
    bytes: &'a [u8],
    /// The lengths of its page indexes.
    offset_index: Option<i32>,
    column_index: Option<i32>,
}

impl<'a> Group<'a> {
    fn of(bytes: &'a [u8]) -> Read<Group<'a>> {
        let mut input = Compact::new(bytes);
        if Fields::default().next(&mut input)? != Some((COLUMNS, TYPE_LIST)) {
            return Err(Fault::Malformed);
        }
        let count = input.list(TYPE_STRUCT)?;
        let columns = (0..count).map(|_| Column::next(bytes, &mut input));
        let columns = columns.collect::<Read<Vec<_>>>()?;
        Ok(Group { columns, rest: &bytes[input.position()..] })
    }
}

impl<'a> Column<'a> {
    /// Reads a column from `input`, which reads `bytes`.
    fn next(bytes: &'a [u8], input: &mut Compact<'a>) -> Read<Column<'a>> {
        let start = input.position();
        let mut column = Column { bytes: &[], offset_index: None, column_index: None };
        let mut fields = Fields::default();
        while let Some((id, field)) = fields.next(input)? {
            match (id, field) {
                (..=COLUMN_FACTS, _) => {
                    input.skip(field)?;
                    column.bytes = &bytes[start..input.position()];
                }
                (OFFSET_INDEX_AT | COLUMN_INDEX_AT, TYPE_I64) => drop(input.integer()?),
                (OFFSET_INDEX_BYTES, TYPE_I32) => {
                    column.offset_index = Some(input.length()? as i32);
                }
                (COLUMN_INDEX_BYTES, TYPE_I32) => {
                    column.column_index = Some(input.length()? as i32);
                }
                _ => return Err(Fault::Malformed),
            }
        }
        Ok(column)
    }
}

/// Where the next page indexes are in the file.
struct Places {
    column_index: i64,
    offset_index: i64,
}

impl Places {
    /// Appends what the footer says of a row group whose page indexes are the next.
    fn write(&mut self, group: &Group<'_>, out: &mut Vec<u8>) {
        FieldWriter::after(0, out).list(COLUMNS, TYPE_STRUCT, group.columns.len());
        for column in &group.columns {
            out.extend_from_slice(column.bytes);
            let mut fields = FieldWriter::after(COLUMN_FACTS, out);
            if let Some(length) = column.offset_index {
                fields.i64(OFFSET_INDEX_AT, self.offset_index);
                fields.i32(OFFSET_INDEX_BYTES, length);
                self.offset_index += i64::from(length);
            }
            if let Some(length) = column.column_index {
                fields.i64(COLUMN_INDEX_AT, self.column_index);
                fields.i32(COLUMN_INDEX_BYTES, length);
                self.column_index += i64::from(length);
            }
            fields.stop();
        }
        out.extend_from_slice(group.rest);
    }
}
