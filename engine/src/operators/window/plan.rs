//! From calls to frames and evaluators: what is known before the first row.
//!
//! Calls with the same window share its frames. A call needs the frames that its function is made
//! of: `lag` one row, `cume_dist` the partition and the rows up to the last peer.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::Window;
use super::aggregate::Aggregates;
use super::bounds::{Bounds, Edge, GroupEdge};
use super::evaluate::Evaluate;
use super::lane::{Lane, presence, small_integers};
use super::range::{RangeBound, range_edge};
use super::rank::{Rank, RankKind, Share, ShareKind};
use super::store::Reader;
use super::values::{Choice, Otherwise, ValidRows, ValueOf};
use crate::batch::physical_type;
use crate::error::{Error, Result};
use crate::expr::{
    Frame, FrameBound, FrameUnits, Literal, Over, SortKey, Value, WindowArgument, WindowCall,
    WindowKind,
};
use crate::memory::rows::RowOrder;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Plan {
    /// The logical types of the input's columns.
    pub(super) types: Vec<DataType>,
    pub(super) keys: Vec<SortKey>,
    order: Vec<RowOrder>,
    /// Which columns of the input may be NULL.
    nullable: Vec<bool>,
    calls: Vec<WindowCall>,
    /// The distinct windows.
    frames: Vec<(Over, Frame)>,
    /// By call, the numbers of its windows.
    frames_of: Vec<Vec<usize>>,
    pub(super) schema: SchemaRef,
}

impl Plan {
    /// # Errors
    /// `Internal` when a call does not fit the input, `Input` when its types or constants are not
    /// supported.
    pub(super) fn new(spec: &Window, input: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        let fields = input.fields();
        let order = spec.keys.iter().map(|key| RowOrder {
            column: key.column,
            descending: key.descending,
            nulls_first: key.nulls_first,
            nullable: fields.get(key.column).is_none_or(|field| field.is_nullable()),
        });
        let mut plan = Plan {
            types: fields.iter().map(|field| field.data_type().clone()).collect(),
            keys: spec.keys.clone(),
            order: order.collect(),
            nullable: fields.iter().map(|field| field.is_nullable()).collect(),
            calls: spec.calls.clone(),
            frames: Vec::new(),
            frames_of: Vec::new(),
            schema,
        };
        for call in &spec.calls {
            let frames = frames_of(call)?.into_iter().map(|frame| plan.frame(call.over, frame));
            let frames = frames.collect();
            plan.frames_of.push(frames);
        }
        // What cannot be built is refused before the first row.
        plan.bounds()?;
        plan.evaluators()?;
        Ok(plan)
    }

    /// The order of the rows.
    pub(super) fn order(&self) -> &[RowOrder] {
        &self.order
    }

    /// The keys that all calls have in their partitions.
    pub(super) fn partition(&self) -> usize {
        self.calls.iter().map(|call| call.over.partition).min().unwrap_or(self.keys.len())
    }

    /// The logical types of what a store holds: the input's columns, then the marks of key changes.
    pub(super) fn stored_types(&self) -> Arc<[DataType]> {
        self.types.iter().cloned().chain([DataType::UInt16]).collect()
    }

    fn frame(&mut self, over: Over, frame: Frame) -> usize {
        let wanted = (over, frame);
        match self.frames.iter().position(|known| *known == wanted) {
            Some(known) => known,
            None => {
                self.frames.push(wanted);
                self.frames.len() - 1
            }
        }
    }

    /// The windows, for one worker.
    ///
    /// # Errors
    /// `Input` when a RANGE frame is not supported over its key.
    pub(super) fn bounds(&self) -> Result<Vec<Bounds>> {
        let marks = self.types.len();
        let bounds = |(over, frame): &(Over, Frame)| {
            let edge = |bound, is_end| self.edge(*over, frame.units, bound, is_end);
            Ok(Bounds::new(*over, marks, edge(&frame.start, false)?, edge(&frame.end, true)?))
        };
        self.frames.iter().map(bounds).collect()
    }

    fn edge(
        &self,
        over: Over,
        units: FrameUnits,
        bound: &FrameBound,
        is_end: bool,
    ) -> Result<Edge> {
        let behind = i64::from(is_end);
        let groups =
            |offset| Edge::Groups(Box::new(GroupEdge::new(over, self.types.len(), offset)));
        let (offset, following) = match bound {
            FrameBound::UnboundedPreceding => return Ok(Edge::PartitionStart),
            FrameBound::UnboundedFollowing => return Ok(Edge::PartitionEnd),
            FrameBound::CurrentRow if units == FrameUnits::Rows => return Ok(Edge::Rows(behind)),
            FrameBound::CurrentRow => return Ok(groups(behind)),
            FrameBound::Preceding(offset) => (offset, false),
            FrameBound::Following(offset) => (offset, true),
        };
        if units == FrameUnits::Range {
            let key = self.keys.get(over.partition).filter(|_| over.order == over.partition + 1);
            let key = key.ok_or_else(|| Error::internal("RANGE goes by exactly one key"))?;
            let key_type = self.column_type(key.column)?;
            let bound = RangeBound { offset: offset.clone(), following, is_end };
            let edge = range_edge(over, self.types.len(), key, key_type, &bound)?;
            return Ok(Edge::Range(edge));
        }
        let count = count_of(&offset.value)
            .ok_or_else(|| Error::input(format!("{offset} is no number of rows or groups")))?;
        // Nobody has as many rows.
        let count = i64::try_from(count).unwrap_or(i64::MAX).min(i64::MAX / 4);
        let count = if following { count } else { -count };
        Ok(match units {
            FrameUnits::Rows => Edge::Rows(count + behind),
            _ => groups(count + behind),
        })
    }

    /// What computes the calls, for one worker.
    ///
    /// # Errors
    /// `Internal` when a call does not fit the input, `Input` when its types or constants are not
    /// supported.
    pub(super) fn evaluators(&self) -> Result<Vec<Box<dyn Evaluate>>> {
        self.calls
            .iter()
            .zip(&self.frames_of)
            .map(|(call, frames)| self.evaluator(call, frames))
            .collect()
    }

    fn evaluator(&self, call: &WindowCall, frames: &[usize]) -> Result<Box<dyn Evaluate>> {
        let over = call.over;
        let frame = |number: usize| {
            frames.get(number).copied().ok_or_else(|| Error::internal(format!("{call} frameless")))
        };
        let rank = |kind| Ok(Box::new(Rank::new(over, kind)) as Box<dyn Evaluate>);
        let share = |kind| Ok(Box::new(Share::new(over, kind, frame(0)?)) as Box<dyn Evaluate>);
        match &call.function {
            WindowKind::RowNumber => rank(RankKind::Row),
            WindowKind::Rank => rank(RankKind::Rank),
            WindowKind::DenseRank => rank(RankKind::Dense),
            WindowKind::PercentRank => share(ShareKind::Percent),
            WindowKind::CumeDist => share(ShareKind::Cumulative { peers: frame(1)? }),
            WindowKind::Ntile => share(ShareKind::Tile(tiles(call)?)),
            WindowKind::Aggregate(kind) => {
                let aggregates =
                    Aggregates { types: &self.types, nullable: &self.nullable, frame: frame(0)? };
                aggregates.evaluator(call, kind)
            }
            WindowKind::Percentile(_) | WindowKind::Mode => {
                let aggregates =
                    Aggregates { types: &self.types, nullable: &self.nullable, frame: frame(0)? };
                aggregates.of_sorted(call)
            }
            _ => {
                let column = self.value_column(call)?;
                let choice = self.choice(call, column)?;
                let value = (column, physical_type(self.column_type(column)?));
                let otherwise = self.otherwise(call, &value.1)?;
                Ok(Box::new(ValueOf::new(value, frame(0)?, choice, otherwise)))
            }
        }
    }

    fn choice(&self, call: &WindowCall, column: usize) -> Result<Choice> {
        let valid = || {
            let presence = Lane::new(column, None, presence());
            ValidRows::new(presence, call.over.partition)
        };
        let by_column = |position: usize| match call.arguments.get(position) {
            Some(WindowArgument::Column(_)) if call.ignore_nulls => Err(Error::input(format!(
                "{} with IGNORE NULLS goes by a constant; the offset is a column",
                call.function
            ))),
            Some(WindowArgument::Column(offset)) => {
                Ok(Some(Lane::new(*offset, None, small_integers())))
            }
            _ => Ok(None),
        };
        let from_start = |skip: u64| match call.ignore_nulls {
            true => Choice::ValidFromStart { skip, valid: valid() },
            false => Choice::FromStart(skip),
        };
        let from_end = |skip: u64| match call.ignore_nulls {
            true => Choice::ValidFromEnd { skip, valid: valid() },
            false => Choice::FromEnd(skip),
        };
        Ok(match &call.function {
            WindowKind::FirstValue => from_start(0),
            WindowKind::LastValue => from_end(0),
            WindowKind::NthValue => match by_column(1)? {
                Some(lane) => Choice::NthByColumn(lane),
                None => match constant(call, 1)? {
                    Some(nth) if nth >= 1 => from_start(nth as u64 - 1),
                    // No row has the number NULL.
                    None => from_start(u64::MAX - 1),
                    Some(nth) => {
                        let message = format!("nth_value counts from 1, not from {nth}");
                        return Err(Error::input(message));
                    }
                },
            },
            _ => match (by_column(1)?, shift(call)?) {
                (Some(by), _) => Choice::Shift { by, forwards: call.function == WindowKind::Lead },
                // The frame is a row, or with IGNORE NULLS all rows in the direction.
                (None, Shift::Backwards(rows)) if call.ignore_nulls => from_end(rows - 1),
                (None, Shift::Forwards(rows)) if call.ignore_nulls => from_start(rows - 1),
                _ => Choice::FromStart(0),
            },
        })
    }

    fn otherwise(&self, call: &WindowCall, physical: &DataType) -> Result<Otherwise> {
        let is_shift = matches!(call.function, WindowKind::Lag | WindowKind::Lead);
        if !is_shift || matches!(shift(call)?, Shift::Nowhere) {
            return Ok(Otherwise::Null);
        }
        Ok(match call.arguments.get(2) {
            None => Otherwise::Null,
            Some(WindowArgument::Column(column)) => Otherwise::Column(Reader::new(*column)),
            Some(WindowArgument::Constant(literal)) => {
                Otherwise::Constant(cast(&literal.to_array()?, physical)?)
            }
        })
    }

    fn value_column(&self, call: &WindowCall) -> Result<usize> {
        match call.arguments.first() {
            Some(WindowArgument::Column(column)) => Ok(*column),
            _ => Err(Error::internal(format!("{call} is of a column"))),
        }
    }

    fn column_type(&self, column: usize) -> Result<&DataType> {
        let data_type = self.types.get(column);
        data_type.ok_or_else(|| Error::internal(format!("no column {column} in a window")))
    }
}

/// How far `lag` and `lead` go by a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shift {
    /// By NULL rows: to none.
    Nowhere,
    /// The row itself.
    Here,
    Backwards(u64),
    Forwards(u64),
    /// As a column says.
    ByColumn,
}

fn shift(call: &WindowCall) -> Result<Shift> {
    if let Some(WindowArgument::Column(_)) = call.arguments.get(1) {
        return Ok(Shift::ByColumn);
    }
    let rows = if call.arguments.len() < 2 { Some(1) } else { constant(call, 1)? };
    let Some(rows) = rows else { return Ok(Shift::Nowhere) };
    let forwards = (call.function == WindowKind::Lead) == (rows > 0);
    Ok(match (rows.unsigned_abs(), forwards) {
        (0, _) => Shift::Here,
        (rows, true) => Shift::Forwards(rows),
        (rows, false) => Shift::Backwards(rows),
    })
}

/// The frames that a call is computed from.
fn frames_of(call: &WindowCall) -> Result<Vec<Frame>> {
    let rows = |start, end| Frame { units: FrameUnits::Rows, start, end };
    let count = |rows: u64| Literal { data_type: DataType::UInt64, value: Value::UInt(rows) };
    Ok(match &call.function {
        WindowKind::RowNumber | WindowKind::Rank | WindowKind::DenseRank => Vec::new(),
        WindowKind::PercentRank | WindowKind::Ntile => vec![Frame::whole()],
        WindowKind::CumeDist => {
            let (start, end) = (FrameBound::UnboundedPreceding, FrameBound::CurrentRow);
            vec![Frame::whole(), Frame { units: FrameUnits::Groups, start, end }]
        }
        WindowKind::Lag | WindowKind::Lead => vec![match shift(call)? {
            Shift::ByColumn => Frame::whole(),
            // An empty frame.
            Shift::Nowhere => rows(FrameBound::CurrentRow, FrameBound::Preceding(count(1))),
            Shift::Here => rows(FrameBound::CurrentRow, FrameBound::CurrentRow),
            Shift::Backwards(_) if call.ignore_nulls => {
                rows(FrameBound::UnboundedPreceding, FrameBound::Preceding(count(1)))
            }
            Shift::Forwards(_) if call.ignore_nulls => {
                rows(FrameBound::Following(count(1)), FrameBound::UnboundedFollowing)
            }
            Shift::Backwards(n) => {
                rows(FrameBound::Preceding(count(n)), FrameBound::Preceding(count(n)))
            }
            Shift::Forwards(n) => {
                rows(FrameBound::Following(count(n)), FrameBound::Following(count(n)))
            }
        }],
        _ => vec![call.frame.clone()],
    })
}

fn tiles(call: &WindowCall) -> Result<u64> {
    match (call.arguments.first(), constant(call, 0)?) {
        (_, Some(parts)) if parts >= 1 => Ok(parts as u64),
        (Some(WindowArgument::Column(_)), _) => {
            Err(Error::input("ntile takes a constant number of parts"))
        }
        _ => Err(Error::input("ntile takes a number of parts of at least 1")),
    }
}

/// A constant argument that is a whole number; `None` for NULL and for columns.
fn constant(call: &WindowCall, position: usize) -> Result<Option<i64>> {
    let Some(WindowArgument::Constant(literal)) = call.arguments.get(position) else {
        return Ok(None);
    };
    match &literal.value {
        Value::Null => Ok(None),
        Value::Int(value) => Ok(Some(*value)),
        Value::UInt(value) => Ok(Some(i64::try_from(*value).unwrap_or(i64::MAX))),
        _ => Err(Error::input(format!("{} takes a whole number, not {literal}", call.function))),
    }
}

fn count_of(value: &Value) -> Option<u64> {
    match value {
        Value::UInt(count) => Some(*count),
        Value::Int(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}

/// Whether rows never leave the frames of a call.
pub(super) fn grows(frame: &Frame) -> bool {
    frame.start == FrameBound::UnboundedPreceding
}

/// An array of one row for a constant, of its declared type.
pub(super) fn constant_array(literal: &Literal) -> Result<ArrayRef> {
    crate::batch::to_logical(&literal.to_array()?, &literal.data_type)
}
