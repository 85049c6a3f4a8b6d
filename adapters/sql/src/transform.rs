//! SET and WHERE of a pipeline, and the plan of its extractor. Compiled once for each extractor, then evaluated over
//! columns. `now()` is the batch's input time. Only the outcome of the expressions is logged.
//!
//! A SET expression reads the decoded row with defaults filled in; WHERE reads the row after SET. Both read the
//! variables.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    new_empty_array, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed as Rewritten, TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast;
use kernel::Micros;
use kernel::schema::{ColumnType, TableDef};
use tidemark_decode::{ExtractPlan, Transform, Transformed, YEARS_DEFAULT};
use tidemark_pipeline_sql::{CreatePipeline, DecodeInputs, decode_plan, parse_pipeline};

use crate::assign::convert::to_column;
use crate::assign::defaults;
use crate::catalog::columns::field_of;
use crate::error::{Result, SqlError, SqlState};
use crate::query::{QueryEngine, guard, physical_expression, rewrite};

/// Column of the batch's input time, under a name that no column of a table and no variable can have.
const NOW: &str = "@now()";

/// Memory that expressions of pipelines may reserve. They need none, because they have no joins, sorts or aggregates.
const MEMORY_BYTES: usize = 1 << 20;

/// Makes extractors' plans from pipelines' definitions. One per process is enough.
#[derive(Debug)]
pub struct PipelinePlanner {
    engine: QueryEngine,
}

impl PipelinePlanner {
    /// Sets up functions and planning rules, the same that queries have.
    pub fn new() -> Result<PipelinePlanner> {
        Ok(PipelinePlanner { engine: QueryEngine::new(MEMORY_BYTES, 1)? })
    }

    /// The plan of an extractor: decoding, routing, and SET and WHERE if the pipeline has any.
    pub fn extract_plan(
        &self,
        definition_sql: &str,
        table: &Arc<TableDef>,
        shard_count: u16,
    ) -> kernel::Result<(ExtractPlan, Option<Box<dyn Transform>>)> {
        Ok(self.plan(&parse_pipeline(definition_sql)?, table, shard_count)?)
    }

    /// The same for a parsed definition.
    pub fn plan(
        &self,
        pipeline: &CreatePipeline,
        table: &Arc<TableDef>,
        shard_count: u16,
    ) -> Result<(ExtractPlan, Option<Box<dyn Transform>>)> {
        let inputs = decode_plan(pipeline, table)?;
        let constants = constant_defaults(table, &inputs)?;
        let program = match (&constants, pipeline.set.is_empty() && pipeline.filter.is_none()) {
            (Some(_), true) => None,
            _ => Some(Program::compile(self.engine.state(), pipeline, table, &inputs)?),
        };
        let plan = ExtractPlan {
            table: Arc::clone(table),
            decode: inputs.decode,
            defaults: constants.unwrap_or_else(|| vec![None; table.columns.len()]),
            shard_count,
            years: pipeline.years.map_or(YEARS_DEFAULT, |(first, last)| first as i32..=last as i32),
            ignores_tombstones: pipeline.ignores_tombstones,
        };
        Ok((plan, program.map(|p| Box::new(p) as Box<dyn Transform>)))
    }
}

/// Texts of the defaults of the columns that no message feeds; None if one of them is not a constant.
fn constant_defaults(table: &TableDef, inputs: &DecodeInputs) -> Result<Option<Vec<Option<String>>>> {
    let mut texts = Vec::with_capacity(table.columns.len());
    for (column, fed) in table.columns.iter().zip(&inputs.fed_by) {
        let default = if fed.is_none() { defaults::expression(column)? } else { None };
        texts.push(match default {
            None => None,
            Some(default) => match defaults::literal_text(&default, column) {
                Some(text) => text,
                None => return Ok(None),
            },
        });
    }
    Ok(Some(texts))
}

/// Where a column comes from before SET.
enum Base {
    /// Decoded column of this ordinal.
    Fed(usize),
    /// DEFAULT, evaluated for each batch.
    Default(Arc<dyn PhysicalExpr>),
    /// Nothing.
    Null,
}

/// A pipeline's expressions over batches of: the table's columns, the variables, the input time.
struct Program {
    table: Arc<TableDef>,
    base: Vec<Base>,
    /// Ordinals of the decoded variables.
    variables: Vec<usize>,
    set: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    out_schema: SchemaRef,
}

impl Program {
    fn compile(
        state: &SessionState,
        pipeline: &CreatePipeline,
        table: &Arc<TableDef>,
        inputs: &DecodeInputs,
    ) -> Result<Program> {
        let fields = &inputs.decode.fields;
        let variables: Vec<usize> = (0..fields.len()).filter(|n| fields[*n].name.starts_with('@')).collect();
        let columns = table.columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow(), true));
        let out_schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let mut all: Vec<Field> =
            table.columns.iter().map(|c| field_of(&c.name, c.column_type, true)).collect();
        all.extend(variables.iter().map(|n| field_of(&fields[*n].name, fields[*n].column_type, true)));
        all.push(Field::new(NOW, ColumnType::TimestampTz.arrow(), false));
        let schema = Arc::new(Schema::new(all));
        let compiler = Compiler { state, schema: DFSchema::try_from(Arc::clone(&schema))? };

        let mut base = Vec::with_capacity(table.columns.len());
        for (column, fed) in table.columns.iter().zip(&inputs.fed_by) {
            base.push(match (fed, defaults::expression(column)?) {
                (Some(n), _) => Base::Fed(usize::from(*n)),
                (None, Some(default)) => Base::Default(compiler.value(&default, column)?),
                (None, None) => Base::Null,
            });
        }
        let mut set = Vec::with_capacity(pipeline.set.len());
        for assignment in &pipeline.set {
            let ordinal = crate::write::names::column(table, &assignment.column)?;
            set.push((ordinal, compiler.value(&assignment.value, &table.columns[ordinal])?));
        }
        let filter = pipeline.filter.as_ref().map(|f| compiler.condition(f)).transpose()?;
        Ok(Program { table: Arc::clone(table), base, variables, set, filter, schema, out_schema })
    }

    fn run(&self, decoded: &RecordBatch, now_us: Micros) -> Result<Transformed> {
        let rows = decoded.num_rows();
        let now = TimestampMicrosecondArray::from_value(now_us, rows).with_timezone("+00:00");
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        columns.extend(self.table.columns.iter().map(|c| new_null_array(&c.column_type.arrow(), rows)));
        columns.extend(self.variables.iter().map(|n| Arc::clone(decoded.column(*n))));
        columns.push(Arc::new(now) as ArrayRef);
        self.fill_base(&mut columns, decoded, rows)?;

        let before = self.batch(&columns, rows)?;
        for (ordinal, expression) in &self.set {
            columns[*ordinal] = self.evaluate(expression, &before, *ordinal)?;
        }
        let keep = match &self.filter {
            None => None,
            Some(filter) => Some(condition(filter, &self.batch(&columns, rows)?)?),
        };
        columns.truncate(self.table.columns.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = RecordBatch::try_new_with_options(Arc::clone(&self.out_schema), columns, &options)?;
        Ok(Transformed { columns, keep, errors: vec![] })
    }

    fn fill_base(&self, columns: &mut [ArrayRef], decoded: &RecordBatch, rows: usize) -> Result<()> {
        // Defaults see no columns: only the input time.
        let time = match self.base.iter().any(|b| matches!(b, Base::Default(_))) {
            true => Some(self.batch(columns, rows)?),
            false => None,
        };
        for (ordinal, base) in self.base.iter().enumerate() {
            match (base, &time) {
                (Base::Fed(n), _) => columns[ordinal] = Arc::clone(decoded.column(*n)),
                (Base::Default(expression), Some(time)) => {
                    columns[ordinal] = self.evaluate(expression, time, ordinal)?
                }
                (Base::Default(_), None) | (Base::Null, _) => {}
            }
        }
        Ok(())
    }

    fn batch(&self, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.to_vec(), &options)?)
    }

    fn evaluate(
        &self,
        expression: &Arc<dyn PhysicalExpr>,
        batch: &RecordBatch,
        ordinal: usize,
    ) -> Result<ArrayRef> {
        let values = guard(|| expression.evaluate(batch)?.into_array(batch.num_rows()))??;
        to_column(&values, &self.table.columns[ordinal])
    }
}

fn condition(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = guard(|| filter.evaluate(batch)?.into_array(batch.num_rows()))??;
    match values.as_boolean_opt() {
        Some(keep) => Ok(keep.clone()),
        // Only NULL is of another type here: nothing is true.
        None => Ok(BooleanArray::new_null(values.len())),
    }
}

impl Transform for Program {
    fn transform(&mut self, columns: &RecordBatch, now_us: Micros) -> kernel::Result<Transformed> {
        Ok(self.run(columns, now_us)?)
    }
}

/// Compiles syntax to physical expressions.
struct Compiler<'a> {
    state: &'a SessionState,
    schema: DFSchema,
}

impl Compiler<'_> {
    /// The value of a column; its assignability is checked here, on no rows.
    fn value(
        &self,
        expression: &ast::Expr,
        column: &kernel::schema::ColumnDef,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let logical = self.logical(expression)?;
        let physical = self.physical(logical)?;
        let found = physical.data_type(self.schema.as_arrow()).map_err(SqlError::planning)?;
        to_column(&new_empty_array(&found), column)?;
        Ok(physical)
    }

    fn condition(&self, expression: &ast::Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let logical = self.logical(expression)?;
        let found = logical.get_type(&self.schema).map_err(SqlError::planning)?;
        if !matches!(found, DataType::Boolean | DataType::Null) {
            let message = format!("argument of WHERE must be type boolean, not type {found}");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
        self.physical(logical)
    }

    fn logical(&self, expression: &ast::Expr) -> Result<Expr> {
        let expression = self.resolve_variables(expression)?;
        let expression = rewrite::expression_for_planner(expression)?;
        let plan = || {
            self.state.create_logical_expr_from_sql_expr(
                ast::ExprWithAlias { expr: expression, alias: None },
                &self.schema,
            )
        };
        let logical = guard(plan)?.map_err(SqlError::planning)?;
        let logical = logical.transform_up(input_time).map_err(SqlError::planning)?.data;
        refuse_unbound(&logical)?;
        Ok(logical)
    }

    fn physical(&self, logical: Expr) -> Result<Arc<dyn PhysicalExpr>> {
        physical_expression(self.state, logical, &self.schema)
    }

    /// Variables become columns of that name, because the planner would treat them as session variables.
    fn resolve_variables(&self, expression: &ast::Expr) -> Result<ast::Expr> {
        let known: HashSet<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let mut expression = expression.clone();
        let outcome = ast::visit_expressions_mut(&mut expression, |expr| {
            if let ast::Expr::Identifier(ident) = expr
                && ident.quote_style.is_none()
                && ident.value.starts_with('@')
            {
                let name = ident.value.to_ascii_lowercase();
                if !known.contains(name.as_str()) {
                    let message = format!("variable {name} is fed by no field of the message");
                    return ControlFlow::Break(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
                }
                *ident = ast::Ident::with_quote('"', name);
            }
            ControlFlow::Continue(())
        });
        match outcome {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(expression),
        }
    }
}

/// `now()` and its kin become the input time.
fn input_time(expr: Expr) -> datafusion::error::Result<Rewritten<Expr>> {
    let Expr::ScalarFunction(function) = &expr else { return Ok(Rewritten::no(expr)) };
    let now = || Expr::Column(datafusion::common::Column::new_unqualified(NOW));
    match function.func.name() {
        "now" => Ok(Rewritten::yes(now())),
        "current_date" => Ok(Rewritten::yes(cast(now(), DataType::Date32))),
        "localtimestamp" => Ok(Rewritten::yes(cast(now(), ColumnType::Timestamp.arrow()))),
        _ => Ok(Rewritten::no(expr)),
    }
}

/// Refuses parts that an expression over one row cannot have.
fn refuse_unbound(expr: &Expr) -> Result<()> {
    let mut refused = None;
    let visited = expr.apply(|e| {
        refused = match e {
            Expr::AggregateFunction(_) => Some("aggregate functions"),
            Expr::WindowFunction(_) => Some("window functions"),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Some("subqueries"),
            Expr::ScalarFunction(f) if f.func.name() == "clock_timestamp" => Some("clock_timestamp"),
            Expr::ScalarFunction(f) if f.func.name() == "localtime" => Some("localtime"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    visited.map_err(SqlError::planning)?;
    match refused {
        Some(what) => Err(SqlError::unsupported(format!(
            "{what} cannot be used in SET, WHERE and DEFAULT of a pipeline"
        ))),
        None => Ok(()),
    }
}
