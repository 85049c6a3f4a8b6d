//! Translates PostgreSQL's regular expressions to the syntax of the regex crate. Back references and lookaround, which
//! the crate does not support, are rejected. The characters of a class are those of a PostgreSQL database with UTF-8
//! and locale C.UTF-8.

use super::pieces::{lower_char, upper_char};
use crate::error::{Result, SqlError, SqlState};

/// The options of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags {
    /// All matches instead of the first; an option of the function, not of the pattern.
    pub global: bool,
    /// Letters match in either case.
    pub ignore_case: bool,
    /// The pattern is a plain text.
    pub literal: bool,
    /// `.` and negated sets exclude the newline.
    pub dot_stops_at_newline: bool,
    /// `^` and `$` also match at newlines.
    pub anchors_at_newline: bool,
    /// White space and comments in the pattern are ignored.
    pub expanded: bool,
}

impl Flags {
    /// From the option letters of regexp functions.
    pub fn read(letters: &str) -> Result<Flags> {
        let mut flags = Flags::default();
        for letter in letters.chars() {
            if letter == 'g' {
                flags.global = true;
            } else {
                flags.set(letter).ok_or_else(|| {
                    SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("invalid regular expression option: \"{letter}\""),
                    )
                })??;
            }
        }
        Ok(flags)
    }

    fn set(&mut self, letter: char) -> Option<Result<()>> {
        match letter {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'n' | 'm' => (self.dot_stops_at_newline, self.anchors_at_newline) = (true, true),
            's' => (self.dot_stops_at_newline, self.anchors_at_newline) = (false, false),
            'p' => (self.dot_stops_at_newline, self.anchors_at_newline) = (true, false),
            'w' => (self.dot_stops_at_newline, self.anchors_at_newline) = (false, true),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => {
                let error = SqlError::unsupported(format!(
                    "the regular expression option \"{letter}\" is not supported"
                ));
                return Some(Err(
                    error.with_hint("Write the pattern as an advanced regular expression, the default.")
                ));
            }
            _ => return None,
        }
        Some(Ok(()))
    }
}

/// A pattern that was translated.
#[derive(Debug)]
pub struct Translated {
    /// For the regex crate.
    pub pattern: String,
    /// Number of groups that capture.
    pub groups: usize,
    /// Why the extent of a match could differ from PostgreSQL's; its existence never does.
    pub unsure: Option<&'static str>,
    /// The longest match must be searched for, because the first alternative may be shorter.
    pub longest: bool,
}

/// Reads a pattern.
pub fn translate(pattern: &str, flags: Flags) -> Result<Translated> {
    let mut flags = flags;
    let mut pattern = pattern;
    if flags.literal {
        let mut reader = Reader::new(pattern, flags);
        for c in pattern.chars() {
            reader.literal(c);
        }
        return Ok(reader.finish());
    }
    if pattern.starts_with("***") {
        return Err(SqlError::unsupported("a regular expression that begins with *** is not supported"));
    }
    if let Some(rest) = pattern.strip_prefix("(?")
        && rest.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        let (letters, after) = rest.split_once(')').ok_or_else(|| wrong("invalid embedded option"))?;
        for letter in letters.chars() {
            flags.set(letter).ok_or_else(|| wrong("invalid embedded option"))??;
        }
        pattern = after;
        if flags.literal {
            return translate(pattern, flags);
        }
    }
    let mut reader = Reader::new(pattern, flags);
    reader.alternatives(0)?;
    if reader.at < reader.pattern.len() {
        return Err(wrong("parentheses () not balanced"));
    }
    Ok(reader.finish())
}

fn wrong(why: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {why}"))
}

/// Deepest nesting of groups.
const DEPTH_MAX: usize = 100;
/// Largest number in a bound.
const BOUND_MAX: u32 = 255;

/// Properties of the texts that a part of a pattern matches.
#[derive(Clone, Default, Debug)]
struct Shape {
    /// Number of characters, if it is the same for all.
    length: Option<usize>,
    /// The text, if there is only one.
    literal: Option<String>,
    captures: bool,
}

struct Reader {
    pattern: Vec<char>,
    at: usize,
    out: String,
    flags: Flags,
    groups: usize,
    greedy: usize,
    lazy: usize,
    alternations: usize,
    /// A later alternative may be longer.
    unlike: bool,
    /// A group that captures is repeated, or part of such alternatives.
    hidden_capture: bool,
}

const DIGIT: &str = "0-9";
const SPACE: &str =
    r"\t\n\x0b\x0c\r \x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}";
const WORD: &str = r"\p{Alphabetic}\p{Nd}_";

impl Reader {
    fn new(pattern: &str, flags: Flags) -> Reader {
        Reader {
            pattern: pattern.chars().collect(),
            at: 0,
            out: String::new(),
            flags,
            groups: 0,
            greedy: 0,
            lazy: 0,
            alternations: 0,
            unlike: false,
            hidden_capture: false,
        }
    }

    fn finish(self) -> Translated {
        let unsure = if self.lazy > 0 && (self.greedy > 0 || self.lazy > 1 || self.alternations > 0) {
            Some("non-greedy quantifiers beside other quantifiers or alternatives")
        } else if self.groups > 0 && self.unlike {
            Some("groups beside alternatives of different lengths")
        } else if self.hidden_capture {
            Some("a capturing group that is repeated")
        } else {
            None
        };
        Translated {
            pattern: self.out,
            groups: self.groups,
            unsure,
            longest: self.lazy == 0 && (self.unlike || self.greedy > 1),
        }
    }

    fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).copied()
    }

    fn next_is(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.pattern.get(self.at + n) == Some(&c))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.next_is(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn alternatives(&mut self, depth: usize) -> Result<Shape> {
        if depth > DEPTH_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "invalid regular expression: regular expression is too complex",
            ));
        }
        let mut branches = vec![self.branch(depth)?];
        while self.take("|") {
            self.out.push('|');
            branches.push(self.branch(depth)?);
        }
        if branches.len() == 1 {
            return Ok(branches.remove(0));
        }
        self.alternations += 1;
        let captures = branches.iter().any(|b| b.captures);
        let length = branches[0].length.filter(|len| branches.iter().all(|b| b.length == Some(*len)));
        let literals: Option<Vec<&String>> = branches.iter().map(|b| b.literal.as_ref()).collect();
        let prefix_free = literals.is_some_and(|all| {
            all.iter().enumerate().all(|(at, one)| {
                all.iter().enumerate().all(|(other, text)| at == other || !text.starts_with(one.as_str()))
            })
        });
        if captures || (length.is_none() && !prefix_free) {
            self.unlike = true;
        }
        Ok(Shape { length, literal: None, captures })
    }

    fn branch(&mut self, depth: usize) -> Result<Shape> {
        let mut whole = Shape { length: Some(0), literal: Some(String::new()), captures: false };
        loop {
            self.skip_expanded()?;
            match self.peek() {
                None | Some('|') => return Ok(whole),
                Some(')') if depth > 0 => return Ok(whole),
                Some(')') => return Err(wrong("parentheses () not balanced")),
                Some(_) => {
                    let part = self.quantified(depth)?;
                    whole.length = whole.length.zip(part.length).map(|(a, b)| a + b);
                    whole.literal = whole.literal.zip(part.literal).map(|(a, b)| a + &b);
                    whole.captures |= part.captures;
                }
            }
        }
    }

    /// Skips white space and comments in an expanded pattern.
    fn skip_expanded(&mut self) -> Result<()> {
        loop {
            if self.take("(?#") {
                while !self.take(")") {
                    if self.peek().is_none() {
                        return Err(wrong("parentheses () not balanced"));
                    }
                    self.at += 1;
                }
                continue;
            }
            match self.peek() {
                Some(c) if self.flags.expanded && c.is_whitespace() => self.at += 1,
                Some('#') if self.flags.expanded => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn quantified(&mut self, depth: usize) -> Result<Shape> {
        let start = self.out.len();
        let (mut shape, is_constraint) = self.atom(depth)?;
        self.skip_expanded()?;
        let Some((least, most, text)) = self.quantifier()? else { return Ok(shape) };
        if is_constraint {
            return Err(wrong("quantifier operand invalid"));
        }
        let lazy = self.take("?");
        self.skip_expanded()?;
        let at = self.at;
        if self.quantifier()?.is_some() {
            return Err(wrong("quantifier operand invalid"));
        }
        self.at = at;
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        self.out.push_str(&text);
        if lazy {
            self.out.push('?');
        }
        if most == Some(least) {
            shape.length = shape.length.map(|len| len.saturating_mul(least as usize));
            shape.literal =
                shape.literal.filter(|text| text.len() < 100).map(|text| text.repeat(least as usize));
        } else {
            (shape.length, shape.literal) = (None, None);
            if lazy { self.lazy += 1 } else { self.greedy += 1 }
        }
        self.hidden_capture |= shape.captures && most != Some(1);
        Ok(shape)
    }

    /// Least and most repetitions, and the quantifier for the regex crate.
    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>, String)>> {
        let simple = match self.peek() {
            Some('*') => (0, None, "*"),
            Some('+') => (1, None, "+"),
            Some('?') => (0, Some(1), "?"),
            Some('{') if self.pattern.get(self.at + 1).is_some_and(char::is_ascii_digit) => {
                self.at += 1;
                return self.bound().map(Some);
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some((simple.0, simple.1, simple.2.to_string())))
    }

    fn bound(&mut self) -> Result<(u32, Option<u32>, String)> {
        let least = self.bound_number()?;
        let most = if self.take(",") {
            if self.peek().is_some_and(|c| c.is_ascii_digit()) { Some(self.bound_number()?) } else { None }
        } else {
            Some(least)
        };
        if !self.take("}") {
            return Err(wrong(if self.peek().is_none() {
                "braces {} not balanced"
            } else {
                "invalid repetition count(s)"
            }));
        }
        if most.is_some_and(|most| most < least) {
            return Err(wrong("invalid repetition count(s)"));
        }
        let text = match most {
            None => format!("{{{least},}}"),
            Some(most) if most == least => format!("{{{least}}}"),
            Some(most) => format!("{{{least},{most}}}"),
        };
        Ok((least, most, text))
    }

    fn bound_number(&mut self) -> Result<u32> {
        let mut value = 0;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            value = value * 10 + digit;
            if value > BOUND_MAX {
                return Err(wrong("invalid repetition count(s)"));
            }
            self.at += 1;
        }
        Ok(value)
    }

    /// An atom, or a constraint, which cannot be repeated.
    fn atom(&mut self, depth: usize) -> Result<(Shape, bool)> {
        let Some(c) = self.peek() else { return Ok((Shape::default(), true)) };
        self.at += 1;
        match c {
            '(' => self.group(depth).map(|shape| (shape, false)),
            '[' => {
                self.set()?;
                Ok((one(None), false))
            }
            '.' => {
                self.out.push_str(if self.flags.dot_stops_at_newline { "[^\\n]" } else { "(?s:.)" });
                Ok((one(None), false))
            }
            '^' => {
                self.out.push_str(if self.flags.anchors_at_newline { "(?m:^)" } else { "\\A" });
                Ok((nothing(), true))
            }
            '$' => {
                self.out.push_str(if self.flags.anchors_at_newline { "(?m:$)" } else { "\\z" });
                Ok((nothing(), true))
            }
            '*' | '+' | '?' => Err(wrong("quantifier operand invalid")),
            '{' if self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                Err(wrong("quantifier operand invalid"))
            }
            '\\' => self.escape(),
            c => {
                self.literal(c);
                Ok((one(Some(c)), false))
            }
        }
    }

    fn literal(&mut self, c: char) {
        if !self.flags.ignore_case || !c.is_alphabetic() {
            push_literal(&mut self.out, c);
            return;
        }
        self.out.push('[');
        let mut cases = vec![c, lower_char(c), upper_char(c)];
        cases.dedup();
        for case in cases {
            push_literal(&mut self.out, case);
        }
        self.out.push(']');
    }

    fn group(&mut self, depth: usize) -> Result<Shape> {
        let captures = !self.next_is("?");
        if captures {
            self.groups += 1;
            self.out.push('(');
        } else {
            self.at += 1;
            match self.peek() {
                Some(':') => self.out.push_str("(?:"),
                Some('=' | '!' | '<') => {
                    return Err(SqlError::unsupported(
                        "lookaround, (?=…), (?!…), (?<=…) or (?<!…), is not supported in regular expressions",
                    ));
                }
                _ => return Err(wrong("quantifier operand invalid")),
            }
            self.at += 1;
        }
        let mut shape = self.alternatives(depth + 1)?;
        if !self.take(")") {
            return Err(wrong("parentheses () not balanced"));
        }
        self.out.push(')');
        shape.captures |= captures;
        Ok(shape)
    }

    fn escape(&mut self) -> Result<(Shape, bool)> {
        let Some(c) = self.peek() else { return Err(wrong("invalid escape \\ sequence")) };
        let constraint = match c {
            'A' => "\\A",
            'Z' => "\\z",
            'm' => "\\b{start}",
            'M' => "\\b{end}",
            'y' => "\\b",
            'Y' => "\\B",
            _ => "",
        };
        if !constraint.is_empty() {
            self.at += 1;
            self.out.push_str(constraint);
            return Ok((nothing(), true));
        }
        if let Some((class, negated)) = class_escape(c) {
            self.at += 1;
            self.out.push_str(if negated { "[^" } else { "[" });
            self.out.push_str(class);
            self.out.push(']');
            return Ok((one(None), false));
        }
        let c = self.escaped_character()?;
        self.literal(c);
        Ok((one(Some(c)), false))
    }

    /// The character of an escape, after its backslash.
    fn escaped_character(&mut self) -> Result<char> {
        let invalid = || wrong("invalid escape \\ sequence");
        let c = self.peek().ok_or_else(invalid)?;
        self.at += 1;
        if !c.is_ascii_alphanumeric() {
            return Ok(c);
        }
        Ok(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'c' => {
                let control = self.peek().ok_or_else(invalid)?;
                self.at += 1;
                char::from_u32(control as u32 & 31).ok_or_else(invalid)?
            }
            'u' => self.code(16, 4, 4)?,
            'U' => self.code(16, 8, 8)?,
            'x' => self.code(16, 1, 255)?,
            '0' => {
                self.at -= 1;
                self.code(8, 1, 3)?
            }
            '1'..='9' => {
                return Err(SqlError::unsupported(
                    "back references, \\1 to \\9, are not supported in regular expressions",
                ));
            }
            _ => return Err(invalid()),
        })
    }

    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char> {
        let invalid = || wrong("invalid escape \\ sequence");
        let (mut value, mut digits) = (0u32, 0);
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)).filter(|_| digits < most) {
            value = value.checked_mul(radix).and_then(|v| v.checked_add(digit)).ok_or_else(invalid)?;
            digits += 1;
            self.at += 1;
        }
        if digits < least {
            return Err(invalid());
        }
        if value == 0 {
            return Err(SqlError::unsupported("the zero character is not supported in regular expressions"));
        }
        char::from_u32(value).ok_or_else(invalid)
    }

    /// A set of characters, after its bracket.
    fn set(&mut self) -> Result<()> {
        let negated = self.take("^");
        self.out.push_str(if negated { "[^" } else { "[" });
        if negated && self.flags.dot_stops_at_newline {
            self.out.push_str("\\n");
        }
        let mut first = true;
        loop {
            let c = self.peek().ok_or_else(|| wrong("brackets [] not balanced"))?;
            if c == ']' && !first {
                self.at += 1;
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.take("[:") {
                self.class()?;
                self.no_range()?;
                continue;
            }
            if self.next_is("[=") || self.next_is("[.") {
                return Err(SqlError::unsupported(
                    "collating elements [.….] and [=…=] are not supported in regular expressions",
                ));
            }
            if c == '\\'
                && let Some((class, negated)) = self.pattern.get(self.at + 1).and_then(|c| class_escape(*c))
            {
                self.at += 2;
                self.out.push_str(if negated { "[^" } else { "[" });
                self.out.push_str(class);
                self.out.push(']');
                self.no_range()?;
                continue;
            }
            let low = self.set_character()?;
            if self.peek() == Some('-') && self.pattern.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                let high = self.set_character()?;
                self.range(low, high)?;
            } else {
                self.range(low, low)?;
            }
        }
    }

    /// A class cannot begin a range.
    fn no_range(&self) -> Result<()> {
        let range = self.peek() == Some('-') && self.pattern.get(self.at + 1).is_some_and(|c| *c != ']');
        if range { Err(wrong("invalid character range")) } else { Ok(()) }
    }

    fn set_character(&mut self) -> Result<char> {
        let c = self.peek().ok_or_else(|| wrong("brackets [] not balanced"))?;
        if c == '[' && matches!(self.pattern.get(self.at + 1), Some(':' | '=' | '.')) {
            return Err(wrong("invalid character range"));
        }
        self.at += 1;
        match c {
            '\\' if self.peek().is_some_and(|c| class_escape(c).is_some()) => {
                Err(wrong("invalid character range"))
            }
            '\\' => self.escaped_character(),
            c => Ok(c),
        }
    }

    fn range(&mut self, low: char, high: char) -> Result<()> {
        if low > high {
            return Err(wrong("invalid character range"));
        }
        push_literal(&mut self.out, low);
        if low < high {
            self.out.push('-');
            push_literal(&mut self.out, high);
        }
        if self.flags.ignore_case {
            if high as u32 - low as u32 > 1_000 {
                return Err(SqlError::unsupported(
                    "a range of more than 1000 characters is not supported where case is ignored",
                ));
            }
            for c in low..=high {
                for case in [lower_char(c), upper_char(c)] {
                    if case < low || case > high {
                        push_literal(&mut self.out, case);
                    }
                }
            }
        }
        Ok(())
    }

    fn class(&mut self) -> Result<()> {
        let rest: String = self.pattern[self.at..].iter().take(12).collect();
        let (name, _) = rest.split_once(":]").ok_or_else(|| wrong("brackets [] not balanced"))?;
        let class = match (name, self.flags.ignore_case) {
            ("upper" | "lower", true) => r"\p{Alphabetic}",
            ("alpha", _) => r"\p{Alphabetic}\p{Nd}--0-9",
            ("alnum", _) => r"\p{Alphabetic}\p{Nd}",
            ("digit", _) => DIGIT,
            ("space", _) => SPACE,
            ("word", _) => WORD,
            ("upper", false) => r"\p{Uppercase}\p{Lt}",
            ("lower", false) => r"\p{Lowercase}\x{1c5}\x{1c8}\x{1cb}\x{1f2}",
            ("blank", _) => r" \t",
            ("cntrl", _) => r"\p{Cc}",
            ("xdigit", _) => "0-9A-Fa-f",
            ("punct" | "print" | "graph" | "ascii", _) => {
                return Err(SqlError::unsupported(format!(
                    "the class [:{name}:] is not supported in regular expressions"
                ))
                .with_hint("List the characters instead."));
            }
            _ => return Err(wrong("invalid character class")),
        };
        self.out.push('[');
        self.out.push_str(class);
        self.out.push(']');
        self.at += name.chars().count() + 2;
        Ok(())
    }
}

fn class_escape(c: char) -> Option<(&'static str, bool)> {
    Some(match c {
        'd' => (DIGIT, false),
        'D' => (DIGIT, true),
        's' => (SPACE, false),
        'S' => (SPACE, true),
        'w' => (WORD, false),
        'W' => (WORD, true),
        _ => return None,
    })
}

fn one(literal: Option<char>) -> Shape {
    Shape { length: Some(1), literal: literal.map(String::from), captures: false }
}

fn nothing() -> Shape {
    Shape { length: Some(0), literal: None, captures: false }
}

fn push_literal(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        match c {
            ' '..='~' if c != ' ' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push_str(&format!("\\x{:02x}", c as u32)),
        }
    } else {
        out.push(c);
    }
}

/// The pattern of `SIMILAR TO` as a regular expression that matches whole texts.
pub fn similar(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let mut in_set = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            let Some(next) = characters.next() else {
                return Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape sequence"));
            };
            if next == '"' {
                return Err(SqlError::unsupported(
                    "SIMILAR TO with an escaped double quote is not supported",
                ));
            }
            out.push('\\');
            out.push(next);
            continue;
        }
        match c {
            '\\' => out.push_str("\\\\"),
            c if in_set => {
                out.push(c);
                in_set = c != ']';
            }
            '[' => {
                in_set = true;
                out.push('[');
                if characters.peek() == Some(&'^') {
                    characters.next();
                    out.push('^');
                }
                if characters.peek() == Some(&']') {
                    characters.next();
                    out.push(']');
                }
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// A LIKE pattern with another escape character, rewritten with the backslash.
pub fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut all = escape.chars();
    let escape = match (all.next(), all.next()) {
        (first, None) => first,
        _ => {
            let error = SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string");
            return Err(error.with_hint("Escape string must be empty or one character."));
        }
    };
    if escape == Some('\\') {
        return Ok(pattern.to_string());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut escaped = false;
    for c in pattern.chars() {
        if Some(c) == escape && !escaped {
            out.push('\\');
            escaped = true;
            continue;
        }
        if c == '\\' && !escaped {
            out.push('\\');
        }
        out.push(c);
        escaped = false;
    }
    Ok(out)
}
