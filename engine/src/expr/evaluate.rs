//! Evaluation of an expression over chunks, a vector at a time.
//!
//! Phases, for each node from the root down:
//! 1. A value that is remembered (a constant, results per dictionary value) is taken from there.
//! 2. When few rows are live and the node is dear, the live values of the columns it reads are
//!    copied together and the node is evaluated over those.
//! 3. Operands are evaluated, and the kernel runs over all physical rows. If it fails while some
//!    rows are not live, it runs again over the live ones, and only then does a failure count.
//!
//! Invariants:
//! 1. A result is aligned with the physical rows it was computed over, and right in the live ones.
//! 2. An error is reported only if it comes from a live row.
//! 3. What is remembered never depends on anything but the values a node reads.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{is_null, not};
use arrow::datatypes::DataType;
use std::sync::Arc;

use super::compile::{Kind, Node};
use super::function::{Argument, ScalarFunction};
use super::kernels::Operand;
use super::kernels::arithmetic::{arithmetic, negate};
use super::kernels::cast::cast;
use super::kernels::compare::compare;
use super::kernels::pattern::{like, like_each};
use super::memo::{Advice, Constant, Memo};
use super::pieces::{Piece, Pieces};
use super::room::Growth;
use super::sizes::{is_fixed, is_nested, written_bytes};
use super::view::View;
use super::{CompareOp, Expr};
use crate::batch::{
    Chunk, Column, Form, Indexed, Indices, NULL_INDEX, content_bytes, gather, to_logical,
    to_physical,
};
use crate::error::{Error, Result};
use crate::memory::{Governor, Reservation};

/// Expressions over the same chunks, and what one worker remembers about them.
pub struct Evaluator {
    nodes: Result<Vec<Node>>,
    pieces: Pieces,
}

impl Evaluator {
    /// Prepares expressions, whose results have room in a budget. What is wrong with them comes
    /// out when they are evaluated.
    pub fn new(exprs: &[Expr], memory: &Governor) -> Evaluator {
        let nodes = exprs.iter().map(Node::new).collect();
        Evaluator { nodes, pieces: Pieces::new(memory) }
    }

    /// The expressions' values for the chunk's live rows from number `from` on: for all of them,
    /// or for as many as there is room for. The columns are aligned with the chunk's physical
    /// rows; values in rows that are not of the piece are unspecified. They are to be let go
    /// before the next call: their room is given to others then.
    ///
    /// # Errors
    /// `Input` when a live row has no result (overflow, division by zero, a failed cast),
    /// `OutOfMemory` when the results of one row have no room, `Internal` when an expression does
    /// not fit the chunk.
    pub fn evaluate(&mut self, chunk: &Chunk, from: usize) -> Result<Piece<Vec<Column>>> {
        let nodes = match &mut self.nodes {
            Ok(nodes) => nodes,
            Err(error) => return Err(error.clone()),
        };
        let evaluated = |view: &View<'_>| nodes.iter_mut().map(|n| n.evaluate(view)).collect();
        let mut piece: Piece<Vec<Column>> = self.pieces.run(chunk, from, evaluated)?;
        piece.value = self.pieces.hand_over(piece.value);
        Ok(piece)
    }
}

impl Node {
    /// The values over a view.
    pub(super) fn evaluate(&mut self, view: &View<'_>) -> Result<Column> {
        match &self.kind {
            Kind::Column(index) => return view.column(*index).cloned(),
            Kind::Literal(column) => return Ok(column.clone()),
            _ if view.live() == 0 => return Ok(Column::null(self.data_type.clone())),
            _ => {}
        }
        if let Some(column) = self.remembered(view)? {
            return Ok(column);
        }
        if view.is_thin(self.cost, self.reads.len()) {
            let columns = view.gather(&self.reads)?;
            let together = view.dense(&columns, view.live());
            return Ok(view.spread(self.compute(&together)?));
        }
        self.compute(view)
    }

    /// The values as this node remembers them.
    pub(super) fn remembered(&mut self, view: &View<'_>) -> Result<Option<Column>> {
        match &mut self.memo {
            Memo::Nothing => Ok(None),
            Memo::Constant(Some(constant)) => Ok(Some(constant.value().clone())),
            Memo::Constant(None) => {
                let before = view.room().taken();
                let column = self.compute(&view.dense(&[], 1))?;
                let column = Column::constant(self.data_type.clone(), column.to_array(1)?);
                let constant = Constant::new(column.clone(), view.room(), before)?;
                self.memo = Memo::Constant(Some(constant));
                Ok(Some(column))
            }
            Memo::Dictionaries(dictionaries) => {
                let column = view.column(dictionaries.column)?;
                let Form::Indexed(Indexed { indices, base, domain: Some(domain) }) = column.form()
                else {
                    return Ok(None);
                };
                let known = match dictionaries.advise(*domain, base.len(), view.live()) {
                    Advice::ByRow => return Ok(None),
                    Advice::Known(known) => Some(known),
                    Advice::Learn => {
                        let position = dictionaries.column;
                        let logical = column.logical();
                        let values = match self.over_dictionary(position, logical, base, view) {
                            Ok(values) => Some(values),
                            // The rows may not have that value, or room for one after the other.
                            Err(Error::Input { .. } | Error::OutOfMemory { .. }) => None,
                            Err(other) => return Err(other),
                        };
                        match &mut self.memo {
                            Memo::Dictionaries(d) => d.learn(*domain, values),
                            _ => None,
                        }
                    }
                };
                Ok(known.map(|known| known.look_up(indices, self.data_type.clone())))
            }
        }
    }

    /// The results for all values of a dictionary, and behind them the result for NULL; with the
    /// charge for them.
    fn over_dictionary(
        &mut self,
        position: usize,
        logical: &DataType,
        base: &ArrayRef,
        view: &View<'_>,
    ) -> Result<(ArrayRef, Option<Reservation>)> {
        let mut rows: Vec<u32> = (0..base.len() as u32).collect();
        rows.push(NULL_INDEX);
        let values = gather(base, &Indices::with_nulls(rows))?;
        let count = values.len();
        let columns = [(position, Column::flat(logical.clone(), values))];
        let before = view.room().taken();
        let results = self.compute(&view.dense(&columns, count))?.to_array(count)?;
        let charge = view.room().keep(content_bytes(&results), count, before)?;
        Ok((results, charge))
    }

    /// The values, by the node's kind. Some row is live.
    pub(super) fn compute(&mut self, view: &View<'_>) -> Result<Column> {
        let data_type = self.data_type.clone();
        let careful = &mut self.careful;
        match &mut self.kind {
            Kind::Column(index) => view.column(*index).cloned(),
            Kind::Literal(column) => Ok(column.clone()),
            Kind::Arithmetic { op, operands: [left, right] } => {
                let columns = [left.evaluate(view)?, right.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[l, r], rows| {
                    arithmetic(*op, l, r, rows, &data_type)
                })
            }
            Kind::Compare { op, operands: [left, right] } => {
                let columns = [left.evaluate(view)?, right.evaluate(view)?];
                let kernel = |[l, r]: &[Operand; 2], rows| Ok(boolean(compare(*op, l, r, rows)?));
                match op {
                    CompareOp::Distinct | CompareOp::NotDistinct => {
                        lenient(careful, view, &data_type, &columns, kernel)
                    }
                    _ => strict(careful, view, &data_type, &columns, kernel),
                }
            }
            Kind::And(list) => super::logic::connect(list, false, view),
            Kind::Or(list) => super::logic::connect(list, true, view),
            Kind::Case { branches, otherwise } => {
                super::logic::choose(branches, otherwise.as_deref_mut(), view, &data_type)
            }
            Kind::LikeEach { kind, escape, operands: [input, pattern], negated } => {
                let columns = [input.evaluate(view)?, pattern.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input, pattern], rows| {
                    Ok(boolean(like_each(*kind, *escape, input, pattern, rows, *negated)?))
                })
            }
            Kind::Call { function, args } => {
                let args = args.iter_mut().map(|arg| arg.evaluate(view));
                let args = args.collect::<Result<Vec<_>>>()?;
                call(function.as_ref(), &args, view, &data_type)
            }
            _ => self.compute_of_one(view),
        }
    }

    /// The values of a node with one operand.
    fn compute_of_one(&mut self, view: &View<'_>) -> Result<Column> {
        let data_type = self.data_type.clone();
        let careful = &mut self.careful;
        match &mut self.kind {
            Kind::Not(input) => {
                let columns = [input.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input], _| {
                    Ok(boolean(not(as_boolean(&input.array)?)?))
                })
            }
            Kind::IsNull(input) => {
                let columns = [input.evaluate(view)?];
                lenient(careful, view, &data_type, &columns, |[input], _| {
                    Ok(boolean(is_null(&input.array)?))
                })
            }
            Kind::Negate(input) => {
                let columns = [input.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input], _| {
                    negate(&input.array, &data_type)
                })
            }
            Kind::Cast { input, lenient } => {
                let columns = [input.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input], _| {
                    cast(&input.array, &data_type, *lenient)
                })
            }
            Kind::InList { input, set, negated } => {
                let columns = [input.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input], rows| {
                    Ok(boolean(set.contains(input, rows, *negated)?))
                })
            }
            Kind::Like { input, pattern, negated } => {
                let columns = [input.evaluate(view)?];
                strict(careful, view, &data_type, &columns, |[input], _| {
                    Ok(boolean(like(pattern, input, *negated)?))
                })
            }
            _ => Err(Error::internal("a node without an operand")),
        }
    }
}

fn boolean(array: BooleanArray) -> ArrayRef {
    Arc::new(array)
}

/// A Boolean array.
pub(super) fn as_boolean(array: &ArrayRef) -> Result<&BooleanArray> {
    array
        .as_boolean_opt()
        .ok_or_else(|| Error::internal(format!("a condition of type {}", array.data_type())))
}

/// Runs a kernel whose result is NULL wherever an operand is.
fn strict<const N: usize>(
    careful: &mut bool,
    view: &View<'_>,
    data_type: &DataType,
    columns: &[Column; N],
    kernel: impl Fn(&[Operand; N], usize) -> Result<ArrayRef>,
) -> Result<Column> {
    let is_null = |column: &Column| match column.form() {
        Form::Constant(value) => value.is_null(0) || *value.data_type() == DataType::Null,
        _ => *column.logical() == DataType::Null,
    };
    if columns.iter().any(is_null) {
        return Ok(Column::null(data_type.clone()));
    }
    lenient(careful, view, data_type, columns, kernel)
}

/// Runs a kernel: once if all operands are constant, over all rows if that goes well, and over the
/// live rows if not, or if there are lists, which may be long and stand once for many rows.
fn lenient<const N: usize>(
    careful: &mut bool,
    view: &View<'_>,
    data_type: &DataType,
    columns: &[Column; N],
    kernel: impl Fn(&[Operand; N], usize) -> Result<ArrayRef>,
) -> Result<Column> {
    if columns.iter().all(is_constant) {
        let operands =
            columns.each_ref().map(|c| Operand { array: c.values().clone(), constant: false });
        return Ok(Column::constant(data_type.clone(), kernel(&operands, 1)?));
    }
    let rows = view.rows();
    let live_only = *careful || columns.iter().any(|column| is_nested(column.logical()));
    if !live_only || view.selection().is_none() {
        let operands = operands(columns, |column| column.to_array(rows))?;
        match kernel(&operands, rows) {
            Err(Error::Input { .. }) if view.selection().is_some() => *careful = true,
            result => return Ok(Column::flat(data_type.clone(), result?)),
        }
    }
    let operands = operands(columns, |column| view.live_values(column))?;
    let array = kernel(&operands, view.live())?;
    Ok(view.spread(Column::flat(data_type.clone(), array)))
}

fn is_constant(column: &Column) -> bool {
    matches!(column.form(), Form::Constant(_))
}

fn operands<const N: usize>(
    columns: &[Column; N],
    values: impl Fn(&Column) -> Result<ArrayRef>,
) -> Result<[Operand; N]> {
    let operands = columns.iter().map(|column| match column.form() {
        Form::Constant(value) => Ok(Operand { array: value.clone(), constant: true }),
        _ => Ok(Operand { array: values(column)?, constant: false }),
    });
    let operands = operands.collect::<Result<Vec<_>>>()?;
    operands.try_into().map_err(|_| Error::internal("operands went missing"))
}

/// Calls a function with the live rows, or once if that gives the value of all of them. What it
/// makes has room before it is made, as far as the function knows how much that is; so have lists
/// that are written out for it.
fn call(
    function: &dyn ScalarFunction,
    args: &[Column],
    view: &View<'_>,
    data_type: &DataType,
) -> Result<Column> {
    let once = !function.is_volatile() && args.iter().all(is_constant);
    let rows = if once { 1 } else { view.live() };
    if !once {
        let is_written = |column: &&Column| match column.form() {
            Form::Constant(_) => function.writes_constants(),
            // All rows of it are taken as they are.
            Form::Flat(_) => view.selection().is_some(),
            Form::Indexed(_) => true,
        };
        let lists = args.iter().filter(|column| is_nested(column.logical()));
        for column in lists.filter(is_written) {
            let bytes = written_bytes(column, view.selection(), view.rows());
            view.room().take(bytes, rows, function.name())?;
        }
    }
    let arguments = args.iter().map(|column| match column.form() {
        Form::Constant(value) => Ok(Argument::Constant(to_logical(value, column.logical())?)),
        _ => Ok(Argument::Array(to_logical(&view.live_values(column)?, column.logical())?)),
    });
    let arguments = arguments.collect::<Result<Vec<_>>>()?;
    let expected = match is_fixed(data_type) {
        true => None,
        false => Some(function.result_bytes(&arguments, rows)),
    };
    if let Some(bytes) = expected {
        view.room().take(bytes, rows, function.name())?;
    }
    let growth = Growth::new(view.room(), function.name(), rows, expected.unwrap_or(0));
    let array = function.invoke_growing(&arguments, rows, data_type, &growth)?;
    if expected.is_some() {
        growth.reach(content_bytes(&array))?;
    }
    if array.len() != rows || array.data_type() != data_type {
        return Err(Error::internal(format!(
            "function `{}` gave {} rows of {} instead of {rows} rows of {data_type}",
            function.name(),
            array.len(),
            array.data_type(),
        )));
    }
    let array = to_physical(&array)?;
    if once {
        return Ok(Column::constant(data_type.clone(), array));
    }
    Ok(view.spread(Column::flat(data_type.clone(), array)))
}
