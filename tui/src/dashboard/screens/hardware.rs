//! The Hardware screen: a summary, charts of chosen channels, and all channels.

mod charts;
pub mod state;
mod summary;
pub mod view;

use crossterm::event::KeyCode;

use crate::dashboard::keys::{Action, Binding, bind};
use state::Action as Do;

/// Keys beside those of a list.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Enter], "enter", "chart", Action::Hardware(Do::Chart)).in_footer(),
    bind(&[KeyCode::Char('v')], "v", "view", Action::Hardware(Do::View)).in_footer(),
    bind(&[KeyCode::Char('a')], "a", "raw counters", Action::Hardware(Do::RawCounters)).in_footer(),
];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "class",
        "measured: a sensor or counter of exactly this; derived: arithmetic on measured values; modelled: with an \
         assumption inside; reported: a firmware's claim that is known to be wrong at times; unavailable: none, and why",
    ),
    (
        "chart",
        "enter draws the selected channel over the last minute, below the speed of decode and the phases; several may be \
         drawn. Each has its own scale, from the lowest value to the highest",
    ),
    ("view", "v changes between all channels, those of each core, the worker's threads, and power per rail"),
    ("the summary", "the last value, its range in the last minute, and the curve of that minute"),
    (
        "raw counters",
        "running totals, of which only differences mean anything; their rates are channels of their own",
    ),
    ("scope", "what a value is of: the machine, a package, its cores, a rail, one CPU, this process"),
    ("age", "time since a value was read, where that is longer than it should be"),
    ("of one core", "shares of CPUs are of one core: two busy threads are 200 %"),
];
