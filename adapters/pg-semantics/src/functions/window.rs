//! Window functions of DataFusion's with PostgreSQL's types: `row_number`, `rank` and `dense_rank` are bigint, `ntile`
//! is integer. DataFusion returns unsigned integers, which no PostgreSQL operator accepts.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

/// Names, and the types of their results.
const TYPES: [(&str, DataType); 4] = [
    ("dense_rank", DataType::Int64),
    ("ntile", DataType::Int32),
    ("rank", DataType::Int64),
    ("row_number", DataType::Int64),
];

/// The function with PostgreSQL's type, if DataFusion's differs.
pub fn typed(function: Arc<WindowUDF>) -> Arc<WindowUDF> {
    match TYPES.iter().find(|(name, _)| *name == function.name()) {
        Some((_, returns)) => Arc::new(WindowUDF::from(Typed { inner: function, returns: returns.clone() })),
        None => function,
    }
}

/// A function whose results are cast.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    inner: Arc<WindowUDF>,
    returns: DataType,
}

impl Typed {
    fn evaluator(&self, inner: Box<dyn PartitionEvaluator>) -> Box<dyn PartitionEvaluator> {
        Box::new(Casting { inner, returns: self.returns.clone() })
    }
}

impl WindowUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(self.evaluator(self.inner.partition_evaluator_factory(args)?))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let name = args.name().to_string();
        let nullable = self.inner.field(args)?.is_nullable();
        Ok(Field::new(name, self.returns.clone(), nullable).into())
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Identical => ReversedUDWF::Identical,
            ReversedUDWF::NotSupported => ReversedUDWF::NotSupported,
            ReversedUDWF::Reversed(other) => ReversedUDWF::Reversed(typed(other)),
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

/// Casts the results of another evaluator.
#[derive(Debug)]
struct Casting {
    inner: Box<dyn PartitionEvaluator>,
    returns: DataType,
}

impl PartitionEvaluator for Casting {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, idx: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(idx, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, rows)?, &self.returns)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.returns)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(rows, ranks)?, &self.returns)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
