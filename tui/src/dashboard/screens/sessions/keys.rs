//! Keys and terms of the Sessions screen.

use crossterm::event::KeyCode;

use super::state::Action as Do;
use crate::dashboard::keys::{Action, Binding, bind};

/// In the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Enter], "enter", "replay", Action::Sessions(Do::Open)).in_footer(),
    bind(&[KeyCode::Char('p')], "p", "pin", Action::Sessions(Do::Baseline)).in_footer(),
    bind(&[KeyCode::Char('d')], "d", "compare", Action::Sessions(Do::Compare)).in_footer(),
    bind(&[KeyCode::Char('R')], "R", "repeat", Action::Sessions(Do::Repeat)).in_footer(),
    bind(&[KeyCode::Char('w')], "w", "new workload", Action::Sessions(Do::Start)).in_footer(),
    bind(&[KeyCode::Delete, KeyCode::Char('D')], "D Del", "delete", Action::Sessions(Do::Remove)),
];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "session",
        "what the daemon recorded of one job: op events, readings and the result. It has the job's number. The oldest go \
         when there is no more room, but for those that `slmscope sessions note N --pin` keeps",
    ),
    (
        "replay",
        "enter opens the session on all screens; space plays it, ← → go by tokens, [ ] change the speed from ×0.25 to \
         ×64, esc returns to the daemon, which goes on meanwhile",
    ),
    (
        "pin",
        "p makes the session the baseline: Ops compares its times with it in the column `vs pin`, and d compares \
         sessions with it",
    ),
    (
        "compare",
        "d tells whether the selected session is the same, faster or slower than the baseline, or without one than the \
         newest older session of its model: what `slmscope diff` prints",
    ),
    (
        "repeat, new workload",
        "R fills a form with the workload of the selected row, w an empty one; enter runs it",
    ),
    (
        "fit",
        "whether the machine was fit to measure on during the run: clean, fair (figures may be off by a few percent) or poor",
    ),
    (
        "decode",
        "decode steps in a second, the median of the repetitions; of a run without decode those of prefill",
    ),
];
