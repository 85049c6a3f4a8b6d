//! A pattern of dates and times, parsed into fields and the text between them.

/// A field of a pattern. Where the spelling matters, `Case` holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub(super) enum Field {
    Era { dots: bool, case: Case },
    Half { dots: bool, case: Case },
    Century,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    Fraction(u8),
    Exact,
    Hour24,
    Hour12,
    IsoWeek,
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    MonthName(Case),
    MonthShort(Case),
    Milliseconds,
    Microseconds,
    Offset,
    Quarter,
    Roman(Case),
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone(Case),
    WeekOfYear,
    WeekOfMonth,
    YearComma,
    Year(u8),
}

/// The capitals of a field in the pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

impl Case {
    /// A name, which begins with a capital, in this case.
    pub fn of(self, name: &str) -> String {
        match self {
            Case::Upper => name.to_uppercase(),
            Case::Capital => name.to_string(),
            Case::Lower => name.to_lowercase(),
        }
    }
}

/// The ending of an ordinal number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub(super) enum Ordinal {
    None,
    Upper,
    Lower,
}

/// A piece of a pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub(super) enum Piece {
    Field {
        field: Field,
        fill: bool,
        localized: bool,
        ordinal: Ordinal,
    },
    /// A character that stands for itself.
    Text(char),
    /// A separating character or a space; texts that are read may have other ones there.
    Separator(char),
    Space(char),
}

/// A pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    pub(super) pieces: Vec<Piece>,
}

use Field as F;

/// Spellings of fields, in capitals; the longest of those that begin alike first.
const FIELDS: &[(&str, Field)] = &[
    ("A.D.", F::Era { dots: true, case: Case::Upper }),
    ("A.M.", F::Half { dots: true, case: Case::Upper }),
    ("AD", F::Era { dots: false, case: Case::Upper }),
    ("AM", F::Half { dots: false, case: Case::Upper }),
    ("B.C.", F::Era { dots: true, case: Case::Upper }),
    ("BC", F::Era { dots: false, case: Case::Upper }),
    ("CC", F::Century),
    ("DAY", F::DayName(Case::Upper)),
    ("DDD", F::DayOfYear),
    ("DD", F::Day),
    ("DY", F::DayShort(Case::Upper)),
    ("D", F::DayOfWeek),
    ("FF1", F::Fraction(1)),
    ("FF2", F::Fraction(2)),
    ("FF3", F::Fraction(3)),
    ("FF4", F::Fraction(4)),
    ("FF5", F::Fraction(5)),
    ("FF6", F::Fraction(6)),
    ("FX", F::Exact),
    ("HH24", F::Hour24),
    ("HH12", F::Hour12),
    ("HH", F::Hour12),
    ("IDDD", F::IsoDayOfYear),
    ("ID", F::IsoDayOfWeek),
    ("IW", F::IsoWeek),
    ("IYYY", F::IsoYear(4)),
    ("IYY", F::IsoYear(3)),
    ("IY", F::IsoYear(2)),
    ("I", F::IsoYear(1)),
    ("J", F::Julian),
    ("MI", F::Minute),
    ("MM", F::Month),
    ("MONTH", F::MonthName(Case::Upper)),
    ("MON", F::MonthShort(Case::Upper)),
    ("MS", F::Milliseconds),
    ("OF", F::Offset),
    ("P.M.", F::Half { dots: true, case: Case::Upper }),
    ("PM", F::Half { dots: false, case: Case::Upper }),
    ("Q", F::Quarter),
    ("RM", F::Roman(Case::Upper)),
    ("SSSSS", F::SecondOfDay),
    ("SSSS", F::SecondOfDay),
    ("SS", F::Second),
    ("TZH", F::ZoneHour),
    ("TZM", F::ZoneMinute),
    ("TZ", F::Zone(Case::Upper)),
    ("US", F::Microseconds),
    ("WW", F::WeekOfYear),
    ("W", F::WeekOfMonth),
    ("Y,YYY", F::YearComma),
    ("YYYY", F::Year(4)),
    ("YYY", F::Year(3)),
    ("YY", F::Year(2)),
    ("Y", F::Year(1)),
];

/// Fields that may be spelled with an initial capital.
const CAPITALIZED: &[(&str, Field)] = &[
    ("Day", F::DayName(Case::Capital)),
    ("Dy", F::DayShort(Case::Capital)),
    ("Month", F::MonthName(Case::Capital)),
    ("Mon", F::MonthShort(Case::Capital)),
];

impl Pattern {
    /// Parses a pattern.
    pub fn new(pattern: &str) -> Pattern {
        let mut pieces = vec![];
        let mut rest = pattern;
        while !rest.is_empty() {
            let (fill, localized, after) = prefix(rest);
            rest = after;
            if let Some((field, after)) = field(rest) {
                let (ordinal, after) = ordinal(after);
                pieces.push(Piece::Field { field, fill, localized, ordinal });
                rest = after;
            } else {
                rest = text(rest, &mut pieces);
            }
        }
        Pattern { pieces }
    }
}

fn prefix(rest: &str) -> (bool, bool, &str) {
    match rest.get(..2) {
        Some("FM" | "fm") => (false, false, &rest[2..]),
        Some("TM" | "tm") => (true, true, &rest[2..]),
        _ => (true, false, rest),
    }
}

fn ordinal(rest: &str) -> (Ordinal, &str) {
    match rest.get(..2) {
        Some("TH") => (Ordinal::Upper, &rest[2..]),
        Some("th") => (Ordinal::Lower, &rest[2..]),
        // PostgreSQL never implemented spelled-out numbers; it consumes the letters.
        Some("SP") => (Ordinal::None, &rest[2..]),
        _ => (Ordinal::None, rest),
    }
}

fn field(rest: &str) -> Option<(Field, &str)> {
    if let Some((name, field)) = CAPITALIZED.iter().find(|(name, _)| rest.starts_with(name)) {
        return Some((*field, &rest[name.len()..]));
    }
    if let Some((name, field)) = FIELDS.iter().find(|(name, _)| rest.starts_with(name)) {
        return Some((*field, &rest[name.len()..]));
    }
    let lower = |name: &str| rest.get(..name.len()).is_some_and(|start| start == name.to_ascii_lowercase());
    let (name, field) = FIELDS.iter().find(|(name, _)| lower(name))?;
    Some((lowered(*field), &rest[name.len()..]))
}

fn lowered(field: Field) -> Field {
    match field {
        F::Era { dots, .. } => F::Era { dots, case: Case::Lower },
        F::Half { dots, .. } => F::Half { dots, case: Case::Lower },
        F::DayName(_) => F::DayName(Case::Lower),
        F::DayShort(_) => F::DayShort(Case::Lower),
        F::MonthName(_) => F::MonthName(Case::Lower),
        F::MonthShort(_) => F::MonthShort(Case::Lower),
        F::Roman(_) => F::Roman(Case::Lower),
        F::Zone(_) => F::Zone(Case::Lower),
        other => other,
    }
}

/// Text between fields: a quoted string, or one character.
fn text<'a>(rest: &'a str, pieces: &mut Vec<Piece>) -> &'a str {
    let mut characters = rest.chars();
    match characters.next() {
        Some('"') => {
            while let Some(c) = characters.next() {
                match c {
                    '"' => break,
                    '\\' => pieces.push(Piece::Text(characters.next().unwrap_or('\\'))),
                    c => pieces.push(Piece::Text(c)),
                }
            }
        }
        Some('\\') if characters.as_str().starts_with('"') => {
            characters.next();
            pieces.push(Piece::Text('"'));
        }
        Some(c) if c.is_ascii_whitespace() => pieces.push(Piece::Space(c)),
        Some(c) if c.is_ascii_punctuation() => pieces.push(Piece::Separator(c)),
        Some(c) => pieces.push(Piece::Text(c)),
        None => {}
    }
    characters.as_str()
}
