//! From a pipeline and its table to the decoders' plan: which field of a message feeds which column or variable, as
//! which type.

use kernel::schema::{ColumnType, TableDef};
use kernel::{Error, Result, SqlState};
use tidemark_decode::{DecodePlan, FieldMapping, Format, TimeUnit};

use crate::pipeline::{CreatePipeline, FormatSyntax, Target};
use crate::types::type_name;

/// The decoder's plan, and the columns of the table that it feeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeInputs {
    /// For the decoder. Mappings of columns have the columns' names, those of variables `@name`.
    pub decode: DecodePlan,
    /// For each column of the table, the ordinal of the mapping that feeds it.
    pub fed_by: Vec<Option<u16>>,
}

/// Resolves the mappings of a pipeline against its table. Columns that SET assigns are nullable here: NOT NULL is
/// checked after SET.
pub fn decode_plan(pipeline: &CreatePipeline, table: &TableDef) -> Result<DecodeInputs> {
    let mut fed_by = vec![None; table.columns.len()];
    let mut fields: Vec<FieldMapping> = Vec::new();
    for Mapping { target, path, unit, default } in mappings(pipeline, table) {
        let mut field = FieldMapping {
            name: target.to_string(),
            column_type: ColumnType::Text,
            nullable: true,
            path,
            default,
            unit,
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
        if let Some(unit) = unit {
            check_unit(&field, unit)?;
        }
        if fields.iter().any(|f| f.name == field.name) {
            let message = format!("pipeline \"{}\" maps {target} twice", pipeline.name);
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        fields.push(field);
    }
    let format = match &pipeline.format {
        FormatSyntax::Json(_) => Format::Json,
        FormatSyntax::Csv(csv, _) => Format::Csv(csv.clone()),
    };
    Ok(DecodeInputs { decode: DecodePlan { format, fields }, fed_by })
}

/// One field of a message, of either format.
struct Mapping {
    target: Target,
    path: Vec<String>,
    unit: Option<TimeUnit>,
    default: Option<String>,
}

fn mappings(pipeline: &CreatePipeline, table: &TableDef) -> Vec<Mapping> {
    let of_line = |target: Target, unit| Mapping { target, path: vec![], unit, default: None };
    match &pipeline.format {
        FormatSyntax::Json(mappings) => mappings
            .iter()
            .map(|m| Mapping {
                target: m.target.clone(),
                path: m.path.clone(),
                unit: m.unit,
                default: m.default.as_ref().and_then(|d| d.text()),
            })
            .collect(),
        FormatSyntax::Csv(_, mappings) if mappings.is_empty() => {
            table.columns.iter().map(|c| of_line(Target::Column(c.name.clone()), None)).collect()
        }
        FormatSyntax::Csv(_, mappings) => {
            mappings.iter().map(|m| of_line(m.target.clone(), m.unit)).collect()
        }
    }
}

/// Numbers are times in columns of times only, and count days of a date only.
fn check_unit(field: &FieldMapping, unit: TimeUnit) -> Result<()> {
    let fits = match field.column_type {
        ColumnType::Date => true,
        ColumnType::Timestamp | ColumnType::TimestampTz => unit != TimeUnit::Days,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let message = format!(
        "UNIT '{}' of {} does not fit: it is for columns of type timestamp and timestamptz, and of type date, where also 'd' can \
         be said; {} is of type {}",
        unit.name(),
        field.name,
        field.name,
        type_name(field.column_type)
    );
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
}

/// The place of a column in its table.
pub(crate) fn column_ordinal(table: &TableDef, name: &str) -> Result<usize> {
    table.columns.iter().position(|c| c.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of table \"{}\" does not exist", table.name);
        Error::new(SqlState::UNDEFINED_COLUMN, message)
    })
}
