//! Energy of a run whose power is known: a square wave, read through sensors of all speeds, in simulated time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod conservation;
mod edges;
mod sensor;
mod trials;
