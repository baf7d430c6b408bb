//! Reports of the stored run, and of runs that ended early or on other machines.

use slmscope_profiles::channel::{Class, Scope};
use slmscope_profiles::display::ABSENT;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::finding::{Finding, FindingCode};
use slmscope_profiles::hygiene::{Issue, IssueCode};
use slmscope_profiles::op::Phase;
use slmscope_profiles::result::{EngineInfo, Grade, Hygiene, ModelSource, RunResult, RunStatus};
use slmscope_profiles::workload::{ExecutorKind, Workload};

use super::{Form, generated_text, render};
use crate::pinned;
use crate::style::Style;
use crate::width::columns;

fn short(result: &RunResult) -> String {
    render(result, Form::Short, pinned::terminal())
}

fn full(result: &RunResult) -> String {
    render(result, Form::Full, pinned::terminal())
}

/// The stored run on a machine with a power sensor that others use as well, by chat.
fn warm() -> RunResult {
    let mut result = pinned::run();
    for energy in &mut result.energy.phases {
        (energy.joules, energy.low, energy.high) = (Some(12.0), Some(11.5), Some(12.5));
        energy.joules_per_token = Some(12.0 / energy.tokens as f64);
        energy.source = Some("energy.package-0".to_owned());
        (energy.scope, energy.class, energy.updates) = (Some(Scope::Package), Class::Measured, 420);
        (energy.reason, energy.reason_code) = (None, None);
    }
    let reasons = vec!["other processes used 104 % of one core".to_owned()];
    result.hygiene = Hygiene { clean: Some(false), grade: Some(Grade::Poor), reasons, ..Hygiene::default() };
    result.workload.chat = Some("Why is the sky blue?".to_owned());
    result.text = Some("Because\nof\u{1b}[31m scattering.".to_owned());
    let chat =
        "slmscope run pythia-160m --chat 'Why is the sky blue?' --generate 33 --repetitions 6 --threads 2";
    result.command = Some(chat.to_owned());
    result
}

#[test]
fn reports_of_the_stored_run() {
    pinned::check("run.txt", &short(&pinned::run()));
    pinned::check("run-full.txt", &full(&pinned::run()));
    pinned::check("run-warm.txt", &short(&warm()));
}

#[test]
fn the_short_report_is_at_most_24_lines_of_80_columns() {
    let mut failed = RunResult::failed("m", ModelSource::Gguf, &Workload::default(), "no such file");
    failed.status = RunStatus::Failed;
    let mut token = pinned::run();
    token.ops.clear();
    let mut long = warm();
    for finding in &mut long.findings {
        finding.advice = finding.advice.repeat(3);
    }
    long.command = Some(format!("slmscope run --prompt-text '{}'", "word ".repeat(100)));
    for result in [pinned::run(), warm(), failed, token, long] {
        let text = short(&result);
        assert!(text.lines().count() <= 24, "{} lines:\n{text}", text.lines().count());
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
    }
}

#[test]
fn without_a_terminal_lines_have_80_columns_and_a_wide_one_shows_every_column() {
    let result = pinned::run();
    let text = render(&result, Form::Full, Style::plain());
    assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
    assert_eq!(text, full(&result));
    let wide = render(&result, Form::Full, Style::narrow(200));
    assert!(wide.contains("kv_append") && wide.lines().any(|line| line.contains("kind     ")), "{wide}");
}

/// The stored run with four findings of one line.
fn four_findings() -> RunResult {
    let finding = |number| Finding {
        code: FindingCode::Noisy,
        reason: format!("reason {number}"),
        evidence: Vec::new(),
        advice: "Do something.".to_owned(),
    };
    RunResult { findings: (1..=4).map(finding).collect(), ..pinned::run() }
}

#[test]
fn the_first_findings_stand_right_after_the_sentence_and_the_rest_is_counted() {
    let result = four_findings();
    let text = short(&result);
    let bullet = text.lines().position(|line| line.starts_with('•')).expect("a finding");
    assert!(bullet <= 3, "{text}");
    let shown = text.lines().filter(|line| line.starts_with('•')).count();
    assert_eq!(shown, 3);
    assert!(text.contains("1 more with --full"), "{text}");
    assert!(!full(&result).contains("more with --full"));
}

#[test]
fn a_finding_that_is_shown_has_its_advice() {
    let mut many = pinned::run();
    for finding in &mut many.findings {
        finding.advice = format!("{} Begin. {}", finding.advice, "word ".repeat(30));
    }
    for result in [pinned::run(), warm(), four_findings(), many] {
        let text = short(&result);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: Vec<_> = result.findings.iter().filter(|found| words.contains(&found.reason)).collect();
        assert!(!shown.is_empty());
        assert!(shown.iter().all(|found| words.contains(found.advice.trim())), "{text}");
        let more = result.findings.len() - shown.len();
        assert!(more == 0 || text.contains(&format!("{more} more with --full")), "{text}");
    }
    let mut endless = pinned::run();
    endless.findings[0].advice = "word ".repeat(400);
    let text = short(&endless);
    assert!(text.contains("(what to do: --full)") && text.lines().count() <= 24, "{text}");
}

#[test]
fn the_sentence_names_what_binds_decode_in_the_words_of_the_table() {
    let mut result = pinned::run();
    let text = full(&result);
    assert!(text.contains("bound by memory, at 59.9 % of its roof"), "{text}");
    for op in &mut result.ops {
        if let Some(roof) = &mut op.roof {
            (roof.memory_ns, roof.compute_ns) = (roof.memory_ns / 4, roof.compute_ns / 4);
        }
    }
    assert!(short(&result).contains("bound by memory, at 15.0 % of its roof"), "far below it as well");
    for op in &mut result.ops {
        if let Some(roof) = &mut op.roof {
            (roof.memory_ns, roof.compute_ns) = (roof.memory_ns / 4, roof.compute_ns / 4);
        }
    }
    assert!(short(&result).contains("bound by overhead, at 3.7 % of its roof"));
}

#[test]
fn the_short_report_says_where_the_longest_calls_were() {
    let text = short(&pinned::run());
    assert!(text.contains("longest (layer/token)"), "{text}");
    let row = |op: &str| text.lines().find(|line| line.trim_start().starts_with(op)).expect("a row");
    assert!(row("ffn.up_proj").contains("316 µs (7/4)"), "{text}");
    assert!(row("lm_head").contains("790 µs (-/1)"), "it is in no layer: {text}");
    let mut prefill = pinned::run();
    prefill.ops.retain(|op| op.phase == Phase::Prefill);
    assert!(short(&prefill).contains("longest (layer/chunk)"));
}

#[test]
fn a_reason_that_holds_for_all_phases_is_said_once() {
    let text = full(&pinned::run());
    assert_eq!(text.matches("this machine has no power sensor").count(), 1, "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches("this machine counts no memory traffic").count(), 1, "{text}");
    assert!(text.contains("  — (this machine has no power sensor"), "{text}");
    assert!(full(&warm()).contains("decode: 12.0 J"));
}

#[test]
fn hygiene_is_a_few_words_in_the_short_report_and_whole_in_the_full_one() {
    let mut result = warm();
    let issue = |code, reason: &str| Issue { code, grade: Grade::Poor, reason: reason.to_owned() };
    let reasons = ["other processes used 144.2 % of one core", "int8 arithmetic fell", "f32 arithmetic fell"];
    result.hygiene.reasons = reasons.map(str::to_owned).to_vec();
    result.hygiene.issues = vec![
        issue(IssueCode::OtherLoad, reasons[0]),
        issue(IssueCode::MachineChanged, reasons[1]),
        issue(IssueCode::MachineChanged, reasons[2]),
    ];
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = words(short(&result));
    assert!(text.contains("poor: other load, machine changed") && !text.contains("int8 arithmetic fell"));
    assert!(words(full(&result)).contains("int8 arithmetic fell; f32 arithmetic fell"));
}

#[test]
fn candle_says_why_it_is_slow_in_both_reports() {
    let mut result = pinned::run();
    let why = EngineInfo::note_on(ExecutorKind::Candle, "baseline").expect("a reason");
    assert!(!short(&result).contains("candle"));
    result.engine.note = Some(why.clone());
    for text in [short(&result), full(&result)] {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&why), "{text}");
    }
    assert!(short(&result).lines().count() <= 24);
}

#[test]
fn prefill_of_summary_and_phases_is_told_apart_by_name() {
    let result = pinned::run();
    let text = full(&result);
    let header = text.lines().find(|line| line.contains("total tok/s")).expect("a table of phases");
    assert!(header.contains("median tok/s"), "{header}");
    let median = slmscope_profiles::display::significant(result.summary.prefill_tokens_per_s.unwrap().median);
    let rows: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with("prefill")).collect();
    assert!(rows.iter().filter(|row| row.contains(&median)).count() >= 2, "{rows:#?}");
}

#[test]
fn mean_and_max_are_of_calls_and_the_longest_says_where_it_was() {
    let text = full(&pinned::run());
    let longest = text.split("decode: the longest calls").nth(1).expect("a table");
    let row = longest.lines().nth(2).expect("a row");
    assert!(row.contains("ffn.up_proj") && row.contains("layer 7, repetition 2, token 4"), "{row}");
    assert!(row.ends_with("context 260"), "256 of the prompt, and 4: {row}");
    let rows = longest.lines().skip(2).take_while(|line| !line.is_empty()).count();
    let names: std::collections::BTreeSet<_> =
        pinned::run().ops.iter().filter(|op| op.phase == Phase::Decode).map(|op| op.name.clone()).collect();
    assert_eq!(rows, names.len(), "every op: {longest}");
}

#[test]
fn a_share_of_a_roof_above_100_percent_has_its_reason_beside_it() {
    for text in [short(&pinned::run()), full(&pinned::run())] {
        for line in text.lines().filter(|line| !line.contains("above 100 %")) {
            let ends = line.match_indices(" %").filter_map(|(end, _)| line.get(..end)?.rsplit(' ').next());
            if ends.filter_map(|percent| percent.parse::<f64>().ok()).any(|percent| percent > 100.0) {
                assert!(line.contains("from L"), "{line}");
            }
        }
    }
    assert!(full(&pinned::run()).contains("final_norm: from cache: "));
}

#[test]
fn every_dash_has_its_reason() {
    let mut result = pinned::run();
    result.workload.generate = 0;
    result.summary.ttft_ns = None;
    result.phases.retain(|books| books.phase == Phase::Prefill);
    let text = full(&result);
    let line = text.lines().find(|line| line.contains("time to first token")).expect("a row");
    assert!(line.contains(ABSENT) && line.contains("nothing to generate"), "{line}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("after 60 s — (decode took less than 60 s)"), "{text}");
}

#[test]
fn reasons_are_words_and_codes_stay_in_json() {
    let result = pinned::run();
    let code = serde_json::to_value(&result.energy).unwrap();
    assert_eq!(code["phases"][0]["reason_code"], "no_such_interface");
    for text in [short(&result), full(&result)] {
        assert!(text.contains("this machine has no power sensor: see `slmscope doctor power`"), "{text}");
        assert!(!text.contains("no_such_interface"), "{text}");
    }
}

#[test]
fn generated_text_stands_alone_and_has_no_escape_codes() {
    assert_eq!(generated_text(&warm()).as_deref(), Some("Because\nof[31m scattering.\n"));
    assert_eq!(generated_text(&pinned::run()), None);
    assert!(!short(&warm()).contains("scattering") && !full(&warm()).contains("scattering"));
}

#[test]
fn a_run_that_ended_early_says_so_first() {
    let mut result = pinned::run();
    result.status = RunStatus::Cancelled;
    assert!(short(&result).starts_with("cancelled: these figures were measured before that\n"));
    result.status = RunStatus::Failed;
    result.error = Some("the worker\u{7} died".to_owned());
    assert!(short(&result).starts_with("failed: the worker died\n"));
}

#[test]
fn each_dash_of_a_rate_and_of_a_cost_that_was_not_measured_has_its_reason_beside_it() {
    let mut result = pinned::run();
    let text = full(&result);
    let dashes = "— in GB/s: the op reads no weights and no cache; GFLOP/s: it only moves data";
    assert_eq!(text.replace("\n  ", " ").matches(dashes).count(), 2, "{text}");
    assert_eq!(text.matches("— in GFLOP/s: it only moves data").count(), 2, "the modules: {text}");
    assert!(text.contains("recording — (switched off), stolen 0.21 %\n"), "{text}");
    assert!(!short(&result).contains("— in"), "its five ops have all rates");
    result.roofs.reason = Some("its process was killed".to_owned());
    for op in &mut result.ops {
        op.roof = None;
        op.bytes = 0;
    }
    let text = short(&result);
    let dashes = "— in GB/s: the op reads no weights and no cache; of roof: its process was killed";
    assert!(text.replace("\n  ", " ").contains(dashes), "{text}");
}

/// They told of an LM head that takes 26 % beside a table in which it takes 19 %.
#[test]
fn the_findings_of_the_stored_run_follow_from_its_figures() {
    let stored = pinned::run();
    let now = findings(&stored);
    assert_eq!(stored.findings, now, "{}", serde_json::to_string(&now).unwrap());
}
