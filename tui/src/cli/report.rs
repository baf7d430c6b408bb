//! `slmscope report`: the report of a recorded run, in the terminal or as a page.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use slmscope_exports::recording::{Event, Reader};
use slmscope_exports::session::Session;

use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::page_file::PageFile;
use crate::report::{self, Form};
use crate::session_source::SessionSource;
use crate::style::Style;

/// Options of `report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m --record a.mcap
  slmscope report a.mcap
  slmscope report a.mcap --html a.html             one file, to send on
  slmscope run smollm2-135m --html a.html          the same in one step

The page needs no network and no other file.
Exit codes: 0 success, 1 error, 2 wrong flags.")]
pub struct ReportArgs {
    /// The recording; of several jobs the last one that has a result
    #[arg(value_name = "SESSION")]
    session: SessionSource,
    /// Write a page for browsers into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Replace the page if it exists
    #[arg(long, requires = "html")]
    force: bool,
    /// Print every table, not only what matters
    #[arg(long, conflicts_with = "html")]
    full: bool,
    /// Print the result as one JSON object
    #[arg(long, conflicts_with_all = ["html", "full"])]
    json: bool,
}

/// Prints or writes the report.
///
/// # Errors
/// If the recording cannot be read or has no result, or the page cannot be written.
pub fn run(args: &ReportArgs, target: &Target) -> Result<ExitCode, Failure> {
    match &args.html {
        Some(path) => page(args, path, target),
        None => shown(args, target),
    }
}

fn page(args: &ReportArgs, path: &std::path::Path, target: &Target) -> Result<ExitCode, Failure> {
    let mut reader = args.session.reader(target)?;
    let mut page = PageFile::create(path, args.force)?;
    let read = take_all(args, &mut reader, &mut page);
    let line = page.finish();
    read?;
    print(&format!("{}\n", line?))?;
    Ok(ExitCode::SUCCESS)
}

fn take_all(
    args: &ReportArgs,
    reader: &mut Reader<std::fs::File>,
    page: &mut PageFile,
) -> Result<(), Failure> {
    for event in reader.by_ref() {
        match event.map_err(|error| args.session.failed(&error))? {
            Event::Entry(entry) => page.take(&entry),
            Event::Damage(damage) => note_line!("slmscope: {}: left out {damage}", args.session),
        }
    }
    Ok(())
}

fn shown(args: &ReportArgs, target: &Target) -> Result<ExitCode, Failure> {
    let session: Session = args.session.read(target)?;
    let result = session.last_run().and_then(|run| run.result.as_deref());
    let Some(result) = result else {
        return Err(args.session.failed(&"no job in it has a result: it ended before that"));
    };
    if args.json {
        print_json(result)?;
    } else {
        let form = if args.full { Form::Full } else { Form::Short };
        print(&report::with_text(result, form, Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}
