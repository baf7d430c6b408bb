//! `slmscope sweep`: a campaign of many runs, and the table of all of them.
//!
//! ```text
//! preset, file, flags ─▶ SweepPlan ─▶ folder/plan.json
//!                                        │   for each run that is not there yet
//!                 cooling gate ─▶ daemon ┤─▶ folder/points/0007-1.mcap, then 0007-1.json
//!                                        └─▶ folder/table.csv, .parquet, .json
//! ```

mod asked;
mod cooling;
mod drive;
mod folder;
mod point;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use slmscope_exports::campaign::{self, TableFormat};
use slmscope_profiles::campaign::{PRESETS, SweepPlan, Swept};
use slmscope_profiles::display;

use self::asked::{Asked, AxisFlag, ScheduleFlags};
use self::folder::SweepFolder;
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::model_source;
use crate::style::Style;

/// Options of `sweep`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope sweep --list                              sweeps that come with it
  slmscope sweep --list survey > mine.toml           one of them as a file
  slmscope sweep survey model.gguf
  slmscope sweep --axis threads=1..8 --axis format=q4_0,q8_0 smollm2-135m
  slmscope sweep depths --axis depth=0..8192+1024 --rounds 2
  slmscope sweep board.toml --cool-below 55

A file is TOML; every list or range in [workload] is an axis, and the points are
all combinations:
  about = \"formats at two depths\"
  [workload]
  model = [\"smollm2-135m\", \"a.gguf\"]
  depth = \"0..4096 +1024\"          both ends are included; *2 multiplies
  [[case]]                          options that go together
  prompt = 512
  generate = 0
  [sweep]
  order = \"random\"                  or interleaved: ABBA; seed, rounds, pause,
  rounds = 2                        cool_below and cool_limit stand here too

Each run is a session in the folder's points/; `compare`, `diff` and `report`
read them. A sweep that was interrupted, also by kill -9, goes on where it was
with the same command. A point that cannot run says so, and the others run.

Exit codes: 0 done, 1 error, or a run failed, 2 wrong flags, 130 interrupted.")]
pub struct SweepArgs {
    /// A sweep that comes with slmscope (see --list) or a *.toml file, and then the model; with --axis the model alone
    #[arg(value_name = "SWEEP|MODEL", num_args = 0..=2)]
    what: Vec<String>,
    /// An option of `run` and its values, such as threads=1..8, depth=0..4096+512, prompt=50..4096*2 or
    /// format=q4_0,q8_0; one value sets it for all points. May be given several times
    #[arg(long = "axis", value_name = "OPTION=VALUES")]
    axes: Vec<AxisFlag>,
    /// The folder of sessions and tables [default: the sweep's name with .sweep]
    #[arg(short = 'o', long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Run the points that failed before once more
    #[arg(long, conflicts_with_all = ["dry_run", "list"])]
    retry: bool,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    schedule: ScheduleFlags,
}

/// What is printed.
#[derive(Debug, Args)]
struct Shown {
    /// Print the points in the order of their runs, and run none
    #[arg(long, conflicts_with = "list")]
    dry_run: bool,
    /// List the sweeps that come with slmscope; with a name, print its file, whose first lines say what it reproduces
    #[arg(long, conflicts_with_all = ["axes", "json", "output"])]
    list: bool,
    /// Print the table as one JSON object; with --dry-run, the plan
    #[arg(long)]
    json: bool,
}

/// Runs what is missing of the sweep, and prints its table.
///
/// # Errors
/// If it cannot be planned, its folder is of another sweep, no daemon can be reached, or it is interrupted; with exit
/// code 1 if a run failed.
pub fn run(args: &SweepArgs, target: &Target) -> Result<ExitCode, Failure> {
    if args.shown.list {
        print(&list(&args.what)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Asked { name, sweep } = asked::asked(&args.what, &args.axes, &args.schedule)?;
    let plan = sweep.plan().map_err(|error| Failure::usage(error.to_string()))?;
    if args.shown.dry_run {
        return dry_run(&plan, args.shown.json);
    }
    check_models(&plan, target)?;
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.sweep")));
    let mut folder = SweepFolder::open(&path, &plan, folder::RealDisk)?;
    let interrupted = interruption()?;
    let mut runner = point::Runner { target, schedule: &plan.schedule, interrupted, is_first: true };
    let driven =
        drive::drive(&plan, &mut folder, args.retry, |point, run, file| runner.run(point, run, file));
    let ended = folder.outcomes(&plan)?;
    let swept = Swept::of(&plan, ended);
    for format in TableFormat::ALL {
        let mut table = Vec::new();
        campaign::write(format, &swept, &mut table).context("cannot make the table")?;
        folder.write_table(format.extension(), &table)?;
    }
    if let Err(failure) = driven {
        let (ended, all) = (swept.outcomes.len(), plan.runs().len());
        note_line!("slmscope: {ended} of {all} runs have ended; the same command goes on with the others");
        return Err(failure);
    }
    show(&swept, &path, args.shown.json)?;
    let failed = swept.outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    if failed == 0 { Ok(ExitCode::SUCCESS) } else { Err(Failure::silent(1)) }
}

fn show(swept: &Swept<'_>, path: &std::path::Path, json: bool) -> Result<(), Failure> {
    if json {
        let document = campaign::document(swept).context("cannot make the table")?;
        return print_json(&document);
    }
    print(&text::render(swept, Style::of_stdout().or_columns(80)))?;
    note_line!("slmscope: sessions and tables are in {}", display::printable(&path.display().to_string()));
    Ok(())
}

fn dry_run(plan: &SweepPlan, json: bool) -> Result<ExitCode, Failure> {
    if json {
        print_json(plan)?;
    } else {
        print(&text::plan(plan, Style::of_stdout().or_columns(80)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The sweeps that come with the program, a line each; or the files of those that are named.
fn list(names: &[String]) -> Result<String, Failure> {
    if names.is_empty() {
        return Ok(text::list(Style::of_stdout().or_columns(80)));
    }
    names.iter().map(|name| Ok(asked::preset(name)?.text)).collect()
}

/// Looks at every model once before the first run, so that a typo is not found after hours.
fn check_models(plan: &SweepPlan, target: &Target) -> Result<(), Failure> {
    let mut seen: Vec<&str> = Vec::new();
    for point in &plan.points {
        if !seen.contains(&point.model.as_str()) {
            model_source::choose_on(target, Some(&point.model))?;
            seen.push(&point.model);
        }
    }
    Ok(())
}

/// A flag that a signal raises. From here on signals do not end this process.
fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone()).context("cannot wait for signals")?;
    }
    Ok(flag)
}

/// Whether a signal came.
fn is_up(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

/// The names of the sweeps that come with the program.
fn preset_names() -> [&'static str; PRESETS.len()] {
    PRESETS.map(|preset| preset.name)
}
