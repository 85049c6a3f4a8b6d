//! The tables of generated statements: wide ones with a column of every type and many NULLs, narrow ones for joins, an
//! empty one, and one that writes change.

use crate::generate::types::Type;

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Type)],
    /// Whether `id` is not null and unique.
    pub keyed: bool,
}

const WIDE: &[(&str, Type)] = &[
    ("id", Type::Int4),
    ("b", Type::Bool),
    ("i2", Type::Int2),
    ("i4", Type::Int4),
    ("i8", Type::Int8),
    ("f4", Type::Real),
    ("f8", Type::Float),
    ("n", Type::Numeric),
    ("w", Type::Numeric),
    ("s", Type::Text),
    ("v", Type::Varchar),
    ("d", Type::Date),
    ("t", Type::Timestamp),
    ("z", Type::Timestamptz),
    ("j", Type::Jsonb),
];

/// The wide tables.
pub const WIDES: &[Table] =
    &[Table { name: "ta", columns: WIDE, keyed: true }, Table { name: "tb", columns: WIDE, keyed: true }];

/// The narrow tables: NULLs and doubles in `id`.
pub const NARROWS: &[Table] = &[
    Table { name: "ka", columns: &[("id", Type::Int4), ("x", Type::Text), ("n", Type::Int4)], keyed: false },
    Table {
        name: "kb",
        columns: &[("id", Type::Int4), ("y", Type::Numeric), ("n", Type::Int4)],
        keyed: false,
    },
    Table {
        name: "kc",
        columns: &[("id", Type::Int4), ("y", Type::Numeric), ("u", Type::Date)],
        keyed: false,
    },
    Table { name: "ke", columns: &[("id", Type::Int4), ("x", Type::Text), ("u", Type::Date)], keyed: false },
];

/// The table that writes change.
pub const CHANGED: Table = Table {
    name: "up",
    columns: &[
        ("id", Type::Int4),
        ("i2", Type::Int2),
        ("i8", Type::Int8),
        ("f8", Type::Float),
        ("n", Type::Numeric),
        ("s", Type::Text),
        ("v", Type::Varchar),
        ("d", Type::Date),
        ("t", Type::Timestamp),
    ],
    keyed: true,
};

/// Makes all tables.
pub const SETUP: &[&str] = &[
    "CREATE TABLE ta(id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric(12,2), w numeric(24,8), s text, v varchar(20), d date, t timestamp, z timestamptz, j jsonb)",
    "CREATE TABLE tb(id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric(12,2), w numeric(24,8), s text, v varchar(20), d date, t timestamp, z timestamptz, j jsonb)",
    r#"INSERT INTO ta VALUES
      (1, true, 1, 10, 100, 0.5, 0.25, 10.60, 0.00000001, 'abc', 'abc', '2024-01-01', '2024-01-01 00:00:15.75', '2024-01-01 00:00:15.75+00', '{"a":1,"b":[1,2,{"c":"x"}]}'),
      (2, false, -3, 20, 9007199254740993, 0.1, 1e-20, 20.55, 123456789.12345678, '', 'x', '2024-02-29', '2024-02-29 23:59:59.5', '2024-02-29 23:59:59.5+00', '{"a":1.10,"t":"é"}'),
      (3, null, 7, null, -5, -2.5, 3.3, 3.33, null, null, null, null, '1969-12-31 23:59:59.999999', null, '[3,1,2]'),
      (4, true, null, -7, null, null, null, -0.05, -1.5, 'Grüße 🌊', 'é', '1999-12-31', null, '2024-06-09 23:00:00-04', null),
      (5, null, 0, 0, 0, 0, 0, 0, 0, 'a_b%c', 'a b', '2024-01-01', '2024-01-31 10:30:00', '2024-03-10 07:30:00+00', '"s"'),
      (6, false, 100, 10, 4294967296, 1e10, 1e15, 9999999999.99, 99999999999.99999999, 'ABC', 'ABC', '2024-12-30', '2024-03-10 02:30:00', '1970-01-01 00:00:00+00', 'null'),
      (7, true, 2, 3, 3, 3, 3, 2.50, 2.5, 'a,b,c', '12', '2024-01-31', '2024-01-31 10:30:00', '2024-01-31 10:30:00+00', '{}')"#,
    r#"INSERT INTO tb VALUES
      (1, true, 5, 10, 10, 0.5, 0.5, 10.60, 10.6, 'abc', 'b', '2024-01-31', '2024-01-31 10:30:00', '2024-01-31 10:30:00+00', '{"a":2}'),
      (3, false, null, 42, null, null, 2.5, null, 0.3, 'é', null, null, null, null, '[]'),
      (8, null, 1, null, 1, 2, null, 1.00, 1, null, 'abc', '1970-01-01', '2000-01-01 00:00:00', '2000-01-01 00:00:00+00', null),
      (9, true, 1, 3, 3, -1, -1, 1.00, 1.00000000, 'z', 'abc', '2024-02-29', '2024-02-29 00:00:00', null, '{"a":{"b":null}}')"#,
    "CREATE TABLE ka(id int, x text, n int)",
    "INSERT INTO ka VALUES (1, 'a', 10), (2, 'b', null), (2, 'c', 20), (null, 'd', 30), (5, null, 10)",
    "CREATE TABLE kb(id int, y numeric(8,3), n int)",
    "INSERT INTO kb VALUES (1, 1.5, 10), (2, 2.25, 20), (3, null, null), (null, 4, 10), (2, 0.125, null)",
    "CREATE TABLE kc(id int, y numeric(8,3), u date)",
    "INSERT INTO kc VALUES (2, 2.25, '2024-01-01'), (3, null, '2024-02-29'), (3, 1, null), (7, 1.5, '2024-01-01')",
    "CREATE TABLE ke(id int, x text, u date)",
    "CREATE TABLE up(id int PRIMARY KEY, i2 smallint, i8 bigint, f8 double precision, n numeric(8,2), s text, v varchar(5), d date, t timestamp)",
];

/// Resets the table that writes change.
pub const RESET: &[&str] = &[
    "DELETE FROM up",
    "INSERT INTO up VALUES (1, 1, 10, 0.5, 1.50, 'a', 'a', '2024-01-01', '2024-01-01 10:00:00'), (2, null, -5, null, null, null, 'bc', null, null), (3, 7, null, 1e15, 99.99, 'é', null, '2024-02-29', '2024-02-29 23:59:59.5'), (4, 0, 0, 0, 0, '', '', '1999-12-31', null)",
];

/// The rows of the table that writes change.
pub const LOOK: &str = "SELECT id, i2, i8, f8, n, s, v::text, d, t FROM up";
