//! `slmscope export`: a recording in the formats of other tools.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use slmscope_exports::export::{Filter, Format, Measure, Numbers, TableName, Walk, difference_svg};
use slmscope_exports::recording::Event;
use slmscope_profiles::display;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::{Module, OpKind};

use crate::connect::Target;
use crate::failure::{Failure, print};
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};
use crate::trace_file::{self, TraceFile};

/// Options of `export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m --record a.mcap
  slmscope export a.mcap -o a.pftrace              open it at ui.perfetto.dev
  slmscope export a.mcap --format csv --table ops
  slmscope export a.mcap --format flamegraph --by bytes -o a.svg
  slmscope export --format list                    what opens each of them

Filters choose ops; the times of tokens and phases stay whole, so a share is
always one of all the time.
Exit codes: 0 success, 1 error, 2 wrong flags.")]
pub struct ExportArgs {
    /// The recording
    #[arg(value_name = "SESSION")]
    session: Option<SessionSource>,
    /// Format, or `list` to have them explained [default: as the end of the output's name says]
    #[arg(long, short = 'f', value_name = "FORMAT")]
    format: Option<Chosen>,
    /// The file to write [default: standard output]
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Which table, for csv and parquet: events ops phases tokens channels memory runs
    /// [default: events]
    #[arg(long, value_name = "TABLE")]
    table: Option<TableName>,
    /// What stacks are weighed by, for folded and flamegraph: time events bytes flops energy [default: time]
    #[arg(long, value_name = "MEASURE")]
    by: Option<Measure>,
    /// For flamegraph: the recording to compare with. What takes a larger share than in it is red, a smaller one blue
    #[arg(long, value_name = "SESSION")]
    against: Option<SessionSource>,
    #[command(flatten)]
    selection: Selection,
}

/// A format, or the wish to have them explained.
#[derive(Debug, Clone, Copy)]
enum Chosen {
    List,
    Format(Format),
}

impl FromStr for Chosen {
    type Err = slmscope_exports::export::UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "list" { Ok(Self::List) } else { text.parse().map(Self::Format) }
    }
}

/// What of the recording is exported.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
struct Selection {
    /// Only what begins this many seconds after the recording does, or later
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    from: Option<u64>,
    /// Only what begins before this many seconds after the recording does
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    to: Option<u64>,
    /// Phases, separated by commas: load warmup prefill decode overhead
    /// [default: all; prefill and decode for formats that add up]
    #[arg(long, value_name = "PHASES", value_delimiter = ',', value_parser = phase)]
    phase: Vec<Phase>,
    /// Tokens of decode and chunks of prefill by their numbers in the phase, from 0: 7, 3..9, 3..
    #[arg(long, value_name = "NUMBERS")]
    token: Option<Numbers>,
    /// Layers, from 0: 7, 3..9, 3..
    #[arg(long, value_name = "NUMBERS")]
    layer: Option<Numbers>,
    /// Parts of the model, separated by commas: embedding attention recurrent ffn lm_head
    #[arg(long, value_name = "MODULES", value_delimiter = ',', value_parser = module)]
    module: Vec<Module>,
    /// Kinds of ops, separated by commas, such as matmul,attention,norm
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    kind: Vec<OpKind>,
}

impl Selection {
    fn filter(&self) -> Filter {
        Filter {
            from_ns: self.from,
            to_ns: self.to,
            phases: self.phase.clone(),
            tokens: self.token.clone(),
            layers: self.layer.clone(),
            modules: self.module.clone(),
            kinds: self.kind.clone(),
        }
    }
}

/// A word that is none of those that there are.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} `{word}`; known: {known}")]
struct Unknown {
    what: &'static str,
    word: String,
    known: String,
}

fn known<T: Copy>(
    what: &'static str,
    word: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Unknown> {
    let found = all.iter().copied().find(|&one| name(one) == word);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|&one| name(one)).collect();
        Unknown { what, word: word.to_owned(), known: names.join(", ") }
    })
}

fn phase(word: &str) -> Result<Phase, Unknown> {
    known("phase", word, &Phase::ALL, Phase::as_str)
}

fn module(word: &str) -> Result<Module, Unknown> {
    known("module", word, &Module::ALL, Module::as_str)
}

fn kind(word: &str) -> Result<OpKind, Unknown> {
    known("kind", word, &OpKind::ALL, OpKind::as_str)
}

/// The text is no time.
#[derive(Debug, thiserror::Error)]
#[error("write a number of seconds from 0, such as 1.5")]
struct NotSeconds;

/// Seconds as ns.
fn seconds(text: &str) -> Result<u64, NotSeconds> {
    let number = text.trim_end_matches('s').trim().parse::<f64>().map_err(|_| NotSeconds)?;
    if (0.0..1e9).contains(&number) { Ok((number * 1e9) as u64) } else { Err(NotSeconds) }
}

/// Exports a recording, or explains the formats.
///
/// # Errors
/// If the recording cannot be read or the output not be written; exit code 2 for flags without an effect.
pub fn run(args: &ExportArgs, target: &Target) -> Result<ExitCode, Failure> {
    if matches!(args.format, Some(Chosen::List)) {
        print(&list(Style::of_stdout()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(session) = &args.session else {
        return Err(Failure::usage(
            "name the recording, usually *.mcap; `--format list` explains the formats",
        ));
    };
    let format = format(args)?;
    if let Some(before) = &args.against {
        return difference(args, before, session, format, target);
    }
    let mut reader = session.reader(target)?;
    let mut file = TraceFile::begin(args.output.as_deref(), args.force, format, args.selection.filter())?;
    for event in reader.by_ref() {
        match event.map_err(|error| session.failed(&error))? {
            Event::Entry(entry) => file.take(&entry)?,
            Event::Damage(damage) => note_line!("slmscope: {session}: left out {damage}"),
        }
    }
    let (line, counts) = file.finish()?;
    if args.output.is_some() {
        note_line!("{line}");
    }
    if counts.lost + counts.unplanned > 0 {
        note_line!(
            "slmscope: {} tokens and chunks were lost before they were recorded, and {} have no plan: their events are \
             not in it",
            counts.lost,
            counts.unplanned
        );
    }
    if counts.batches == 0 && !is_of_readings(format) {
        note_line!("slmscope: no token or chunk is selected");
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the flame graph of a session by how it differs from another one.
fn difference(
    args: &ExportArgs,
    before: &SessionSource,
    session: &SessionSource,
    format: Format,
    target: &Target,
) -> Result<ExitCode, Failure> {
    let Format::Flamegraph(measure) = format else {
        let problem = format!("{} shows one recording; leave it out, or use flamegraph", format.as_str());
        return Err(Failure::usage(format!("--against: {problem}")));
    };
    let title = format!("{session} against {before}: {}", measure.as_str());
    let folded = |source: &SessionSource| folded(source, measure, args.selection.filter(), target);
    let (before, after) = (folded(before)?, folded(session)?);
    let mut picture = Vec::new();
    let drawn = difference_svg(&before, &after, measure, &title, &mut picture);
    drawn.map_err(|error| session.failed(&error))?;
    match &args.output {
        Some(path) => {
            let written = trace_file::create(path, args.force)?.write_all(&picture);
            written.map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))?;
            note_line!("{}: the difference, {}", path.display(), display::bytes(picture.len() as u64));
        }
        None => print(&String::from_utf8_lossy(&picture))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The stacks of a session, a line each.
fn folded(
    source: &SessionSource,
    measure: Measure,
    filter: Filter,
    target: &Target,
) -> Result<Vec<u8>, Failure> {
    let (format, mut lines) = (Format::Folded(measure), Vec::new());
    let mut walk = Walk::new(format.filter(filter), format.export(&mut lines));
    for event in source.reader(target)? {
        if let Event::Entry(entry) = event.map_err(|error| source.failed(&error))? {
            walk.take(&entry).map_err(|error| source.failed(&error))?;
        }
    }
    walk.finish().map_err(|error| source.failed(&error))?;
    drop(walk);
    Ok(lines)
}

/// Whether the format has no events in it, whatever is selected.
fn is_of_readings(format: Format) -> bool {
    let table = match format {
        Format::Csv(table) | Format::Parquet(table) => table,
        Format::Json => return true,
        _ => return false,
    };
    matches!(table, TableName::Channels | TableName::Memory | TableName::Runs)
}

/// The format that is asked for, with its table or measure.
fn format(args: &ExportArgs) -> Result<Format, Failure> {
    let by_name = || args.output.as_deref().and_then(Format::of_file);
    let named = match args.format {
        Some(Chosen::Format(format)) => Some(format),
        Some(Chosen::List) | None => by_name(),
    };
    let Some(format) = named else {
        let problem = match &args.output {
            Some(path) => format!("the end of {} names none", path.display()),
            None => "say which, as in `--format csv` or `-o a.pftrace`".to_owned(),
        };
        let list = "`slmscope export --format list` explains them";
        return Err(Failure::usage(format!("--format: {problem}; {list}")));
    };
    if args.table.is_some() && !format.has_tables() {
        return Err(Failure::usage(format!("--table: {} has no tables; leave it out", format.as_str())));
    }
    if args.by.is_some() && !format.has_measures() {
        let problem = format!("{} is not weighed by one measure; leave it out", format.as_str());
        return Err(Failure::usage(format!("--by: {problem}")));
    }
    Ok(format.with(args.table, args.by))
}

fn list(style: Style) -> String {
    let mut table = Table::new(&[
        ("format", Align::Left),
        ("file", Align::Left),
        ("holds, and what opens it", Align::Left),
    ]);
    for format in Format::ALL {
        let file = format!("*.{}", format.extension());
        table.row([format.as_str().to_owned(), file, format.holds().to_owned()]);
        table.row([String::new(), String::new(), format!("→ {}", format.opened_by())]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_filters_are_those_of_json() {
        assert_eq!(phase("decode").unwrap(), Phase::Decode);
        assert_eq!(module("lm_head").unwrap(), Module::LmHead);
        assert_eq!(kind("kv_append").unwrap(), OpKind::KvAppend);
        let told = kind("dance").unwrap_err().to_string();
        assert!(told.contains("unknown kind `dance`") && told.contains("matmul"), "{told}");
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
    }

    #[test]
    fn seconds_have_decimals_and_are_not_below_zero() {
        assert_eq!((seconds("1.5").unwrap(), seconds("0").unwrap()), (1_500_000_000, 0));
        assert_eq!(seconds("2s").unwrap(), 2_000_000_000);
        for wrong in ["-1", "x", "", "nan", "inf", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_list_fits_80_columns_and_names_every_format() {
        let shown = list(Style::narrow(80));
        assert!(shown.lines().all(|line| crate::width::columns(line) <= 80), "{shown}");
        assert!(Format::ALL.iter().all(|format| shown.contains(format.as_str())), "{shown}");
    }
}
