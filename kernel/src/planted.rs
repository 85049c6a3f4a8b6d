//! Planted bugs: defects that somebody could have written, each behind a switch, to show that the simulator sees them. In every
//! normal build all switches are constant `false` and nothing is left of them. With the feature `planted` a thread says which
//! bug is there. How they are looked for lives in the simulator (`sim bugs`).

#![allow(clippy::disallowed_types, reason = "a switch for tests, in no build that is shipped")]

/// What it takes for a bug to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Nothing: it is wrong without any fault.
    Logic,
    /// A fault, of whatever kind.
    NeedsFault,
    /// Two kinds of faults in one run.
    NeedsTwoFaults,
}

/// A planted bug, described.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name, in kebab case.
    pub name: &'static str,
    /// What is broken.
    pub what: &'static str,
    /// Where such a thing has happened, or what makes it easy to write.
    pub origin: &'static str,
    /// What it takes to see it.
    pub class: Class,
    /// The invariant that should not hold any more.
    pub invariant: &'static str,
}

/// Declares an enum of planted bugs. For the kernel's own, and for those of the world around it.
#[macro_export]
macro_rules! planted_bugs {
    ($(#[$doc:meta])* $enum:ident {
        $($bug:ident $name:literal $class:ident $invariant:literal, $what:literal, $origin:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $enum {
            $(#[doc = $what] $bug,)*
        }

        impl $enum {
            /// All of them.
            pub const ALL: &[$enum] = &[$($enum::$bug,)*];

            /// What it is.
            pub fn about(self) -> $crate::planted::About {
                match self {
                    $($enum::$bug => $crate::planted::About {
                        name: $name,
                        what: $what,
                        origin: $origin,
                        class: $crate::planted::Class::$class,
                        invariant: $invariant,
                    },)*
                }
            }
        }
    };
}

planted_bugs! {
    /// A planted bug of the kernel.
    Bug {
        CursorOffByOne "cursor-off-by-one" Logic "exactly once",
            "The cursor that is stored is the last offset read, not the next one.",
            "risingwave#5192 (fault A18)";
    }
}

/// Whether this bug is there.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switched::{activate, is};

#[cfg(feature = "planted")]
mod switched {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is there.
    #[inline]
    pub fn is(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// From now on, on this thread, this bug is there and no other.
    pub fn activate(bug: Option<Bug>) {
        ACTIVE.set(bug);
    }
}
