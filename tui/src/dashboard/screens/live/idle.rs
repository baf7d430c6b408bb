//! The Live screen where nothing ran: what can be done, what was recorded last, and the machine.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::machine;
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::sessions::rows::rows;
use crate::dashboard::state::{Link, State};
use crate::dashboard::view::table::fit;
use crate::dashboard::view::{heading, put, take_bottom, take_top};

/// Sessions that are listed at most.
const SESSIONS: usize = 8;

/// Draws it.
pub(super) fn draw(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let machine_rows = machine::height(data, area.width).min(rest.height / 2);
    let has_readings = data.channels.by_id("mem.available").is_some() || !data.channels.cores().is_empty();
    if has_readings {
        machine::draw(state, data, palette, take_bottom(&mut rest, machine_rows), buf);
    }
    take_top(&mut rest, 1);
    for (key, does) in offers(state) {
        let line = Line::from(vec![
            Span::styled(fit(&format!("  {key}"), 7, false), Palette::strong()),
            Span::raw(does),
        ]);
        put(line, 0, take_top(&mut rest, 1), buf);
    }
    let known = rows(state);
    if known.is_empty() || rest.height < 4 {
        return;
    }
    take_top(&mut rest, 1);
    heading("the last runs", palette, &mut rest, buf);
    for row in known.into_iter().take(SESSIONS) {
        let rate =
            row.info.and_then(|info| info.summary.as_ref()).and_then(|found| found.decode_tokens_per_s);
        let rate = rate.map_or_else(String::new, |rate| {
            format!("decode {} tok/s", slmscope_profiles::display::significant(rate))
        });
        let text = format!(
            " {:>5}  {} {} {rate}",
            row.number,
            fit(row.model(), 24, false),
            fit(&row.state(), 12, false)
        );
        put(Line::from(text), 0, take_top(&mut rest, 1), buf);
    }
}

/// Keys that lead on from here, and what they do.
fn offers(state: &State) -> Vec<(&'static str, &'static str)> {
    if state.replay.is_some() {
        return vec![
            ("space", "plays the recording from here"),
            ("→", "goes to the first token"),
            ("$", "goes to the end"),
        ];
    }
    match &state.link {
        Link::Up { may_submit: true, .. } => vec![
            ("r", "chooses a model and runs it in a loop"),
            ("7", "jobs and recorded sessions: replay, compare, repeat, fill in a workload"),
            ("6", "what this machine measures"),
            ("?", "all keys"),
        ],
        Link::Up { .. } => vec![
            ("7", "jobs and recorded sessions: replay, compare"),
            ("6", "what this machine measures"),
            ("?", "all keys"),
        ],
        Link::Waiting | Link::Down { .. } => {
            vec![("7", "recorded sessions"), ("?", "all keys"), ("q", "quits")]
        }
    }
}
