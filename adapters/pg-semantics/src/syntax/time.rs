//! The syntax of times as calls of functions: `AT TIME ZONE`, `EXTRACT`, `INTERVAL '…' HOUR TO MINUTE`, `timestamp(3)`,
//! `OVERLAPS`, and texts that refer to the time of the statement.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, IntervalFields, ObjectName, TimezoneInfo, Value,
};

use crate::error::{Result, SqlError};

/// Rewrites an expression whose parts are already rewritten.
pub fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
        }
        Expr::Extract { field, expr: from, .. } => {
            let name = field.to_string();
            let name = name.trim_matches(['\'', '"']).to_string();
            *expr = call("extract", vec![text(name), take(from)]);
        }
        Expr::Interval(interval) => *expr = self::interval(interval)?,
        Expr::TypedString(typed) => {
            let value = match &typed.value.value {
                Value::SingleQuotedString(value) => value.clone(),
                other => other.clone().into_string().unwrap_or_default(),
            };
            let mut instead = cast(text(value), typed.data_type.clone());
            rewrite(&mut instead)?;
            *expr = instead;
        }
        Expr::Cast { expr: inner, data_type, .. } => {
            if let Some(instead) = special_cast(inner, data_type)? {
                *expr = instead;
            }
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            let (Expr::Tuple(first), Expr::Tuple(second)) = (take(left), take(right)) else {
                return Err(SqlError::syntax("OVERLAPS compares (start, end) with (start, end)"));
            };
            if first.len() != 2 || second.len() != 2 {
                return Err(SqlError::syntax("wrong number of parameters on a side of OVERLAPS expression"));
            }
            *expr = call("overlaps", first.into_iter().chain(second).collect());
        }
        Expr::Function(function) => self::function(function)?,
        _ => {}
    }
    Ok(())
}

/// Functions with a special syntax of arguments.
fn function(function: &mut Function) -> Result<()> {
    let name = function.name.to_string().to_ascii_lowercase();
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    match name.as_str() {
        "make_interval" => fill_interval(list),
        // The age of a timestamp is its distance from today's midnight.
        "age" if list.args.len() == 1 => {
            let today = call("current_date", vec![]);
            list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(today)));
            Ok(())
        }
        "current_timestamp" | "localtimestamp" | "localtime" if list.args.len() == 1 => {
            Err(SqlError::unsupported(format!("{name} takes no precision here"))
                .with_hint("Cast it: now()::timestamptz(0)."))
        }
        "current_time" => Err(no_time_with_zone()),
        _ => Ok(()),
    }
}

fn no_time_with_zone() -> SqlError {
    SqlError::unsupported("type time with time zone is not supported").with_hint("Use localtime, or now().")
}

/// `make_interval(days => 3)`: omitted parts are 0.
fn fill_interval(list: &mut FunctionArgumentList) -> Result<()> {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let zero = || Expr::Value(Value::Number("0".into(), false).into());
    let mut parts: Vec<Expr> = NAMES.iter().map(|_| zero()).collect();
    for (at, arg) in std::mem::take(&mut list.args).into_iter().enumerate() {
        let (at, arg) = match arg {
            FunctionArg::Named { name, arg, .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                let place = NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known));
                let unknown = || SqlError::syntax(format!("make_interval has no argument \"{name}\""));
                (place.ok_or_else(unknown)?, arg)
            }
            FunctionArg::Unnamed(arg) => (at, arg),
            other => {
                return Err(SqlError::syntax(format!("\"{other}\" is not an argument of make_interval")));
            }
        };
        let (FunctionArgExpr::Expr(value), Some(part)) = (arg, parts.get_mut(at)) else {
            return Err(SqlError::syntax("make_interval takes up to 7 numbers"));
        };
        *part = value;
    }
    list.args = parts.into_iter().map(|part| FunctionArg::Unnamed(FunctionArgExpr::Expr(part))).collect();
    Ok(())
}

/// `INTERVAL '2' DAY`, `INTERVAL '1 02:03' DAY TO MINUTE`, or without a unit.
fn interval(interval: &mut ast::Interval) -> Result<Expr> {
    let value = match take(&mut interval.value) {
        Expr::Value(value) => match value.value {
            Value::Number(number, _) => text(number),
            other => Expr::Value(other.into()),
        },
        other => return Err(SqlError::syntax(format!("INTERVAL requires a quoted text, not \"{other}\""))),
    };
    if interval.leading_precision.is_some() {
        return Err(SqlError::unsupported("an interval's precision is not supported"));
    }
    let Some(first) = interval.leading_field.take() else {
        let whole = cast(value, DataType::Interval { fields: None, precision: None });
        return Ok(scaled(whole, interval.fractional_seconds_precision));
    };
    let last = interval.last_field.take().unwrap_or_else(|| first.clone());
    let ranged = call("interval_of_range", vec![value, unit(&first), unit(&last)]);
    Ok(scaled(ranged, interval.fractional_seconds_precision))
}

fn unit(field: &DateTimeField) -> Expr {
    text(field.to_string().to_ascii_lowercase())
}

fn scaled(value: Expr, digits: Option<u64>) -> Expr {
    match digits {
        Some(digits) => call(
            "timestamp_scale",
            vec![value, Expr::Value(Value::Number(digits.min(6).to_string(), false).into())],
        ),
        None => value,
    }
}

/// Casts to types with a precision or with fields, and of texts that refer to the time of the statement.
fn special_cast(inner: &mut Expr, data_type: &mut DataType) -> Result<Option<Expr>> {
    if let Some(moment) = moment(inner, data_type) {
        return Ok(Some(moment));
    }
    let (precision, plain) = match data_type {
        DataType::Timestamp(Some(precision), zone) => (*precision, DataType::Timestamp(None, *zone)),
        DataType::Time(Some(precision), zone) => (*precision, DataType::Time(None, *zone)),
        DataType::Custom(name, modifiers) if name.to_string().eq_ignore_ascii_case("timestamptz") => {
            let Some(precision) = modifiers.first().and_then(|digits| digits.parse().ok()) else {
                return Ok(None);
            };
            (precision, DataType::Timestamp(None, TimezoneInfo::Tz))
        }
        DataType::Interval { fields: Some(fields), precision } => {
            let (first, last) = range(fields);
            let value = cast(take(inner), DataType::Text);
            let ranged = call("interval_of_range", vec![value, text(first.into()), text(last.into())]);
            return Ok(Some(scaled(ranged, *precision)));
        }
        DataType::Interval { fields: None, precision: Some(precision) } => {
            (*precision, DataType::Interval { fields: None, precision: None })
        }
        _ => return Ok(None),
    };
    Ok(Some(scaled(cast(take(inner), plain), Some(precision))))
}

fn range(fields: &IntervalFields) -> (&'static str, &'static str) {
    use IntervalFields as F;
    match fields {
        F::Year => ("year", "year"),
        F::Month => ("month", "month"),
        F::Day => ("day", "day"),
        F::Hour => ("hour", "hour"),
        F::Minute => ("minute", "minute"),
        F::Second => ("second", "second"),
        F::YearToMonth => ("year", "month"),
        F::DayToHour => ("day", "hour"),
        F::DayToMinute => ("day", "minute"),
        F::DayToSecond => ("day", "second"),
        F::HourToMinute => ("hour", "minute"),
        F::HourToSecond => ("hour", "second"),
        F::MinuteToSecond => ("minute", "second"),
    }
}

/// `'now'::timestamp`, `date 'yesterday'`.
fn moment(inner: &Expr, data_type: &DataType) -> Option<Expr> {
    let is_time =
        matches!(data_type, DataType::Date | DataType::Timestamp(None, _) | DataType::Time(None, _));
    let Expr::Value(value) = inner else { return None };
    let Value::SingleQuotedString(word) = &value.value else { return None };
    let today = || call("current_date", vec![]);
    let days = |op| Expr::BinaryOp {
        left: Box::new(today()),
        op,
        right: Box::new(Expr::Value(Value::Number("1".into(), false).into())),
    };
    let moment = match word.trim().to_ascii_lowercase().as_str() {
        "now" if is_time => call("now", vec![]),
        "today" if is_time => today(),
        "tomorrow" if is_time => days(BinaryOperator::Plus),
        "yesterday" if is_time => days(BinaryOperator::Minus),
        _ => return None,
    };
    Some(cast(Expr::Nested(Box::new(moment)), data_type.clone()))
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

fn text(value: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(value).into())
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Offsets of window frames become interval literals again, the only form that the planner recognises as intervals.
pub fn frames(statement: &mut ast::Statement) {
    struct Frames;
    impl ast::VisitorMut for Frames {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
            if let Expr::Function(function) = expr
                && let Some(ast::WindowType::WindowSpec(window)) = &mut function.over
                && let Some(frame) = &mut window.window_frame
            {
                literal_offset(&mut frame.start_bound);
                frame.end_bound.iter_mut().for_each(literal_offset);
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = ast::VisitMut::visit(statement, &mut Frames);
}

fn literal_offset(bound: &mut ast::WindowFrameBound) {
    let (ast::WindowFrameBound::Preceding(Some(offset)) | ast::WindowFrameBound::Following(Some(offset))) =
        bound
    else {
        return;
    };
    if let Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } = offset.as_mut()
        && matches!(expr.as_ref(), Expr::Value(_))
    {
        let literal = ast::Interval {
            value: Box::new(take(expr)),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        };
        **offset = Expr::Interval(literal);
    }
}
