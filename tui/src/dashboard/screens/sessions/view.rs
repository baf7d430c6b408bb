//! The Sessions screen: what waits, what runs, and what is kept, with the selected row in full below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display;
use slmscope_profiles::job::JobState;
use slmscope_profiles::sessions::RecordMode;

use super::panel;
use super::rows::{Field, Row, fields, rows};
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::{self, Column};
use crate::dashboard::view::text::{pieces, wrap};
use crate::dashboard::view::{heading, put, take_bottom, take_top};

/// Rows that the list keeps at least beside the panel.
const MIN_ROWS: u16 = 8;
/// Most rows of the panel.
const PANEL: u16 = 8;
/// The number, with a mark.
const NUMBER: Column = Column { title: "job", width: 6, right: true };

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let width = usize::from(area.width);
    put(title(state, palette, width), 0, take_top(&mut rest, 1), buf);
    let rows = rows(state);
    if rows.is_empty() {
        for (row, line) in wrap(&nothing(state), width.saturating_sub(2), 4).into_iter().enumerate() {
            put(Line::styled(format!(" {line}"), palette.dim()), row + 1, rest, buf);
        }
        return;
    }
    let key = state.sessions.list.selected.as_ref();
    let selected = rows.iter().position(|row| Some(&row.number.to_string()) == key).unwrap_or(0);
    if let Some(row) = rows.get(selected) {
        let lines = lines(row, width);
        let height = (lines.len() as u16 + 1).min(PANEL).min(rest.height.saturating_sub(MIN_ROWS));
        if height > 1 {
            let mut panel = take_bottom(&mut rest, height);
            heading(&format!("job {}, {}", row.number, row.model()), palette, &mut panel, buf);
            for (at, line) in lines.into_iter().enumerate() {
                put(Line::from(format!(" {line}")), at, panel, buf);
            }
        }
    }
    list(state, &rows, selected, palette, rest, buf);
}

fn lines(row: &Row<'_>, width: usize) -> Vec<String> {
    let facts = panel::facts(row).into_iter();
    facts.flat_map(|facts| wrap(&facts.join(" · "), width.saturating_sub(2), 3)).collect()
}

fn list(state: &State, rows: &[Row<'_>], selected: usize, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let now_s = state.sessions.listed_s;
    let fields: Vec<Field> = fields(rows, usize::from(rest.width).saturating_sub(NUMBER.width + 1), now_s);
    let columns: Vec<Column> =
        std::iter::once(NUMBER).chain(fields.iter().map(|field| field.column)).collect();
    put(table::titles(&columns, Palette::strong()), 0, take_top(&mut rest, 1), buf);
    let numbered: Vec<_> = rows.iter().enumerate().collect();
    table::scroll(&numbered, selected, rest, buf, |&(at, row)| {
        let mark = if state.sessions.baseline == Some(row.number) { "*" } else { "" };
        let mut texts = vec![format!("{mark}{}", row.number)];
        texts.extend(fields.iter().map(|field| (field.text)(row, now_s)));
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let mut style = style(row, palette);
        if at == selected {
            style = style.patch(Palette::selected());
        }
        Line::from(table::cells(&columns, &texts, style))
    });
}

fn style(row: &Row<'_>, palette: Palette) -> Style {
    match row.job.map(|job| job.state) {
        Some(JobState::Failed) => palette.bad(),
        Some(state) if !state.is_final() => palette.good(),
        _ => Style::new(),
    }
}

/// How many there are, and how much room they take.
fn title(state: &State, palette: Palette, width: usize) -> Line<'static> {
    let mut facts = Vec::new();
    if let Some(kept) = &state.sessions.kept {
        let bytes: u64 = kept.iter().map(|info| info.bytes).sum();
        let recording = state.live.status.as_ref().and_then(|status| status.recording.as_ref());
        let of = recording.and_then(|recording| recording.max_bytes);
        let of = of.map_or_else(String::new, |most| format!(" of {}", display::bytes(most)));
        let count = display::plural(kept.len() as u64, "session");
        facts.push(format!(" {count} kept, {}{of}", display::bytes(bytes)));
        facts.extend(recording.and_then(|recording| {
            let why = match recording.mode {
                RecordMode::Off => Some("the daemon records nothing".to_owned()),
                RecordMode::Jobs => recording.problem.clone(),
            };
            why.filter(|why| !why.is_empty())
        }));
    } else {
        facts.push(" jobs and sessions".to_owned());
    }
    if !state.sessions.list.filter.is_empty() {
        facts.push(format!("filter `{}`", state.sessions.list.filter));
    }
    if let Some(baseline) = state.sessions.baseline {
        facts.push(format!("* {baseline} is the baseline"));
    }
    pieces(facts.into_iter().map(|fact| vec![Span::styled(fact, palette.dim())]), " · ", width)
}

/// Why there is no row.
fn nothing(state: &State) -> String {
    let sessions = &state.sessions;
    match (&sessions.problem, &sessions.kept) {
        (Some(problem), _) => format!("the sessions cannot be listed: {problem}"),
        (None, None) => "reading the list of sessions".to_owned(),
        (None, Some(_)) if !sessions.list.filter.is_empty() => {
            format!("no job or session matches `{}`", sessions.list.filter)
        }
        (None, Some(_)) => {
            "no session is kept yet: w fills in a workload and runs it; each run but loops is recorded"
                .to_owned()
        }
    }
}
