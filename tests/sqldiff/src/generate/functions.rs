//! PostgreSQL's operators and functions as they are called: a type, and a text with the types of the operands in
//! braces. A line that starts with a list of types means one line for each, with `T` for the type. `{=}` repeats the
//! operand before: an order by the collected value leaves no ties with an undefined order.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::generate::types::Type;

/// In the place of a type: the operand before.
const AGAIN: &str = "=";

/// A way to make an expression of a type.
#[derive(Debug)]
pub struct Form {
    /// Text before, between and behind the operands: one more than there are operands.
    pub texts: Vec<&'static str>,
    /// Types of the operands; None: the operand before once more.
    pub operands: Vec<Option<Type>>,
}

/// The forms that make this type.
pub fn scalars(of: Type) -> &'static [Form] {
    static FORMS: OnceLock<BTreeMap<Type, Vec<Form>>> = OnceLock::new();
    FORMS.get_or_init(|| read(SCALARS)).get(&of).map_or(&[], Vec::as_slice)
}

/// The aggregates that make this type.
pub fn aggregates(of: Type) -> &'static [Form] {
    static FORMS: OnceLock<BTreeMap<Type, Vec<Form>>> = OnceLock::new();
    FORMS.get_or_init(|| read(AGGREGATES)).get(&of).map_or(&[], Vec::as_slice)
}

/// The window functions that return this type and are equal for rows that are equal in the window's order.
pub fn windows(of: Type) -> &'static [Form] {
    static FORMS: OnceLock<BTreeMap<Type, Vec<Form>>> = OnceLock::new();
    FORMS.get_or_init(|| read(WINDOWS)).get(&of).map_or(&[], Vec::as_slice)
}

fn read(table: &'static str) -> BTreeMap<Type, Vec<Form>> {
    let mut forms: BTreeMap<Type, Vec<Form>> = BTreeMap::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (types, rest) = line.split_once(" :: ").unwrap_or(("-", line));
        let (out, text) = rest.split_once(": ").unwrap_or_else(|| panic!("no type in {line}"));
        for variable in types.split(' ').map(Type::named) {
            let named = |name: &str| {
                let found = if name == "T" { variable } else { Type::named(name) };
                found.unwrap_or_else(|| panic!("no type {name} in {line}"))
            };
            forms.entry(named(out)).or_default().push(form(text, &named));
        }
    }
    forms
}

fn form(text: &'static str, named: &dyn Fn(&str) -> Type) -> Form {
    let mut form = Form { texts: Vec::new(), operands: Vec::new() };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap_or_else(|| panic!("an open brace in {text}"));
        form.texts.push(before);
        form.operands.push((name != AGAIN).then(|| named(name)));
        rest = behind;
    }
    form.texts.push(rest);
    form
}

const SCALARS: &str = "
smallint int bigint numeric real float8 :: T: ({T} + {T})
smallint int bigint numeric real float8 :: T: ({T} - {T})
smallint int bigint numeric real float8 :: T: ({T} * {T})
smallint int bigint numeric real float8 :: T: ({T} / nullif({T}, 0))
smallint int bigint numeric :: T: ({T} % nullif({T}, 0))
smallint int bigint numeric real float8 :: T: (- {T})
smallint int bigint numeric real float8 :: T: abs({T})
smallint int bigint numeric real float8 interval :: boolean: ({T} > {T})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval jsonb int[] text[] bytea boolean :: boolean: ({T} = {T})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval jsonb int[] text[] bytea boolean :: boolean: ({T} <> {T})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval boolean :: boolean: ({T} < {T})
smallint int bigint numeric real float8 text date timestamp timestamptz interval :: boolean: ({T} >= {T})
smallint int bigint numeric real float8 text date timestamp timestamptz interval :: boolean: ({T} BETWEEN {T} AND {T})
int numeric text date :: boolean: ({T} NOT BETWEEN {T} AND {T})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval jsonb boolean :: boolean: ({T} IS NULL)
int numeric float8 text date timestamp interval jsonb boolean :: boolean: ({T} IS NOT NULL)
int bigint numeric float8 text date timestamp timestamptz interval boolean :: boolean: ({T} IS DISTINCT FROM {T})
int numeric float8 text date boolean :: boolean: ({T} IS NOT DISTINCT FROM {T})
int bigint numeric float8 text varchar date timestamp interval :: boolean: ({T} IN ({T}, {T}, {T}))
int numeric float8 text date timestamp :: boolean: ({T} NOT IN ({T}, {T}))
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval jsonb int[] text[] boolean :: T: coalesce({T}, {T})
int numeric float8 text date :: T: coalesce({T}, {T}, {T})
smallint int bigint numeric real float8 text varchar date timestamp timestamptz interval jsonb boolean :: T: nullif({T}, {T})
smallint int bigint numeric real float8 text date timestamp timestamptz interval :: T: greatest({T}, {T})
int bigint numeric float8 text date timestamp :: T: least({T}, {T}, {T})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval jsonb int[] text[] boolean :: T: CASE WHEN {boolean} THEN {T} ELSE {T} END
int bigint numeric float8 text date interval :: T: CASE WHEN {boolean} THEN {T} WHEN {boolean} THEN {T} END
int numeric text date :: T: CASE {int} WHEN {int} THEN {T} WHEN {int} THEN {T} ELSE {T} END
boolean: ({boolean} AND {boolean})
boolean: ({boolean} OR {boolean})
boolean: (NOT {boolean})
boolean: ({boolean} IS TRUE)
boolean: ({boolean} IS NOT TRUE)
boolean: ({boolean} IS UNKNOWN)
boolean: ({int} > {numeric})
boolean: ({float8} > {numeric})
boolean: ({float8} = {numeric})
boolean: ({real} < {float8})
boolean: ({int} = {bigint})
boolean: ({smallint} < {int})
boolean: ({bigint} >= {float8})
boolean: ({date} < {timestamp})
boolean: ({timestamp} <= {date})
boolean: ({timestamp} < {timestamptz})
boolean: ({text} = {varchar})
boolean: ({date} >= '2024-01-01')
boolean: ({timestamp} < '2024-02-01')
boolean: ({timestamp} >= '2024-01-01 10:00')
boolean: ({int} = '5')
boolean: (({int}, {int}) = ({int}, {int}))
boolean: (({int}, {numeric}) < ({int}, {numeric}))
boolean: (({int}, {text}) IN (({int}, {text}), ({int}, {text})))
boolean: (({int}, {int}) IS NULL)
boolean: ({int} = ANY({int[]}))
boolean: ({int} <> ALL({int[]}))
boolean: ({int} > ANY({int[]}))
boolean: ({text} = ANY({text[]}))
boolean: ({text} = ANY(ARRAY[{text}, {text}]))
boolean: ({int[]} @> {int[]})
boolean: ({int[]} && {int[]})
boolean: ({int[]} < {int[]})
boolean: ({text} LIKE 'a%')
boolean: ({text} LIKE '%b_')
boolean: ({text} NOT LIKE '%a%')
boolean: ({text} ILIKE 'A%')
boolean: ({text} ~ '^[a-c]+')
boolean: ({text} ~* 'B')
boolean: ({text} !~ '[0-9]')
boolean: starts_with({text}, {text})
boolean: ({jsonb} @> {jsonb})
boolean: ({jsonb} ? 'a')
boolean: ({jsonb} < {jsonb})
boolean: ({int})::boolean
boolean: ({interval} < {interval})
smallint: ({int})::smallint
int: ({smallint})::int
int: ({bigint})::int
int: ({numeric})::int
int: ({float8})::int
int: ({real})::int
int: ({boolean})::int
int: ({smallint} + {int})
int: ({int} * {smallint})
int: length({text})
int: char_length({varchar})
int: octet_length({text})
int: length({bytea})
int: position({text} in {text})
int: strpos({text}, {text})
int: ascii({text})
int: ({date} - {date})
int: array_length({int[]}, 1)
int: cardinality({text[]})
int: ({int[]})[2]
int: array_position({int[]}, {int})
int: ({int} & {int})
int: ({int} | 5)
int: ({int} # {int})
int: (~ {int})
int: ({int} << 2)
int: ({int} >> 1)
int: mod({int}, nullif({int}, 0))
int: gcd({int}, {int})
int: jsonb_array_length(CASE WHEN jsonb_typeof({jsonb}) = 'array' THEN {jsonb} END)
int: sign({numeric})::int
int: width_bucket({numeric}, 0, 10, 5)
int: ({jsonb} ->> 'a')::numeric::int
bigint: ({int})::bigint
bigint: ({numeric})::bigint
bigint: ({float8})::bigint
bigint: ({int} + {bigint})
bigint: ({bigint} * {int})
bigint: ({bigint} - {smallint})
bigint: ({int} / nullif({bigint}, 0))
numeric: ({int})::numeric
numeric: ({bigint})::numeric
numeric: ({float8})::numeric
numeric: ({real})::numeric
numeric: ({numeric})::numeric(10,2)
numeric: ({numeric})::numeric(20,4)
numeric: ({int})::numeric(12,3)
numeric: ({int} + {numeric})
numeric: ({numeric} - {bigint})
numeric: ({numeric} * {int})
numeric: ({numeric} * {smallint})
numeric: ({int} / nullif({numeric}, 0))
numeric: ({numeric} / 3)
numeric: (100.0 * {int} / nullif({int}, 0))
numeric: round({numeric}, 1)
numeric: round({numeric}, 2)
numeric: round({numeric})
numeric: round({numeric}, -1)
numeric: round({numeric}, 20)
numeric: trunc({numeric}, 1)
numeric: trunc({numeric})
numeric: ceil({numeric})
numeric: floor({numeric})
numeric: sign({numeric})
numeric: mod({numeric}, nullif({numeric}, 0))
numeric: div({numeric}, nullif({numeric}, 0))
numeric: sqrt(abs({numeric}))
numeric: power({numeric}, 2)
numeric: ({numeric} ^ 2)
numeric: exp(round({numeric} / 1e20, 2))
numeric: ln(abs({numeric}) + 1)
numeric: scale({numeric})::numeric
numeric: coalesce({numeric}, {int})
numeric: CASE WHEN {boolean} THEN {numeric} ELSE {int} END
numeric: greatest({numeric}, {int}, round({numeric}, 1))
numeric: extract(year FROM {date})
numeric: extract(second FROM {timestamp})
numeric: extract(epoch FROM {timestamp})
numeric: extract(epoch FROM {interval})
numeric: extract(hour FROM {interval})
numeric: extract(day FROM {interval})
numeric: extract(month FROM {timestamptz})
numeric: extract(dow FROM {date})
numeric: extract(week FROM {date})
numeric: extract(quarter FROM {timestamp})
numeric: extract(isoyear FROM {date})
numeric: extract(doy FROM {timestamp})
numeric: extract(minute FROM {time})
numeric: extract(milliseconds FROM {timestamp})
numeric: ({jsonb} ->> 'a')::numeric
real: ({int})::real
real: ({float8})::real
real: ({numeric})::real
float8: ({int})::float8
float8: ({numeric})::float8
float8: ({real})::float8
float8: ({real} + {float8})
float8: ({float8} * {numeric})
float8: ({float8} + {int})
float8: ({real} + {int})
float8: ({bigint} * {float8})
float8: ({numeric} / nullif({float8}, 0))
float8: coalesce({float8}, {numeric})
float8: CASE WHEN {boolean} THEN {float8} ELSE {numeric} END
float8: greatest({float8}, {numeric}, {int})
float8: round({float8})
float8: ceil({float8})
float8: floor({float8})
float8: trunc({float8})
float8: sign({float8})
float8: sqrt(abs({float8}))
float8: power({float8}, 2)
float8: exp(least({float8}, 10))
float8: ln(abs({float8}) + 1)
float8: sin({float8})
float8: atan2({float8}, {float8})
float8: degrees({float8})
float8: date_part('hour', {timestamp})
float8: date_part('second', {timestamp})
float8: date_part('epoch', {timestamptz})
float8: sqrt(abs({int}))
text: ({text} || {text})
text: ({text} || {int})
text: ({varchar} || {text})
text: ({text} || {numeric})
smallint int bigint numeric real float8 varchar date time timestamp timestamptz interval jsonb boolean int[] text[] bytea :: text: ({T})::text
text: ({varchar})::text
text: upper({text})
text: lower({text})
text: initcap({text})
text: trim({text})
text: ltrim({text}, 'a')
text: btrim({text}, {text})
text: substring({text} from 2)
text: substring({text} from 2 for 3)
text: substr({text}, {int})
text: substring({text} from '[a-z]+')
text: left({text}, 2)
text: left({text}, -1)
text: right({text}, 2)
text: right({text}, -2)
text: reverse({text})
text: repeat({text}, 2)
text: replace({text}, 'a', 'xy')
text: replace({text}, {text}, '-')
text: translate({text}, 'ab', 'x')
text: lpad({text}, 6)
text: lpad({text}, 6, 'ü')
text: rpad({text}, 2, {text})
text: split_part({text}, ',', 2)
text: split_part({text}, ',', -1)
text: concat({text}, {int}, {boolean}, {numeric})
text: concat_ws('-', {text}, {varchar}, {date})
text: md5({text})
text: regexp_replace({text}, '[a-b]', 'X')
text: regexp_replace({text}, '([a-z])', '<\\1>', 'g')
text: chr(64 + abs({int} % 60))
text: to_hex({int})
text: quote_literal({text})
text: overlay({text} placing 'ZZ' from 2 for 1)
text: encode({bytea}, 'hex')
text: to_char({timestamp}, 'YYYY-MM-DD HH24:MI:SS')
text: to_char({timestamp}, 'Mon DD, YYYY')
text: to_char({date}, 'IYYY-IW Day')
text: to_char({timestamptz}, 'HH12:MI:SS.MS AM')
text: to_char({numeric}, 'FM999,990.00')
text: to_char({int}, '0000')
text: to_char({interval}, 'HH24:MI:SS')
text: array_to_string({int[]}, ',')
text: array_to_string({text[]}, ',', '*')
text: ({text[]})[1]
text: ({jsonb} ->> 'a')
text: ({jsonb} ->> 1)
text: ({jsonb} #>> ARRAY['b','0'])
text: jsonb_typeof({jsonb})
text: format('%s|%s', {text}, {int})
text: CASE WHEN {boolean} THEN {text} ELSE {varchar} END
text: coalesce({varchar}, {text})
varchar: ({text})::varchar(3)
varchar: ({text})::varchar
varchar: ({int})::varchar
varchar: ({numeric})::varchar
date: ({timestamp})::date
date: ({timestamptz})::date
date: ({date} + {smallint})
date: ({date} - 7)
date: (({date} + interval '1 month')::date)
date: make_date(2024, 1 + abs({int} % 12), 15)
date: to_date('2024-05-06', 'YYYY-MM-DD')
time: ({timestamp})::time
time: ({time} + {interval})
timestamp: ({date})::timestamp
timestamp: ({timestamptz})::timestamp
timestamp: ({timestamp} + {interval})
timestamp: ({timestamp} - {interval})
timestamp: ({date} + {interval})
timestamp: ({date} - interval '36 hours')
timestamp: ({date} + {time})
timestamp: ({timestamptz} AT TIME ZONE 'America/New_York')
timestamp: ({timestamptz} AT TIME ZONE 'UTC')
timestamp: date_trunc('month', {timestamp})
timestamp: date_trunc('week', {timestamp})
timestamp: date_trunc('hour', {timestamp})
timestamp: date_trunc('quarter', {timestamp})
timestamp: date_bin('15 minutes', {timestamp}, timestamp '2024-01-01')
timestamptz: ({timestamp})::timestamptz
timestamptz: ({date})::timestamptz
timestamptz: ({timestamptz} + {interval})
timestamptz: ({timestamptz} - interval '1 month')
timestamptz: ({timestamp} AT TIME ZONE 'America/New_York')
timestamptz: date_trunc('day', {timestamptz})
timestamptz: date_trunc('day', {date})
timestamptz: to_timestamp({int})
timestamptz: to_timestamp({float8} / 1000)
interval: ({interval} + {interval})
interval: ({interval} - {interval})
interval: ({interval} * {int})
interval: ({interval} * 0.5)
interval: ({interval} / 3)
interval: (- {interval})
interval: ({timestamp} - {timestamp})
interval: ({timestamptz} - {timestamptz})
interval: ({timestamp} - {date})
interval: ({time} - {time})
interval: age({timestamp}, {timestamp})
interval: justify_hours({interval})
interval: justify_interval({interval})
interval: make_interval(days => {int})
interval: date_trunc('hour', {interval})
interval: ({time})::interval
jsonb: ({jsonb} || {jsonb})
jsonb: ({jsonb} -> 'a')
jsonb: ({jsonb} -> 'b' -> 2)
jsonb: ({jsonb} -> 0)
jsonb: ({jsonb} #> ARRAY['b','2','c'])
jsonb: ({jsonb} - 'a')
jsonb: jsonb_build_object('k', {int}, 'n', {numeric}, 't', {text})
jsonb: jsonb_build_array({text}, {boolean}, {date})
jsonb: to_jsonb({numeric})
jsonb: to_jsonb({text})
jsonb: to_jsonb({timestamp})
jsonb: jsonb_strip_nulls({jsonb})
jsonb: jsonb_set({jsonb}, ARRAY['a'], {jsonb})
int[]: ARRAY[{int}, {int}]
int[]: ({int[]} || {int})
int[]: ({int[]} || {int[]})
int[]: array_append({int[]}, {int})
int[]: array_remove({int[]}, {int})
int[]: ({int[]})[1:2]
text[]: ARRAY[{text}, {varchar}::text]
text[]: string_to_array({text}, ',')
text[]: array_cat({text[]}, {text[]})
text[]: ({int[]})::text[]
text[]: regexp_split_to_array({text}, 'b')
bytea: ({text})::text::bytea
bytea: decode(md5({text}), 'hex')
bytea: ({bytea} || {bytea})
";

const AGGREGATES: &str = "
bigint: count(*)
bigint: count({int})
bigint: count({text})
bigint: count(DISTINCT {int})
bigint: count(DISTINCT {text})
bigint: count(DISTINCT {numeric})
bigint: sum({int})
bigint: sum({smallint})
bigint: sum(DISTINCT {int})
bigint: sum(CASE WHEN {boolean} THEN 1 ELSE 0 END)
numeric: sum({bigint})
numeric: sum({numeric})
numeric: sum(DISTINCT {numeric})
numeric: avg({int})
numeric: avg({bigint})
numeric: avg({numeric})
numeric: stddev({int})
numeric: variance({numeric})
numeric: round(avg({numeric}), 2)
numeric: var_pop({int})
real: sum({real})
float8: sum({float8})
float8: avg({float8})
float8: avg({real})
float8: stddev_pop({float8})
float8: corr({float8}, {float8})
float8: percentile_cont(0.5) WITHIN GROUP (ORDER BY {float8})
interval: sum({interval})
interval: avg({interval})
smallint int bigint numeric real float8 text varchar date time timestamp timestamptz interval :: T: max({T})
smallint int bigint numeric real float8 text date timestamp timestamptz interval :: T: min({T})
boolean: bool_and({boolean})
boolean: bool_or({boolean})
int: bit_or({int})
text: string_agg({text}, ',' ORDER BY {=})
int[]: array_agg({int} ORDER BY {=})
text[]: array_agg({text} ORDER BY {=})
text[]: array_agg(DISTINCT {text})
jsonb: jsonb_agg({int} ORDER BY {=})
int: percentile_disc(0.5) WITHIN GROUP (ORDER BY {int})
numeric: max({numeric})
";

const WINDOWS: &str = "
bigint: rank()
bigint: dense_rank()
float8: percent_rank()
float8: cume_dist()
";
