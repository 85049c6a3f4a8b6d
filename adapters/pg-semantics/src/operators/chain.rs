//! Long chains of operators, `a + b - c …` and `a + (b + (c + …))`, as one flat call. Planners and optimizers name and
//! type each node together with everything below it, so the cost of a tree is at least quadratic in its depth. A chain
//! is one node with all operands side by side. It is evaluated step by step, in the order of the operators.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use parking_lot::{Mutex, RwLock};

use super::{Operand, call, comparison, quantifier, resolve};
use crate::arithmetic;

/// Least nesting of operators for a chain: shorter expressions stay trees, which optimizers can analyse.
const NESTED_MAX: usize = 16;

/// Column of a step: the result of the steps before it.
const BEFORE: &str = "before";

/// Column of a step: its other operand.
const OPERAND: &str = "operand";

/// Plans `left op right` as one more step of the chain that one of them is or becomes. Returns both unchanged if
/// neither is deep, or the operator is not one that is chained.
pub fn extend(op: &BinaryOperator, left: Operand, right: Operand) -> Result<Extended> {
    if comparison(op).is_some() || quantifier(op).is_some() {
        return Ok(Extended::Not(left, right));
    }
    let is_left = is_deep(&left.expr);
    if !is_left && !is_deep(&right.expr) {
        return Ok(Extended::Not(left, right));
    }
    let (carrier, other) = if is_left { (&left, &right) } else { (&right, &left) };
    let before = Operand { expr: column(BEFORE), field: Arc::clone(&carrier.field), open: false };
    // Literals stay visible to the operator: their types may be unknown.
    let visible = other.open || matches!(other.expr, Expr::Literal(..));
    let shown = if visible { other.clone() } else { Operand { expr: column(OPERAND), ..other.clone() } };
    let planned = if is_left { resolve(op, &before, &shown)? } else { resolve(op, &shown, &before)? };
    let Some(planned) = planned else { return Ok(Extended::Not(left, right)) };
    let (planned, operand) = match visible {
        true => without_placeholder(planned)?,
        false => (planned, Some((other.expr.clone(), Arc::clone(&other.field)))),
    };
    let step = Step::new(planned, &carrier.field, operand.as_ref().map(|(_, field)| field))?;
    let carrier = if is_left { left } else { right };
    let (chain, mut args) = match carrier.expr {
        Expr::ScalarFunction(function) if chain_of(&function).is_some() => {
            let chain = chain_of(&function).map(|chain| chain.with(step));
            (chain.expect("it was just seen"), function.args)
        }
        first => (Chain::new(step), vec![first]),
    };
    args.extend(operand.map(|(expr, _)| expr));
    Ok(Extended::Chain(call(chain, args)))
}

/// The result of an attempt to extend a chain.
pub enum Extended {
    /// A chain.
    Chain(Expr),
    /// The operands, unchanged.
    Not(Operand, Operand),
}

/// The type of a chain, without a traversal of its operands.
pub fn field(function: &ScalarFunction) -> Option<FieldRef> {
    chain_of(function).map(|chain| chain.steps.result())
}

fn chain_of(function: &ScalarFunction) -> Option<&Chain> {
    let inner = function.func.inner().as_ref() as &dyn std::any::Any;
    inner.downcast_ref::<Chain>()
}

/// Stops as soon as the result is known.
fn is_deep(expr: &Expr) -> bool {
    let mut at = expr;
    for _ in 0..NESTED_MAX {
        let is_leaf = |e: &Expr| matches!(e, Expr::Column(_) | Expr::Literal(..));
        at = match at {
            Expr::ScalarFunction(function) if chain_of(function).is_some() => return true,
            Expr::ScalarFunction(function) => {
                match function.args.iter().find(|arg| !is_leaf(arg)).or(function.args.first()) {
                    Some(arg) => arg,
                    None => return false,
                }
            }
            Expr::BinaryExpr(binary) if is_leaf(&binary.left) => &binary.right,
            Expr::BinaryExpr(binary) => &binary.left,
            Expr::Cast(cast) => &cast.expr,
            Expr::Negative(value) => value,
            _ => return false,
        };
    }
    true
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// A parameter becomes an operand, so that parameter substitution finds it.
fn without_placeholder(planned: Expr) -> Result<(Expr, Option<(Expr, FieldRef)>)> {
    let mut found = None;
    let planned = planned.transform_up(|expr| match expr {
        Expr::Placeholder(placeholder) if placeholder.field.is_some() => {
            let field = placeholder.field.clone();
            found = field.map(|field| (Expr::Placeholder(placeholder), field));
            Ok(Transformed::yes(column(OPERAND)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok((planned.data, found))
}

/// One operator of a chain: an expression over the result so far and, unless it is a constant, its other operand.
#[derive(PartialEq, Eq, Debug)]
struct Step {
    expr: Expr,
    schema: Arc<DFSchema>,
    takes_operand: bool,
    result: FieldRef,
    volatility: Volatility,
}

impl Step {
    fn new(planned: Expr, before: &FieldRef, operand: Option<&FieldRef>) -> Result<Step> {
        // The placeholder of an operand is nullable, whatever replaces it later.
        let named = |field: &FieldRef, name: &str| {
            Arc::new(field.as_ref().clone().with_name(name).with_nullable(true))
        };
        let mut fields = vec![named(before, BEFORE)];
        fields.extend(operand.map(|field| named(field, OPERAND)));
        let schema = DFSchema::from_unqualified_fields(fields.into(), Default::default())?;
        let expr = arithmetic::check(planned, &schema)?;
        let result = expr.to_field(&schema)?.1.as_ref().clone().with_name("chain");
        let mut volatility = Volatility::Immutable;
        expr.apply(|e| {
            if let Expr::ScalarFunction(function) = e {
                volatility = volatility.max(function.func.signature().volatility);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let takes_operand = operand.is_some();
        Ok(Step { expr, schema: Arc::new(schema), takes_operand, result: Arc::new(result), volatility })
    }
}

/// The steps of a chain. Chains with a common prefix share its steps: adding a step to a chain does not copy those
/// before it.
#[derive(Clone)]
struct Steps {
    all: Arc<RwLock<Vec<Arc<Step>>>>,
    len: usize,
}

impl Steps {
    fn with(&self, step: Step) -> Steps {
        let mut all = self.all.write();
        let len = self.len + 1;
        if all.len() == self.len {
            all.push(Arc::new(step));
            return Steps { all: Arc::clone(&self.all), len };
        }
        // Another chain already continues here.
        let mut own = all[..self.len].to_vec();
        own.push(Arc::new(step));
        Steps { all: Arc::new(RwLock::new(own)), len }
    }

    fn to_vec(&self) -> Vec<Arc<Step>> {
        self.all.read()[..self.len].to_vec()
    }

    fn last(&self) -> Arc<Step> {
        Arc::clone(&self.all.read()[self.len - 1])
    }

    fn result(&self) -> FieldRef {
        Arc::clone(&self.last().result)
    }
}

impl PartialEq for Steps {
    fn eq(&self, other: &Steps) -> bool {
        let shared = Arc::ptr_eq(&self.all, &other.all);
        self.len == other.len && (shared || self.to_vec() == other.to_vec())
    }
}

impl Eq for Steps {}

impl Hash for Steps {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.all.read()[..self.len].iter().for_each(|step| step.expr.hash(state));
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} steps", self.len)
    }
}

/// The function of a chain. Its arguments are the first operand and the operands of all steps that take one, in order.
#[derive(Debug)]
struct Chain {
    steps: Steps,
    signature: Signature,
    /// The compiled steps, compiled on first use, with their configuration.
    compiled: Mutex<Option<(Arc<ConfigOptions>, CompiledSteps)>>,
}

impl Chain {
    fn new(step: Step) -> Chain {
        Chain::of(Steps { all: Arc::new(RwLock::new(vec![Arc::new(step)])), len: 1 }, Volatility::Immutable)
    }

    fn with(&self, step: Step) -> Chain {
        Chain::of(self.steps.with(step), self.signature.volatility)
    }

    fn of(steps: Steps, volatility: Volatility) -> Chain {
        let volatility = volatility.max(steps.last().volatility);
        Chain { steps, signature: Signature::variadic_any(volatility), compiled: Mutex::new(None) }
    }

    fn compiled(&self, options: &Arc<ConfigOptions>) -> Result<CompiledSteps> {
        let mut compiled = self.compiled.lock();
        if let Some((made_with, compiled)) = compiled.as_ref()
            && Arc::ptr_eq(made_with, options)
        {
            return Ok(Arc::clone(compiled));
        }
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::clone(options));
        let steps = self.steps.to_vec();
        let steps = steps.iter().map(|step| Compiled::new(step, &props)).collect::<Result<Vec<_>>>()?;
        let steps = Arc::new(steps);
        *compiled = Some((Arc::clone(options), Arc::clone(&steps)));
        Ok(steps)
    }
}

type CompiledSteps = Arc<Vec<Compiled>>;

/// A compiled step.
#[derive(Debug)]
struct Compiled {
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    takes_operand: bool,
}

impl Compiled {
    fn new(step: &Step, props: &ExecutionProps) -> Result<Compiled> {
        let schema: SchemaRef = Arc::clone(step.schema.inner());
        let expr = create_physical_expr(&step.expr, &step.schema, props, &Default::default())?;
        Ok(Compiled { expr, schema, takes_operand: step.takes_operand })
    }

    fn calculate(&self, before: ArrayRef, operand: Option<ArrayRef>) -> Result<ArrayRef> {
        let rows = before.len();
        let columns: Vec<ArrayRef> = std::iter::once(before).chain(operand).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.expr.evaluate(&batch)?.into_array(rows)
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Chain) -> bool {
        self.steps == other.steps
    }
}

impl Eq for Chain {}

impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.steps.hash(state);
    }
}

/// Hashes a text while it is written.
struct Digest(DefaultHasher);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        "operators"
    }

    /// Two chains have the same name only if they are equal, because plans refer to expressions by name. A digest
    /// replaces the text of thousands of operands, which would be built again and again. It covers the operands' names,
    /// which passes that change their types leave unchanged.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let mut digest = Digest(DefaultHasher::new());
        self.hash(&mut digest.0);
        for arg in args {
            write!(digest, "{},", arg.schema_name())?;
        }
        Ok(format!("operators_{}_{:016x}", self.steps.len, digest.0.finish()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.steps.result().data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(self.steps.result())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let steps = self.compiled(&args.config_options)?;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut operands = args.args.into_iter().map(|arg| arg.into_array(rows));
        let Some(first) = operands.next() else { return internal_err!("a chain has a first operand") };
        let mut value = first?;
        for step in steps.iter() {
            let operand = if step.takes_operand { operands.next().transpose()? } else { None };
            value = step.calculate(value, operand)?;
        }
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?)),
            false => Ok(ColumnarValue::Array(value)),
        }
    }
}
