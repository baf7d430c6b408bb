//! Texts of files, models, sensors and clients that would command a terminal, through everything that prints them.

use slmscope_profiles::doctor::{Board, DoctorReport};
use slmscope_profiles::job::JobState;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::result::{ModelSource, RunResult, RunStatus};
use slmscope_profiles::wire::{ErrorCode, Talk, WireError};
use slmscope_profiles::workload::Workload;

use super::fixture::{busy, catalogue, frame, job, letters, plan};
use super::screens::picture;
use crate::cli::jobs;
use crate::failure::Failure;
use crate::report::{self, Form};
use crate::style::{Style, harmless};

/// Clears the screen, sets the title of the window, and turns the direction of text.
const COMMANDS: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}1m\u{202e}evil";

/// Asserts that nothing in `text` but line ends is for the terminal, and that what is left of [`COMMANDS`] is in it.
fn check(text: &str) {
    let is_command = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
    assert!(!text.contains(is_command), "{text:?}");
    assert!(text.contains("evil"), "{text}");
}

#[test]
fn a_model_id_a_text_and_an_error_of_a_run_command_no_terminal() {
    let mut result = RunResult::failed(COMMANDS, ModelSource::Gguf, &Workload::default(), COMMANDS);
    let printed = |result: &RunResult| {
        [Form::Short, Form::Full].map(|form| {
            let text = report::with_text(result, form, Style::plain());
            check(&harmless(&text));
        })
    };
    printed(&result);
    result.status = RunStatus::Complete;
    result.text = Some(format!("a line\n{COMMANDS}"));
    result.model.id = format!("{COMMANDS}.gguf");
    printed(&result);
}

#[test]
fn the_source_of_a_channel_and_the_root_of_a_tree_command_no_terminal() {
    let mut channels = catalogue();
    channels[0].source = COMMANDS.to_owned();
    let report = DoctorReport {
        schema: String::new(),
        root: format!("/tmp/{COMMANDS}"),
        user: "me".to_owned(),
        board: Board { name: Some(COMMANDS.to_owned()), ..Board::default() },
        channels: slmscope_probes::doctor_rows(&channels, &[], None),
    };
    check(&harmless(&crate::cli::doctor::every_group(&report, Style::plain())));
}

#[test]
fn the_file_of_a_job_commands_no_terminal() {
    let mut job = job(JobState::Failed);
    (job.model, job.error) = (format!("{COMMANDS}.gguf"), Some(COMMANDS.to_owned()));
    check(&harmless(&jobs::table(&[job], &[], jobs::Now::read(), Style::plain())));
}

#[test]
fn the_error_of_a_request_commands_no_terminal() {
    let message = format!("there is no model `{COMMANDS}`\nsecond line");
    let refused = WireError { code: ErrorCode::UnknownModel, message, field: None };
    let text = Failure::from(refused).text().expect("it has a message");
    check(&text);
    assert!(text.starts_with("slmscope: there is no model") && text.ends_with("\nsecond line"), "{text}");
}

#[test]
fn the_names_on_the_dashboard_command_no_terminal() {
    let mut state = busy();
    let mut channels = catalogue();
    channels[0].id = format!("cpu.{COMMANDS}");
    channels[0].source = COMMANDS.to_owned();
    frame(&mut state, Record::Catalogue { channels });
    let mut sites = plan().sites;
    sites[0].name = COMMANDS.to_owned();
    frame(&mut state, Record::Plan(PlanRecord { sites, model: COMMANDS.to_owned(), ..plan() }));
    let mut odd = job(JobState::Measuring);
    odd.model = COMMANDS.to_owned();
    frame(&mut state, Talk::Job(Box::new(odd)));
    for screen in ["1", "6"] {
        letters(&mut state, screen);
        check(&picture(&state, 200, 60));
    }
}
