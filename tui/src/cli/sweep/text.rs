//! A sweep as text: its plan, its table, and the sweeps that come with the program.

use slmscope_profiles::campaign::{Candidate, Measure, Outcome, PRESETS, Point, SweepPlan, Swept};
use slmscope_profiles::display::{self, ABSENT, or_absent, printable};

use crate::style::Style;
use crate::table::{Align, Table};

/// The sweeps that come with the program.
pub(super) fn list(style: Style) -> String {
    let mut table = Table::new(&[("sweep", Align::Left), ("runs", Align::Right), ("", Align::Left)]);
    for preset in PRESETS {
        let Ok(sweep) = preset.sweep() else { continue };
        let runs = sweep.plan().map_or_else(|_| ABSENT.to_owned(), |plan| plan.runs().len().to_string());
        table.row([preset.name.to_owned(), runs, sweep.about]);
    }
    let more = "`slmscope sweep --list NAME` prints its file, which says what it reproduces and how its figures are read";
    format!("{}  {}\n", table.render(style), style.dim(&style.wrap_words(more, 2)))
}

/// A point with its runs that have ended.
type PointRuns<'a> = (&'a Point, Vec<(&'a Outcome, &'a Candidate)>);

/// What a sweep is for, and how many runs it has.
fn headline(plan: &SweepPlan) -> String {
    let runs = display::plural(plan.runs().len() as u64, "run");
    let points = display::plural(plan.points.len() as u64, "point");
    let about = if plan.about.is_empty() { String::new() } else { format!(": {}", printable(&plan.about)) };
    format!("{points}, {runs}{about}")
}

/// The options that vary, as columns.
fn setting(point: &Point, key: &str) -> String {
    let value = point.setting(key).unwrap_or_else(|| ABSENT.to_owned());
    if key == "model" { value.rsplit('/').next().unwrap_or(&value).to_owned() } else { value }
}

/// The points in the order of their runs.
pub(super) fn plan(plan: &SweepPlan, style: Style) -> String {
    let mut table = Table::new(&[("run", Align::Right), ("point", Align::Right), ("", Align::Left)]);
    for (at, run) in plan.runs().iter().enumerate() {
        let Some(point) = plan.point(run.point) else { continue };
        let mut what = point.describe(&plan.varying);
        if what.is_empty() {
            what.clone_from(&point.model);
        }
        if let Some(problem) = &point.problem {
            what.push_str(&format!(": cannot run: {problem}"));
        }
        table.row([(at + 1).to_string(), run.point.to_string(), what]);
    }
    format!("{}\n{}", style.wrap_words(&headline(plan), 0), table.render(style))
}

/// The table of what has ended, and what it adds up to.
pub(super) fn render(swept: &Swept<'_>, style: Style) -> String {
    let plan = swept.plan;
    let mut text = format!("{}\n", style.wrap_words(&headline(plan), 0));
    let mut points: Vec<u32> = swept.outcomes.iter().map(|outcome| outcome.run.point).collect();
    points.dedup();
    let mut rows: Vec<PointRuns<'_>> = points
        .into_iter()
        .filter_map(|number| Some((plan.point(number)?, swept.of_point(number).collect())))
        .collect();
    rows.sort_by_key(|(point, _)| point.number);
    text.push_str(&table(swept, &rows, style));
    for note in notes(swept, &rows) {
        text.push_str(&format!("  {}\n", style.wrap_words(&note, 2)));
    }
    text
}

fn table(swept: &Swept<'_>, rows: &[PointRuns<'_>], style: Style) -> String {
    // Names of columns are those of options, which are few.
    let names: Vec<&'static str> = swept.plan.varying.iter().filter_map(|key| column(key)).collect();
    let mut columns = vec![("point", Align::Right)];
    columns.extend(names.iter().map(|name| (*name, Align::Right)));
    columns.extend([
        ("decode tok/s", Align::Right),
        ("prefill tok/s", Align::Right),
        ("first token", Align::Right),
        ("load", Align::Right),
        ("memory", Align::Right),
        ("J/token", Align::Right),
        ("bound by", Align::Left),
        ("front", Align::Left),
    ]);
    let mut table = Table::new(&columns);
    for (point, runs) in rows {
        let mean = |measure: Measure| {
            let values: Vec<f64> = runs.iter().filter_map(|(_, run)| run.value(measure)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let shown = |measure: Measure| or_absent(mean(measure), |value| measure.show(value));
        let rate = |measure: Measure| or_absent(mean(measure), display::significant);
        let bound = runs.iter().find_map(|(_, run)| run.phases.last()?.bound);
        let mut row = vec![point.number.to_string()];
        row.extend(
            swept.plan.varying.iter().filter(|key| column(key).is_some()).map(|key| setting(point, key)),
        );
        row.extend([
            rate(Measure::Decode),
            rate(Measure::Prefill),
            shown(Measure::Ttft),
            shown(Measure::Load),
            shown(Measure::Memory),
            shown(Measure::JoulesPerToken),
            or_absent(bound, |bound| bound.as_str().to_owned()),
            if swept.front_points.contains(&point.number) { "*".to_owned() } else { String::new() },
        ]);
        table.row(row);
    }
    table.fit(style, &["load", "bound by", "J/token", "first token", "prefill tok/s"]);
    table.render(style)
}

/// The header of a column for an option.
fn column(key: &str) -> Option<&'static str> {
    const NAMES: [&str; 18] = [
        "model",
        "prompt",
        "generate",
        "depth",
        "repetitions",
        "warmup",
        "threads",
        "cores",
        "executor",
        "isa",
        "kv",
        "format",
        "seed",
        "ignore_eos",
        "cold",
        "overhead",
        "overhead_budget",
        "timeout",
    ];
    NAMES.into_iter().find(|name| *name == key)
}

fn notes(swept: &Swept<'_>, rows: &[PointRuns<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let by: Vec<&str> = swept.front.by.iter().map(|measure| measure.name()).collect();
    if !swept.front_points.is_empty() {
        let together = if by.len() > 1 { " together" } else { "" };
        notes.push(format!("* no other point beats it in {}{together}", by.join(" and ")));
    }
    for (measure, reason) in &swept.front.without {
        notes.push(format!("{} does not count: {}", measure.name(), printable(reason)));
    }
    if swept.plan.schedule.rounds > 1 {
        notes.push(format!("figures are means of up to {} runs of a point", swept.plan.schedule.rounds));
    }
    if let Some(scatter) = swept.scatter {
        let points = display::plural(scatter.points, "point");
        let (median, most) = (display::share(scatter.median), display::share(scatter.most));
        notes.push(format!(
            "decode of two runs of the same point differs by {median} (median of {points}), at most {most}: smaller \
             differences between points say nothing"
        ));
    }
    for (point, runs) in rows {
        let of =
            |(outcome, _): &(&Outcome, &Candidate)| outcome.error.clone().or_else(|| outcome.note.clone());
        let mut reasons: Vec<String> = runs.iter().filter_map(of).collect();
        reasons.dedup();
        for reason in reasons {
            notes.push(format!("point {}: {}", point.number, printable(&reason)));
        }
    }
    notes.extend(changed_models(swept));
    notes
}

/// A model's file that was replaced while the sweep ran.
fn changed_models(swept: &Swept<'_>) -> Option<String> {
    let named = |number: u32| swept.plan.point(number).map(|point| point.model.as_str());
    let all = || {
        swept.rows().filter_map(|(outcome, run)| Some((named(outcome.run.point)?, run.model_hash.as_ref()?)))
    };
    // The identity of synthetic weights is of their format too.
    let files = || all().filter(|(model, _)| model.contains(['.', '/']));
    let (model, _) =
        files().find(|(model, hash)| files().any(|(other, its)| other == *model && its != *hash))?;
    Some(format!("{} is not the same file in all runs: it was replaced meanwhile", printable(model)))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::campaign::{PointRun, Sweep};
    use slmscope_profiles::workload::Workload;

    use super::*;
    use crate::pinned;

    fn plan_of(axes: &[(&str, &str)], rounds: u32) -> SweepPlan {
        let mut sweep = Sweep::new("threads and formats");
        sweep.schedule.rounds = rounds;
        for (option, values) in axes {
            sweep.set(option, values).unwrap();
        }
        sweep.plan().unwrap()
    }

    #[test]
    fn outputs_of_sweep_are_pinned_at_80_columns() {
        let plan = plan_of(&[("threads", "1..2"), ("format", "q4_0,q8_0")], 2);
        let outcome = |point: u32, round: u32| {
            let run = PointRun { point, round };
            if point == 3 {
                let reason = "the model needs 5.20 GiB and 4.00 GiB of memory are available";
                return Outcome::new(run, None, Some(reason.to_owned()), 0);
            }
            let mut result = pinned::run();
            let rate = result.summary.decode_tokens_per_s.as_mut().unwrap();
            rate.median *= 1.0 - 0.1 * f64::from(point) + 0.01 * f64::from(round);
            result.memory.rss_peak = Some(u64::from(200 - 20 * point) << 20);
            Outcome::new(run, Some(Box::new(result)), None, 1)
        };
        let outcomes = plan.runs().into_iter().map(|run| outcome(run.point, run.round)).collect();
        let swept = Swept::of(&plan, outcomes);
        let style = pinned::terminal();
        let shown = [super::plan(&plan, style), render(&swept, style), list(style)].join("\n");
        pinned::check("sweep.txt", &shown);
    }

    #[test]
    fn every_option_that_can_vary_has_a_column() {
        let workload = serde_json::to_value(Workload::default()).unwrap();
        let fields = workload.as_object().unwrap().keys().map(String::as_str);
        // Texts are too long for one, and loops have no place in a sweep.
        let without = ["prompt_text", "chat", "loop", "pause"];
        for key in fields.filter(|key| !without.contains(key)) {
            assert_eq!(column(key), Some(key));
        }
        assert_eq!(column("model"), Some("model"));
    }
}
