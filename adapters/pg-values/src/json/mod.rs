//! jsonb: one text for a value, however it was written, and what PostgreSQL's operators make of it. Pure functions over texts
//! and trees. [`canonical`] is what values pass through when they enter: keys by length and then bytes, of keys given twice the
//! last, one space after a colon and a comma, numbers as `numeric` prints them. What reads values relies on that form.

mod canonical;
mod edit;
mod key;
mod order;
mod path;
mod special;
mod tree;

pub use canonical::{Canonical, canonical};
pub use edit::{EditFault, concat, delete, delete_index, delete_path, set_path};
pub use key::append_key;
pub use order::compare;
pub use path::{Step, contains, get, has_key, kind, scalar_text};
pub use special::find_special;
pub use tree::{Json, parse, pretty, quote};

/// Deepest nesting that is taken.
pub const DEPTH_MAX: usize = 512;
/// Most digits that an exponent may add to those that are written: `1e100000` is nine bytes and would be 100 kB.
pub const DIGITS_ADDED_MAX: usize = 1_000;
/// Longest canonical text, in bytes: PostgreSQL's bound of a jsonb value. A short text can stand for a long one.
pub const BYTES_MAX: usize = (1 << 28) - 1;
