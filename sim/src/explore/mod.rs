//! Exhaustive search of a small world: the shipped kernel under every order of events, every crash with every choice of
//! surviving pages, every redelivery that its [`scope`] allows, to closure. It finds every violation in small worlds;
//! large ones are left to seeds.
//!
//! - [`scope`]: the size of the world and the reduction rules; [`check`]: their check. [`world`]: its state and its
//!   moves.
//! - [`process`], [`source`], [`disk`], [`crash`]: its parts. `host` carries effects to them. [`model`]: the expected
//!   state.
//! - [`search`]: the search itself. [`story`]: the text of a violation.

pub mod check;
pub mod crash;
pub mod disk;
mod host;
pub mod model;
pub mod process;
pub mod scope;
pub mod search;
pub mod source;
pub mod story;
pub mod world;
