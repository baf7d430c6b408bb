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
                .map(|figure| {
                    format!("{} {} {}", figure.name, display::significant(figure.value), figure.unit)
                })
                .collect();
            let figures = if figures.is_empty() {
                String::new()
            } else {
                format!("<br><span class=\"note\">{}</span>", escaped(&figures.join("; ")))
            };
            let (reason, advice) = (escaped(&finding.reason), escaped(&finding.advice));
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
