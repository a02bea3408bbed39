//! Evaluation in pieces: as many rows at a time as there is room for what functions make of them.
//!
//! A piece begins with all rows that are left. When it runs out of room, half of its rows are
//! tried, and so on; one row that has no room is an error. The next pieces take as many rows as
//! went well, and twice as many after one that needed little. So functions may be called again for
//! the same rows, and what they gave before is not used.

use super::room::Room;
use super::view::View;
use crate::batch::{Chunk, Column, MAX_CHUNK_ROWS, Selection};
use crate::error::{Error, Result};
use crate::memory::Governor;

/// One worker's evaluations in pieces.
pub(super) struct Pieces {
    room: Room,
    /// How many rows to try at once.
    rows: usize,
}

/// What came of a piece of a chunk.
#[derive(Debug)]
pub struct Piece<T> {
    /// What was evaluated.
    pub value: T,
    /// The physical rows of the piece; `None` for all live rows of the chunk.
    pub rows: Option<Selection>,
    /// How many of the chunk's live rows this piece and those before it have: where the next one
    /// begins.
    pub until: usize,
}

impl Pieces {
    /// Pieces that take their room out of a budget.
    pub(super) fn new(memory: &Governor) -> Pieces {
        Pieces { room: Room::new(memory), rows: usize::MAX }
    }

    /// The columns of the last piece, with the charges of those that are long.
    pub(super) fn hand_over(&self, columns: Vec<Column>) -> Vec<Column> {
        self.room.hand_over(columns)
    }

    /// Computes something over the live rows of `chunk` from number `from` on: over all, or over
    /// as many as there is room for.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for one row, and what `compute` says.
    pub(super) fn run<T>(
        &mut self,
        chunk: &Chunk,
        from: usize,
        mut compute: impl FnMut(&View<'_>) -> Result<T>,
    ) -> Result<Piece<T>> {
        let live = chunk.live_rows();
        loop {
            self.room.begin();
            let count = self.rows.max(1).min(live.saturating_sub(from));
            let until = from + count;
            let rows = (count < live).then(|| piece_of(chunk, from, count));
            let all = View::of(chunk, &self.room);
            let value = match &rows {
                Some(rows) => compute(&all.narrowed(rows)),
                None => compute(&all),
            };
            match value {
                Ok(value) => {
                    if self.rows <= MAX_CHUNK_ROWS && self.room.is_mostly_free() {
                        self.rows *= 2;
                    }
                    return Ok(Piece { value, rows, until });
                }
                Err(Error::OutOfMemory { .. }) if count > 1 => self.rows = count / 2,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Some live rows of a chunk.
fn piece_of(chunk: &Chunk, from: usize, count: usize) -> Selection {
    match chunk.selection() {
        Some(selection) => selection.slice(from, count),
        None => Selection::new((from as u32..(from + count) as u32).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray, StringViewBuilder};
    use arrow::datatypes::{DataType, Int64Type};

    use super::*;
    use crate::batch::{Domain, Indices, Place};
    use crate::expr::{
        Argument, CompareOp, Conjunction, Evaluator, Expr, FunctionRef, Literal, ScalarFunction,
    };
    use crate::memory::GovernorOptions;

    const LIMIT: usize = 8 << 20;
    /// What several rows may take of it.
    const CEILING: usize = LIMIT / 64;

    /// Texts of `x` of given lengths; with or without saying how long they will be.
    struct Swell {
        says: bool,
    }

    impl Swell {
        fn lengths(args: &[Argument], rows: usize) -> Vec<Option<i64>> {
            match args {
                [Argument::Array(array)] => array.as_primitive::<Int64Type>().iter().collect(),
                [Argument::Constant(array)] => {
                    vec![Some(array.as_primitive::<Int64Type>().value(0)); rows]
                }
                _ => Vec::new(),
            }
        }
    }

    impl ScalarFunction for Swell {
        fn name(&self) -> &str {
            "swell"
        }

        fn result_bytes(&self, args: &[Argument], rows: usize) -> usize {
            match self.says {
                true => Swell::lengths(args, rows).into_iter().flatten().sum::<i64>() as usize,
                false => 0,
            }
        }

        fn invoke(&self, args: &[Argument], rows: usize, _: &DataType) -> Result<ArrayRef> {
            let mut texts = StringViewBuilder::new();
            for length in Swell::lengths(args, rows) {
                texts.append_option(length.map(|length| "x".repeat(length as usize)));
            }
            Ok(Arc::new(texts.finish()))
        }
    }

    fn swell(argument: Expr, says: bool) -> Expr {
        let function = FunctionRef::registered(Arc::new(Swell { says }));
        Expr::Call { function, args: vec![argument], data_type: DataType::Utf8View }
    }

    fn length() -> Expr {
        Expr::column(0, DataType::Int64)
    }

    fn governor() -> Governor {
        Governor::new(GovernorOptions { limit_bytes: Some(LIMIT), ..Default::default() })
    }

    fn lengths(values: Vec<Option<i64>>) -> Chunk {
        let rows = values.len();
        let column = Column::flat(DataType::Int64, Arc::new(Int64Array::from(values)));
        Chunk::new(vec![column], rows, Place::default())
    }

    /// Many short ones, then long ones, and short ones again.
    fn uneven() -> Vec<Option<i64>> {
        let length = |row: i64| match row {
            300..310 => 100_000,
            310..400 => 20_000,
            _ => row % 50,
        };
        (0..1000).map(|row| (row % 7 != 0).then(|| length(row))).collect()
    }

    #[test]
    fn pieces_together_are_the_whole_and_no_piece_takes_more_than_it_may() {
        for says in [true, false] {
            for live in [None, Some((0..1000).filter(|row| row % 3 != 1).collect())] {
                let memory = governor();
                let mut chunk = lengths(uneven());
                if let Some(live) = live {
                    chunk = chunk.select(Selection::new(live));
                }
                let mut evaluator = Evaluator::new(&[length(), swell(length(), says)], &memory);
                let (mut from, mut pieces, mut seen) = (0, 0, Vec::new());
                while from < chunk.live_rows() {
                    let piece = evaluator.evaluate(&chunk, from).expect("has room for a row");
                    assert!(piece.until > from);
                    let part = match piece.rows {
                        Some(rows) => chunk.clone().select(rows),
                        None => chunk.clone(),
                    };
                    assert_eq!(part.live_rows(), piece.until - from);
                    assert!(memory.reserved() <= 2 * CEILING, "{}", memory.reserved());
                    let part = part.with_columns(piece.value).compact().expect("compacts");
                    let arrays: Vec<_> = (0..2).map(|i| part.live_array(i).expect("is")).collect();
                    let wanted = arrays[0].as_primitive::<Int64Type>().iter();
                    for (length, text) in wanted.zip(arrays[1].as_string_view()) {
                        assert_eq!(length, text.map(|text| text.len() as i64));
                        seen.push(length);
                    }
                    (from, pieces) = (piece.until, pieces + 1);
                }
                let all = chunk.live_array(0).expect("is");
                assert_eq!(seen, all.as_primitive::<Int64Type>().iter().collect::<Vec<_>>());
                assert!((10..200).contains(&pieces), "{pieces} pieces");
                drop(evaluator);
                assert_eq!(memory.reserved(), 0);
            }
        }
    }

    #[test]
    fn a_condition_selects_in_pieces_what_it_selects_at_once() {
        let long = swell(Expr::Literal(Literal::int(20_000)), true);
        let condition = |text| Expr::Compare {
            op: CompareOp::Less,
            left: Box::new(text),
            right: Box::new(long.clone()),
        };
        let chunk = lengths(uneven());
        let wanted: Vec<u32> = (0..1000u32)
            .filter(|&row| uneven()[row as usize].is_some_and(|length| length < 20_000))
            .collect();
        for says in [true, false] {
            let mut conjunction =
                Conjunction::new(vec![condition(swell(length(), says))], &governor());
            for _ in 0..3 {
                let passed = conjunction.select(&chunk).expect("has room").expect("narrows");
                assert_eq!(passed.as_slice(), wanted);
            }
        }
    }

    #[test]
    fn a_row_that_has_no_room_is_refused_by_the_functions_name() {
        let long = LIMIT as i64 + 1;
        for argument in [length(), Expr::Literal(Literal::int(long))] {
            let mut evaluator = Evaluator::new(&[swell(argument, true)], &governor());
            let chunk = lengths(vec![Some(1), Some(long), Some(2)]);
            let mut from = 0;
            let error = loop {
                match evaluator.evaluate(&chunk, from) {
                    Ok(piece) => from = piece.until,
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
            assert!(error.to_string().contains("the function swell"), "{error}");
            assert!(error.to_string().contains("--memory"), "{error}");
        }
        let memory = governor();
        let fits = Expr::Literal(Literal::int(LIMIT as i64 / 4));
        let mut evaluator = Evaluator::new(&[swell(fits, true)], &memory);
        for _ in 0..2 {
            evaluator.evaluate(&lengths(vec![Some(1); 100]), 0).expect("is made once");
            assert!(memory.reserved() >= LIMIT / 4, "it is remembered");
        }
    }

    #[test]
    fn the_charge_of_a_long_text_goes_with_it() {
        let memory = governor();
        let mut evaluator = Evaluator::new(&[length(), swell(length(), true)], &memory);
        let long = LIMIT as i64 / 4;
        let piece = evaluator.evaluate(&lengths(vec![Some(long)]), 0).expect("has room");
        let charge = piece.value[1].charge().expect("is long").bytes();
        assert!(charge >= LIMIT / 4 && piece.value[0].charge().is_none());
        drop(evaluator);
        assert_eq!(memory.reserved(), charge);
        drop(piece);
        assert_eq!(memory.reserved(), 0);
    }

    #[test]
    fn a_long_constant_leaves_other_rows_their_room() {
        let memory = governor();
        let constant: ArrayRef = Arc::new(Int64Array::from(vec![LIMIT as i64 / 4]));
        let constant = Column::constant(DataType::Int64, constant);
        let chunk = lengths(vec![Some(10); 1000]).widen([constant]);
        let long = swell(Expr::column(1, DataType::Int64), true);
        let mut evaluator = Evaluator::new(&[long, swell(length(), true)], &memory);
        let piece = evaluator.evaluate(&chunk, 0).expect("has room");
        assert_eq!(piece.until, 1000, "at once");
    }

    #[test]
    fn dictionaries_are_remembered_only_where_there_is_room() {
        for (length, remembered) in [(100, true), (10_000, false)] {
            let base: ArrayRef = Arc::new(Int64Array::from(vec![length; 100]));
            let indices = Arc::new(Indices::new((0..200).map(|i| i % 100).collect::<Vec<u32>>()));
            let column = Column::indexed(DataType::Int64, indices, base, Some(Domain::unique()));
            let chunk = Chunk::new(vec![column], 200, Place::default());
            let memory = governor();
            let mut evaluator = Evaluator::new(&[swell(self::length(), false)], &memory);
            let mut from = 0;
            while from < 200 {
                let piece = evaluator.evaluate(&chunk, from).expect("has room");
                let text = piece.value[0].to_array(200).expect("is");
                let text: &StringViewArray = text.as_string_view();
                assert_eq!(text.value(from).len() as i64, length);
                from = piece.until;
            }
            evaluator.evaluate(&lengths(Vec::new()), 0).expect("lets the last results go");
            assert_eq!(memory.reserved() >= 100 * 100, remembered, "{}", memory.reserved());
        }
    }
}
