//! How text for a terminal looks: colours and width.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::IsTerminal;

use slmscope_profiles::display::printable;

use crate::width::{columns, terminal_columns};

/// Wrapped text is not made narrower than this.
const MIN_ROOM: usize = 20;

/// Whether colours are wanted, by the variables of these names: not where `NO_COLOR` is set, nor on a terminal
/// that knows none.
pub fn wants_colours(no_color: Option<OsString>, term: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|term| term != "dumb")
}

/// `text` without what a terminal acts on, but for line ends, tabs and colours. All that is printed goes through it: a name in a
/// file can neither move the cursor nor retitle the window.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let is_kept = |letter: char| matches!(letter, '\n' | '\t');
    if text.split(is_kept).all(|part| matches!(printable(part), Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    let mut left = String::with_capacity(text.len());
    for (at, part) in text.split('\u{1b}').enumerate() {
        let colour = if at == 0 { 0 } else { colour_length(part) };
        if colour > 0 {
            left.push('\u{1b}');
            left.push_str(&part[..colour]);
        }
        for words in part[colour..].split_inclusive(is_kept) {
            let end = words.strip_suffix(is_kept).map_or(words.len(), str::len);
            left.push_str(&printable(&words[..end]));
            left.push_str(&words[end..]);
        }
    }
    Cow::Owned(left)
}

/// Length of the code after an escape character that sets colour or weight, such as `[31m`; 0 if it is another code.
fn colour_length(code: &str) -> usize {
    let Some(rest) = code.strip_prefix('[') else { return 0 };
    let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if rest.as_bytes().get(digits) == Some(&b'm') { digits + 2 } else { 0 }
}

/// Whether text may carry colours, and how wide it may be.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colours: bool,
    /// Columns of the terminal; `None` where there is none, and lines are as long as they are.
    columns: Option<usize>,
}

impl Style {
    /// Colours where standard output is a terminal and they are wanted.
    pub fn of_stdout() -> Self {
        let wanted = wants_colours(std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
        let is_terminal = std::io::stdout().is_terminal();
        let columns = is_terminal.then(|| terminal_columns(std::io::stdout()));
        Self { colours: wanted && is_terminal, columns }
    }

    /// As wide as the terminal; where there is none, so many columns.
    pub fn or_columns(self, columns: usize) -> Self {
        Self { columns: self.columns.or(Some(columns)), ..self }
    }

    /// No colours, and no terminal.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colours: false, columns: None }
    }

    /// No colours, on a terminal of so many columns.
    pub fn narrow(columns: usize) -> Self {
        Self { colours: false, columns: Some(columns) }
    }

    /// Whether a line of this width is wider than the terminal.
    pub fn overflows(self, width: usize) -> bool {
        self.columns.is_some_and(|columns| width > columns)
    }

    /// `text`, which begins after `indent` columns, broken at blanks and after slashes into lines that fit the
    /// terminal; further lines begin below the first.
    pub fn wrap(self, text: &str, indent: usize) -> String {
        self.broken_after(text, indent, &[' ', '/'])
    }

    /// The same, broken at blanks alone: sentences, where `tokens/s` is a word.
    pub fn wrap_words(self, text: &str, indent: usize) -> String {
        self.broken_after(text, indent, &[' '])
    }

    /// The same of text that holds a command for a shell, broken where the shell goes on with the next line: after `&&` and
    /// `|`. What is longer between these is broken at blanks.
    pub fn wrap_command(self, text: &str, indent: usize) -> String {
        let room = self.room(indent);
        let (mut wrapped, mut used) = (String::new(), 0);
        let after_and = text.split_inclusive(" && ");
        for piece in after_and.flat_map(|piece| piece.split_inclusive(" | ")) {
            if used > 0 && used + columns(piece.trim_end()) > room {
                wrapped.truncate(wrapped.trim_end().len());
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', indent));
            }
            let piece = self.wrap_words(piece, indent);
            wrapped.push_str(&piece);
            // The first line begins after the indent, further ones with it.
            let (line, first) =
                wrapped.rsplit_once('\n').map_or((wrapped.as_str(), true), |(_, line)| (line, false));
            used = columns(line).saturating_sub(if first { 0 } else { indent });
        }
        wrapped
    }

    /// Columns of a line that begins after `indent` ones.
    fn room(self, indent: usize) -> usize {
        self.columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent).max(MIN_ROOM))
    }

    fn broken_after(self, text: &str, indent: usize, ends: &[char]) -> String {
        let room = self.room(indent);
        let (mut wrapped, mut used) = (String::new(), 0);
        for word in printable(text).split_inclusive(ends) {
            if used > 0 && used + columns(word.trim_end()) > room {
                wrapped.truncate(wrapped.trim_end().len());
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', indent));
                used = 0;
            }
            wrapped.push_str(word);
            used += columns(word);
        }
        wrapped
    }

    fn paint(self, code: &str, text: &str) -> String {
        let lines: Vec<_> = text.split('\n').map(printable).collect();
        let text = lines.join("\n");
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What needs attention.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_break_at_blanks_and_paths_after_slashes() {
        let text = "it decodes 12345 tokens/s on average";
        assert_eq!(Style::narrow(24).wrap_words(text, 2), "it decodes 12345\n  tokens/s on average");
        assert_eq!(
            Style::narrow(24).wrap("/sys/class/thermal/zone0/temp", 0),
            "/sys/class/thermal/\nzone0/temp"
        );
    }

    /// One was broken within a path, so that it could not be copied.
    #[test]
    fn commands_break_where_a_shell_reads_on() {
        let text =
            "to enable it: sudo modprobe k10temp && echo k10temp | sudo tee /etc/modules-load.d/k10temp.conf";
        assert_eq!(
            Style::narrow(60).wrap_command(text, 2),
            "to enable it: sudo modprobe k10temp && echo k10temp |\n  sudo tee /etc/modules-load.d/k10temp.conf"
        );
        assert_eq!(
            Style::narrow(50).wrap_command(text, 2),
            "to enable it: sudo modprobe k10temp &&\n  echo k10temp |\n  sudo tee /etc/modules-load.d/k10temp.conf"
        );
        assert_eq!(Style::plain().wrap_command(text, 2), text);
        assert_eq!(Style::narrow(20).wrap_command("add psi=1 to the kernel", 0), "add psi=1 to the\nkernel");
    }

    #[test]
    fn what_is_printed_keeps_colours_and_loses_all_other_commands() {
        let style = Style { colours: true, columns: None };
        let coloured = format!("{}\n  \u{1b}[1;31mx\u{1b}[0m ß\n", style.bad("failed"));
        assert_eq!(harmless(&coloured), coloured);
        let hostile = "a\u{1b}[2J\u{1b}]0;title\u{7}b\u{9b}1m\u{1b}\u{1b}[31\nc\td\u{1b}";
        assert_eq!(harmless(hostile), "a[2J]0;titleb1m[31\nc\td");
        assert_eq!(style.bold("\u{1b}[2Jname"), "\u{1b}[1m[2Jname\u{1b}[0m");
        assert_eq!(style.wrap("\u{1b}[31mname", 0), "[31mname");
    }

    #[test]
    fn colours_are_for_terminals_that_know_them_and_people_who_want_them() {
        let wants = |no_color: Option<&str>, term: Option<&str>| {
            wants_colours(no_color.map(OsString::from), term.map(OsString::from))
        };
        assert!(wants(None, Some("xterm-256color")) && wants(Some(""), None));
        assert!(!wants(None, Some("dumb")));
        assert!(!wants(Some("1"), Some("xterm")));
    }
}
