//! Tables of plain text: columns as wide as their widest cell, numbers to the right.

use crate::report::Style;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

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

    /// Adds a row; cells beyond the columns are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().take(self.columns.len()).collect());
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, indented by two.
    pub fn render(&self, style: Style) -> String {
        self.render_within(style, usize::MAX)
    }

    /// The same with words of the last column on further lines where they do not fit into `width` characters.
    pub fn render_within(&self, style: Style, width: usize) -> String {
        let widths: Vec<_> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let last_begins = self.begin_of_last();
        let room = width.saturating_sub(last_begins).max(LEAST_ROOM);
        let line = |texts: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for ((text, width), (_, align)) in texts.zip(&widths).zip(&self.columns) {
                let fill = " ".repeat(width.saturating_sub(text.chars().count()));
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
            let last = row.len().checked_sub(1).filter(|&last| last + 1 == self.columns.len());
            let wrapped = last.map(|last| wrap(&row[last], room)).unwrap_or_default();
            let first = wrapped.first().map(String::as_str);
            let begin = row.iter().map(String::as_str).take(last.unwrap_or(row.len()));
            text.push_str(&line(&mut begin.chain(first)));
            text.push('\n');
            for more in wrapped.iter().skip(1) {
                text.push_str(&format!("{}{more}\n", " ".repeat(last_begins)));
            }
        }
        text
    }

    /// How many characters stand before the last column.
    pub fn begin_of_last(&self) -> usize {
        let before = self.columns.len().saturating_sub(1);
        2 + (0..before).map(|column| self.width(column) + 2).sum::<usize>()
    }

    fn width(&self, column: usize) -> usize {
        let cell = |row: &Vec<String>| row.get(column).map_or(0, |text| text.chars().count());
        let widest = self.rows.iter().map(cell).max().unwrap_or(0);
        widest.max(self.columns.get(column).map_or(0, |(name, _)| name.chars().count()))
    }
}

/// The last column is not made narrower than this.
const LEAST_ROOM: usize = 20;

/// Lines of at most so many characters, broken at blanks or, where a word is longer than a line, after slashes.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive([' ', '/']) {
        let wide = word.trim_end().chars().count();
        if used > 0 && used + wide > room {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
        used += word.chars().count();
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_they_hold() {
        let mut table = Table::new(&[("op", Align::Left), ("time", Align::Right)]);
        table.row(["attn".to_owned(), "1 µs".to_owned()]);
        table.row(["lm_head".to_owned(), "12 ms".to_owned(), "too much".to_owned()]);
        table.row(["short".to_owned()]);
        let lines: Vec<_> = table.render(Style::plain()).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["  op        time", "  attn      1 µs", "  lm_head  12 ms", "  short"]);
    }

    #[test]
    fn the_last_column_goes_on_below_itself() {
        let mut table = Table::new(&[("channel", Align::Left), ("source", Align::Left)]);
        table.row(["temp".to_owned(), "/sys/class/thermal/thermal_zone0/temp of the chip".to_owned()]);
        let lines: Vec<_> = table.render_within(Style::plain(), 36).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "  channel  source",
                "  temp     /sys/class/thermal/",
                "           thermal_zone0/temp of the",
                "           chip",
            ]
        );
        assert_eq!(table.render_within(Style::plain(), 0).lines().count(), 4, "never narrower than readable");
    }
}
