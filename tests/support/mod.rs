//! What the tests share.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(missing_docs, reason = "names and bodies say it")]

pub mod image;
