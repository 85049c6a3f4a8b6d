//! Comparison of types whose stored form does not compare as their values do. Intervals compare by their length, with
//! months of 30 days and days of 24 hours: `1 day` equals `24:00:00`. jsonb compares by value: `1.0` equals `1`. Arrow
//! compares parts and texts. So wherever a plan compares, sorts, groups or joins by such values, it uses a key in their
//! place. Runs after types are coerced.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, InList, InSubquery, Sort, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, BinaryExpr, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Subquery, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::error::{SqlError, SqlState};
use crate::functions::json;
use crate::intervals;
use crate::operators::{call, shown};
use crate::schema;
use crate::types::{Base, NO_MODIFIER, PgType};

/// Replaces compared values by their keys.
#[derive(Debug)]
pub struct ByValue;

impl AnalyzerRule for ByValue {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }

    fn name(&self) -> &str {
        "compared_by_value"
    }
}

/// The same for the order of windows, before types are coerced: DataFusion would look up the bounds of the frame as
/// intervals.
#[derive(Debug)]
pub struct WindowsByValue;

impl AnalyzerRule for WindowsByValue {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(window_node)?.data)
    }

    fn name(&self) -> &str {
        "windows_by_value"
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
    let schema = schema::of_expressions(&plan)?;
    // Nodes that order or match rows by an expression itself.
    let by_itself = match &plan {
        LogicalPlan::Sort(_) | LogicalPlan::Join(_) => true,
        LogicalPlan::Distinct(Distinct::On(on)) => {
            for expr in &on.on_expr {
                if let Some(measured) = measured(expr, &schema)? {
                    let message =
                        format!("DISTINCT ON by values of type {} is not supported", measured.name());
                    return Err(SqlError::unsupported(message).into());
                }
            }
            false
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            if input.schema().fields().iter().any(|field| Measured::of(field).is_some()) {
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
        compared.map_data(|e| Ok(if by_itself { by_value(e, &schema)? } else { e })).map(|e| {
            let changed = e.transformed || by_itself;
            Transformed::new(name.restore(e.data), changed, e.tnr)
        })
    })?;
    match plan.data {
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
        other => Ok(Transformed::new(other, plan.transformed, plan.tnr)),
    }
}

/// Types whose values are compared by a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Measured {
    /// By their length.
    Interval,
    /// By their key: equal numbers in them can have different trailing zeros.
    Json,
}

impl Measured {
    fn of(field: &Field) -> Option<Measured> {
        match PgType::of(field) {
            PgType::One(Base::Interval) => Some(Measured::Interval),
            PgType::One(Base::Jsonb) => Some(Measured::Json),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Measured::Interval => "interval",
            Measured::Json => "jsonb",
        }
    }

    fn measure(self, expr: Expr) -> Expr {
        match self {
            Measured::Interval => intervals::length(expr),
            Measured::Json => json_key(expr),
        }
    }
}

fn measured(expr: &Expr, schema: &DFSchema) -> Result<Option<Measured>> {
    Ok(Measured::of(&expr.to_field(schema)?.1))
}

/// The key by which a value is compared.
fn by_value(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match measured(&expr, schema)? {
        Some(measured) => measured.measure(expr),
        None => expr,
    })
}

/// The keys of two operands; None: they are compared as they are. A literal beside jsonb is read as jsonb.
fn both_by_value(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<Option<(Expr, Expr)>> {
    let (l, r) = (measured(left, schema)?, measured(right, schema)?);
    let Some(measured) = l.or(r) else { return Ok(None) };
    let side = |expr: &Expr, found: Option<Measured>| match (found, expr) {
        (Some(found), expr) if found == measured => Ok(measured.measure(expr.clone())),
        (_, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) if measured == Measured::Json => {
            let document = ScalarValue::Utf8(Some(json::canonical(text)?));
            Ok(measured.measure(Expr::Literal(document, None)))
        }
        (_, literal @ Expr::Literal(value, _)) if value.is_null() && measured == Measured::Json => {
            Ok(measured.measure(literal.clone()))
        }
        _ if measured == Measured::Interval => Ok(expr.clone()),
        _ => Err(SqlError::unsupported("values of type jsonb cannot be compared with values of other types")
            .with_hint("Compare texts that ->> extracts from them.")),
    };
    match measured == Measured::Interval && l != r {
        true => Ok(None),
        false => Ok(Some((side(left, l)?, side(right, r)?))),
    }
}

/// Comparisons inside of an expression.
pub fn compared(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            match both_by_value(&binary.left, &binary.right, schema)? {
                Some((left, right)) => {
                    let (left, right) = (Box::new(left), Box::new(right));
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: binary.op, right }))
                }
                None => Transformed::no(Expr::BinaryExpr(binary)),
            }
        }
        Expr::InList(InList { expr, list, negated }) if measured(&expr, schema)?.is_some() => {
            let list = list.into_iter().map(|item| by_value(item, schema)).collect::<Result<_>>()?;
            let expr = Box::new(by_value(*expr, schema)?);
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if measured(&expr, schema)?.is_some() => {
            let plan = subquery.subquery.as_ref();
            let value = by_value(Expr::Column(plan.schema().columns().remove(0)), plan.schema())?;
            let plan = LogicalPlanBuilder::from(plan.clone()).project(vec![value.alias("value")])?.build()?;
            let expr = Box::new(by_value(*expr, schema)?);
            let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated }))
        }
        Expr::Between(mut between) if measured(&between.expr, schema)?.is_some() => {
            for part in [&mut between.expr, &mut between.low, &mut between.high] {
                **part = by_value(std::mem::take(part.as_mut()), schema)?;
            }
            Transformed::yes(Expr::Between(between))
        }
        Expr::ScalarFunction(function) if matches!(function.name(), "greatest" | "least" | "nullif") => {
            for arg in &function.args {
                if let Some(measured) = measured(arg, schema)? {
                    let message =
                        format!("{} of values of type {} is not supported", function.name(), measured.name());
                    return Err(SqlError::unsupported(message).with_hint("Use CASE.").into());
                }
            }
            Transformed::no(Expr::ScalarFunction(function))
        }
        Expr::AggregateFunction(function) => aggregate(function, schema)?,
        Expr::WindowFunction(mut window) => {
            sorted(&mut window.params.order_by, schema)?;
            for expr in &mut window.params.partition_by {
                *expr = by_value(std::mem::take(expr), schema)?;
            }
            let of = match window.params.args.as_slice() {
                [arg] => measured(arg, schema)?,
                _ => None,
            };
            if let (WindowFunctionDefinition::AggregateUDF(function), Some(of)) = (&window.fun, of)
                && let Some(ours) = of_values(of, function.name())?
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
        sort.expr = by_value(std::mem::take(&mut sort.expr), schema)?;
    }
    Ok(())
}

/// The aggregate of this name over such values; None: unchanged. jsonb has no least or greatest value.
fn of_values(measured: Measured, name: &str) -> Result<Option<AggregateUDF>> {
    match (measured, name) {
        (Measured::Interval, name) => Ok(intervals::extreme(name)),
        (Measured::Json, "min" | "max") => {
            let message = format!("function {name}(jsonb) does not exist");
            Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
                .with_hint("Extract texts with ->> and cast them to a type that has it.")
                .into())
        }
        (Measured::Json, _) => Ok(None),
    }
}

fn aggregate(mut function: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    sorted(&mut function.params.order_by, schema)?;
    let mut of = None;
    for arg in &function.params.args {
        of = of.or(measured(arg, schema)?);
    }
    let Some(of) = of else { return Ok(Transformed::yes(Expr::AggregateFunction(function))) };
    if let Some(ours) = of_values(of, function.func.name())? {
        function.func = Arc::new(ours);
    } else if function.params.distinct {
        if function.func.name() != "count" {
            let message = format!("{}(DISTINCT {}) is not supported", function.func.name(), of.name());
            return Err(SqlError::unsupported(message).into());
        }
        let args = std::mem::take(&mut function.params.args);
        function.params.args = args.into_iter().map(|arg| by_value(arg, schema)).collect::<Result<_>>()?;
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

/// Groups by the keys of values, and shows the first value of a group. PostgreSQL does not specify which one it shows,
/// either.
fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = &aggregate;
    let mut by: Vec<Expr> = vec![];
    let mut firsts: Vec<(usize, Expr)> = vec![];
    for (at, expr) in group_expr.iter().enumerate() {
        if matches!(expr, Expr::GroupingSet(_)) {
            let sets = expr.to_string();
            let mut of = None;
            expr.apply(|e| {
                if matches!(e, Expr::Column(_)) {
                    of = of.or(measured(e, input.schema())?);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            if let Some(of) = of {
                let message = format!("{sets} of values of type {} is not supported", of.name());
                return Err(SqlError::unsupported(message).into());
            }
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let Some(of) = measured(expr, input.schema())? else {
            by.push(expr.clone());
            continue;
        };
        by.push(of.measure(expr.clone()).alias(format!("measure of group {at}")));
        let first = Expr::AggregateFunction(AggregateFunction::new_udf(
            first_value_udaf(),
            vec![expr.clone()],
            false,
            None,
            vec![],
            None,
        ));
        firsts.push((at, first.alias(format!("value of group {at}"))));
    }
    if firsts.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let (groups, aggregates) = (by.len(), aggr_expr.len());
    let mut all = aggr_expr.clone();
    all.extend(firsts.iter().map(|(_, first)| first.clone()));
    let regrouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), by, all)?);
    let columns = regrouped.schema().columns();
    let mut kept = vec![];
    for (at, (qualifier, field)) in schema.iter().enumerate() {
        let from = match firsts.iter().position(|(group, _)| *group == at) {
            Some(first) => groups + aggregates + first,
            None => at,
        };
        let column = Expr::Column(columns[from].clone());
        let column = match Measured::of(field) {
            Some(Measured::Json) => shown(column, regrouped.schema(), Base::Jsonb, NO_MODIFIER)?,
            _ => column,
        };
        let same = Column::new(qualifier.cloned(), field.name()) == columns[from];
        let alias = || column.clone().alias_qualified(qualifier.cloned(), field.name());
        kept.push(if same && matches!(column, Expr::Column(_)) { column } else { alias() });
    }
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(kept, Arc::new(regrouped))?)))
}

fn json_key(expr: Expr) -> Expr {
    call(ScalarUDF::from(JsonKey { signature: Signature::any(1, Volatility::Immutable) }), vec![expr])
}

/// The sort key of jsonb values, each byte as the character of that code: windows can be ordered by texts but not by
/// bytes.
#[derive(PartialEq, Eq, Hash, Debug)]
struct JsonKey {
    signature: Signature,
}

impl ScalarUDFImpl for JsonKey {
    fn name(&self) -> &str {
        "jsonb_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(keys(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let keys = keys(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&keys, 0)?))
            }
            _ => plan_err!("the key is one of one value"),
        }
    }
}

fn keys(values: &ArrayRef) -> Result<ArrayRef> {
    let texts = crate::casts::convert::arrow_cast(values, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let (mut key, mut shown, mut bytes) = (Vec::new(), String::new(), 0usize);
    for text in texts {
        let Some(text) = text else {
            out.append_null();
            continue;
        };
        key.clear();
        json::append_key(text, &mut key)?;
        shown.clear();
        shown.extend(key.iter().map(|byte| char::from(*byte)));
        bytes += shown.len();
        if bytes > i32::MAX as usize {
            let message = "the compared values are too long together";
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).into());
        }
        out.append_value(&shown);
    }
    Ok(Arc::new(out.finish()))
}
