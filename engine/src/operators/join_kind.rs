//! Which rows a join gives.
//!
//! A join looks the rows of one input, the *probe* side, up among those of the other, the *build*
//! side, which it holds. Kinds that begin with `Right` give rows of the build side by whether they
//! have a match.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    /// All pairs that match.
    Inner,
    /// All pairs that match, and probe rows without match with NULLs for the build columns.
    Left,
    /// All pairs that match, and build rows without match with NULLs for the probe columns.
    Right,
    /// All pairs that match, and the rows of both sides that have no match.
    Full,
    /// As `Left`, but a probe row with several matches is an error: a subquery used as a value.
    Single,
    /// Probe rows that have a match.
    Semi,
    /// Probe rows that have none.
    Anti,
    /// All probe rows, with a Boolean column that says whether they have a match.
    Mark,
    /// Build rows that have a match.
    RightSemi,
    /// Build rows that have none.
    RightAnti,
}

impl JoinKind {
    /// Whether the output has probe columns.
    pub fn has_probe_columns(self) -> bool {
        !matches!(self, JoinKind::RightSemi | JoinKind::RightAnti)
    }

    /// Whether the output has build columns.
    pub fn has_build_columns(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark)
    }

    /// Whether the output's probe columns are NULL in some rows.
    pub fn adds_nulls_to_probe(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }

    /// Whether the output's build columns are NULL in some rows.
    pub fn adds_nulls_to_build(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full | JoinKind::Single)
    }

    /// Whether pairs of a probe row and a build row come out.
    pub fn gives_pairs(self) -> bool {
        use JoinKind::{Full, Inner, Left, Right, Single};
        matches!(self, Inner | Left | Right | Full | Single)
    }

    /// Whether probe rows without match make no difference: a filter may drop them before.
    pub fn drops_unmatched_probe(self) -> bool {
        use JoinKind::{Inner, Right, RightAnti, RightSemi, Semi};
        matches!(self, Inner | Right | Semi | RightSemi | RightAnti)
    }

    /// Whether build rows come out by whether they have had a match, when all probe rows are seen.
    pub fn gives_build_rows(self) -> bool {
        self.adds_nulls_to_probe() || !self.has_probe_columns()
    }

    /// The columns that come out of those of both sides; a mark is NULL only where `null_aware`.
    pub(crate) fn schema(
        self,
        (probe, probe_output): (&Schema, &[usize]),
        (build, build_output): (&Schema, &[usize]),
        null_aware: bool,
    ) -> SchemaRef {
        let fields = |schema: &Schema, columns: &[usize], nullable: bool| -> Vec<Field> {
            let field = |&c: &usize| {
                let field = schema.field(c).clone();
                let nullable = nullable || field.is_nullable();
                field.with_nullable(nullable)
            };
            columns.iter().map(field).collect()
        };
        let mut all = fields(probe, probe_output, self.adds_nulls_to_probe());
        all.extend(fields(build, build_output, self.adds_nulls_to_build()));
        if self == JoinKind::Mark {
            all.push(Field::new("mark", DataType::Boolean, null_aware));
        }
        Arc::new(Schema::new(all))
    }

    /// The error for a probe row of a [`JoinKind::Single`] join that has several matches.
    pub(crate) fn several_rows() -> Error {
        Error::input(
            "a subquery used as a value gave more than one row; limit it to one, or aggregate its \
             rows",
        )
    }

    /// What explain calls it.
    pub fn label(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
            JoinKind::Right => "right",
            JoinKind::Full => "full",
            JoinKind::Single => "single",
            JoinKind::Semi => "semi",
            JoinKind::Anti => "anti",
            JoinKind::Mark => "mark",
            JoinKind::RightSemi => "right semi",
            JoinKind::RightAnti => "right anti",
        }
    }
}
