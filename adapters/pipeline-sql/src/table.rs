//! `CREATE TABLE … (…, PRIMARY KEY (…), SHARD KEY (…), SORT KEY (…))`: syntax only. The keys are checked where the
//! kernel's definition is made.

use kernel::{Result, SqlState};
use std::fmt;

use kernel::schema::ColumnType;
use sqlparser::ast::{ColumnOption, Expr};
use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error;
use crate::names::{quote, quote_list};
use crate::types::{column_type, type_name};

/// `CREATE TABLE`, names folded.
#[derive(Clone, PartialEq, Debug)]
pub struct CreateTable {
    /// Name.
    pub name: String,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// In order of declaration.
    pub columns: Vec<ColumnSyntax>,
    /// Empty: an append table.
    pub primary_key: Vec<String>,
    /// None: no clause. Some and empty: `SHARD KEY ()`, rows are placed by all their columns.
    pub shard_key: Option<Vec<String>>,
    /// Empty: no clause.
    pub sort_key: Vec<String>,
}

/// One column.
#[derive(Clone, PartialEq, Debug)]
pub struct ColumnSyntax {
    /// Name.
    pub name: String,
    /// Type.
    pub column_type: ColumnType,
    /// `NOT NULL`
    pub not_null: bool,
    /// `DEFAULT`
    pub default: Option<Expr>,
}

impl fmt::Display for CreateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let if_not_exists = if self.if_not_exists { "IF NOT EXISTS " } else { "" };
        write!(f, "CREATE TABLE {if_not_exists}{} (", quote(&self.name))?;
        for (n, column) in self.columns.iter().enumerate() {
            write!(f, "{}{column}", if n == 0 { "" } else { ", " })?;
        }
        let mut comma = if self.columns.is_empty() { "" } else { ", " };
        for (kind, key) in [
            ("PRIMARY", (!self.primary_key.is_empty()).then_some(&self.primary_key)),
            ("SHARD", self.shard_key.as_ref()),
            ("SORT", (!self.sort_key.is_empty()).then_some(&self.sort_key)),
        ] {
            if let Some(key) = key {
                write!(f, "{comma}{kind} KEY ({})", quote_list(key))?;
                comma = ", ";
            }
        }
        write!(f, ")")
    }
}

impl fmt::Display for ColumnSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", quote(&self.name), type_name(self.column_type))?;
        if self.not_null {
            write!(f, " NOT NULL")?;
        }
        match &self.default {
            Some(default) => write!(f, " DEFAULT {default}"),
            None => Ok(()),
        }
    }
}

/// Parses what follows `CREATE`.
pub(crate) fn create_table(c: &mut Cursor) -> Result<CreateTable> {
    c.expect(&["TABLE"])?;
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: c.relation()?,
        if_not_exists,
        columns: Vec::new(),
        primary_key: Vec::new(),
        shard_key: None,
        sort_key: Vec::new(),
    };
    if c.peek(&["AS"]) {
        return Err(c.unsupported("CREATE TABLE AS is not supported: create the table, then INSERT … SELECT"));
    }
    let mut keys_seen = Vec::new();
    c.list("a column or a key", |c| element(c, &mut table, &mut keys_seen))?;
    for (words, remedy) in [
        ("WITH", "storage parameters are not supported"),
        ("PARTITION", "PARTITION BY is not supported: rows are placed by the SHARD KEY"),
        ("INHERITS", "INHERITS is not supported"),
        ("AS", "CREATE TABLE AS is not supported: create the table, then INSERT … SELECT"),
        ("TABLESPACE", "TABLESPACE is not supported"),
    ] {
        if c.peek(&[words]) {
            return Err(c.unsupported(remedy));
        }
    }
    Ok(table)
}

fn element(c: &mut Cursor, table: &mut CreateTable, keys_seen: &mut Vec<&str>) -> Result<()> {
    if c.peek(&["CONSTRAINT"]) {
        c.take(&["CONSTRAINT"]);
        c.name()?;
        if !c.peek(&["PRIMARY", "KEY"]) {
            refuse_constraint(c)?;
            return Err(c.expected("PRIMARY KEY"));
        }
    }
    for kind in ["PRIMARY", "SHARD", "SORT"] {
        if !c.peek(&[kind, "KEY"]) || !is_list_after(c, 2) {
            continue;
        }
        let at = c.here();
        if keys_seen.contains(&kind) {
            let message = format!("table \"{}\" has more than one {kind} KEY", table.name);
            return Err(error::at(SqlState::INVALID_TABLE_DEFINITION, message, at));
        }
        keys_seen.push(kind);
        c.expect(&[kind, "KEY"])?;
        let key = key_columns(c)?;
        match kind {
            "SHARD" => table.shard_key = Some(key),
            _ if key.is_empty() => {
                return Err(error::at(SqlState::SYNTAX_ERROR, format!("{kind} KEY without columns"), at));
            }
            "PRIMARY" => table.primary_key = key,
            _ => table.sort_key = key,
        }
        return Ok(());
    }
    refuse_constraint(c)?;
    column(c, table, keys_seen)
}

fn key_columns(c: &mut Cursor) -> Result<Vec<String>> {
    c.list("a column name", |c| {
        let name = c.name()?;
        c.take(&["ASC"]);
        if c.peek(&["DESC"]) {
            return Err(c.unsupported("descending key columns are not supported"));
        }
        Ok(name)
    })
}

/// True if the token after the next `skip` ones opens a list.
fn is_list_after(c: &Cursor, skip: usize) -> bool {
    c.parser.peek_nth_token_ref(skip).token == Token::LParen
}

/// Refuses constraints that are known and not supported. A column may have one of their names, if a type follows.
fn refuse_constraint(c: &Cursor) -> Result<()> {
    const SAID: [(&[&str], &str); 10] = [
        (&["UNIQUE", "KEY"], "UNIQUE KEY is not supported: the PRIMARY KEY is the one unique key of a table"),
        (
            &["UNIQUE", "INDEX"],
            "UNIQUE INDEX is not supported: the PRIMARY KEY is the one unique key of a table",
        ),
        (&["UNIQUE"], "UNIQUE is not supported: the PRIMARY KEY is the one unique key of a table"),
        (&["FOREIGN", "KEY"], "FOREIGN KEY is not supported"),
        (&["CHECK"], "CHECK is not supported: filter with the pipeline's WHERE"),
        (&["EXCLUDE"], "EXCLUDE is not supported"),
        (
            &["KEY"],
            "secondary keys are not supported: there is the PRIMARY KEY, and the SORT KEY orders rows",
        ),
        (
            &["INDEX"],
            "secondary indexes are not supported: there is the PRIMARY KEY, and the SORT KEY orders rows",
        ),
        (&["FULLTEXT"], "FULLTEXT keys are not supported"),
        (&["LIKE"], "CREATE TABLE (LIKE …) is not supported"),
    ];
    for (words, message) in SAID {
        let constraint = c.peek(words) && (is_list_after(c, words.len()) || words[0] == "LIKE");
        let named = c.peek(words) && words.len() > 1 && is_list_after(c, words.len() + 1);
        let key_named = matches!(words, ["KEY"] | ["INDEX"]) && c.peek(words) && is_list_after(c, 2) && {
            let name = c.parser.peek_nth_token_ref(1);
            matches!(&name.token, Token::Word(w) if column_type_takes_length(&w.value))
        };
        if constraint || named || key_named {
            return Err(c.unsupported(message));
        }
    }
    Ok(())
}

/// `key varchar(10)` declares a column, `key by_name (name)` an index.
fn column_type_takes_length(word: &str) -> bool {
    let types = ["varchar", "char", "character", "numeric", "decimal", "dec", "float", "timestamp", "bit"];
    !types.iter().any(|t| word.eq_ignore_ascii_case(t))
}

fn column(c: &mut Cursor, table: &mut CreateTable, keys_seen: &mut Vec<&str>) -> Result<()> {
    let at = c.here();
    let name = c.name()?;
    let type_at = c.here();
    let data_type = c.parser.parse_data_type().map_err(error::parser)?;
    let column_type = column_type(&data_type, type_at)?;
    let mut column = ColumnSyntax { name, column_type, not_null: false, default: None };
    let mut nullable = false;
    loop {
        if c.take(&["CONSTRAINT"]) {
            c.name()?;
        }
        let option_at = c.here();
        let Some(option) = c.parser.parse_optional_column_option().map_err(error::parser)? else { break };
        let refused = match option {
            ColumnOption::Null => {
                nullable = true;
                continue;
            }
            ColumnOption::NotNull => {
                column.not_null = true;
                continue;
            }
            ColumnOption::Default(expr) => {
                if column.default.replace(expr).is_some() {
                    let message = format!("column \"{}\" has more than one DEFAULT", column.name);
                    return Err(error::at(SqlState::SYNTAX_ERROR, message, option_at));
                }
                continue;
            }
            ColumnOption::PrimaryKey(_) => {
                if keys_seen.contains(&"PRIMARY") {
                    let message = format!("table \"{}\" has more than one PRIMARY KEY", table.name);
                    return Err(error::at(SqlState::INVALID_TABLE_DEFINITION, message, option_at));
                }
                keys_seen.push("PRIMARY");
                table.primary_key = vec![column.name.clone()];
                continue;
            }
            ColumnOption::Unique(_) => {
                "UNIQUE is not supported: the PRIMARY KEY is the one unique key of a table"
            }
            ColumnOption::ForeignKey(_) => "REFERENCES (a foreign key) is not supported",
            ColumnOption::Check(_) => "CHECK is not supported: filter with the pipeline's WHERE",
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                "generated columns are not supported"
            }
            ColumnOption::Collation(_) => "COLLATE is not supported: text is compared by its bytes",
            _ => "this column option is not supported",
        };
        return Err(error::unsupported(refused, option_at));
    }
    if nullable && column.not_null {
        let message = format!("column \"{}\" is declared both NULL and NOT NULL", column.name);
        return Err(error::at(SqlState::SYNTAX_ERROR, message, at));
    }
    table.columns.push(column);
    Ok(())
}
