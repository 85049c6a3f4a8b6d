//! Functions of PostgreSQL that DataFusion lacks: session identity, settings, cancelling, and catalog queries of
//! clients. Evaluated row by row; none is meant for large columns.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use kernel::Snapshot;
use pg_semantics::types::{Base, PgType, typed};

use super::{DATABASE, PG_CATALOG, PUBLIC, Surroundings, pg_catalog};
use crate::client::settings::SERVER_VERSION;
use crate::error::{SqlError, SqlState};

type Body = Arc<dyn Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync>;

/// A function of loosely typed arguments.
struct Function {
    name: &'static str,
    returns: DataType,
    /// Its PostgreSQL type, where the Arrow type does not determine it.
    base: Option<Base>,
    body: Body,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name, self.returns.clone(), true);
        Ok(match self.base {
            Some(base) => typed(field, base).into(),
            None => field.into(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars: Option<Vec<ScalarValue>> = args
            .args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar((self.body)(&scalars)?.cast_to(&self.returns)?));
        }
        let mut values = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let row: Vec<ScalarValue> = args
                .args
                .iter()
                .map(|arg| match arg {
                    ColumnarValue::Scalar(value) => Ok(value.clone()),
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
                })
                .collect::<Result<_>>()?;
            values.push((self.body)(&row)?.cast_to(&self.returns)?);
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(datafusion::arrow::array::new_empty_array(&self.returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

fn function(
    name: &'static str,
    returns: DataType,
    volatility: Volatility,
    body: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
    Arc::new(ScalarUDF::from(Function { name, returns, base: None, body: Arc::new(body), signature }))
}

/// A function that returns the name of something.
fn named(
    name: &'static str,
    body: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let signature = Signature::nullary(Volatility::Stable);
    let (returns, base) = (DataType::Utf8, Some(Base::Name));
    Arc::new(ScalarUDF::from(Function { name, returns, base, body: Arc::new(body), signature }))
}

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

fn argument_text(args: &[ScalarValue], at: usize) -> Option<String> {
    match args.get(at)?.cast_to(&DataType::Utf8).ok()? {
        ScalarValue::Utf8(value) => value,
        _ => None,
    }
}

fn argument_int(args: &[ScalarValue], at: usize) -> Option<i64> {
    match args.get(at)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}

/// Registers the functions that depend on no session.
pub fn register(state: &mut SessionState) -> crate::error::Result<()> {
    for function in constant_functions() {
        state.register_udf(function)?;
    }
    let uuid = state.udf("uuid")?;
    state.register_udf(Arc::new(uuid.as_ref().clone().with_aliases(["gen_random_uuid"])))?;
    Ok(())
}

fn constant_functions() -> Vec<Arc<ScalarUDF>> {
    use DataType::{Boolean, Int64, Utf8};
    let stable = Volatility::Stable;
    let yes = |name| function(name, Boolean, stable, |_| Ok(ScalarValue::Boolean(Some(true))));
    let no = |name| function(name, Boolean, stable, |_| Ok(ScalarValue::Boolean(Some(false))));
    let none = |name| function(name, Utf8, stable, |_| Ok(ScalarValue::Utf8(None)));
    let first = |name| function(name, Utf8, stable, |args| Ok(ScalarValue::Utf8(argument_text(args, 0))));
    vec![
        yes("pg_table_is_visible"),
        yes("pg_type_is_visible"),
        yes("pg_function_is_visible"),
        yes("has_table_privilege"),
        yes("has_schema_privilege"),
        yes("has_database_privilege"),
        yes("pg_relation_is_publishable"),
        no("pg_is_in_recovery"),
        no("pg_is_other_temp_schema"),
        none("obj_description"),
        none("col_description"),
        none("shobj_description"),
        none("pg_get_viewdef"),
        none("pg_get_function_result"),
        none("pg_get_function_arguments"),
        function("pg_size_pretty", Utf8, Volatility::Immutable, |args| {
            Ok(ScalarValue::Utf8(argument_int(args, 0).map(size_pretty)))
        }),
        none("pg_get_statisticsobjdef_columns"),
        first("pg_get_expr"),
        function("pg_get_userbyid", Utf8, stable, |_| Ok(text("tidemark"))),
        function("pg_encoding_to_char", Utf8, stable, |_| Ok(text("UTF8"))),
        function("pg_my_temp_schema", Int64, stable, |_| Ok(ScalarValue::Int64(Some(0)))),
        named("current_database", |_| Ok(text(DATABASE))),
        named("current_catalog", |_| Ok(text(DATABASE))),
        named("current_schema", |_| Ok(text(PUBLIC))),
        function("version", Utf8, stable, |_| Ok(text(format!("PostgreSQL {SERVER_VERSION}")))),
        function("current_schemas", DataType::new_list(Utf8, true), stable, |_| {
            let names = [text(PG_CATALOG), text(PUBLIC)];
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&names, &Utf8)))
        }),
        function("format_type", Utf8, stable, |args| {
            Ok(ScalarValue::Utf8(argument_int(args, 0).map(|oid| format_type(oid, argument_int(args, 1)))))
        }),
    ]
}

/// The function behind the errors' `message_text`; no statement can call it by name.
pub(crate) fn bytes_as_text() -> Arc<ScalarUDF> {
    function("message_text", DataType::Utf8, Volatility::Immutable, |args| {
        Ok(ScalarValue::Utf8(match args.first() {
            Some(ScalarValue::Binary(Some(bytes))) => Some(shown_bytes(bytes)),
            _ => None,
        }))
    })
}

/// Any bytes as text: invalid bytes as `\xff`, and NUL as `\x00`.
fn shown_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (n, part) in chunk.valid().split('\0').enumerate() {
            text.push_str(if n > 0 { "\\x00" } else { "" });
            text.push_str(part);
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// Bytes as PostgreSQL shows them: in the smallest unit in which there are less than 10240.
fn size_pretty(bytes: i64) -> String {
    let mut halves = i128::from(bytes) * 2;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if halves.abs() < 2 * 10_240 {
            let rounded = (halves.abs() + 1) / 2 * halves.signum();
            return format!("{rounded} {unit}");
        }
        halves /= 1024;
    }
    format!("{} PB", halves / 2)
}

/// A type as SQL writes it.
pub fn format_type(oid: i64, modifier: Option<i64>) -> String {
    let modified = |name: &str| match modifier {
        Some(m) if name == "numeric" && m >= 4 => {
            format!("numeric({},{})", (m - 4) >> 16, (m - 4) & 0x7ff)
        }
        Some(m) if name == "character varying" && m >= 4 => format!("character varying({})", m - 4),
        _ => name.to_string(),
    };
    match u32::try_from(oid).ok().and_then(PgType::from_oid) {
        Some(PgType::One(base)) => modified(base.sql_name()),
        Some(PgType::Array(base)) => format!("{}[]", modified(base.sql_name())),
        None if oid == 0 => "-".into(),
        None => "???".into(),
    }
}

/// The functions that depend on the session and on the snapshot.
pub fn of_session(surroundings: &Surroundings, snapshot: &Arc<Snapshot>) -> Vec<Arc<ScalarUDF>> {
    use DataType::{Boolean, Int32, Int64, Utf8};
    let session = Arc::clone(&surroundings.session);
    let (user, pid) = (session.user.clone(), session.pid);
    let who = |name| {
        let user = user.clone();
        named(name, move |_| Ok(text(user.clone())))
    };
    let registry = Arc::clone(&surroundings.registry);
    let cancel = |name| {
        let registry = Arc::clone(&registry);
        function(name, Boolean, Volatility::Volatile, move |args| {
            let pid = argument_int(args, 0).and_then(|pid| i32::try_from(pid).ok());
            Ok(ScalarValue::Boolean(pid.map(|pid| registry.cancel(pid))))
        })
    };
    let bytes = |name| {
        let snapshot = Arc::clone(snapshot);
        function(name, Int64, Volatility::Stable, move |args| {
            let table = argument_int(args, 0).and_then(|oid| pg_catalog::table_of_oid(&snapshot, oid));
            let table = table.or_else(|| {
                argument_text(args, 0).and_then(|name| snapshot.catalog.table_named(&name)).map(|t| t.id)
            });
            Ok(ScalarValue::Int64(table.map(|id| {
                let views = snapshot.shards.iter().filter_map(|shard| shard.tables.get(&id));
                views.map(|view| view.bytes as i64).sum()
            })))
        })
    };
    let regclass = Arc::clone(snapshot);
    let names = Arc::clone(snapshot);
    let index = Arc::clone(snapshot);
    let constraint = Arc::clone(snapshot);
    let (getter, setter) = (Arc::clone(&session), session);
    vec![
        who("current_user"),
        who("session_user"),
        who("user"),
        who("current_role"),
        cancel("pg_cancel_backend"),
        bytes("pg_table_size"),
        bytes("pg_relation_size"),
        bytes("pg_total_relation_size"),
        function("pg_backend_pid", Int32, Volatility::Stable, move |_| Ok(ScalarValue::Int32(Some(pid)))),
        function("to_regclass", Int64, Volatility::Stable, move |args| {
            let name = argument_text(args, 0);
            Ok(ScalarValue::Int64(name.and_then(|name| pg_catalog::oid_of_name(&regclass, &name))))
        }),
        function("regclass_name", Utf8, Volatility::Stable, move |args| {
            let oid = argument_int(args, 0);
            Ok(ScalarValue::Utf8(oid.map(|oid| pg_catalog::name_of_oid(&names, oid))))
        }),
        function("pg_get_indexdef", Utf8, Volatility::Stable, move |args| {
            let oid = argument_int(args, 0);
            Ok(ScalarValue::Utf8(oid.and_then(|oid| pg_catalog::index_definition(&index, oid))))
        }),
        function("pg_get_constraintdef", Utf8, Volatility::Stable, move |args| {
            let oid = argument_int(args, 0);
            Ok(ScalarValue::Utf8(oid.and_then(|oid| pg_catalog::constraint_definition(&constraint, oid))))
        }),
        function("current_setting", Utf8, Volatility::Stable, move |args| {
            let name = argument_text(args, 0).unwrap_or_default();
            let missing_ok = matches!(args.get(1), Some(ScalarValue::Boolean(Some(true))));
            match getter.settings.lock().get(&name) {
                None if !missing_ok => Err(SqlError::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("unrecognized configuration parameter \"{name}\""),
                )
                .into()),
                value => Ok(ScalarValue::Utf8(value)),
            }
        }),
        function("set_config", Utf8, Volatility::Volatile, move |args| {
            let name = argument_text(args, 0).unwrap_or_default();
            let value = argument_text(args, 1).unwrap_or_default();
            let mut settings = setter.settings.lock();
            settings.set(&name, &value)?;
            Ok(ScalarValue::Utf8(settings.get(&name)))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::shown_bytes;

    #[test]
    fn bytes_are_shown_whatever_they_are() {
        assert_eq!(shown_bytes("ä{}".as_bytes()), "ä{}");
        assert_eq!(shown_bytes(b"a\xff\xc3(\0b\xe2\x82"), "a\\xff\\xc3(\\x00b\\xe2\\x82");
        assert_eq!(shown_bytes(b""), "");
    }
}
