//! The words in texts of dates, times and intervals, and the splitting of such texts.

use crate::Fault;

/// The form of a piece of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Digits, with a point or without.
    Number,
    /// Digits and colons.
    Time,
    /// Digits and letters with `-`, `/` or `.` between them: a date, or the name of a zone.
    Date,
    /// Letters.
    Word,
    /// A sign and digits: an offset, or a number of an interval.
    Signed,
    /// A sign and letters.
    SignedWord,
}

/// A piece of a text, letters in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub kind: Kind,
    pub text: String,
}

/// More pieces, or a longer text, than any date has.
const PIECES_MAX: usize = 25;
const TEXT_BYTES_MAX: usize = 128;

/// Splits a text. White space and other punctuation only separate.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, Fault> {
    let bytes = text.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(Fault::BadTime);
    }
    let mut pieces = vec![];
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() || bytes[at] == 0x0b {
            at += 1;
            continue;
        }
        let mut scan = Scan { bytes, at, text: String::new() };
        let kind = match bytes[at] {
            b'0'..=b'9' => scan.number(),
            b'.' => {
                scan.push();
                scan.take(|b| b.is_ascii_digit());
                Kind::Number
            }
            b if b.is_ascii_alphabetic() => scan.word(),
            b'+' | b'-' => scan.signed()?,
            b if b.is_ascii_punctuation() => {
                at += 1;
                continue;
            }
            _ => return Err(Fault::BadTime),
        };
        at = scan.at;
        pieces.push(Piece { kind, text: scan.text });
        if pieces.len() > PIECES_MAX {
            return Err(Fault::BadTime);
        }
    }
    Ok(pieces)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Scan<'_> {
    fn next(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn push(&mut self) {
        self.text.push(self.next().to_ascii_lowercase() as char);
        self.at += 1;
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && wanted(self.next()) {
            self.push();
        }
    }

    fn number(&mut self) -> Kind {
        self.take(|b| b.is_ascii_digit());
        match self.next() {
            b':' => {
                self.take(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
                Kind::Time
            }
            mark @ (b'-' | b'/' | b'.') => {
                self.push();
                if !self.next().is_ascii_digit() {
                    self.take(|b| b.is_ascii_alphanumeric() || b == mark);
                    // A point at the end of a number is not part of it.
                    return if mark == b'.' && self.text.ends_with('.') && self.text.matches('.').count() == 1
                    {
                        Kind::Number
                    } else {
                        Kind::Date
                    };
                }
                self.take(|b| b.is_ascii_digit());
                if self.next() == mark {
                    self.take(|b| b.is_ascii_digit() || b == mark);
                    return Kind::Date;
                }
                if mark == b'.' { Kind::Number } else { Kind::Date }
            }
            _ => Kind::Number,
        }
    }

    fn word(&mut self) -> Kind {
        self.take(|b| b.is_ascii_alphabetic());
        let is_name = match self.next() {
            b'-' | b'/' | b'.' => true,
            b'+' | b'0'..=b'9' => special(&self.text).is_none(),
            _ => false,
        };
        if !is_name {
            return Kind::Word;
        }
        self.take(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b':'));
        Kind::Date
    }

    fn signed(&mut self) -> Result<Kind, Fault> {
        self.push();
        while self.next().is_ascii_whitespace() {
            self.at += 1;
        }
        match self.next() {
            b'0'..=b'9' => {
                self.take(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
                Ok(Kind::Signed)
            }
            b if b.is_ascii_alphabetic() => {
                self.take(|b| b.is_ascii_alphabetic());
                Ok(Kind::SignedWord)
            }
            _ => Err(Fault::BadTime),
        }
    }
}

/// The meaning of a word of a date or time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Special {
    /// Has no meaning: at, on, a day of the week.
    Nothing,
    /// Midnight in UTC.
    AllBalls,
    /// The time of the statement.
    Now,
    /// A day relative to the statement's.
    Day(i64),
    /// 1970-01-01.
    Epoch,
    /// After or before all other values.
    Infinity { negative: bool },
    /// 1 to 12.
    Month(i64),
    /// Before noon, or after.
    Half { afternoon: bool },
    /// Before Christ, or after.
    Era { before: bool },
    /// Daylight saving time: one hour added.
    Summer,
    /// A Julian day follows.
    Julian,
    /// A time follows.
    Time,
    /// A unit, which only intervals have.
    Unit,
}

/// Only the first letters of a word count.
const LETTERS: usize = 10;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 14] = [
    "sun",
    "sunday",
    "mon",
    "monday",
    "tue",
    "tues",
    "tuesday",
    "wed",
    "weds",
    "wednesday",
    "thu",
    "thur",
    "thurs",
    "thursday",
];

/// The meaning of a word in a date or time.
pub(super) fn special(word: &str) -> Option<Special> {
    use Special as S;
    let month = |name: &&str| *name == word || name[..3] == *word || (word == "sept" && name[..3] == *"sep");
    if let Some(month) = MONTHS.iter().position(month) {
        return Some(S::Month(month as i64 + 1));
    }
    if WEEKDAYS.contains(&word) {
        return Some(S::Nothing);
    }
    Some(match word {
        "fri" | "friday" | "sat" | "saturday" | "at" | "on" => S::Nothing,
        "allballs" => S::AllBalls,
        "now" => S::Now,
        "yesterday" => S::Day(-1),
        "today" => S::Day(0),
        "tomorrow" => S::Day(1),
        "epoch" => S::Epoch,
        "infinity" => S::Infinity { negative: false },
        "-infinity" => S::Infinity { negative: true },
        "am" => S::Half { afternoon: false },
        "pm" => S::Half { afternoon: true },
        "ad" => S::Era { before: false },
        "bc" => S::Era { before: true },
        "dst" => S::Summer,
        "j" | "jd" | "julian" => S::Julian,
        "t" => S::Time,
        "d" | "h" | "m" | "mm" | "s" | "y" | "dow" | "doy" | "isodow" | "isoyear" => S::Unit,
        _ => return None,
    })
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

/// The unit that a word names.
pub(super) fn unit(word: &str) -> Option<Unit> {
    use Unit as U;
    // Only the first letters of a long word count.
    let word = word.get(..LETTERS).unwrap_or(word);
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => U::Microsecond,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => U::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => U::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => U::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => U::Hour,
        "d" | "day" | "days" => U::Day,
        "w" | "week" | "weeks" => U::Week,
        "mon" | "mons" | "month" | "months" => U::Month,
        "qtr" | "quarter" => U::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => U::Year,
        "dec" | "decs" | "decade" | "decades" => U::Decade,
        "c" | "cent" | "century" | "centuries" => U::Century,
        "mil" | "mils" | "millennium" | "millennia" => U::Millennium,
        _ => return None,
    })
}
