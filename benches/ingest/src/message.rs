//! The messages: payments of eight fields, about 150 bytes of JSON. A function of their number, so that every contender and
//! every run sees the same.

use std::io::Write;

/// Columns of the table that the messages fill.
pub const COLUMNS: &str = "id bigint NOT NULL, account text NOT NULL, amount bigint NOT NULL, currency text NOT NULL, \
                           ts timestamptz NOT NULL, merchant text NOT NULL, country text NOT NULL, ok boolean NOT NULL";

/// The mapping of a pipeline.
pub const MAPPING: &str = "id <- id, account <- account, amount <- amount, currency <- currency, ts <- ts, \
                           merchant <- merchant, country <- country, ok <- ok";

const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "JPY"];
const COUNTRIES: [&str; 5] = ["DE", "FR", "IT", "NL", "ES"];

/// Writes message number `n` over `into`.
pub fn write(n: u64, into: &mut Vec<u8>) {
    into.clear();
    // A multiplicative mix: spread, and the same everywhere.
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let second = n / 20_000 % 86_400;
    write!(
        into,
        "{{\"id\":{n},\"account\":\"acct-{:08}\",\"amount\":{},\"currency\":\"{}\",\
         \"ts\":\"2026-11-22T{:02}:{:02}:{:02}.{:06}Z\",\"merchant\":\"shop-{:05}\",\"country\":\"{}\",\"ok\":{}}}",
        mixed % 1_000_000,
        mixed % 100_000,
        CURRENCIES[(mixed % 4) as usize],
        second / 3600,
        second / 60 % 60,
        second % 60,
        n % 20_000 * 50,
        mixed % 30_000,
        COUNTRIES[(mixed % 5) as usize],
        !mixed.is_multiple_of(10),
    )
    .expect("a vector takes all bytes");
}

/// Bytes that message `n`'s row has in plain columns: fixed widths, and text with 4-byte offsets.
pub fn raw_column_bytes(n: u64) -> u64 {
    let mut message = Vec::new();
    write(n, &mut message);
    // account 13, currency 3, merchant 10, country 2, each with an offset; three 8-byte columns; one bit.
    let text = 13 + 3 + 10 + 2;
    text + 4 * 4 + 3 * 8
}
