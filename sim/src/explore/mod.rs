//! Exhaustive search of a small world: the shipped kernel under every order of events, every crash with every choice of surviving
//! pages, every redelivery that its [`scope`] allows, to closure. It finds what is there to be found in small worlds and proves
//! that nothing else is; large ones are left to seeds.
//!
//! - [`scope`]: how large the world is; the reduction rules; [`check`]: whether these lose anything. [`world`]: its state and its moves.
//! - [`process`], [`source`], [`disk`], [`crash`]: its parts. [`model`]: what must hold.
//! - [`search`]: the search itself. [`story`]: what a violation looks like.

pub mod check;
pub mod crash;
pub mod disk;
pub mod model;
pub mod process;
pub mod scope;
pub mod search;
pub mod source;
pub mod story;
pub mod world;
