//! Bars that are divided into parts, drawn as boxes of HTML: their text keeps its size on a phone and on paper.

use super::html::{Html, escaped};

/// A part has its number written on it from this share of the longest bar on.
const MIN_LABELLED: f64 = 0.08;

/// Colours that the page has, `k0` to `k7`.
const COLOURS: usize = 8;

/// A part of a bar.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// What it is; parts of the same name have the same colour in all bars of a picture.
    pub(super) name: String,
    /// At least 0; in any unit, the same for all bars.
    pub(super) value: f64,
    /// The value as text.
    pub(super) shown: String,
}

/// A bar.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    /// What stands behind it.
    pub(super) note: String,
    pub(super) segments: Vec<Segment>,
}

impl Bar {
    fn length(&self) -> f64 {
        self.segments.iter().map(|segment| segment.value).sum()
    }
}

/// Draws bars below each other, the longest as wide as the page, with a legend. `label` says for those who do not see
/// them what they show and where the numbers are.
pub(super) fn draw(html: &mut Html, label: &str, bars: &[Bar]) {
    let longest = bars.iter().map(Bar::length).fold(0.0, f64::max);
    if longest <= 0.0 || !longest.is_finite() {
        return;
    }
    let mut names: Vec<&str> = Vec::new();
    let label = escaped(label);
    let mut text = format!("<div class=\"bars\" role=\"img\" aria-label=\"{label}\">\n");
    for bar in bars {
        let (name, note) = (escaped(&bar.name), escaped(&bar.note));
        text.push_str(&format!("<div class=\"name\">{name} <small>{note}</small></div><div class=\"bar\">"));
        for segment in bar.segments.iter().filter(|segment| segment.value > 0.0) {
            let at = names.iter().position(|&name| name == segment.name).unwrap_or_else(|| {
                names.push(&segment.name);
                names.len() - 1
            });
            let share = segment.value / longest;
            let shown = if share >= MIN_LABELLED { escaped(&segment.shown) } else { String::new() };
            text.push_str(&format!(
                "<span class=\"k{}\" style=\"width:{:.2}%\" title=\"{}: {}\">{shown}</span>",
                at % COLOURS,
                share * 100.0,
                escaped(&segment.name),
                escaped(&segment.shown)
            ));
        }
        text.push_str("</div>\n");
    }
    text.push_str("<div class=\"legend\">");
    for (at, name) in names.iter().enumerate() {
        text.push_str(&format!("<span><i class=\"k{}\"></i>{}</span> ", at % COLOURS, escaped(name)));
    }
    text.push_str("</div></div>\n");
    html.raw(text);
}
