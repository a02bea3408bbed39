//! Queries that are not written as statements: data frames, whose rows are the result or go to a
//! file.

use gristmill_engine::Result;

use super::query::Copied;
use super::{Command, Planned, Scope, Shared, Task};
use crate::copy::CopyTarget;
use crate::dataframe::Step;
use crate::parameters::Parameters;
use crate::sql::{self, statement_of};

/// Plans the rows of a frame, into a file where one is named.
///
/// # Errors
/// `Input` for what is wrong with one of its steps, `Io` for files that cannot be opened.
pub(crate) fn plan_frame(
    frame: &Step,
    target: Option<CopyTarget>,
    scope: &Scope,
    shared: &Shared<'_>,
    explained: bool,
) -> Result<Planned> {
    let parameters = Parameters::new();
    let task = Task { parameters: &parameters, scope, shared };
    let statement = statement_of(&[])?;
    sql::with_stack_for(frame.depth(&scope.catalog)?, || {
        let bound = frame.bind(&|| task.binder())?;
        let binder = task.binder();
        let mut planner = task.planner(&statement, &binder, explained);
        let command = match target {
            None => Command::Rows(planner.lower(bound)?.plan),
            Some(target) => {
                let Copied { plan, file, .. } = planner.copied_to(bound, target)?;
                Command::Write { plan: planner.thinned_out(plan)?, files: vec![file] }
            }
        };
        let fired = planner.planning.fired().to_vec();
        Ok(Planned { command, explain: None, fired, reads: Vec::new() })
    })
}
