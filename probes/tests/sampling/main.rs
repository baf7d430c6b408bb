//! The sampler on trees and on the machine that runs the tests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod allocation;
mod oddities;
#[path = "../trees/tree.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod tree;
