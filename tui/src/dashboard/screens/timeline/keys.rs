//! Keys and terms of the Timeline screen.

use crossterm::event::KeyCode;

use super::state::Action as Move;
use crate::dashboard::keys::{Action, Binding, bind};

/// In the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char('+'), KeyCode::Char('=')], "+", "zoom in", Action::Timeline(Move::ZoomIn))
        .in_footer(),
    bind(&[KeyCode::Char('-')], "-", "zoom out", Action::Timeline(Move::ZoomOut)).in_footer(),
    bind(&[KeyCode::Char('>')], ">", "later part", Action::Timeline(Move::Later)),
    bind(&[KeyCode::Char('<')], "<", "earlier part", Action::Timeline(Move::Earlier)),
    bind(&[KeyCode::Down, KeyCode::Char('j')], "j ↓", "layers below", Action::Timeline(Move::Down)),
    bind(&[KeyCode::Up, KeyCode::Char('k')], "k ↑", "layers above", Action::Timeline(Move::Up)),
    bind(&[KeyCode::Char('s')], "s", "slowest", Action::Timeline(Move::Slowest)).in_footer(),
    bind(&[KeyCode::Char('p')], "p", "p99", Action::Timeline(Move::P99)).in_footer(),
    bind(&[KeyCode::Char('m')], "m", "median", Action::Timeline(Move::Median)).in_footer(),
    bind(&[KeyCode::Char('n')], "n", "newest", Action::Timeline(Move::Newest)).in_footer(),
    bind(&[KeyCode::Char('b')], "b", "compare with this", Action::Timeline(Move::Base)),
];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "the strip on top",
        "the wall time of each token that is kept, newest right, and the longest of them; gaps are phases without \
         tokens. The mark below shows the token of the waterfall. On a high screen clock and heat at the same tokens \
         stand below",
    ),
    (
        "the waterfall",
        "one token or prefill chunk to scale, left to right; a row for each layer. A cell has the colour of what took \
         most of its time, and stays empty where no op ran for most of it",
    ),
    ("slowest, p99, median", "of the decode steps that are kept; s p m go there, n back to the newest"),
    (
        "compare with this",
        "b keeps the shown token; from then on the ops that differ most from it are listed",
    ),
    (
        "kept",
        "the newest 16 MiB of single events. A daemon sends single events only while this screen or Ops is open; a \
         recording has them all",
    ),
];
