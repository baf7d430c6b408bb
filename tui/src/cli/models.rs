//! `slmscope models` and `slmscope model`.

mod files;
mod json;
mod one;
mod size;
mod words;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use slmscope_profiles::catalogue::{self, AttentionKind, Row, SurveyList};
use slmscope_profiles::display;
use slmscope_profiles::format::{KvFormat, WeightFormat};

use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::table::{Align, Table};
pub use one::{ModelArgs, show};
use size::Sizes;

/// Filters of the list; a model must pass all of them.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only models of this family
    #[arg(long)]
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
        self.family.as_ref().is_none_or(|family| *family == row.family)
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
    let all = catalogue::rows();
    if args.family.as_ref().is_some_and(|family| all.iter().all(|row| *family != row.family)) {
        let mut families: Vec<_> = all.iter().map(|row| row.family.as_str()).collect();
        families.dedup();
        return Err(Failure::error(format!(
            "there is no such family; the families are {}",
            families.join(", ")
        )));
    }
    let rows: Vec<_> = all.iter().filter(|row| args.matches(row)).collect();
    if rows.is_empty() {
        let all = format!("none of the {} models passes all of these filters", all.len());
        return Err(Failure::error(format!("{all}; `slmscope models` lists all")));
    }
    if args.json {
        print_json(&json::list(&rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("family", Align::Left),
        ("params", Align::Right),
        ("layers", Align::Right),
        ("hidden", Align::Right),
        ("attention", Align::Left),
        ("context", Align::Right),
        ("q4_0", Align::Right),
        ("KV/token", Align::Right),
        ("notes", Align::Left),
    ]);
    for row in &rows {
        let spec = row.spec();
        let notes = [
            row.uncertain.as_ref().map(|_| "uncertain"),
            row.paper_differs.as_ref().map(|_| "survey differs"),
        ];
        table.row([
            row.id.clone(),
            row.family.clone(),
            display::count(spec.params().unique),
            row.layers.to_string(),
            row.hidden.to_string(),
            words::heads(row),
            row.max_context.to_string(),
            display::bytes(spec.weight_bytes(WeightFormat::Q4_0)),
            display::bytes(KvFormat::F16.bytes(spec.kv_elements_per_token())),
            notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]);
    }
    let style = Style::of_stdout();
    let left_out = table.fit(style, &["notes", "family", "hidden", "layers"]);
    let mut text = format!("{}{}", table.render(style), display::plural(rows.len() as u64, "model"));
    if !left_out.is_empty() {
        text.push_str(&format!("; a wider terminal also shows {}", left_out.join(", ")));
    }
    text.push('\n');
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
