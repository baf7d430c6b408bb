//! The Hardware screen. Its state is a list, and whether raw counters are among its rows.

use crossterm::event::KeyCode;

use crate::dashboard::keys::{Action, Binding, bind};

mod summary;
pub mod view;

/// Keys beside those of a list.
pub const KEYS: &[Binding] =
    &[bind(&[KeyCode::Char('a')], "a", "raw counters", Action::RawCounters).in_footer()];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "class",
        "measured: a sensor or counter of exactly this; derived: arithmetic on measured values; modelled: with an \
         assumption inside; reported: a firmware's claim that is known to be wrong at times; unavailable: none, and why",
    ),
    ("the summary", "the last value, its range in the last minute, and the curve of that minute"),
    (
        "raw counters",
        "running totals, of which only differences mean anything; their rates are channels of their own",
    ),
    ("scope", "what a value is of: the machine, a package, its cores, a rail, one CPU, this process"),
    ("age", "time since a value was read, where that is longer than it should be"),
    ("of one core", "shares of CPUs are of one core: two busy threads are 200 %"),
];
