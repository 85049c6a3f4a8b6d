//! Functions: the allow-list of all callable functions, and our own ones. The list excludes DataFusion's functions that
//! have PostgreSQL's name and another meaning; a session has no other functions.

pub mod aggregate;
pub mod array;
pub mod bounds;
mod bucket;
pub mod extract;
pub mod json;
pub mod json_aggregate;
pub mod json_row;
mod listed;
pub mod math;
pub mod now;
pub mod ordered;
pub mod overload;
mod refused;
pub mod scalar;
pub mod series;
pub mod sets;
pub mod text;
pub mod time;
pub mod to_char;
mod to_number;
pub mod type_of;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableFunction;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use array::{Action, ArrayFunction};
use scalar::Scalar;

pub use listed::{AGGREGATES, REFUSED, SCALARS, TABLES, WINDOWS, table};

static OURS: LazyLock<HashMap<&'static str, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let tables = [text::FUNCTIONS, text::REGEXP, text::OPERATORS, json::FUNCTIONS, json_row::FUNCTIONS];
    let scalar = tables.into_iter().flatten().map(|f| (f.name, Scalar::udf(f)));
    let arrays = Action::NAMED.into_iter().map(|action| (action.name(), ArrayFunction::udf(action)));
    scalar.chain(arrays).collect()
});

/// One of our scalar functions by its name.
pub fn ours(name: &str) -> Option<&'static Arc<ScalarUDF>> {
    OURS.get(name)
}

/// Names of our functions that a statement can call, without those behind operators and casts.
pub fn our_names() -> Vec<&'static str> {
    let tables = [text::FUNCTIONS, text::REGEXP, json::FUNCTIONS];
    let mut names: Vec<&str> = tables.into_iter().flatten().map(|f| f.name).collect();
    names.extend(Action::NAMED.map(Action::name));
    names.sort_unstable();
    names
}

/// Names of our functions that are registered at the set-up of a session: numbers, aggregates and times.
pub fn installed_names() -> Vec<String> {
    let scalars = math::functions().into_iter().chain(times());
    let scalars = scalars.flat_map(|f| [vec![f.name().to_string()], f.aliases().to_vec()].concat());
    let aggregates = aggregate::functions().into_iter().flat_map(|f| f.aliases().to_vec());
    let named = ordered::functions().into_iter().chain(json_aggregate::functions());
    let aggregates = aggregates.chain(named.map(|f| f.name().to_string()));
    scalars.chain(aggregates).collect()
}

fn times() -> impl Iterator<Item = ScalarUDF> {
    let others = vec![to_char::function(), to_number::function(), type_of::function(), bucket::function()];
    let all = [time::functions(), extract::functions(), now::functions(), others];
    all.into_iter().flatten()
}

/// A session with the functions of the list only, without file formats and tables from files.
pub fn allowed(builder: SessionStateBuilder) -> SessionStateBuilder {
    builder
        .with_scalar_functions(scalars())
        .with_aggregate_functions(aggregates())
        .with_window_functions(windows())
        .with_table_function_list(tables())
}

/// Removes DataFusion's other names for functions of the list.
pub fn close(state: &mut SessionState) -> crate::error::Result<()> {
    let scalar = |name: &str| {
        SCALARS.contains(&name)
            || REFUSED.iter().any(|(refused, _)| *refused == name)
            || OURS.contains_key(name)
    };
    let others: Vec<String> = state.scalar_functions().keys().filter(|n| !scalar(n)).cloned().collect();
    for name in others {
        state.deregister_udf(&name)?;
    }
    let others: Vec<String> =
        state.aggregate_functions().keys().filter(|n| !AGGREGATES.contains(&n.as_str())).cloned().collect();
    for name in others {
        state.deregister_udaf(&name)?;
    }
    let others: Vec<String> =
        state.window_functions().keys().filter(|n| !WINDOWS.contains(&n.as_str())).cloned().collect();
    for name in others {
        state.deregister_udwf(&name)?;
    }
    Ok(())
}

fn scalars() -> Vec<Arc<ScalarUDF>> {
    let theirs = SessionStateDefaults::default_scalar_functions().into_iter();
    let known = |f: &Arc<ScalarUDF>| SCALARS.contains(&f.name());
    let refused = REFUSED.iter().map(|(name, reason)| refused::Refused::udf(name, reason));
    theirs.filter(known).chain(refused).chain(OURS.values().cloned()).collect()
}

fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let theirs = SessionStateDefaults::default_aggregate_functions().into_iter();
    theirs.filter(|f| AGGREGATES.contains(&f.name())).collect()
}

fn windows() -> Vec<Arc<WindowUDF>> {
    let theirs = SessionStateDefaults::default_window_functions().into_iter();
    theirs.filter(|f| WINDOWS.contains(&f.name())).map(window::typed).collect()
}

fn tables() -> Vec<Arc<TableFunction>> {
    vec![series::table()]
}

/// Registers the functions of times, and those behind functions that return rows.
pub fn register(state: &mut SessionState) -> crate::error::Result<()> {
    for function in times() {
        state.register_udf(function.into())?;
    }
    for function in sets::functions().into_iter().chain([series::list()]) {
        state.register_udf(function.into())?;
    }
    Ok(())
}
