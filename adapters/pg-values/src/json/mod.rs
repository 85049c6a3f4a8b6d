//! jsonb: the canonical text of a value, and PostgreSQL's operators. Pure functions over texts and trees. [`canonical`]
//! converts values on input: keys sorted by length and then bytes, the last of duplicate keys, one space after a colon
//! and a comma, numbers as `numeric` prints them. Functions that read values rely on that form.

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

/// Deepest nesting that is accepted.
pub const DEPTH_MAX: usize = 512;
/// Most digits that an exponent may add to the written ones: `1e100000` is eight bytes and would become 100 kB.
pub const DIGITS_ADDED_MAX: usize = 1_000;
/// Longest canonical text, in bytes: PostgreSQL's bound of a jsonb value. A short text can have a long canonical text.
pub const BYTES_MAX: usize = (1 << 28) - 1;
