//! From a pipeline and its table to what is decoded: which field of a message feeds which column or variable, as which type.

use kernel::schema::{ColumnType, TableDef};
use kernel::{Error, ErrorKind, Result};
use tidemark_decode::{DecodePlan, FieldMapping, Format};

use crate::pipeline::{CreatePipeline, FormatSyntax, Target};

/// What the decoder is to do, and which columns of the table it feeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeInputs {
    /// For the decoder. The mappings of columns are named like them, those of variables `@name`.
    pub decode: DecodePlan,
    /// For each column of the table, the ordinal of the mapping that feeds it.
    pub fed_by: Vec<Option<u16>>,
}

/// Resolves the mappings of a pipeline against its table. Columns that SET assigns are nullable here: what counts is what
/// SET makes of them.
pub fn decode_plan(pipeline: &CreatePipeline, table: &TableDef) -> Result<DecodeInputs> {
    let mut fed_by = vec![None; table.columns.len()];
    let mut fields: Vec<FieldMapping> = Vec::new();
    for (target, path, default) in mappings(pipeline, table) {
        let mut field = FieldMapping {
            name: target.to_string(),
            column_type: ColumnType::Text,
            nullable: true,
            path,
            default,
        };
        match &target {
            Target::Variable(name) => field.name = format!("@{name}"),
            Target::Column(name) => {
                let ordinal = column_ordinal(table, name)?;
                let column = &table.columns[ordinal];
                field.name = column.name.clone();
                field.column_type = column.column_type;
                field.nullable = column.nullable || pipeline.set.iter().any(|s| s.column == *name);
                fed_by[ordinal] = Some(fields.len() as u16);
            }
        }
        if fields.iter().any(|f| f.name == field.name) {
            let message = format!("pipeline \"{}\" maps {target} twice", pipeline.name);
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
        fields.push(field);
    }
    let format = match &pipeline.format {
        FormatSyntax::Json(_) => Format::Json,
        FormatSyntax::Csv(csv, _) => Format::Csv(csv.clone()),
    };
    Ok(DecodeInputs { decode: DecodePlan { format, fields }, fed_by })
}

fn mappings(pipeline: &CreatePipeline, table: &TableDef) -> Vec<(Target, Vec<String>, Option<String>)> {
    match &pipeline.format {
        FormatSyntax::Json(mappings) => mappings
            .iter()
            .map(|m| (m.target.clone(), m.path.clone(), m.default.as_ref().and_then(|d| d.text())))
            .collect(),
        FormatSyntax::Csv(_, targets) if targets.is_empty() => {
            table.columns.iter().map(|c| (Target::Column(c.name.clone()), vec![], None)).collect()
        }
        FormatSyntax::Csv(_, targets) => targets.iter().map(|t| (t.clone(), vec![], None)).collect(),
    }
}

/// The place of a column in its table.
pub(crate) fn column_ordinal(table: &TableDef, name: &str) -> Result<usize> {
    table.columns.iter().position(|c| c.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of table \"{}\" does not exist", table.name);
        Error::new(ErrorKind::UndefinedColumn, message)
    })
}
