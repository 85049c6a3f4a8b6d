//! The canonical jsonb text of a JSON text, for the oracle: built from a tree, with serde_json's strings and digits
//! moved one by one, where the decoder writes in one pass. The text must be valid for serde_json.

use std::collections::BTreeMap;
use std::ops::Range;

/// Digits that an exponent may add to those that are written.
const DIGITS_ADDED_MAX: i64 = 1_000;
/// Digits before and after the point of a numeric.
const DIGITS_MAX: (usize, usize) = (131_072, 16_383);

/// A value, and its place in the text.
struct Node {
    tree: Tree,
    source: Range<usize>,
}

enum Tree {
    /// A number or a word, in canonical form.
    Plain(String),
    Text(String),
    Array(Vec<Node>),
    /// By length of the key, and the key.
    Object(BTreeMap<(usize, String), Node>),
}

/// The canonical text of a whole message, or the SQLSTATE of its first invalid value.
pub fn text(message: &[u8]) -> Result<String, &'static str> {
    let mut reader = Reader { text: message, at: 0, fault: None };
    let node = reader.value();
    reader.fault.map_or_else(|| Ok(written(&node.tree)), Err)
}

/// The same for the value at a path in a message; the values beside it do not matter.
pub fn text_at(message: &[u8], path: &[&str]) -> Result<String, &'static str> {
    let mut node = Reader { text: message, at: 0, fault: None }.value();
    for key in path {
        let Tree::Object(mut members) = node.tree else { panic!("serde_json found {path:?}") };
        node = members.remove(&(key.len(), key.to_string())).expect("serde_json found it");
    }
    text(&message[node.source])
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The first.
    fault: Option<&'static str>,
}

impl Reader<'_> {
    fn blank(&mut self) {
        while self.text.get(self.at).is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// The byte after white space.
    fn next(&mut self) -> u8 {
        self.blank();
        self.at += 1;
        self.text[self.at - 1]
    }

    fn value(&mut self) -> Node {
        self.blank();
        let start = self.at;
        let tree = match self.text[start] {
            b'"' => Tree::Text(self.string()),
            b'[' => self.array(),
            b'{' => self.object(),
            _ => self.plain(),
        };
        Node { tree, source: start..self.at }
    }

    /// True if the opened container is empty.
    fn opens_empty(&mut self, close: u8) -> bool {
        self.at += 1;
        self.blank();
        let empty = self.text[self.at] == close;
        self.at += usize::from(empty);
        empty
    }

    fn array(&mut self) -> Tree {
        let mut items = vec![];
        if !self.opens_empty(b']') {
            loop {
                items.push(self.value());
                if self.next() == b']' {
                    break;
                }
            }
        }
        Tree::Array(items)
    }

    fn object(&mut self) -> Tree {
        let mut members = BTreeMap::new();
        if !self.opens_empty(b'}') {
            loop {
                self.blank();
                let key = self.string();
                assert_eq!(self.next(), b':');
                let value = self.value();
                members.insert((key.len(), key), value);
                if self.next() == b'}' {
                    break;
                }
            }
        }
        Tree::Object(members)
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while self.text[self.at] != b'"' {
            self.at += if self.text[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        let text: String = serde_json::from_slice(&self.text[start..self.at]).expect("serde_json took it");
        if text.contains('\0') {
            self.fault.get_or_insert("22P05");
        }
        text
    }

    fn plain(&mut self) -> Tree {
        let rest = &self.text[self.at..];
        let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
        self.at += len;
        let written = String::from_utf8(rest[..len].to_vec()).expect("ASCII");
        if written.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Tree::Plain(written);
        }
        Tree::Plain(number(&written).unwrap_or_else(|| {
            self.fault.get_or_insert("22003");
            written
        }))
    }
}

/// A number without its exponent; None if it has more digits than are accepted.
fn number(written: &str) -> Option<String> {
    let (sign, unsigned) = written.strip_prefix('-').map_or(("", written), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() > DIGITS_MAX.0 || fraction.len() > DIGITS_MAX.1 {
        return None;
    }
    let beyond = if exponent.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 };
    let exponent: i64 = exponent.parse().unwrap_or(beyond);
    let exponent = exponent.clamp(-1_000_000_000, 1_000_000_000);
    let is_zero = !format!("{whole}{fraction}").contains(|c| c != '0');
    let places = (fraction.len() as i64 - exponent).max(0);
    if exponent != 0 && places > DIGITS_MAX.1 as i64 {
        return None;
    }
    if is_zero {
        let zeros = "0".repeat(places as usize);
        return Some(if places == 0 { "0".into() } else { format!("0.{zeros}") });
    }
    let lacking_after = exponent - fraction.len() as i64;
    let lacking_before = -exponent - whole.len() as i64;
    if lacking_after.max(lacking_before) > DIGITS_ADDED_MAX {
        return None;
    }
    let (mut whole, mut fraction): (Vec<char>, Vec<char>) =
        (whole.chars().collect(), fraction.chars().collect());
    for _ in 0..exponent {
        whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
    }
    for _ in exponent..0 {
        fraction.insert(0, whole.pop().unwrap_or('0'));
    }
    let (whole, fraction) = (String::from_iter(whole), String::from_iter(fraction));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn written(tree: &Tree) -> String {
    let quoted = |text: &String| serde_json::to_string(text).expect("a text is JSON");
    match tree {
        Tree::Plain(text) => text.clone(),
        Tree::Text(text) => quoted(text),
        Tree::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(&item.tree)).collect();
            format!("[{}]", items.join(", "))
        }
        Tree::Object(members) => {
            let member = |((_, key), value): (&(usize, String), &Node)| {
                format!("{}: {}", quoted(key), written(&value.tree))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}
