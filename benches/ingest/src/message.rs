//! The topic's messages in a database: the table, the mapping of a pipeline, the size of a row. The messages themselves
//! are those of every benchmark, [`benches::payments`].

use benches::payments::Payment;

/// Columns of the table that the messages fill.
pub const COLUMNS: &str = "id bigint NOT NULL, name text NOT NULL, amount bigint NOT NULL, currency text NOT NULL, \
                           price double precision NOT NULL, urgent boolean NOT NULL, note text NOT NULL, at timestamptz NOT NULL";

/// The mapping of a pipeline.
pub const MAPPING: &str = "id <- id, name <- name, amount <- amount, currency <- currency, price <- price, urgent <- urgent, \
                           note <- note, at <- at";

/// Writes message number `n` over `into`.
pub fn write(n: u64, into: &mut String) {
    into.clear();
    Payment::nth(n).write_json(into);
}

/// Bytes that message `n`'s row has in plain columns: fixed widths, and text with 4-byte offsets. A boolean is a bit and is left
/// out.
pub fn raw_column_bytes(n: u64) -> u64 {
    let [_, name, _, currency, _, _, note, _] = Payment::nth(n).values();
    // Each text less its quotes.
    let text: usize = [name, currency, note].iter().map(|value| value.len() - 2 + 4).sum();
    text as u64 + 4 * 8
}
