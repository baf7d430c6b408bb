//! Sweeps from files and flags, their plans, and what their runs add up to.

use super::*;
use crate::catalogue;
use crate::model::ModelSource;
use crate::result::{RunResult, RunStatus};
use crate::stats::Estimate;
use crate::workload::Workload;

fn parse(text: &str) -> Result<SweepPlan, BadSweep> {
    Sweep::parse(text)?.plan()
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn describe(plan: &SweepPlan) -> Vec<String> {
    plan.points.iter().map(|point| point.describe(&plan.varying)).collect()
}

#[test]
fn every_list_and_range_is_an_axis_and_the_points_are_all_combinations() {
    let plan = parse("[workload]\nprompt = 64\nthreads = '1..2'\nformat = ['q4_0', 'q8_0']").unwrap();
    assert_eq!(plan.varying, ["format", "threads"]);
    assert_eq!(
        describe(&plan),
        [
            "format q4_0, threads 1",
            "format q4_0, threads 2",
            "format q8_0, threads 1",
            "format q8_0, threads 2"
        ]
    );
    let workload = plan.points[3].workload.as_ref().unwrap();
    assert_eq!((workload.prompt, workload.threads), (64, Some(2)));
    assert_eq!(plan.points[0].model, catalogue::DEFAULT_MODEL);
}

#[test]
fn options_that_go_together_are_cases() {
    let text = "[workload]\nthreads = [1, 2]\n[[case]]\nprompt = 512\ngenerate = 0\n[[case]]\nprompt = 0\ngenerate = 128";
    let plan = parse(text).unwrap();
    assert_eq!(plan.points.len(), 4);
    assert_eq!(plan.points[0].describe(&plan.varying), "generate 0, prompt 512, threads 1");
    assert!(refused(&text.replace("threads", "prompt")).contains("prompt is set both by the cases"));
}

#[test]
fn flags_go_before_what_the_file_says() {
    let mut sweep = Sweep::parse("[workload]\nthreads = '1..4'\nprompt = 8").unwrap();
    sweep.set("threads", "2").unwrap();
    sweep.set("overhead-budget", "0.01,0.02").unwrap();
    sweep.set_models(&["a.gguf".to_owned(), "../b.gguf".to_owned()]).unwrap();
    let plan = sweep.plan().unwrap();
    assert_eq!(plan.varying, ["model", "overhead_budget"]);
    assert_eq!(describe(&plan).last().unwrap(), "model b.gguf, overhead budget 0.02");
}

#[test]
fn what_cannot_be_swept_is_refused_with_the_remedy() {
    for (text, told) in [
        ("[workload]\nthread = 2", "there is no option `thread` (did you mean threads?)"),
        ("[worklod]\nthreads = 2", "there is no part of a sweep `worklod` (did you mean workload?)"),
        ("[sweep]\nround = 2", "there is no setting of [sweep] `round` (did you mean rounds?)"),
        ("[sweep]\norder = 'randm'", "unknown variant `randm`"),
        ("[sweep]\nrounds = 0", "0 rounds run nothing"),
        ("[sweep]\ncool_below = 900.0", "a temperature from 0 to 150"),
        ("[workload]\nthreads = []", "threads has no values"),
        ("[workload]\nthreads = [2, 2]", "threads: 2 is there twice"),
        ("[workload]\nthreads = '8..1'", "its first end is above its last"),
        ("[workload]\nformat = ['q4_0', 'q9_9']", "format: `q9_9`: unknown weight format"),
        ("[workload]\nprompt = -1", "prompt: `-1`"),
        ("[workload]\nprompt = [[1]]", "write a number, a word, or a list"),
        ("[workload]\nloop = true", "loop has no place in a sweep"),
        ("[workload]\nthreads = 0", "no point can run: threads: 0 threads compute nothing"),
        ("[[case]]\nprompt = [1, 2]", "a case has one value of each option"),
        ("case = 3", "[[case]] is to be a table"),
        ("workload = 3", "[workload] is to be a table"),
        ("[workload", "TOML"),
    ] {
        let refused = refused(text);
        assert!(refused.contains(told) || told == "TOML", "{text}: {refused}");
    }
}

#[test]
fn a_million_combinations_are_refused_with_their_number() {
    let text = "[workload]\nprompt = '1..100'\ngenerate = '1..100'\ndepth = '1..100'\n[sweep]\nrounds = 3";
    assert!(refused(text).starts_with("3000000 runs are more than the 10000"), "{}", refused(text));
    let axes = (1..=20).map(|_| "1..9999").collect::<Vec<_>>().join(",");
    assert!(Sweep::new("").set("prompt", &axes).is_err());
}

#[test]
fn a_point_whose_options_cannot_be_together_says_so_and_the_others_run() {
    let plan = parse("[workload]\nexecutor = ['cpu', 'candle']\nkv = 'q8_0'").unwrap();
    let problems: Vec<bool> = plan.points.iter().map(|point| point.problem.is_some()).collect();
    assert_eq!(problems, [false, true]);
    assert!(plan.points[1].problem.as_ref().unwrap().contains("candle keeps keys and values"));
}

#[test]
fn runs_are_interleaved_or_shuffled_by_their_seed() {
    let text = |order: &str| format!("[workload]\nthreads = '1..4'\n[sweep]\nrounds = 2\n{order}");
    let points =
        |text: &str| parse(text).unwrap().runs().iter().map(|run| (run.round, run.point)).collect::<Vec<_>>();
    let forward_and_back = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 4), (2, 3), (2, 2), (2, 1)];
    assert_eq!(points(&text("")), forward_and_back);
    let random = points(&text("order = 'random'\nseed = 7"));
    assert_eq!(random, points(&text("order = 'random'\nseed = 7")));
    assert_ne!(random, points(&text("order = 'random'\nseed = 8")));
    for round in [1, 2] {
        let mut of_round: Vec<u32> = random.iter().filter(|run| run.0 == round).map(|run| run.1).collect();
        of_round.sort_unstable();
        assert_eq!(of_round, [1, 2, 3, 4]);
    }
}

#[test]
fn a_plan_is_kept_as_json_and_another_sweep_is_told_from_it() {
    let plan = parse("[workload]\nthreads = '1..3'\noverhead_budget = 0.1").unwrap();
    let kept: SweepPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!((&kept, kept.difference(&plan)), (&plan, None));
    for (other, told) in [
        ("[workload]\nthreads = '1..2'\noverhead_budget = 0.1", "2 points, and not 3"),
        ("[workload]\nthreads = '2..4'\noverhead_budget = 0.1", "point 1 is "),
        (
            "[workload]\nthreads = '1..3'\noverhead_budget = 0.1\n[sweep]\nrounds = 2",
            "its order, rounds or waits",
        ),
    ] {
        let difference = plan.difference(&parse(other).unwrap()).unwrap();
        assert!(difference.contains(told), "{difference}");
    }
}

#[test]
fn every_preset_says_what_it_is_and_can_be_planned() {
    for preset in PRESETS {
        let sweep = preset.sweep().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        let explained = preset.text.lines().take_while(|line| line.starts_with('#')).count();
        assert!(!sweep.about.is_empty() && explained >= 3, "{}", preset.name);
        let plan = sweep.plan().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        assert!(plan.points.iter().all(|point| point.problem.is_none()), "{}", preset.name);
        assert!(catalogue::find(preset.name).is_err(), "{} is a model too", preset.name);
        assert_eq!(Preset::find(preset.name), Some(preset));
    }
    let count = |name: &str| Preset::find(name).unwrap().sweep().unwrap().plan().unwrap().runs().len();
    assert_eq!(["llama-bench", "survey", "sustained", "threads-cores"].map(count), [2, 2, 10, 16]);
}

/// A run with these decode rate, memory and energy; none where it failed.
fn outcome(point: u32, round: u32, figures: Option<(f64, u64, Option<f64>)>) -> Outcome {
    let mut result = RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "no memory");
    if let Some((rate, memory, joules)) = figures {
        (result.status, result.error) = (RunStatus::Complete, None);
        result.summary.decode_tokens_per_s = Estimate::of(&[rate]);
        result.memory.rss_peak = Some(memory);
        if let Some(joules) = joules {
            result.energy.phases.push(energy(joules));
        }
    }
    Outcome::new(PointRun { point, round }, Some(Box::new(result)), None, 1)
}

fn energy(joules_per_token: f64) -> crate::energy::PhaseEnergy {
    crate::energy::PhaseEnergy {
        phase: crate::phase::Phase::Decode,
        joules: Some(joules_per_token),
        low: None,
        high: None,
        tokens: 1,
        joules_per_token: Some(joules_per_token),
        joules_per_token_interval: None,
        above_baseline_joules: None,
        baseline_watts: None,
        source: None,
        scope: None,
        class: crate::channel::Class::Measured,
        updates: 9,
        coverage: None,
        reason: None,
        reason_code: None,
    }
}

#[test]
fn the_front_holds_what_nothing_beats_in_speed_energy_and_memory() {
    let plan = parse("[workload]\nthreads = '1..6'").unwrap();
    let outcomes = vec![
        outcome(1, 1, Some((10.0, 100, Some(0.1)))),
        outcome(2, 1, Some((20.0, 100, Some(0.3)))),
        outcome(3, 1, Some((15.0, 120, Some(0.3)))),
        outcome(4, 1, None),
        outcome(5, 1, Some((5.0, 50, Some(0.2)))),
        // Its energy is not known, and so it is not judged.
        outcome(6, 1, Some((99.0, 10, None))),
    ];
    let swept = Swept::of(&plan, outcomes.clone());
    assert_eq!(swept.front_points, [1, 2, 5], "3 is slower than 2 and takes more memory");
    assert_eq!((swept.front.by.len(), swept.front.without.len()), (3, 0));
    // Without a sensor energy does not count.
    let without: Vec<Outcome> = outcomes
        .into_iter()
        .take(5)
        .map(|mut outcome| {
            outcome.result.as_mut().unwrap().energy.phases.clear();
            outcome
        })
        .collect();
    let swept = Swept::of(&plan, without);
    assert_eq!((swept.front_points, swept.front.without.len()), (vec![2, 5], 1));
}

#[test]
fn two_runs_of_a_point_say_how_much_runs_differ() {
    let plan = parse("[workload]\nthreads = '1..3'\n[sweep]\nrounds = 2").unwrap();
    let rate = |point, round, rate| outcome(point, round, Some((rate, 1, None)));
    let outcomes = vec![
        rate(2, 2, 20.0),
        rate(1, 1, 10.0),
        rate(1, 2, 11.0),
        rate(2, 1, 20.4),
        rate(3, 1, 7.0),
        outcome(3, 2, None),
    ];
    let swept = Swept::of(&plan, outcomes);
    let scatter = swept.scatter.unwrap();
    assert_eq!(scatter.points, 2);
    assert!((scatter.most - 0.1).abs() < 1e-9 && (scatter.median - 0.06).abs() < 1e-9, "{scatter:?}");
    assert_eq!(swept.of_point(3).count(), 2);
    assert_eq!(Swept::of(&plan, vec![rate(1, 1, 10.0)]).scatter, None);
}
