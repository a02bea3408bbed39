//! Statements that are planned and not run.

use gristmill_engine::Result;

use crate::parameters::Parameters;
use crate::session::Session;
use crate::sql::Statement;
use crate::statements::{Planned, Scope};

/// Plans statements one after the other. Each sees the tables, views, settings and files that those
/// before it would have made, and nothing is run, written or changed.
///
/// ```
/// use gristmill::{Config, Parameters, Session};
///
/// # fn main() -> gristmill::Result<()> {
/// let session = Session::new(Config { threads: Some(1), ..Config::default() })?;
/// let program = session.script("create view v as select 1 as a; select b from v")?;
/// let mut rehearsal = session.rehearsal();
/// rehearsal.plan(&program[0], &Parameters::new())?;
/// assert!(rehearsal.plan(&program[1], &Parameters::new()).is_err(), "there is no column b");
/// # Ok(())
/// # }
/// ```
pub struct Rehearsal<'a> {
    session: &'a Session,
    scope: Scope,
}

/// What was planned for a statement, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// For people.
    pub text: String,
    /// The form that it can be read back from; empty when it was not asked for.
    pub json: String,
}

impl<'a> Rehearsal<'a> {
    pub(crate) fn new(session: &'a Session, scope: Scope) -> Self {
        Rehearsal { session, scope }
    }

    /// Plans a statement.
    ///
    /// # Errors
    /// `Input` with a place for what is wrong with it, `Io` for files that cannot be opened.
    pub fn plan(&mut self, statement: &Statement, parameters: &Parameters) -> Result<()> {
        self.planned(statement, parameters, false)?.rehearse(&self.scope)
    }

    /// Plans a statement, and says how; as JSON too where that is wanted.
    ///
    /// # Errors
    /// As [`Rehearsal::plan`], and `Input` when the JSON would hold a function that is not
    /// registered.
    pub fn outline(
        &mut self,
        statement: &Statement,
        parameters: &Parameters,
        json: bool,
    ) -> Result<Outline> {
        let planned = self.planned(statement, parameters, true)?;
        let text = planned.outline(false)?;
        let json = if json { planned.outline(true)? } else { String::new() };
        planned.rehearse(&self.scope)?;
        Ok(Outline { text, json })
    }

    fn planned(
        &self,
        statement: &Statement,
        parameters: &Parameters,
        explained: bool,
    ) -> Result<Planned> {
        self.session.plan_in(statement, parameters, &self.scope, explained)
    }
}
