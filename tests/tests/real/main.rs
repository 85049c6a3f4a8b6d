//! The whole program against real parts: one test binary, so that all of it shares one broker.

mod source;
