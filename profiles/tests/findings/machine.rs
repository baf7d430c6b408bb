//! The machine, its heat, and energy.

use slmscope_profiles::channel::{Class, Scope};
use slmscope_profiles::conditions::{Split, TokenStamp};
use slmscope_profiles::drift::{Change, MachineFigure, Since};
use slmscope_profiles::energy::PhaseEnergy;
use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::hygiene::{Grade, Hygiene, Issue, IssueCode, OtherProcess, ShortLived};
use slmscope_profiles::op::Phase;

use super::{codes, figure, host, only, result};

fn split(tokens: u64, tokens_per_s: f64) -> Split {
    Split { tokens, tokens_per_s, token_ns: 1 }
}

#[test]
fn throttling_and_a_warm_machine_are_told_with_their_figures() {
    let mut result = result();
    assert!(codes(&result).is_empty());
    let stamp = |token, throttled| TokenStamp {
        repetition: 1,
        token,
        end_ns: 0,
        duration_ns: 1,
        frequency_hz: None,
        celsius: None,
        throttled: Some(throttled),
    };
    result.conditions.tokens = vec![stamp(6, false), stamp(7, true)];
    (result.conditions.clean, result.conditions.throttled) = (Some(split(90, 20.0)), Some(split(10, 12.5)));
    (result.conditions.burst, result.conditions.sustained) = (Some(split(50, 20.0)), Some(split(50, 12.0)));
    let found = findings(&result);
    assert_eq!(
        found[0].reason,
        "throttled from token 7 of repetition 1 on, 10 of 100 tokens: 12.5 tokens/s instead of 20.0"
    );
    assert_eq!(found[1].code, FindingCode::SustainedSlower);
    result.conditions.sustained = Some(split(50, 19.5));
    assert_eq!(codes(&result), [FindingCode::Throttled]);
}

fn issue(code: IssueCode, reason: &str) -> Issue {
    Issue { code, grade: Grade::Fair, reason: reason.to_owned() }
}

#[test]
fn foreign_load_is_named_and_said_once() {
    let mut result = result();
    result.host = Some(host());
    result.hygiene.clean = Some(false);
    result.hygiene.issues = vec![issue(IssueCode::OtherLoad, "other processes used 31 % of the machine")];
    result.hygiene.other_load = Some(0.31);
    let other = |name: &str, cores| OtherProcess { name: name.to_owned(), cores };
    result.hygiene.others = vec![other("rustc", 0.41), other("ev\u{1b}[31mil", 0.1)];
    let found = only(&result);
    assert_eq!(found.code, FindingCode::ForeignLoad);
    assert_eq!(
        found.reason,
        "other processes used 62.0 % of one core, most of it rustc (41 %), ev[31mil (10 %)"
    );
    assert!((figure(&found, "rustc, of one core") - 0.41).abs() < 1e-9);
    assert!((figure(&found, "CPU time of others, of one core") - 0.62).abs() < 1e-9);
    assert!(found.evidence.iter().all(|figure| !figure.name.contains("all CPUs")), "one basis: {found:?}");
    result.hygiene.others = vec![other("cc", 0.2)];
    assert_eq!(only(&result).reason, "other processes used 62.0 % of one core, among them cc (20 %)");
    result.hygiene.others.clear();
    assert_eq!(only(&result).reason, "other processes used 62.0 % of one core");
}

#[test]
fn processes_that_ended_meanwhile_are_part_of_foreign_load() {
    let mut result = result();
    result.host = Some(host());
    result.hygiene.other_load = Some(0.31);
    result.hygiene.short_lived = Some(ShortLived { at_most: 212, cores: 0.4 });
    let found = only(&result);
    assert_eq!(
        found.reason,
        "other processes used 62.0 % of one core, most of it processes that ended meanwhile (40 %)"
    );
    assert!((figure(&found, "processes that ended meanwhile, at most") - 212.0).abs() < 1e-9);
    assert!((figure(&found, "processes that ended meanwhile, of one core") - 0.4).abs() < 1e-9);
    result.hygiene.other_load = Some(0.04);
    assert!(codes(&result).is_empty(), "as little as of others");
}

#[test]
fn steal_is_told_of_one_core() {
    let mut result = result();
    result.host = Some(host());
    (result.hygiene.clean, result.hygiene.steal) = (Some(false), Some(0.1));
    result.hygiene.issues = vec![issue(IssueCode::Steal, "the host took 20.0 % of one core away")];
    assert!((figure(&only(&result), "time that the host took, of one core") - 0.2).abs() < 1e-9);
    result.hygiene = Hygiene::default();
    let (figure, since) = (MachineFigure::Steal, Since::EarlierRuns);
    result.hygiene.changes = vec![Change { figure, since, from: 0.02, to: 0.42 }];
    let found = only(&result);
    let end = "since earlier runs: what the host takes away rose from 2 % to 42 % of one core";
    assert!(found.reason.ends_with(end), "{found:?}");
    assert_eq!(found.evidence[1].name, "what the host takes away of one core, now");
}

#[test]
fn a_quiet_machine_has_no_finding() {
    let mut result = result();
    result.host = Some(host());
    (result.hygiene.clean, result.hygiene.other_load, result.hygiene.steal) =
        (Some(true), Some(0.04), Some(0.0));
    assert!(codes(&result).is_empty());
}

#[test]
fn other_issues_and_those_of_older_results_are_one_finding() {
    let mut result = result();
    result.hygiene.clean = Some(false);
    result.hygiene.reasons = vec!["begun at 90 °C".to_owned()];
    assert_eq!(only(&result).reason, "begun at 90 °C");
    result.hygiene.issues =
        vec![issue(IssueCode::Hot, "begun at 90 °C"), issue(IssueCode::Swapped, "20 MiB")];
    let found = only(&result);
    assert_eq!((found.code, found.reason.as_str()), (FindingCode::DirtyMachine, "begun at 90 °C; 20 MiB"));
}

#[test]
fn a_changed_machine_is_named_from_what_to_what() {
    let mut result = result();
    let change = |figure, since, from, to| Change { figure, since, from, to };
    result.hygiene.clean = Some(false);
    result.hygiene.issues = vec![issue(IssueCode::MachineChanged, "reading memory fell")];
    result.hygiene.changes = vec![
        change(MachineFigure::ReadBandwidth, Since::BeginOfRun, 37.1e9, 25e9),
        change(MachineFigure::Int8, Since::EarlierRuns, 469e9, 911e9),
    ];
    let found = only(&result);
    assert_eq!(found.code, FindingCode::MachineChanged);
    assert_eq!(
        found.reason,
        "the machine changed during the run: reading memory fell from 37.1 GB/s to 25.0 GB/s; \
         since earlier runs: int8 arithmetic rose from 469 GOP/s to 911 GOP/s"
    );
    assert!((figure(&found, "reading memory, now") - 25e9).abs() < 1.0);
}

#[test]
fn a_governor_that_keeps_the_clock_low_is_named_but_not_one_of_a_driver_with_its_own() {
    let mut result = result();
    result.hygiene.governors = vec!["performance".to_owned(), "powersave".to_owned()];
    result.hygiene.cpufreq_driver = Some("acpi-cpufreq".to_owned());
    assert_eq!(only(&result).reason, "the governor powersave keeps the lowest clock");
    result.hygiene.cpufreq_driver = Some("intel_pstate".to_owned());
    assert!(codes(&result).is_empty());
    result.hygiene.cpufreq_driver = None;
    assert!(codes(&result).is_empty(), "without the driver the word means nothing");
    result.hygiene.cpufreq_driver = Some("cppc_cpufreq".to_owned());
    result.hygiene.governors = vec!["schedutil".to_owned()];
    assert!(codes(&result).is_empty());
}

fn energy(joules: Option<f64>, updates: u64) -> PhaseEnergy {
    PhaseEnergy {
        phase: Phase::Decode,
        joules,
        low: joules.map(|joules| joules - 3.0),
        high: joules.map(|joules| joules + 3.0),
        tokens: 5,
        joules_per_token_interval: None,
        joules_per_token: None,
        above_baseline_joules: None,
        baseline_watts: None,
        source: Some("gpu0.power".to_owned()),
        scope: Some(Scope::Gpu),
        class: Class::Measured,
        updates,
        coverage: Some(1.0),
        reason: None,
        reason_code: None,
    }
}

#[test]
fn energy_that_may_be_far_off_is_said_to_be() {
    let mut result = result();
    result.energy.phases = vec![energy(Some(10.0), 9)];
    assert_eq!(only(&result).reason, "energy of decode from gpu0.power lies between 7.0 and 13.0 J");
    result.energy.phases = vec![energy(Some(30.0), 9)];
    assert!(codes(&result).is_empty());
}

#[test]
fn a_sensor_is_too_slow_if_it_gave_some_readings_but_too_few() {
    let mut result = result();
    result.energy.phases = vec![energy(None, 3)];
    let found = only(&result);
    assert_eq!(found.code, FindingCode::SensorTooSlow);
    assert_eq!(found.reason, "3 new readings of power during decode");
    result.energy.phases = vec![energy(None, 0)];
    assert!(codes(&result).is_empty(), "no sensor");
    result.energy.phases = vec![energy(None, 100)];
    assert!(codes(&result).is_empty(), "there is another reason");
}
