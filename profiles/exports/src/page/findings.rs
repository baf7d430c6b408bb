//! What stands out, and whether the machine was fit to measure on.

use slmscope_profiles::display;
use slmscope_profiles::result::RunResult;

use super::html::{Html, escaped};

/// What stands out, with advice and the figures behind it; and whether the machine was fit.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("findings", "Findings");
    if result.findings.is_empty() {
        html.paragraph("", "None.");
    } else {
        html.raw("<ul>\n");
        for finding in &result.findings {
            let figures: Vec<String> = finding
                .evidence
                .iter()
                .map(|figure| format!("{} {}", figure.name, shown(figure.value, &figure.unit)))
                .collect();
            let figures = if figures.is_empty() {
                String::new()
            } else {
                format!("<br><span class=\"note\">{}</span>", escaped(&figures.join("; ")))
            };
            let (reason, advice) = (escaped(&sentence(&finding.reason)), escaped(&finding.advice));
            html.raw(format_args!("<li><strong>{reason}.</strong> {advice}{figures}</li>\n"));
        }
        html.raw("</ul>\n");
    }
    let hygiene = &result.hygiene;
    match hygiene.clean {
        Some(true) => html.paragraph("note", "The machine was fit to measure on."),
        Some(false) => {
            html.paragraph(
                "warn",
                &format!("The machine was not fit to measure on: {}.", hygiene.reasons.join("; ")),
            );
        }
        None => html.paragraph(
            "note",
            "Whether the machine was fit to measure on is not known: the run ended before.",
        ),
    }
}

/// With a capital letter, as a sentence begins.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A figure of a finding in its unit.
fn shown(value: f64, unit: &str) -> String {
    match unit {
        "FLOP/s" => display::flops_per_second(value),
        "op/s" => display::ops_per_second(value),
        "B/s" => display::bytes_per_second(value),
        "B" if value >= 0.0 => display::bytes(value as u64),
        "ratio" => display::share(value),
        "" if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{} {unit}", display::significant(value)).trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_unit_that_a_reader_expects() {
        let all = [
            (3.85e10, "FLOP/s"),
            (1.43e11, "op/s"),
            (1.44, "ratio"),
            (6.0, ""),
            (1608.0, ""),
            (25.9, "tokens/s"),
        ];
        let all = all.map(|(value, unit)| shown(value, unit));
        assert_eq!(all, ["38.5 GFLOP/s", "143 GOP/s", "144.0 %", "6", "1608", "25.9 tokens/s"]);
        assert_eq!(sentence("äh: the machine"), "Äh: the machine");
        assert_eq!(sentence(""), "");
    }
}
