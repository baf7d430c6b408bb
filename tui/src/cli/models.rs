//! `slmscope models` and `slmscope model`.

mod columns;
mod files;
mod json;
mod one;
mod size;
mod words;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use slmscope_profiles::catalogue::{self, AttentionKind, Row, SurveyList};
use slmscope_profiles::display;
use slmscope_profiles::words::nearest;

use crate::failure::{Failure, json_line, print};
use crate::style::Style;
use crate::table::Table;
use columns::{Column, Listed, Order};
#[cfg(test)]
pub(super) use one::answer as answer_one;
pub use one::{ModelArgs, show};
use size::Sizes;

/// Filters of the list; a model must pass all of them.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only models of this family
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only models with this many parameters: `100M..1B`, `..500M`, `2B..`
    #[arg(long, value_name = "MIN..MAX")]
    size: Option<Sizes>,
    /// Only models with this kind of attention: MHA, GQA, MQA, MLA or recurrent
    #[arg(long, value_name = "KIND")]
    attention: Option<AttentionKind>,
    /// Only models of the survey of small language models (arXiv 2409.15790), or of one of its lists
    #[arg(long, value_name = "LIST", num_args = 0..=1, default_missing_value = "any")]
    survey: Option<Survey>,
    /// Columns to show: id family params layers hidden vocab attention context released kv notes, and the bytes in a
    /// format, such as q4_0 [default: id,params,attention,context,q4_0,kv]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', conflicts_with = "json")]
    columns: Vec<Column>,
    /// Sort by one of these columns; with a minus before it, the largest first [default: by family and size]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<Order>,
    /// Print the list as one JSON object
    #[arg(long)]
    json: bool,
}

/// A list of the survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Survey {
    /// Any of its lists
    Any,
    /// The table of the first edition
    V1Table,
    /// The table of the third edition
    V3Table,
    /// The authors' leaderboard
    Leaderboard,
    /// The timeline, figure 1
    Fig1,
}

impl Survey {
    fn has(self, row: &Row) -> bool {
        let list = match self {
            Self::Any => return !row.survey.is_empty(),
            Self::V1Table => SurveyList::V1Table,
            Self::V3Table => SurveyList::V3Table,
            Self::Leaderboard => SurveyList::Leaderboard,
            Self::Fig1 => SurveyList::Fig1,
        };
        row.survey.contains(&list)
    }
}

impl ModelsArgs {
    fn matches(&self, row: &Row) -> bool {
        self.family.as_ref().is_none_or(|family| family.eq_ignore_ascii_case(&row.family))
            && self.attention.is_none_or(|kind| kind == row.attention_kind())
            && self.survey.is_none_or(|survey| survey.has(row))
            && self.size.is_none_or(|sizes| sizes.holds(row.params().unique))
    }
}

/// Lists the catalogue.
///
/// # Errors
/// If the family does not exist, or no model passes the filters.
pub fn list(args: &ModelsArgs) -> Result<ExitCode, Failure> {
    print(&answer(args, Style::of_stdout().or_columns(80))?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed.
pub(super) fn answer(args: &ModelsArgs, style: Style) -> Result<String, Failure> {
    let listed = select(args)?;
    if args.json {
        let rows: Vec<_> = listed.iter().map(|listed| listed.row).collect();
        json_line(&json::list(&rows))
    } else {
        Ok(text(args, &listed, style))
    }
}

/// The models that pass the filters, in the order that was asked for.
fn select(args: &ModelsArgs) -> Result<Vec<Listed<'static>>, Failure> {
    let all = catalogue::rows();
    if let Some(family) = &args.family
        && !all.iter().any(|row| family.eq_ignore_ascii_case(&row.family))
    {
        let mut families: Vec<_> = all.iter().map(|row| row.family.as_str()).collect();
        families.dedup();
        let near = nearest(family, families.iter().copied());
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
        let families = families.join(", ");
        return Err(Failure::error(format!(
            "there is no family `{family}`{hint}; the families are {families}"
        )));
    }
    let rows = all.iter().filter(|row| args.matches(row));
    let mut listed: Vec<_> = rows.map(|row| Listed { row, spec: row.spec() }).collect();
    if listed.is_empty() {
        let all = format!("none of the {} models passes all of these filters", all.len());
        return Err(Failure::error(format!("{all}; `slmscope models` lists all")));
    }
    if let Some(order) = args.sort {
        listed.sort_by(|a, b| order.compare(a, b));
    }
    Ok(listed)
}

fn text(args: &ModelsArgs, listed: &[Listed<'_>], style: Style) -> String {
    let columns = if args.columns.is_empty() { &columns::DEFAULT[..] } else { &args.columns };
    let titles: Vec<_> = columns.iter().map(|column| column.title()).collect();
    let mut table = Table::new(&titles);
    for model in listed {
        table.row(columns.iter().map(|column| column.cell(model)));
    }
    let count = display::plural(listed.len() as u64, "model");
    let mut notes = vec![match &args.columns[..] {
        [] => format!(
            "{count}; --columns also shows family, layers, hidden, vocab, released, notes and other formats"
        ),
        _ => count,
    }];
    let in_f16 = |column: &&Column| match column {
        Column::Weights(format) => listed.iter().any(|model| model.spec.f16_bytes(*format) > 0),
        _ => false,
    };
    let formats: Vec<_> = columns.iter().filter(in_f16).map(Column::to_string).collect();
    if !formats.is_empty() {
        notes.push(format!(
            "* rows that blocks of {} do not divide are f16; `slmscope model ID` shows how much",
            formats.join(", ")
        ));
    }
    if columns.contains(&Column::Kv) {
        notes.push("KV/token: keys and values of one token in f16".to_owned());
    }
    let notes: Vec<_> = notes.iter().map(|note| style.wrap(note, 0) + "\n").collect();
    format!("{}{}", table.render(style), notes.concat())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ModelsArgs,
    }

    fn args(words: &[&str]) -> ModelsArgs {
        Line::parse_from([&["models"], words].concat()).args
    }

    fn ids(words: &[&str]) -> Vec<&'static str> {
        select(&args(words)).unwrap().iter().map(|listed| listed.row.id.as_str()).collect()
    }

    #[test]
    fn families_are_found_without_regard_to_case() {
        assert_eq!(ids(&["--family", "SmolLM"]), ["smollm-135m", "smollm-360m", "smollm-1.7b"]);
        let wrong = select(&args(&["--family", "SmalLM"])).err().and_then(|failure| failure.message).unwrap();
        assert!(wrong.contains("`SmalLM`") && wrong.contains("smollm, smollm2"), "{wrong}");
    }

    #[test]
    fn models_are_sorted_by_numbers_and_by_words() {
        let smallest = ids(&["--sort", "params"]);
        assert_eq!(smallest.first(), Some(&"cerebras-gpt-111m"));
        assert_eq!(ids(&["--sort", "-params"]).first(), smallest.last());
        assert_eq!(ids(&["--sort", "-released", "--family", "qwen2"]).first(), Some(&"qwen2.5-0.5b"));
        assert!(ids(&["--sort", "id"]).is_sorted());
    }

    #[test]
    fn formats_stand_side_by_side_and_rows_in_f16_are_explained() {
        let words = ["--family", "smollm2", "--columns", "id,params,q8_0,q4_0,q2_k"];
        let style = Style::narrow(80);
        let shown = text(&args(&words), &select(&args(&words)).unwrap(), style);
        crate::pinned::check("models-formats.txt", &shown);
        assert!(shown.contains('*') && shown.contains("blocks of q2_k do not divide"), "{shown}");
    }

    #[test]
    fn the_list_fits_80_columns() {
        let all = args(&[]);
        let shown = text(&all, &select(&all).unwrap(), Style::narrow(80));
        crate::pinned::check("models.txt", &shown);
        assert!(shown.contains("1.07B"), "{shown}");
    }
}
