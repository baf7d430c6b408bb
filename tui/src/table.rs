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
        let cell = |row: &[String], column: usize| row.get(column).map_or(0, |text| text.chars().count());
        let width = |column: usize| {
            let widest = self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
            widest.max(self.columns[column].0.chars().count())
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
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
            text.push_str(&line(&mut row.iter().map(String::as_str)));
            text.push('\n');
        }
        text
    }
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
}
