//! The allow-list: DataFusion's functions that behave like PostgreSQL's of that name, and PostgreSQL's functions that
//! are rejected with a reason.

use std::fmt::Write as _;

use super::{installed_names, our_names};

/// Scalar functions of DataFusion's.
pub const SCALARS: &[&str] = &[
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "coalesce",
    "cos",
    "cosh",
    "cot",
    "factorial",
    "greatest",
    "least",
    "make_array",
    "nullif",
    "pi",
    "radians",
    "random",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "to_timestamp_millis",
    // Behind gen_random_uuid.
    "uuid",
];

/// Aggregate functions of DataFusion's. DISTINCT ON is planned as `first_value`.
pub const AGGREGATES: &[&str] = &[
    "array_agg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "max",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "string_agg",
];

/// Window functions of DataFusion's.
pub const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Our functions that return rows.
pub const TABLES: &[&str] = &["generate_series"];

/// Functions that return rows and become unnested arrays (`syntax::sets`).
pub const SETS: &[&str] = &[
    "generate_subscripts",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
];

/// Functions of a row, whose fields become their arguments (`syntax::rows`).
pub const ROWS: &[&str] = &["row_to_json"];

/// PostgreSQL's functions that are rejected, and the reasons. Functions in none of these lists do not exist.
pub const REFUSED: &[(&str, &str)] = &[
    ("generate_series", "it gives rows; call it in FROM or in the select list"),
    ("generate_subscripts", "it gives rows; call it in FROM or in the select list"),
    ("jsonb_array_elements", "it gives rows; call it in FROM or in the select list"),
    ("jsonb_array_elements_text", "it gives rows; call it in FROM or in the select list"),
    ("jsonb_each", "it gives rows of two columns; call it in FROM"),
    ("jsonb_each_text", "it gives rows of two columns; call it in FROM"),
    ("jsonb_object_keys", "it gives rows; call it in FROM or in the select list"),
    ("jsonb_path_exists", "there is no type jsonpath"),
    ("jsonb_path_query", "there is no type jsonpath"),
    ("jsonb_path_query_first", "there is no type jsonpath"),
    ("normalize", "forms of Unicode are not told apart"),
    ("regexp_matches", "it gives rows; call it in FROM or in the select list"),
    ("regexp_split_to_table", "it gives rows; call it in FROM or in the select list"),
    ("string_to_table", "it gives rows; call it in FROM or in the select list"),
    ("unistr", "escapes of Unicode are written in literals"),
];

/// The list as a Markdown table, for the documentation.
pub fn table() -> String {
    let mut out = String::from("| Function | Here |\n|---|---|\n");
    let mut rows: Vec<(String, String)> = vec![];
    let mut put =
        |names: &[&str], what: &str| rows.extend(names.iter().map(|n| (n.to_string(), what.to_string())));
    put(&our_names(), "ours");
    let installed = installed_names();
    put(&installed.iter().map(String::as_str).collect::<Vec<_>>(), "ours");
    put(SCALARS, "DataFusion's");
    put(AGGREGATES, "DataFusion's, aggregate");
    put(WINDOWS, "DataFusion's, window");
    put(TABLES, "ours, gives rows");
    put(SETS, "ours, gives rows");
    put(ROWS, "ours");
    rows.extend(REFUSED.iter().map(|(name, why)| (name.to_string(), format!("refused: {why}"))));
    rows.sort();
    rows.dedup_by(|next, before| next.0 == before.0);
    for (name, what) in rows {
        let _ = writeln!(out, "| `{name}` | {what} |");
    }
    out
}
