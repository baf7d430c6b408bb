//! Keys of the table of ops.

use crossterm::event::KeyCode;

use super::state::Action as Table;
use crate::dashboard::keys::{Action, Binding, bind};

/// In the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char('s')], "s", "sort", Action::Ops(Table::Sort)).in_footer(),
    bind(&[KeyCode::Char('S')], "S", "reverse", Action::Ops(Table::Reverse)),
    bind(&[KeyCode::Enter], "enter", "open", Action::Ops(Table::Open)).in_footer(),
    bind(&[KeyCode::Char('p')], "p", "phase", Action::Ops(Table::Phase)).in_footer(),
    bind(&[KeyCode::Char('m')], "m", "modules", Action::Ops(Table::Modules)).in_footer(),
];
