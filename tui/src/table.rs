//! Tables of plain text: columns as wide as their widest cell, numbers to the right.

use slmscope_profiles::display::printable;

use crate::style::Style;
use crate::width::columns;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A last column of words goes on below itself rather than be wider than the terminal, and has at least this much room
/// where columns can be left out for it.
const MIN_WORDS: usize = 32;

/// Rows under a header.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows yet.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are left out. Names of files and models may be in it: nothing of them that a
    /// terminal acts on is kept.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().take(self.columns.len());
        self.rows.push(cells.map(|cell| printable(&cell).into_owned()).collect());
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Width of each column on the terminal.
    fn widths(&self) -> Vec<usize> {
        let cell = |row: &[String], column: usize| row.get(column).map_or(0, |text| columns(text));
        let width = |column: usize| {
            let widest = self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
            widest.max(columns(self.columns[column].0))
        };
        (0..self.columns.len()).map(width).collect()
    }

    /// Leaves the column `name` out; whether there was one.
    pub fn remove_column(&mut self, name: &str) -> bool {
        let Some(column) = self.columns.iter().position(|(found, _)| *found == name) else { return false };
        self.columns.remove(column);
        self.rows.iter_mut().filter(|row| column < row.len()).for_each(|row| drop(row.remove(column)));
        true
    }

    /// Leaves columns out, the first of `spare` first, until the table fits the terminal; names those left out.
    pub fn fit(&mut self, style: Style, spare: &[&'static str]) -> Vec<&'static str> {
        let mut left_out = Vec::new();
        for &name in spare {
            let mut widths = self.widths();
            if let Some((width, (_, Align::Left))) = widths.last_mut().zip(self.columns.last()) {
                *width = (*width).min(MIN_WORDS);
            }
            if !style.overflows(widths.iter().sum::<usize>() + 2 * widths.len()) {
                break;
            }
            left_out.extend(self.remove_column(name).then_some(name));
        }
        left_out
    }

    /// The table as lines, indented by two.
    pub fn render(&self, style: Style) -> String {
        let widths = self.widths();
        let before = widths.len().saturating_sub(1);
        let last_begins = 2 + widths[..before].iter().map(|width| width + 2).sum::<usize>();
        let line = |texts: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for ((text, width), (_, align)) in texts.zip(&widths).zip(&self.columns) {
                let fill = " ".repeat(width.saturating_sub(columns(text)));
                match align {
                    Align::Left => line.extend([" ", text, &fill, " "]),
                    Align::Right => line.extend([" ", &fill, text, " "]),
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        let header = line(&mut self.columns.iter().map(|(name, _)| *name));
        let mut text = format!("{}\n", style.dim(&header));
        for row in &self.rows {
            let words = self.columns.last().is_some_and(|(_, align)| *align == Align::Left);
            let last = row.get(before).filter(|_| words).map(|cell| style.wrap(cell, last_begins));
            let cells = row.iter().enumerate().map(|(column, cell)| match &last {
                Some(wrapped) if column == before => wrapped.as_str(),
                _ => cell.as_str(),
            });
            text.push_str(&line(&mut cells.into_iter()));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_until_the_rest_fits() {
        let made = || {
            let mut table = Table::new(&[("op", Align::Left), ("time", Align::Right), ("note", Align::Left)]);
            table.row(["attention".to_owned(), "1 µs".to_owned(), "a long note".to_owned()]);
            table
        };
        let spare = ["absent", "note", "time"];
        let lines = |columns| {
            let (mut table, style) = (made(), Style::narrow(columns));
            (table.fit(style, &spare), table.render(style))
        };
        assert_eq!(lines(30).0, [""; 0]);
        assert_eq!(lines(29), (vec!["note"], "  op         time\n  attention  1 µs\n".to_owned()));
        assert_eq!(lines(5), (vec!["note", "time"], "  op\n  attention\n".to_owned()));
        assert_eq!(made().fit(Style::plain(), &spare), [""; 0]);
    }

    #[test]
    fn the_last_column_goes_on_below_itself() {
        let mut table = Table::new(&[("channel", Align::Left), ("source", Align::Left)]);
        table.row(["temp".to_owned(), "/sys/class/thermal/thermal_zone0/temp of the chip".to_owned()]);
        let lines: Vec<_> = table.render(Style::narrow(36)).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "  channel  source",
                "  temp     /sys/class/thermal/",
                "           thermal_zone0/temp of the",
                "           chip",
            ]
        );
        assert_eq!(table.render(Style::narrow(0)).lines().count(), 4, "never narrower than readable");
    }

    #[test]
    fn wide_characters_do_not_shift_what_follows() {
        let mut table = Table::new(&[("model", Align::Left), ("time", Align::Right), ("note", Align::Left)]);
        table.row(["模型".to_owned(), "1 µs".to_owned(), "x".to_owned()]);
        table.row(["e\u{301}a".to_owned(), "12 ms".to_owned(), "y".to_owned()]);
        let lines: Vec<_> = table.render(Style::plain()).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["  model   time  note", "  模型    1 µs  x", "  e\u{301}a     12 ms  y"]);
    }

    #[test]
    fn columns_line_up_whatever_they_hold() {
        let mut table = Table::new(&[("op", Align::Left), ("time", Align::Right)]);
        table.row(["attn".to_owned(), "1 µs".to_owned()]);
        table.row(["lm_head".to_owned(), "12 ms".to_owned(), "too much".to_owned()]);
        table.row(["short".to_owned()]);
        let lines: Vec<_> = table.render(Style::plain()).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["  op        time", "  attn      1 µs", "  lm_head  12 ms", "  short"]);
    }
}
