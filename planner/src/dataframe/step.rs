//! What a frame is made of: a tree of steps, each with the texts that say what it does.

use std::fmt;
use std::sync::Arc;

use gristmill_engine::{Error, Result};

use super::join::{JoinKind, On};
use crate::catalog::{Catalog, FileTable};
use crate::parameters::Parameters;
use crate::sql::{Depth, depth_of};

/// The most steps of one frame, those of both sides of a join counted.
const STEPS_MAX: usize = 500;

/// What a step adds to the depth of the plan below it.
const DEPTH_OF_A_STEP: Depth = Depth { parsed: 16, balanced: 4 };

/// Characters of a step that errors show.
const SHOWN_MAX: usize = 80;

/// One step and those before it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) what: What,
    /// By what name expressions may call its rows.
    pub(super) name: Option<String>,
    /// It and all before it.
    count: usize,
}

#[derive(Debug)]
pub(super) enum What {
    Table(String),
    File(Box<FileTable>),
    Query { text: String, parameters: Parameters },
    Over(Arc<Step>, Over),
    Join { left: Arc<Step>, right: Arc<Step>, kind: JoinKind, on: On },
    Combined { left: Arc<Step>, right: Arc<Step>, how: SetOperation },
}

/// What becomes of the rows of one input.
#[derive(Debug)]
pub(super) enum Over {
    Select(String),
    Filter(String),
    WithColumn(String, String),
    Rename(String, String),
    Drop(Vec<String>),
    /// Groups, aggregates.
    Aggregate(String, String),
    Sort(String),
    Limit(u64),
    Offset(u64),
    Distinct,
    /// Another name alone.
    Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOperation {
    UnionAll,
    Union,
    Intersect,
    Except,
}

impl SetOperation {
    /// In SQL.
    pub(super) fn words(self) -> &'static str {
        match self {
            SetOperation::UnionAll => "UNION ALL",
            SetOperation::Union => "UNION",
            SetOperation::Intersect => "INTERSECT",
            SetOperation::Except => "EXCEPT",
        }
    }
}

impl Step {
    pub(super) fn new(what: What, name: Option<String>) -> Arc<Step> {
        let before = match &what {
            What::Table(_) | What::File(_) | What::Query { .. } => 0,
            What::Over(input, _) => input.count,
            What::Join { left, right, .. } | What::Combined { left, right, .. } => {
                left.count.saturating_add(right.count)
            }
        };
        Arc::new(Step { what, name, count: before.saturating_add(1) })
    }

    /// A bound of how deep its plan is.
    ///
    /// # Errors
    /// `Input` when it has too many steps.
    pub(crate) fn depth(&self, catalog: &Catalog) -> Result<Depth> {
        if self.count > STEPS_MAX {
            return Err(Error::input(format!(
                "a frame of {} steps, at most {STEPS_MAX}; write the rows of a part of it to a \
                 file, or register them as a table",
                self.count
            )));
        }
        Ok(self.depth_within(catalog))
    }

    fn depth_within(&self, catalog: &Catalog) -> Depth {
        let text = |text: &str| {
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            depth_of(text).plus(catalog.depth_of_views(words))
        };
        let own = match &self.what {
            What::Table(name) => catalog.depth_of_views([name.as_str()].into_iter()),
            What::File(_) => Depth::default(),
            What::Query { text: query, .. } => text(query),
            What::Over(input, over) => {
                let before = input.depth_within(catalog);
                match over {
                    Over::Select(all) | Over::Filter(all) | Over::Sort(all) => {
                        before.plus(text(all))
                    }
                    Over::WithColumn(_, value) => before.plus(text(value)),
                    Over::Aggregate(groups, calls) => before.plus(text(groups)).plus(text(calls)),
                    _ => before,
                }
            }
            What::Join { left, right, on, .. } => {
                let before = left.depth_within(catalog).plus(right.depth_within(catalog));
                match on {
                    On::Condition(condition) => before.plus(text(condition)),
                    _ => before,
                }
            }
            What::Combined { left, right, .. } => {
                left.depth_within(catalog).plus(right.depth_within(catalog))
            }
        };
        own.plus(DEPTH_OF_A_STEP)
    }
}

/// The step alone, for errors.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.what {
            What::Table(name) => format!("table({name})"),
            What::File(file) => format!("read({})", file.path.display()),
            What::Query { text, .. } => format!("query({text})"),
            What::Over(_, over) => match over {
                Over::Select(items) => format!("select({items})"),
                Over::Filter(condition) => format!("filter({condition})"),
                Over::WithColumn(name, value) => format!("with_column({name}, {value})"),
                Over::Rename(from, to) => format!("rename({from}, {to})"),
                Over::Drop(names) => format!("drop({})", names.join(", ")),
                Over::Aggregate(groups, calls) => format!("aggregate([{groups}], [{calls}])"),
                Over::Sort(keys) => format!("sort({keys})"),
                Over::Limit(count) => format!("limit({count})"),
                Over::Offset(count) => format!("offset({count})"),
                Over::Distinct => "distinct()".to_string(),
                Over::Named => "alias()".to_string(),
            },
            What::Join { on, .. } => format!("join({on})"),
            What::Combined { how, .. } => how.words().to_lowercase().replace(' ', "_"),
        };
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}
