//! Keys and terms of the table of ops.

use crossterm::event::KeyCode;

use super::state::Action as Table;
use crate::dashboard::keys::{Action, Binding, bind};

/// In the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char('g')], "g", "group", Action::Ops(Table::Group)).in_footer(),
    bind(&[KeyCode::Char('s')], "s", "sort", Action::Ops(Table::Sort)).in_footer(),
    bind(&[KeyCode::Char('S')], "S", "reverse", Action::Ops(Table::Reverse)),
    bind(&[KeyCode::Enter], "enter", "open", Action::Ops(Table::Open)).in_footer(),
    bind(&[KeyCode::Char('d')], "d", "decode, prefill", Action::Ops(Table::Phase)).in_footer(),
    bind(&[KeyCode::Char('m')], "m", "modules or ops", Action::Ops(Table::Modules)),
    bind(&[KeyCode::Char('p')], "p", "pin", Action::Ops(Table::Pin)).in_footer(),
    bind(&[KeyCode::Char('P')], "P", "end the comparison", Action::Ops(Table::Unpin)),
];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    ("share", "of the phase's wall time, whatever a filter hides"),
    ("time/tok", "time of the row in all layers, for one token"),
    (
        "vs pin",
        "change of time/tok since `p` pinned the figures of a moment, of this job or of another one; + is slower",
    ),
    (
        "mean, p99, max",
        "of single calls; p99 (to a 16th) is of the calls since this screen was opened. For the selected row the panel \
         says when and in which layer the longest call was",
    ),
    (
        "of roof",
        "least time for the row's bytes or arithmetic at the measured roofs, divided by its time, and which of the two \
         that is: memory or compute; neither below 10 %. Above 100 % the reason stands there: from a cache, or the \
         machine was faster than its roof",
    ),
    ("memory, compute", "bytes and FLOPs by the plan's rules, divided by the row's own time"),
    ("gap", "at most 1 µs between two ops"),
    ("unattributed", "wall time that nothing explains; red above 1 %"),
];
