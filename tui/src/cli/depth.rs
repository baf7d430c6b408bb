//! `slmscope depth`: what the depth of the context costs in each op, and the rate of decode at other depths.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_exports::recording::{Entry, Event};
use slmscope_profiles::depth::{
    DepthModel, DepthPoint, DepthPoints, DepthRate, NoDepthModel, OpDepthCost, OpReach,
};
use slmscope_profiles::display::{self, plural};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;

use super::{diff, number};
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};

/// Ops that are shown; the rest costs little.
const SHOWN_OPS: usize = 8;

/// Options of `depth`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m -p 64 -n 256 -d 0        recorded as session 7
  slmscope run smollm2-135m -p 64 -n 256 -d 4096     recorded as session 8
  slmscope depth 7 8 --at 2048,8192
  slmscope sweep depths && slmscope depth depths.sweep/points/*.mcap

An op that reads the cache takes a fixed time and more for each token that it
attends to: all of the context, or the layer's window. The rate is that of a
typical step (the faster half of every 32). The band holds a new stretch of 32
steps in 95 of 100 cases; what runs of the same thing differ by on this machine is
in it if `slmscope diff --floor` has measured that.")]
pub struct DepthArgs {
    /// Sessions of one model at several depths, or one that generated much
    #[arg(value_name = "SESSION", required = true, num_args = 1..)]
    sessions: Vec<SessionSource>,
    /// Contexts to tell the rate of, in tokens [default: where it was measured, and twice and four times as deep]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = number::count)]
    at: Vec<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `depth --json` prints.
#[derive(Debug, Serialize)]
struct Depth {
    schema: &'static str,
    model: String,
    /// Stretches of 32 steps that it is made of, and the contexts that they were measured at.
    points: usize,
    measured: [u64; 2],
    /// By how much runs of the same thing differ, as a share; null if that was not measured.
    run_scatter: Option<f64>,
    ops: Vec<OpDepthCost>,
    rates: Vec<DepthRate>,
}

/// Fits the recorded steps and tells the rates.
///
/// # Errors
/// If a session cannot be read, they are of different models, or of one depth alone.
pub fn run(args: &DepthArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut all: Option<Recorded> = None;
    for source in &args.sessions {
        let one = Recorded::read(source, target)?;
        all = Some(match all {
            None => one,
            Some(all) => all.with(one).map_err(|problem| source.failed(&problem))?,
        });
    }
    let Some(Recorded { reach, points, result }) = all else {
        return Err(Failure::usage("name a session"));
    };
    let model = DepthModel::of(&reach, &points).map_err(|problem| Failure::error(problem.to_string()))?;
    let contexts = points.iter().map(|point| point.context as u64);
    let (first, last) = contexts.fold((u64::MAX, 0), |(low, high), at| (low.min(at), high.max(at)));
    let floor = diff::known_floor(&result, Phase::Decode)?.map(|known| known.floor.share);
    let at: Vec<u64> = if args.at.is_empty() {
        vec![first, last, 2 * last, 4 * last]
    } else {
        args.at.iter().map(|&at| at.into()).collect()
    };
    let depth = Depth {
        schema: "slmscope.depth/1",
        model: result.model.id.clone(),
        points: points.len(),
        measured: [first, last],
        run_scatter: floor,
        ops: model.ops(),
        rates: at.into_iter().map(|at| model.rate(at, floor.unwrap_or(0.0))).collect(),
    };
    if args.json {
        print_json(&depth)?;
    } else {
        print(&render(&depth, Style::of_stdout().or_columns(80)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The decode steps of recordings of one model.
struct Recorded {
    reach: Vec<OpReach>,
    points: Vec<DepthPoint>,
    result: Box<RunResult>,
}

impl Recorded {
    /// Those of the last run of a session that has a result.
    fn read(source: &SessionSource, target: &Target) -> Result<Self, Failure> {
        let (mut points, mut plan, mut result) = (DepthPoints::default(), None, None);
        let reader = source.reader(target)?;
        for event in reader {
            let Event::Entry(entry) = event.map_err(|error| source.failed(&error))? else { continue };
            match entry {
                Entry::Record(record) => match &*record {
                    // The same plan comes again when its roofs were measured anew.
                    Record::Plan(found) if plan != Some(found.plan) => {
                        points = DepthPoints::new(&found.sites);
                        plan = Some(found.plan);
                    }
                    Record::Ops(ops) => points.add(&ops.to_batch()),
                    _ => {}
                },
                Entry::Result { result: found, .. } => result = Some(found),
                Entry::Job(_) => {}
            }
        }
        let problem = "it ends before the job's result, which says what ran; record it again";
        let result = result.ok_or_else(|| source.failed(&problem))?;
        let (reach, points) = points.finish();
        Ok(Self { reach, points, result })
    }

    fn with(mut self, other: Self) -> Result<Self, NoDepthModel> {
        let is_same = self.reach == other.reach && self.result.model.hash == other.result.model.hash;
        if !is_same {
            return Err(NoDepthModel::OtherPlan);
        }
        self.points.extend(other.points);
        Ok(self)
    }
}

fn render(depth: &Depth, style: Style) -> String {
    let Depth { model, points, measured: [first, last], .. } = depth;
    let head = format!(
        "{}: a decode step against the context, by {} of 32 steps at {first} to {last} tokens",
        display::printable(model),
        plural(*points as u64, "stretch").replace("stretchs", "stretches")
    );
    let mut text = format!("{}\n", style.wrap_words(&head, 0));
    let mut ops =
        Table::new(&[("op", Align::Left), ("fixed", Align::Right), ("for 1000 tokens more", Align::Right)]);
    let duration = |ns: f64| display::duration(ns.max(0.0) as u64);
    for op in depth.ops.iter().take(SHOWN_OPS) {
        let more =
            if op.per_position_ns > 0.0 { duration(op.per_position_ns * 1000.0) } else { "0".to_owned() };
        ops.row([op.name.clone(), duration(op.fixed_ns), more]);
    }
    text.push_str(&ops.render(style));
    let mut rates = Table::new(&[
        ("context", Align::Right),
        ("a step", Align::Right),
        ("decode tok/s", Align::Right),
        ("95 % band", Align::Left),
    ]);
    for rate in &depth.rates {
        let band = |ns: f64| if ns > 0.0 { display::significant(1e9 / ns) } else { "any".to_owned() };
        let mark = if rate.is_extrapolated { " (beyond what was measured)" } else { "" };
        rates.row([
            rate.context.to_string(),
            duration(rate.token_ns),
            display::significant(rate.tokens_per_s),
            format!("{} to {}{mark}", band(rate.high_ns), band(rate.low_ns)),
        ]);
    }
    text.push_str(&rates.render(style));
    let note = match depth.run_scatter {
        Some(share) => {
            format!("runs of the same thing differ by {} here: in the band", display::fine_share(share))
        }
        None => {
            "the band is of these runs; how much other runs differ is not measured: `slmscope diff --floor`"
                .to_owned()
        }
    };
    text.push_str(&format!("  {}\n", style.dim(&style.wrap_words(&note, 2))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;

    #[test]
    fn outputs_of_depth_are_pinned_at_80_columns() {
        let op = |name: &str, windows: &[Option<u32>]| OpReach {
            name: name.to_owned(),
            windows: windows.to_vec(),
        };
        let reach = [op("ffn.up", &[]), op("attn.attention", &[None, None])];
        let point = |context: f64| {
            let by_op_ns = vec![2.0e6, 1.0e5 + 100.0 * 2.0 * (context + 1.0) + 1e3 * (context % 7.0)];
            DepthPoint { context, wall_ns: by_op_ns.iter().sum::<f64>() + 2e4, by_op_ns }
        };
        let points: Vec<DepthPoint> = (0..12).map(|at| point(f64::from(at) * 200.0)).collect();
        let model = DepthModel::of(&reach, &points).unwrap();
        let depth = Depth {
            schema: "slmscope.depth/1",
            model: "pythia-160m".to_owned(),
            points: points.len(),
            measured: [0, 2200],
            run_scatter: None,
            ops: model.ops(),
            rates: [0, 2200, 4400, 8800].map(|at| model.rate(at, 0.0)).to_vec(),
        };
        pinned::check("depth.txt", &render(&depth, pinned::terminal()));
    }
}
