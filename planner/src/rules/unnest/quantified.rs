//! ANY and ALL of a subquery.
//!
//! `x = ANY (Q)` is IN and `x <> ALL (Q)` is NOT IN. The others look at four aggregates of Q: its
//! rows, its values, the smallest and the largest. `x < ANY (Q)` is TRUE when x is less than the
//! largest; else FALSE when there are no rows, NULL when x or a value is NULL, and FALSE otherwise.
//! `x < ALL (Q)` is TRUE when there are no rows; else FALSE when x is not less than the smallest,
//! NULL when x or a value is NULL, and TRUE otherwise. `<> ANY` and `= ALL` look at both ends.

use std::sync::Arc;

use datafusion_common::{Column, Result, ScalarValue};
use datafusion_expr::expr::{SetComparison, SetQuantifier};
use datafusion_expr::logical_plan::{Aggregate, LogicalPlan};
use datafusion_expr::{BinaryExpr, Expr, Operator, lit};
use datafusion_functions_aggregate::count::count_all;
use datafusion_functions_aggregate::expr_fn::{count, max, min};
use gristmill_engine::Position;

use super::domain::null_of;
use super::lift::Use;
use super::lifted::Lifted;
use super::rows::{is_one_row, without_order};
use super::scope::Scope;
use super::values::Site;
use super::{Unnesting, case};

impl Unnesting<'_> {
    pub(super) fn quantified(
        &mut self,
        comparison: SetComparison,
        place: Option<Position>,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<Expr> {
        let SetComparison { expr, subquery, op, quantifier } = comparison;
        let site = site.operand(false);
        let value = self.value(*expr, outer, &site)?;
        let (plan, scope) = self.enter(place, subquery, outer, &site)?;
        match (op, &quantifier) {
            (Operator::Eq, SetQuantifier::Any) => {
                return self.found_in(value, plan, scope, outer, &site);
            }
            (Operator::NotEq, SetQuantifier::All) => {
                let found = self.found_in(value, plan, scope, outer, &site)?;
                return Ok(Expr::Not(Box::new(found)));
            }
            _ => {}
        }
        if is_one_row(&plan) {
            let item = self.scalar(plan, scope, outer, &site)?;
            return Ok(compared(value, op, item));
        }
        if value.is_volatile() {
            return Err(self.refuse("a function like random() compared with ANY or ALL"));
        }
        let ends = self.ends(without_order(plan)?, scope, outer, &site)?;
        let [rows, values, smallest, largest] = &ends[..] else {
            return Err(self.refuse("ANY or ALL of this subquery"));
        };
        let is_all = matches!(quantifier, SetQuantifier::All);
        // What ANY needs one of, and ALL all of.
        let with = |end: &Expr| compared(value.clone(), op, end.clone());
        let decides = match (op, is_all) {
            (Operator::Lt | Operator::LtEq, false) | (Operator::Gt | Operator::GtEq, true) => {
                with(largest)
            }
            (Operator::Lt | Operator::LtEq, true) | (Operator::Gt | Operator::GtEq, false) => {
                with(smallest)
            }
            (Operator::NotEq, false) => with(smallest).or(with(largest)),
            (Operator::Eq, true) => with(smallest).and(with(largest)),
            _ => return Err(self.refuse(&format!("{op} with ANY or ALL"))),
        };
        let decides = if is_all { decides.is_false() } else { decides };
        let is_unknown = value.is_null().or(values.clone().lt(rows.clone()));
        let unknown = Expr::Literal(ScalarValue::Boolean(None), None);
        let no_rows = (rows.clone().eq(lit(0_i64)), lit(is_all));
        let branches = vec![no_rows, (decides, lit(!is_all)), (is_unknown, unknown)];
        Ok(case(branches, Some(lit(is_all))))
    }

    /// Rows, values, smallest and largest value of a subquery, for each row of the query around.
    fn ends(
        &mut self,
        plan: LogicalPlan,
        mut scope: Scope,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<Vec<Expr>> {
        let item = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let calls = [count_all(), count(item.clone()), min(item.clone()), max(item)];
        let calls = calls.into_iter().map(Expr::unalias).collect();
        let plan = Aggregate::try_new(Arc::new(plan), Vec::new(), calls)?;
        let fields = plan.schema.fields().clone();
        let plan = LogicalPlan::Aggregate(plan);
        if !scope.is_read_in(&plan) {
            return self.independent(plan, scope, outer);
        }
        let lifted = self.lift(plan, &mut scope, Use::Rows)?;
        let absent = match lifted.absent {
            Some(absent) => absent,
            None => fields.iter().map(|f| null_of(f.data_type())).collect::<Result<_>>()?,
        };
        let lifted = Lifted { absent: Some(absent), ..lifted };
        self.looked_up(lifted, scope, outer, true, site)
    }
}

fn compared(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}
