//! HTML: text that is escaped, tables, and the page around them.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use slmscope_profiles::display::printable;

use super::charts::Charts;

/// Nothing is loaded from anywhere; styles and scripts are those in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

const UPLOT_SCRIPT: &str = include_str!("../../assets/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../assets/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("../../assets/uPlot.LICENSE");
const SCRIPT: &str = include_str!("../../assets/page.js");
const STYLE: &str = include_str!("../../assets/page.css");

/// HTML that is being made.
#[derive(Debug, Default)]
pub(super) struct Html {
    /// What stands above the list of sections.
    header: String,
    body: String,
    /// Ids and titles.
    sections: Vec<(&'static str, String)>,
}

/// Text as it stands in HTML, without control characters.
pub(super) fn escaped(text: &str) -> String {
    let text = printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A column of a table: its heading, and whether it holds text.
pub(super) type Heading<'a> = (&'a str, bool);

impl Html {
    /// Adds HTML as it is.
    pub(super) fn raw(&mut self, html: impl Display) {
        let _ = write!(self.body, "{html}");
    }

    /// What was added so far is the page's header; the list of sections follows it.
    pub(super) fn end_of_header(&mut self) {
        self.header.push_str(&std::mem::take(&mut self.body));
    }

    /// A heading, under which a section begins.
    pub(super) fn section(&mut self, id: &'static str, title: &str) {
        let _ = write!(self.body, "\n<h2 id=\"{id}\">{}</h2>\n", escaped(title));
        self.sections.push((id, escaped(title)));
    }

    /// Links to the sections.
    fn contents(&self) -> String {
        let link = |(id, title): &(&str, String)| format!("<a href=\"#{id}\">{title}</a>");
        self.sections.iter().map(link).collect::<Vec<_>>().join(" ")
    }

    /// A paragraph.
    pub(super) fn paragraph(&mut self, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.body, "<p{class}>{}</p>", escaped(text));
    }

    /// A table. The first cell of a row is its heading.
    pub(super) fn table(&mut self, caption: &str, columns: &[Heading<'_>], rows: &[Vec<String>]) {
        let caption = escaped(caption);
        // Wide tables are moved under a finger or with the keyboard.
        let _ = write!(
            self.body,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption>\n<thead><tr>"
        );
        let class = |is_text: bool| if is_text { " class=\"t\"" } else { "" };
        for &(name, is_text) in columns {
            let _ = write!(self.body, "<th scope=\"col\"{}>{}</th>", class(is_text), escaped(name));
        }
        self.body.push_str("</tr></thead><tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (at, (cell, &(_, is_text))) in row.iter().zip(columns).enumerate() {
                // A path or an identity may be broken anywhere.
                let is_long = is_text && cell.len() > 24;
                let (cell, class) =
                    (escaped(cell), if is_long { " class=\"t long\"" } else { class(is_text) });
                let _ = match at {
                    0 => write!(self.body, "<th scope=\"row\"{class}>{cell}</th>"),
                    _ => write!(self.body, "<td{class}>{cell}</td>"),
                };
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
    }
}

/// JSON that may stand inside a script element.
fn in_script(json: &[u8]) -> String {
    String::from_utf8_lossy(json).replace('<', "\\u003c")
}

/// The page.
pub(super) fn page(out: &mut impl Write, title: &str, body: &Html, charts: &Charts) -> io::Result<()> {
    let data = in_script(&slmscope_profiles::json::to_vec(charts)?);
    let (title, header, contents, body) = (escaped(title), &body.header, body.contents(), &body.body);
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} — slmscope</title>\n<style>{UPLOT_STYLE}</style>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>{header}<nav aria-label=\"Sections\">{contents}</nav></header>\n<main>\n{body}</main>\n\
         <footer><p>Made by slmscope {version}. Charts by uPlot.</p></footer>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>/*\n{UPLOT_LICENCE}*/\n{UPLOT_SCRIPT}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_models_are_no_html_and_no_script() {
        assert_eq!(escaped("<b a=\"1\">&\u{1b}"), "&lt;b a=&quot;1&quot;&gt;&amp;");
        assert_eq!(in_script(b"\"</script>\""), "\"\\u003c/script>\"");
        let parts = [UPLOT_SCRIPT, SCRIPT, UPLOT_LICENCE];
        assert!(parts.iter().all(|part| !part.contains("</script")), "a script would end early");
        assert!(!UPLOT_LICENCE.contains("*/"));
    }
}
