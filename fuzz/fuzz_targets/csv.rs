//! Messages, separated by 0x1e, through one CSV decoder of any format: no panic, each message has the same outcome as
//! alone, and an invalid one leaves no row.
#![no_main]

use arbitrary::Arbitrary;
use kernel::RawMessage;
use kernel::schema::ColumnType;
use libfuzzer_sys::fuzz_target;
use tidemark_decode::{CsvFormat, DecodePlan, Decoded, FieldMapping, Format, Refused};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    fields_terminated_by: &'a str,
    lines_terminated_by: &'a str,
    lines_starting_by: &'a str,
    enclosed_by: Option<u8>,
    escaped_by: Option<u8>,
    ignore_lines: u8,
    null_defined_by: Option<&'a [u8]>,
    null_optionally_enclosed: bool,
    /// Commas, quotes and line feeds instead of the above.
    usual: bool,
    data: &'a [u8],
}

impl Input<'_> {
    fn format(&self) -> CsvFormat {
        let chosen = |chosen: &str, usual: &[u8]| if self.usual { usual.to_vec() } else { chosen.into() };
        CsvFormat {
            fields_terminated_by: chosen(self.fields_terminated_by, b","),
            lines_terminated_by: chosen(self.lines_terminated_by, b"\n"),
            lines_starting_by: chosen(self.lines_starting_by, b""),
            enclosed_by: if self.usual { Some(b'"') } else { self.enclosed_by },
            escaped_by: self.escaped_by,
            ignore_lines: self.ignore_lines as u32 % 3,
            null_defined_by: self.null_defined_by.map(<[u8]>::to_vec),
            null_optionally_enclosed: self.null_optionally_enclosed,
        }
    }
}

fn plan(format: CsvFormat) -> DecodePlan {
    let field = |(name, column_type, default): (&str, ColumnType, Option<&str>)| FieldMapping {
        name: name.into(),
        column_type,
        nullable: name != "a",
        path: vec![],
        default: default.map(String::from),
        unit: None,
    };
    let fields = [
        ("a", ColumnType::Text, None),
        ("b", ColumnType::Int32, None),
        ("c", ColumnType::Bytea, None),
        ("d", ColumnType::Decimal { precision: 12, scale: 3 }, Some("1.5")),
        ("e", ColumnType::TimestampTz, Some("2026-01-01")),
    ];
    DecodePlan { format: Format::Csv(format), fields: fields.into_iter().map(field).collect() }
}

fn decode<'a>(plan: &DecodePlan, messages: &[&'a [u8]]) -> Option<(Decoded, Vec<Refused>)> {
    let raw = |value: &&'a [u8]| RawMessage {
        ordinal: 0,
        mark: kernel::Mark::LeaderEpoch(-1),
        timestamp_ms: -1,
        key: None,
        value: Some(value),
    };
    let raw: Vec<_> = messages.iter().map(raw).collect();
    Some(plan.decoder().ok()?.decode(&raw))
}

fuzz_target!(|input: Input<'_>| {
    let plan = plan(input.format());
    let messages: Vec<&[u8]> = input.data.split(|&byte| byte == 0x1e).take(16).collect();
    let Some((decoded, refused)) = decode(&plan, &messages) else { return };
    let (mut row, mut refused) = (0, refused.into_iter().peekable());
    for (index, message) in messages.iter().enumerate() {
        let (alone, alone_refused) = decode(&plan, &[message]).expect("the same plan");
        let this_refused = refused.next_if(|r| r.message as usize == index);
        assert_eq!(this_refused.as_ref().map(|r| &r.error), alone_refused.first().map(|r| &r.error));
        let rows = alone.columns.num_rows();
        assert!(this_refused.is_none() || rows == 0);
        assert_eq!(decoded.columns.slice(row, rows), alone.columns);
        assert!(decoded.origin[row..row + rows].iter().all(|&origin| origin as usize == index));
        row += rows;
    }
    assert_eq!((row, refused.next()), (decoded.columns.num_rows(), None));
});
