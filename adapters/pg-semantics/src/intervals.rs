//! Intervals compare by their length, a month taken for 30 days and a day for 24 hours: `1 day` equals `24:00:00`. Arrow compares
//! their parts. So wherever a plan compares, sorts, groups or joins by intervals, it does so by their lengths.
//! Runs after types are coerced.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, InList, Sort, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{format_state_name, merge_schema};
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, BinaryExpr, ColumnarValue, Distinct, Expr,
    ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use pg_values::time::Interval;

use crate::error::{SqlError, state};
use crate::functions::overload::{from_arrow, to_arrow};
use crate::operators::call;

/// Digits of the longest interval in microseconds.
const LENGTH_DIGITS: u8 = 38;

/// Puts lengths in the place of intervals that are compared.
#[derive(Debug)]
pub struct ByLength;

impl AnalyzerRule for ByLength {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }

    fn name(&self) -> &str {
        "intervals_by_length"
    }
}

/// The same for the order of windows, before types are coerced: DataFusion would look for bounds of the frame among intervals.
#[derive(Debug)]
pub struct WindowsByLength;

impl AnalyzerRule for WindowsByLength {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(window_node)?.data)
    }

    fn name(&self) -> &str {
        "windows_by_length"
    }
}

fn window_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Window(_)) {
        return Ok(Transformed::no(plan));
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let ordered = expr.transform_up(|e| match e {
            Expr::WindowFunction(mut window) => {
                sorted(&mut window.params.order_by, &schema)?;
                Ok(Transformed::yes(Expr::WindowFunction(window)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(ordered.update_data(|e| name.restore(e)))
    })
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source = scan.source.schema();
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &source)?);
    }
    // Where the rows are ordered or matched by an expression itself.
    let by_itself = match &plan {
        LogicalPlan::Sort(_) | LogicalPlan::Join(_) => true,
        LogicalPlan::Distinct(Distinct::On(on)) => {
            for expr in &on.on_expr {
                if is_interval(expr, &schema)? {
                    return Err(SqlError::unsupported("DISTINCT ON by an interval is not supported")
                        .with_hint("Use extract(epoch FROM …).")
                        .into());
                }
            }
            false
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            if input.schema().fields().iter().any(|field| is_interval_type(field.data_type())) {
                return distinct(input);
            }
            false
        }
        _ => false,
    };
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let compared = expr.transform_up(|e| compared(e, &schema))?;
        compared.map_data(|e| Ok(if by_itself { by_length(e, &schema)? } else { e })).map(|e| {
            let changed = e.transformed || by_itself;
            Transformed::new(name.restore(e.data), changed, e.tnr)
        })
    })?;
    match plan.data {
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
        other => Ok(Transformed::new(other, plan.transformed, plan.tnr)),
    }
}

fn is_interval_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(is_interval_type(&expr.get_type(schema)?))
}

/// The length of an interval; anything else as it is.
fn by_length(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match is_interval(&expr, schema)? {
        true => length(expr),
        false => expr,
    })
}

fn length(expr: Expr) -> Expr {
    call(ScalarUDF::from(Length { signature: Signature::any(1, Volatility::Immutable) }), vec![expr])
}

/// Comparisons inside of an expression.
pub fn compared(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && is_interval(&left, schema)? && is_interval(&right, schema)? =>
        {
            let (left, right) = (Box::new(length(*left)), Box::new(length(*right)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::InList(InList { expr, list, negated }) if is_interval(&expr, schema)? => {
            let list = list.into_iter().map(|item| by_length(item, schema)).collect::<Result<_>>()?;
            Transformed::yes(Expr::InList(InList { expr: Box::new(length(*expr)), list, negated }))
        }
        Expr::Between(mut between) if is_interval(&between.expr, schema)? => {
            for part in [&mut between.expr, &mut between.low, &mut between.high] {
                **part = by_length(std::mem::take(part.as_mut()), schema)?;
            }
            Transformed::yes(Expr::Between(between))
        }
        Expr::ScalarFunction(function) if matches!(function.name(), "greatest" | "least" | "nullif") => {
            for arg in &function.args {
                if is_interval(arg, schema)? {
                    let message = format!("{} of intervals is not supported", function.name());
                    return Err(SqlError::unsupported(message).with_hint("Use CASE.").into());
                }
            }
            Transformed::no(Expr::ScalarFunction(function))
        }
        Expr::AggregateFunction(function) => aggregate(function, schema)?,
        Expr::WindowFunction(mut window) => {
            sorted(&mut window.params.order_by, schema)?;
            for expr in &mut window.params.partition_by {
                *expr = by_length(std::mem::take(expr), schema)?;
            }
            let of_interval = match window.params.args.as_slice() {
                [arg] => is_interval(arg, schema)?,
                _ => false,
            };
            if let (WindowFunctionDefinition::AggregateUDF(function), true) = (&window.fun, of_interval)
                && let Some(ours) = extreme(function.name())
            {
                window.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(ours));
            }
            Transformed::yes(Expr::WindowFunction(window))
        }
        other => Transformed::no(other),
    })
}

fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

fn sorted(order_by: &mut [Sort], schema: &DFSchema) -> Result<()> {
    for sort in order_by {
        sort.expr = by_length(std::mem::take(&mut sort.expr), schema)?;
    }
    Ok(())
}

fn aggregate(mut function: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    sorted(&mut function.params.order_by, schema)?;
    let mut of_interval = false;
    for arg in &function.params.args {
        of_interval |= is_interval(arg, schema)?;
    }
    if of_interval {
        if let Some(ours) = extreme(function.func.name()) {
            function.func = Arc::new(ours);
        } else if function.params.distinct {
            if function.func.name() != "count" {
                let message = format!("{}(DISTINCT interval) is not supported", function.func.name());
                return Err(SqlError::unsupported(message).into());
            }
            let args = std::mem::take(&mut function.params.args);
            function.params.args =
                args.into_iter().map(|arg| by_length(arg, schema)).collect::<Result<_>>()?;
        }
    }
    Ok(Transformed::yes(Expr::AggregateFunction(function)))
}

/// DISTINCT is grouping by all columns.
fn distinct(input: &LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let all: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let grouped = LogicalPlanBuilder::from(input.clone()).aggregate(all, Vec::<Expr>::new())?.build()?;
    let LogicalPlan::Aggregate(aggregate) = grouped else {
        return plan_err!("grouping makes an aggregate");
    };
    self::grouped(aggregate)
}

/// Groups by lengths, and takes the first interval of a group for all: which one PostgreSQL shows is open, too.
fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = &aggregate;
    let mut by: Vec<Expr> = vec![];
    let mut firsts: Vec<(usize, Expr)> = vec![];
    for (at, expr) in group_expr.iter().enumerate() {
        if matches!(expr, Expr::GroupingSet(_)) {
            let sets = expr.to_string();
            let mut of_interval = false;
            expr.apply(|e| {
                of_interval |= matches!(e, Expr::Column(_)) && is_interval(e, input.schema())?;
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            })?;
            if of_interval {
                return Err(SqlError::unsupported(format!("{sets} of intervals is not supported")).into());
            }
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        if !is_interval(expr, input.schema())? {
            by.push(expr.clone());
            continue;
        }
        by.push(length(expr.clone()).alias(format!("length of group {at}")));
        let first = Expr::AggregateFunction(AggregateFunction::new_udf(
            first_value_udaf(),
            vec![expr.clone()],
            false,
            None,
            vec![],
            None,
        ));
        firsts.push((at, first.alias(format!("interval of group {at}"))));
    }
    if firsts.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let (groups, aggregates) = (by.len(), aggr_expr.len());
    let mut all = aggr_expr.clone();
    all.extend(firsts.iter().map(|(_, first)| first.clone()));
    let regrouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), by, all)?);
    let columns = regrouped.schema().columns();
    let mut shown = vec![];
    for (at, (qualifier, field)) in schema.iter().enumerate() {
        let from = match firsts.iter().position(|(group, _)| *group == at) {
            Some(first) => groups + aggregates + first,
            None => at,
        };
        let column = Expr::Column(columns[from].clone());
        let same = Column::new(qualifier.cloned(), field.name()) == columns[from];
        shown.push(if same { column } else { column.alias_qualified(qualifier.cloned(), field.name()) });
    }
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(regrouped))?)))
}

/// The length of an interval in microseconds.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Length {
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(LENGTH_DIGITS, 0))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lengths = |values: &ArrayRef| -> Result<ArrayRef> {
            let wanted = DataType::Interval(IntervalUnit::MonthDayNano);
            let values = crate::casts::convert::arrow_cast(values, &wanted)?;
            let values = values.as_primitive::<IntervalMonthDayNanoType>();
            let lengths = values.iter().map(|v| v.map(|v| from_arrow(v).length_micros()));
            let lengths = lengths.collect::<Decimal128Array>();
            Ok(Arc::new(lengths.with_precision_and_scale(LENGTH_DIGITS, 0)?))
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(lengths(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let lengths = lengths(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?))
            }
            _ => plan_err!("the length is one of one interval"),
        }
    }
}

/// An aggregate of intervals, by the name that the aggregate of its name has in a plan.
fn extreme(name: &str) -> Option<AggregateUDF> {
    let (name, kind) = match name {
        "min" => ("min", Kind::Extreme(Ordering::Less)),
        "max" => ("max", Kind::Extreme(Ordering::Greater)),
        "sum" | "pg_sum" => ("interval_sum", Kind::Sum),
        "avg" | "pg_avg" => ("interval_avg", Kind::Avg),
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Some(AggregateUDF::from(OfIntervals { name, kind, signature }))
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// The one that compares so to all others.
    Extreme(Ordering),
    Sum,
    Avg,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct OfIntervals {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for OfIntervals {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Gathered { kind: self.kind, value: None, count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |part, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok(vec![field("interval", self.return_type(&[])?), field("count", DataType::Int64)])
    }
}

/// What was made of a group's intervals so far.
#[derive(Debug)]
struct Gathered {
    kind: Kind,
    value: Option<Interval>,
    count: i64,
}

impl Gathered {
    fn add(&mut self, value: Interval) -> Result<()> {
        let new = match (self.kind, self.value) {
            (_, None) => value,
            // Of two that are equal PostgreSQL keeps the later one.
            (Kind::Extreme(wanted), Some(best)) => {
                let order = value.length_micros().cmp(&best.length_micros());
                if order == wanted.reverse() { best } else { value }
            }
            (Kind::Sum | Kind::Avg, Some(sum)) => sum.plus(value).map_err(|_| out_of_range())?,
        };
        self.value = Some(new);
        Ok(())
    }
}

fn out_of_range() -> SqlError {
    SqlError::new(state::DATETIME_OVERFLOW, "interval out of range")
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return plan_err!("one column of intervals is wanted") };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.add(from_arrow(value))?;
            self.count += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return plan_err!("an interval and a count are wanted") };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.add(from_arrow(value))?;
        }
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let value = self.value.map(to_arrow).transpose()?;
        Ok(vec![ScalarValue::IntervalMonthDayNano(value), ScalarValue::Int64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match (self.kind, self.value) {
            (Kind::Avg, Some(sum)) => match sum.divided(self.count as f64) {
                Some(mean) => Some(mean.map_err(|_| out_of_range())?),
                None => None,
            },
            (_, value) => value,
        };
        Ok(ScalarValue::IntervalMonthDayNano(value.map(to_arrow).transpose()?))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
