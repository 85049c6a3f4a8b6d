//! Arithmetic on numerics: digits, quotients, roots, texts.

use datafusion::arrow::datatypes::i256;
use pg_semantics::decimal::{Decimal, digit_count, power_of_ten};

fn decimal(text: &str) -> Decimal {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let unscaled = i256::from_string(&format!("{whole}{fraction}")).unwrap();
    Decimal { unscaled, scale: fraction.len() as i32 }
}

#[test]
fn quotients_are_rounded_where_postgresql_rounds_them() {
    // Taken from PostgreSQL 15.
    for (left, right, quotient) in [
        ("1", "3.0", "0.33333333333333333333"),
        ("2", "3.0", "0.66666666666666666667"),
        ("3", "1234567.891", "0.000002430000020144700167"),
        ("10000", "3", "3333.3333333333333333"),
        ("123456", "7", "17636.571428571429"),
        ("0.001", "3", "0.00033333333333333333"),
        ("-1", "7.00", "-0.14285714285714285714"),
    ] {
        let (l, r) = (decimal(left), decimal(right));
        let got = l.divide(r, (l.scale, r.scale), 40).unwrap().trimmed();
        assert_eq!(got, decimal(quotient).trimmed(), "{left} / {right}");
    }
}

#[test]
fn digits_are_counted() {
    for (value, digits) in [(0, 0), (1, 1), (9, 1), (10, 2), (99, 2), (100, 3), (i64::MAX, 19)] {
        assert_eq!(digit_count(i256::from(value)), digits, "{value}");
        assert_eq!(digit_count(i256::from(-value)), digits, "-{value}");
    }
    for n in 0..=76 {
        let power = power_of_ten(n).unwrap();
        assert_eq!(digit_count(power), n + 1);
        assert_eq!(digit_count(power.wrapping_sub(i256::ONE)), n);
    }
}

#[test]
fn roots_and_powers_are_rounded_where_postgresql_rounds_them() {
    for (of, root) in [
        ("2.0", "1.414213562373095"),
        ("200.0", "14.142135623730950"),
        ("20000.0", "141.4213562373095"),
        ("0.0002", "0.01414213562373095"),
        ("123456789.123", "11111.11106609056"),
        ("0.00000000005", "0.000007071067811865475"),
        ("9999999999999999.0", "99999999.999999995"),
    ] {
        assert_eq!(decimal(of).square_root(39).unwrap().trimmed(), decimal(root).trimmed(), "sqrt({of})");
    }
    assert_eq!(decimal("1.05").power(10, 40).unwrap().trimmed(), decimal("1.6288946267774414").trimmed());
    assert_eq!(decimal("2.0").power(-2, 40).unwrap().trimmed(), decimal("0.25"));
}

#[test]
fn texts_are_read_and_written() {
    for (text, shown) in
        [("1e3", "1000"), (" -0.50 ", "-0.50"), (".5", "0.5"), ("5.", "5"), ("1.5e-3", "0.0015"), ("-0", "0")]
    {
        assert_eq!(Decimal::parse(text).unwrap().text(), shown, "{text}");
    }
    for text in ["", "-", ".", "1e", "1e+", "0x1", "1 2", "NaN", "--1"] {
        assert!(Decimal::parse(text).is_err(), "{text}");
    }
}
