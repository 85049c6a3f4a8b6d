//! Payment-like JSON messages of 8 fields and about 150 bytes: the same ones in every benchmark and on every machine.

use std::fmt::Write;

/// Accounts that payments go to.
pub const ACCOUNTS: u64 = 100_000;

/// Names of the fields, in the order in which messages have them.
pub const FIELDS: [&str; 8] = ["id", "name", "amount", "currency", "price", "urgent", "note", "at"];

/// A payment.
#[derive(Clone, Copy, Debug)]
pub struct Payment {
    number: u64,
    random: u64,
}

impl Payment {
    /// The payment with this number; always the same one.
    pub fn nth(number: u64) -> Payment {
        Payment { number, random: mix(number) }
    }

    /// Account, `0..ACCOUNTS`, evenly spread.
    pub fn account(&self) -> u64 {
        self.random % ACCOUNTS
    }

    /// Cents, from -5000 to 4999: what a sum over messages must come to.
    pub fn amount(&self) -> i64 {
        (self.random >> 20) as i64 % 10_000 - 5_000
    }

    /// The values of [`FIELDS`] as JSON text.
    pub fn values(&self) -> [String; 8] {
        let Payment { number, random } = self;
        let milliseconds = number % 86_400_000;
        let (second, minute, hour) =
            (milliseconds / 1000 % 60, milliseconds / 60_000 % 60, milliseconds / 3_600_000);
        [
            number.to_string(),
            format!("\"account-{:06}\"", self.account()),
            self.amount().to_string(),
            format!("\"{}\"", ["EUR", "USD", "GBP", "JPY"][(random >> 40) as usize % 4]),
            format!("{}.{:02}", (random >> 44) % 1000, (random >> 54) % 100),
            ((random >> 62) & 1 == 1).to_string(),
            format!("\"order {}\"", random >> 48),
            format!("\"2026-11-22T{hour:02}:{minute:02}:{second:02}.{:03}Z\"", milliseconds % 1000),
        ]
    }

    /// Appends the message to `text`.
    pub fn write_json(&self, text: &mut String) {
        self.write_json_in_order(&[0, 1, 2, 3, 4, 5, 6, 7], text);
    }

    /// Appends the message with its fields in another order.
    pub fn write_json_in_order(&self, order: &[usize; 8], text: &mut String) {
        let values = self.values();
        for (place, &field) in order.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            write!(text, "{before}\"{}\":{}", FIELDS[field], values[field])
                .expect("a string takes everything");
        }
        text.push('}');
    }

    /// Appends the message as a line of CSV, without a terminator.
    pub fn write_csv(&self, text: &mut String) {
        for (place, value) in self.values().iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(value.trim_matches('"'));
        }
    }
}

/// An order of the fields that looks like chance.
pub fn shuffled_order(number: u64) -> [usize; 8] {
    let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
    let mut random = mix(number);
    for place in (1..8).rev() {
        order.swap(place, (random % (place as u64 + 1)) as usize);
        random /= 8;
    }
    order
}

/// SplitMix64's finalizer: one well-mixed word for each number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
