//! The types of generated statements, with constants of each: common ones, NULL, and sometimes one at a limit.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

macro_rules! types {
    ($($variant:ident = $name:literal, $plain:literal, [$($usual:literal),*], [$($limit:literal),*];)*) => {
        /// A type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Type { $($variant),* }

        impl Type {
            /// All of them.
            pub const ALL: &'static [Type] = &[$(Type::$variant),*];

            /// Its name in SQL.
            pub fn name(self) -> &'static str {
                match self { $(Type::$variant => $name),* }
            }

            /// The simplest constant.
            pub fn plain(self) -> &'static str {
                match self { $(Type::$variant => $plain),* }
            }

            fn usual(self) -> &'static [&'static str] {
                match self { $(Type::$variant => &[$($usual),*]),* }
            }

            fn limits(self) -> &'static [&'static str] {
                match self { $(Type::$variant => &[$($limit),*]),* }
            }
        }
    };
}

types! {
    Bool = "boolean", "true", ["true", "false"], [];
    Int2 = "smallint", "1::smallint", ["0::smallint", "2::smallint", "7::smallint", "(-3)::smallint"], ["32767::smallint", "(-32768)::smallint"];
    Int4 = "int", "1", ["0", "2", "3", "5", "10", "42", "(-1)", "(-7)", "100"], ["2147483647", "(-2147483648)"];
    Int8 = "bigint", "1::bigint", ["0::bigint", "3::bigint", "10::bigint", "(-5)::bigint", "4294967296", "9007199254740993"], ["9223372036854775807", "(-9223372036854775808)"];
    Real = "real", "1::real", ["0::real", "0.5::real", "0.1::real", "(-2.5)::real", "1e10::real"], ["'NaN'::real", "'Infinity'::real", "3.4e38::real", "1e-40::real", "(-0.0)::real"];
    Float = "float8", "1::float8", ["0::float8", "0.5::float8", "0.1::float8", "2.5::float8", "(-2.5)::float8", "1e15::float8", "1e-20::float8", "3::float8"], ["'NaN'::float8", "'Infinity'::float8", "'-Infinity'::float8", "1e308::float8", "'-0'::float8"];
    Numeric = "numeric", "1.5", ["0.0", "1.0", "0.1", "2.50", "(-1.25)", "10::numeric", "7.65", "0.005", "123456.789", "1.5::numeric(10,2)", "(-3.335)::numeric(6,2)", "100.000"], ["99999999999999999999.99", "0.00000000000000000001", "'NaN'::numeric", "12345678901234567890123456789"];
    Text = "text", "'a'::text", ["''::text", "'abc'::text", "'Grüße 🌊'::text", "'a_b%c'::text", "'12'::text", "' x '::text", "'AbC'::text", "'é'::text", "'a,b,c'::text", "'x''y'::text"], ["'2024-01-31'::text", "'1.5'::text", "'true'::text", "E'a\\nb\\\\c'::text"];
    Varchar = "varchar", "'a'::varchar", ["'abc'::varchar", "'é🌊'::varchar(3)", "'long text'::varchar(20)"], ["''::varchar(1)"];
    Date = "date", "date '2024-01-31'", ["date '2024-01-01'", "date '2024-02-29'", "date '1999-12-31'", "date '1970-01-01'"], ["date '9999-12-31'", "date '0001-01-01'", "date '1600-02-29'", "date 'infinity'"];
    Time = "time", "time '10:30'", ["time '00:00'", "time '23:59:59.999999'", "time '12:34:56.5'"], ["time '24:00'"];
    Timestamp = "timestamp", "timestamp '2024-01-31 10:30:00'", ["timestamp '2024-02-29 23:59:59.5'", "timestamp '1969-12-31 23:59:59.999999'", "timestamp '2024-03-10 02:30:00'", "timestamp '2000-01-01 00:00:00'"], ["timestamp '9999-12-31 23:59:59.999999'", "timestamp '0001-01-01 00:00:00'", "timestamp '1500-06-15 12:00:00'", "timestamp '-infinity'"];
    Timestamptz = "timestamptz", "timestamptz '2024-01-31 10:30:00+00'", ["timestamptz '2024-06-09 23:00:00-04'", "timestamptz '2024-03-10 07:30:00+00'", "timestamptz '1970-01-01 00:00:00+00'"], ["timestamptz '9999-12-31 23:59:59+00'", "timestamptz '1800-01-01 00:00:00+01'"];
    Interval = "interval", "interval '1 day'", ["interval '36 hours'", "interval '1 month'", "interval '-1 day'", "interval '1 mon -1 day'", "interval '1.5 seconds'", "interval '30 days'", "interval '1 year 2 mons 3 days 04:05:06.789'", "interval '0'"], ["interval '100 years'", "interval '-23:59:59.999999'"];
    Jsonb = "jsonb", "'{\"a\": 1}'::jsonb", ["'{\"a\":1.10,\"b\":[1,2,{\"c\":\"x\"}],\"n\":null}'::jsonb", "'[1,\"a\",null]'::jsonb", "'\"s\"'::jsonb", "'{}'::jsonb", "'[]'::jsonb", "'{\"b\":\"é\",\"aa\":true,\"a\":2}'::jsonb", "'1.50'::jsonb"], ["'null'::jsonb", "'{\"a\":{\"b\":{\"c\":[[1]]}}}'::jsonb"];
    Ints = "int[]", "'{1,2}'::int[]", ["ARRAY[1,2,3]", "ARRAY[3,null,1]", "ARRAY[10]"], ["'{}'::int[]"];
    Texts = "text[]", "'{a,b}'::text[]", ["ARRAY['a','b c',null]", "'{é,\"x,y\",NULL}'::text[]"], ["'{}'::text[]"];
    Bytea = "bytea", "'\\x01'::bytea", ["'\\x00ff'::bytea", "'abc'::bytea"], ["''::bytea"];
}

impl Type {
    /// The type with this name.
    pub fn named(name: &str) -> Option<Type> {
        Type::ALL.iter().copied().find(|of| of.name() == name)
    }

    /// NULL of the type.
    pub fn null(self) -> String {
        format!("NULL::{}", self.name())
    }

    /// A constant: mostly a usual one.
    pub fn constant(self, rng: &mut StdRng) -> String {
        let text = match rng.random_range(0..20) {
            0 => return self.null(),
            1 => self.limits().choose(rng),
            _ => self.usual().choose(rng),
        };
        text.copied().unwrap_or(self.plain()).to_string()
    }

    /// A type that columns, groups and orders are of, everyday ones more often.
    pub fn any(rng: &mut StdRng) -> Type {
        use Type::*;
        const OFTEN: [Type; 26] = [
            Bool,
            Int4,
            Int4,
            Int4,
            Int8,
            Int8,
            Int2,
            Float,
            Float,
            Real,
            Numeric,
            Numeric,
            Numeric,
            Text,
            Text,
            Text,
            Varchar,
            Date,
            Date,
            Timestamp,
            Timestamp,
            Timestamptz,
            Interval,
            Jsonb,
            Time,
            Ints,
        ];
        OFTEN.choose(rng).copied().unwrap_or(Int4)
    }
}
