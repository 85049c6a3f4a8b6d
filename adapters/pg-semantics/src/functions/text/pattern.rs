//! Matching with regular expressions: matches, replacements, pieces between matches. `syntax` parses the patterns.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use regex_automata::nfa::thompson;
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::{Anchored, Input, MatchKind};

use super::pieces::check_len;
use super::syntax::{self, Flags};
use crate::error::{Result, SqlError, SqlState};

/// Most bytes of a compiled pattern.
const PROGRAM_BYTES_MAX: usize = 1 << 22;

/// True for the decimal digits of all scripts.
pub fn is_digit(c: char) -> bool {
    static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\p{Nd}\z").ok());
    DIGITS.as_ref().is_some_and(|digits| digits.is_match(c.encode_utf8(&mut [0; 4])))
}

/// A compiled pattern.
pub struct Pattern {
    regex: Regex,
    /// Finds the end of the longest match from a position.
    longest: Option<PikeVM>,
    groups: usize,
    unsure: Option<&'static str>,
}

/// The byte ranges of a match and its groups.
pub struct Found {
    /// The match.
    pub whole: Range<usize>,
    /// The groups, from 1.
    pub groups: Vec<Option<Range<usize>>>,
}

impl Pattern {
    /// Compiles a PostgreSQL pattern.
    pub fn new(pattern: &str, flags: Flags) -> Result<Pattern> {
        let read = syntax::translate(pattern, flags)?;
        let too_large = |_: &dyn std::fmt::Display| {
            SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "invalid regular expression: regular expression is too complex",
            )
        };
        let regex = regex::RegexBuilder::new(&read.pattern).size_limit(PROGRAM_BYTES_MAX).build();
        let longest = match read.longest {
            false => None,
            true => {
                let mut builder = PikeVM::builder();
                builder.configure(PikeVM::config().match_kind(MatchKind::All));
                builder.thompson(thompson::Config::new().nfa_size_limit(Some(PROGRAM_BYTES_MAX)));
                Some(builder.build(&read.pattern).map_err(|e| too_large(&e))?)
            }
        };
        Ok(Pattern {
            regex: regex.map_err(|e| too_large(&e))?,
            longest,
            groups: read.groups,
            unsure: read.unsure,
        })
    }

    /// True if the text has a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// True if a match begins at this byte or later.
    pub fn is_match_at(&self, text: &str, at: usize) -> bool {
        self.regex.is_match_at(text, at)
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Rejects a pattern whose matches could differ from PostgreSQL's, which prefers the longest.
    pub fn check_pieces(&self) -> Result<()> {
        let Some(why) = self.unsure else { return Ok(()) };
        Err(SqlError::unsupported(format!(
            "extracting the match of a regular expression with {why} is not supported"
        ))
        .with_hint("Use ~ to test for a match, or write the pattern without them."))
    }

    /// The first match at this byte or later. Of matches with the same start, the longest.
    pub fn find_at(&self, text: &str, at: usize, scratch: &mut Scratch) -> Option<Found> {
        if at > text.len() {
            return None;
        }
        let first = self.regex.find_at(text, at)?;
        let mut whole = first.range();
        if let Some(longest) = &self.longest {
            let cache = scratch.cache.get_or_insert_with(|| longest.create_cache());
            let input = Input::new(text).range(whole.start..).anchored(Anchored::Yes);
            let mut slots = [None, None];
            if longest.search_slots(cache, &input, &mut slots).is_some()
                && let [Some(start), Some(end)] = slots
            {
                whole = start.get()..end.get();
            }
        }
        let groups = if self.groups == 0 { vec![] } else { self.groups_of(text, &whole, scratch) };
        Some(Found { whole, groups })
    }

    /// The groups of a known match: the pattern must cover it.
    fn groups_of(
        &self,
        text: &str,
        whole: &Range<usize>,
        scratch: &mut Scratch,
    ) -> Vec<Option<Range<usize>>> {
        if self.longest.is_none() {
            let found = self.regex.captures_at(text, whole.start);
            return (1..=self.groups)
                .map(|n| found.as_ref().and_then(|f| f.get(n)).map(|g| g.range()))
                .collect();
        }
        let _ = scratch;
        // Ends at the end of the match: of the ways to cover it the first, which has the longest early groups.
        let covered = &text[..whole.end];
        let found = self.regex.captures_at(covered, whole.start);
        let all = found.filter(|f| f.get(0).is_some_and(|g| g.range() == *whole));
        (1..=self.groups).map(|n| all.as_ref().and_then(|f| f.get(n)).map(|g| g.range())).collect()
    }

    /// All matches in order, from a byte on. With `skip_degenerate`, empty matches at the ends of the text and directly
    /// after another match are omitted, as when a text is split.
    pub fn matches(&self, text: &str, from: usize, all: bool, skip_degenerate: bool) -> Vec<Found> {
        let mut scratch = Scratch::default();
        let (mut found, mut at, mut previous_end) = (vec![], from, 0);
        while let Some(next) = self.find_at(text, at, &mut scratch) {
            let Range { start, end } = next.whole;
            if !skip_degenerate || (start < text.len() && end > previous_end) {
                found.push(next);
                if !all {
                    break;
                }
            }
            previous_end = end;
            at = if start == end { next_character(text, end) } else { end };
        }
        found
    }

    /// `regexp_replace`: the `nth` match, counted from 1, or all of them for 0, from a byte on.
    pub fn replace(&self, text: &str, replacement: &str, from: usize, nth: i64) -> Result<String> {
        let mut scratch = Scratch::default();
        let (mut out, mut at, mut copied, mut count) = (String::new(), from, 0, 0);
        while let Some(found) = self.find_at(text, at, &mut scratch) {
            let Range { start, end } = found.whole;
            count += 1;
            if nth == 0 || count == nth {
                out.push_str(&text[copied..start]);
                substitute(text, replacement, &found, &mut out);
                check_len(out.len())?;
                copied = end;
                if nth > 0 {
                    break;
                }
            }
            at = if start == end { next_character(text, end) } else { end };
        }
        out.push_str(&text[copied..]);
        check_len(out.len())?;
        Ok(out)
    }
}

/// Buffers that searches reuse.
#[derive(Default)]
pub struct Scratch {
    cache: Option<pikevm::Cache>,
}

/// The byte after the character at this one; past the end at the end.
fn next_character(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Appends a replacement: `\1` to `\9` are groups, `\&` the match, `\\` a backslash.
fn substitute(text: &str, replacement: &str, found: &Found, out: &mut String) {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.bytes().next() {
            Some(digit @ b'1'..=b'9') => {
                let group = found.groups.get(usize::from(digit - b'1')).cloned().flatten();
                out.push_str(group.map_or("", |g| &text[g]));
                rest = &rest[1..];
            }
            Some(b'&') => {
                out.push_str(&text[found.whole.clone()]);
                rest = &rest[1..];
            }
            Some(b'\\') => {
                out.push('\\');
                rest = &rest[1..];
            }
            _ => out.push('\\'),
        }
    }
    out.push_str(rest);
}

/// A cache of the last few compiled patterns: most often a column is matched against one pattern.
#[derive(Default)]
pub struct Patterns {
    last: Vec<(String, Flags, Arc<Pattern>)>,
}

impl Patterns {
    /// The compiled pattern, from the cache or new.
    pub fn get(&mut self, pattern: &str, flags: Flags) -> Result<Arc<Pattern>> {
        let known = self.last.iter().find(|(text, f, _)| *f == flags && text == pattern);
        if let Some((_, _, compiled)) = known {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(Pattern::new(pattern, flags)?);
        if self.last.len() == 8 {
            self.last.remove(0);
        }
        self.last.push((pattern.to_string(), flags, Arc::clone(&compiled)));
        Ok(compiled)
    }
}
