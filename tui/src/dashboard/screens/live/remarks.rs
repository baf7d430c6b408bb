//! What stands out, in words and with what to do: losses and failures, what disturbs the machine now, and what was found
//! in the last result, the most useful first.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display;
use slmscope_profiles::finding::OTHER_LOAD;
use slmscope_profiles::op::Phase;
use slmscope_profiles::roofline::Bound;

use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::text::wrap;

/// Readings that a share of the last seconds is taken over.
const RECENT: usize = 20;
/// Share of the machine's CPUs that its host may take before it is said.
const STEAL: f64 = 0.05;

/// One of them.
pub struct Remark {
    /// What it is.
    pub text: String,
    /// What to do, or how to read the figures.
    pub advice: String,
    /// Figures are missing or wrong.
    pub is_bad: bool,
}

impl Remark {
    fn new(text: impl Into<String>, advice: &str) -> Self {
        Self { text: text.into(), advice: advice.to_owned(), is_bad: false }
    }

    fn bad(text: impl Into<String>, advice: &str) -> Self {
        Self { is_bad: true, ..Self::new(text, advice) }
    }
}

/// All that stands out, in the order of its weight.
pub fn remarks(data: &Data) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if data.lost > 0 {
        let text = format!("{} tokens lost before the daemon read them", data.lost);
        remarks.push(Remark::bad(text, "their ops are in no figure"));
    }
    if data.dropped > 0 {
        let text = format!("{} tokens dropped: this dashboard was too slow", data.dropped);
        remarks.push(Remark::bad(text, "their ops are in no figure here; the result has them"));
    }
    if let Some(error) = data.job.as_ref().and_then(|job| job.error.clone()) {
        remarks.push(Remark::bad(error, ""));
    }
    if data.is_busy() {
        remarks.extend(disturbances(data));
    }
    let findings = data.result.iter().flat_map(|result| &result.findings);
    remarks.extend(findings.map(|finding| Remark::new(finding.reason.clone(), &finding.advice)));
    remarks
}

/// What disturbs the run now, by the readings of the last seconds.
pub(super) fn disturbances(data: &Data) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let recent = |id| data.channels.by_id(id).and_then(|track| track.mean(RECENT));
    if let Some(share) = recent("cpu.foreign").filter(|&share| share > OTHER_LOAD) {
        let used = display::of_one_core(share * data.channels.cores().len().max(1) as f64);
        let text = format!("other programs use {used} now");
        remarks.push(Remark::new(text, "End them or wait: these figures are of a disturbed machine."));
    }
    if let Some(share) = recent("cpu.steal").filter(|&share| share > STEAL) {
        let text = format!("the host takes {} of this machine's CPUs now", display::rough_share(share));
        remarks.push(Remark::new(text, "Other guests use the host: compare runs in pairs only."));
    }
    if let Some(track) = data.channels.throttling() {
        let text = format!("something throttles: {}", track.channel.id);
        remarks
            .push(Remark::new(text, "Let it cool, or improve power and cooling; later tokens are slower."));
    }
    remarks
}

/// The lines of at most `most` rows. The last one says how many remarks are not there, and which key shows them.
pub(super) fn lines(
    state: &State,
    data: &Data,
    palette: Palette,
    width: usize,
    most: usize,
) -> Vec<Line<'static>> {
    let remarks = remarks(data);
    let Some(first) = remarks.first() else {
        let lines = wrap(&quiet(state, data), width.saturating_sub(1), most);
        return lines.into_iter().map(|line| Line::styled(format!(" {line}"), palette.dim())).collect();
    };
    let mut lines = Vec::new();
    let mut shown = 0;
    for remark in &remarks {
        let left = most.saturating_sub(lines.len());
        // A remark whose advice has no room is shown if it is the only one.
        if left == 0 || (shown > 0 && left < 2 && !remark.advice.is_empty()) {
            break;
        }
        lines.extend(remark_lines(remark, palette, width, left));
        shown += 1;
    }
    let hidden = remarks.len() - shown;
    if hidden > 0 {
        let more = format!("  +{hidden}: f");
        if let Some(last) = lines.last_mut() {
            let room = width.saturating_sub(more.len() + 1);
            *last = shortened(last, room);
            last.push_span(Span::styled(more, style(first, palette)));
        }
    }
    lines
}

fn style(remark: &Remark, palette: Palette) -> Style {
    if remark.is_bad { palette.bad() } else { palette.warning() }
}

fn remark_lines(remark: &Remark, palette: Palette, width: usize, most: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(4);
    let advice_rows = usize::from(!remark.advice.is_empty() && most > 1);
    let text = wrap(&remark.text, room, (most - advice_rows).clamp(1, 3));
    let left = most.saturating_sub(text.len());
    let advice = wrap(&remark.advice, room, left.min(2));
    let row = |mark: &'static str, at: usize, text: String, style| {
        let mark = if at == 0 { mark } else { "   " };
        Line::from(vec![Span::styled(mark, style), Span::styled(text, style)])
    };
    let found = text.into_iter().enumerate().map(|(at, text)| row(" ! ", at, text, style(remark, palette)));
    let advised = advice.into_iter().enumerate().map(|(at, text)| row(" > ", at, text, Style::new()));
    found.chain(advised).collect()
}

/// `line` in at most `width` columns, broken between words.
fn shortened(line: &Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line.clone();
    }
    let mut spans = line.spans.clone();
    if let Some(text) = spans.get_mut(1) {
        let short = wrap(&text.content, width.saturating_sub(3), 1).pop().unwrap_or_default();
        text.content = short.into();
    }
    Line::from(spans)
}

/// What is there when nothing stands out: what would make decode faster, by what bounds it.
fn quiet(state: &State, data: &Data) -> String {
    let said = match (&data.result, &data.job) {
        (Some(_), _) => "nothing stands out in the last run",
        (None, Some(job)) if !job.state.is_final() && state.replay.is_none() => "nothing stands out so far",
        (None, Some(_)) => "nothing stands out in what was recorded",
        (None, None) => return String::new(),
    };
    let advice = match super::speed::bound_of(data, Phase::Decode) {
        Some(Bound::Memory) => {
            "; decode is bound by memory: fewer bytes a token make it faster, as in a smaller format or model"
        }
        Some(Bound::Compute) => {
            "; decode is bound by compute: more threads make it faster, if there are cores left"
        }
        Some(Bound::Overhead) => {
            "; decode is bound by neither memory nor compute: threads wait, or ops are small; try other --threads"
        }
        None => "",
    };
    format!("{said}{advice}")
}
