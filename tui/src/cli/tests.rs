//! Every flag of every command has an effect, or is refused by its name.
//!
//! The flags are those of clap's own tree down to its leaves, so a new one without a row here or in
//! `tests/flags/rows.rs` fails the test. Those of `slmscoped` are looked at where they are: `daemon/src/commands.rs`.

use clap::{Arg, CommandFactory, Parser};
use slmscope_profiles::model::ModelSource;

use super::{Cli, Command, cancel, models, run};
use crate::failure::Failure;
use crate::style::Style;

#[path = "../../tests/flags/rows.rs"]
mod rows;

/// How it is shown that a flag has an effect.
enum Proof {
    /// Given this value, or as a switch, it changes what `run` and `submit` ask for, or is refused, with each kind of
    /// model and of job.
    Job(&'static [&'static str]),
    /// Of these two command lines the second, which has the flag, prints something else.
    Prints(&'static [&'static str], &'static [&'static str]),
}

use Proof::{Job, Prints};

/// Commands, flags by clap's ids, and their proofs.
const ROWS: &[(&str, &[(&str, Proof)])] = &[
    ("run", JOB),
    (
        "run",
        &[
            ("private", Job(&["--private"])),
            ("detach", Job(&["--detach"])),
            ("json", Job(&["--json"])),
            ("full", Job(&["--full"])),
            ("no_record", Job(&["--no-record"])),
        ],
    ),
    ("submit", JOB),
    ("submit", &[("json", Job(&["--json"])), ("no_record", Job(&["--no-record"]))]),
    (
        "models",
        &[
            ("family", Prints(&["models"], &["models", "--family", "smollm2"])),
            ("size", Prints(&["models"], &["models", "--size", "..1B"])),
            ("attention", Prints(&["models"], &["models", "--attention", "MLA"])),
            ("survey", Prints(&["models"], &["models", "--survey"])),
            ("columns", Prints(&["models"], &["models", "--columns", "id"])),
            ("sort", Prints(&["models"], &["models", "--sort", "params"])),
            ("json", Prints(&["models"], &["models", "--json"])),
        ],
    ),
    (
        "model",
        &[
            ("model", Prints(&["model", "smollm2-135m"], &["model", "smollm2-360m"])),
            ("format", Prints(&["model", "smollm2-135m"], &["model", "smollm2-135m", "--format", "q8_0"])),
            ("depth", Prints(&["model", "smollm2-135m"], &["model", "smollm2-135m", "--depth", "64"])),
            ("json", Prints(&["model", "smollm2-135m"], &["model", "smollm2-135m", "--json"])),
        ],
    ),
    // Whether it is asked depends on who asks and whose the job is.
    ("cancel", &[("yes", Prints(&["cancel", "3"], &["cancel", "3", "--yes"]))]),
    // Without a terminal, which a test has not, nothing else shows it.
    ("", &[("theme", Prints(&["replay", "a.mcap"], &["replay", "a.mcap", "--theme", "light"]))]),
    ("replay", &[("speed", Prints(&["replay", "a.mcap"], &["replay", "a.mcap", "--speed", "4"]))]),
];

/// The flags of a job.
const JOB: &[(&str, Proof)] = &[
    ("model", Job(&["smollm2-360m"])),
    ("model_flag", Job(&["--model", "smollm2-360m"])),
    ("prompt", Job(&["--prompt", "7"])),
    ("prompt_text", Job(&["--prompt-text", "hello"])),
    // A file that every checkout has.
    ("prompt_file", Job(&["--prompt-file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])),
    ("chat", Job(&["--chat", "hello"])),
    ("generate", Job(&["--generate", "7"])),
    ("depth", Job(&["--depth", "7"])),
    ("repetitions", Job(&["--repetitions", "7"])),
    ("warmup", Job(&["--warmup", "7"])),
    ("seed", Job(&["--seed", "7"])),
    ("ignore_eos", Job(&["--ignore-eos"])),
    ("looped", Job(&["--loop"])),
    ("pause", Job(&["--pause", "7"])),
    ("timeout", Job(&["--timeout", "7"])),
    ("executor", Job(&["--executor", "candle"])),
    ("isa", Job(&["--isa", "scalar"])),
    ("threads", Job(&["--threads", "7"])),
    ("cores", Job(&["--cores", "0"])),
    ("cold", Job(&["--cold"])),
    ("kv", Job(&["--kv", "f32"])),
    ("format", Job(&["--format", "q8_0"])),
    ("overhead", Job(&["--overhead", "full"])),
    ("overhead_budget", Job(&["--overhead-budget", "1%"])),
];

/// Where models come from: the catalogue, a GGUF file, a directory. Those of a hub are files or directories.
const SOURCES: [ModelSource; 3] = [ModelSource::Synthetic, ModelSource::Gguf, ModelSource::Hf];

/// Kinds of jobs, by the flags that make them; the first of `run` and `submit` alike.
const JOBS: [&[&str]; 6] =
    [&[], &["--prompt-text", "hi"], &["--chat", "hi"], &["--loop"], &["--detach"], &["--private"]];

/// Commands for the daemon's own use.
const INTERNAL: [&str; 2] = ["daemon", "worker"];

/// What a command line asks for or prints, or why it is refused.
fn effect(words: &[&str], source: ModelSource) -> Result<String, String> {
    let line = [&["slmscope"], words].concat();
    let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
    let said = |failure: Failure| failure.message.unwrap_or_default();
    cli.check().map_err(said)?;
    let style = Style::narrow(80);
    match &cli.command {
        Some(Command::Run(args)) => run::tests::asked_by_run(args, &cli.target, source).map_err(said),
        Some(Command::Submit(args)) => run::tests::asked_by_submit(args, source).map_err(said),
        Some(Command::Models(args)) => models::answer(args, style).map_err(said),
        Some(Command::Model(args)) => models::answer_one(args, style).map_err(said),
        Some(Command::Replay(args)) => Ok(format!("{:?} {:?}", args.speed(), cli.theme)),
        Some(Command::Cancel(args)) => Ok(cancel::tests::asked(args)),
        _ => panic!("{words:?} has its proof elsewhere"),
    }
}

/// `--flag`, or the name of a place.
fn name(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().as_str().to_uppercase(), |long| format!("--{long}"))
}

fn prove(command: &str, arg: &Arg, proof: &Proof) {
    let name = name(arg);
    match proof {
        Job(flag) => {
            for source in SOURCES {
                for job in JOBS {
                    let base = [&[command], job].concat();
                    let Ok(without) = effect(&base, source) else { continue };
                    match effect(&[&base, *flag].concat(), source) {
                        Ok(with) => assert_ne!(with, without, "{base:?} takes {name} and does not use it"),
                        Err(told) => assert!(told.contains(&name), "{base:?} {flag:?} {source:?}: {told}"),
                    }
                }
            }
            let used = SOURCES.iter().any(|&source| {
                let line = |job: &[&'static str]| [&[command], job, *flag].concat();
                JOBS.iter().any(|job| effect(&line(job), source).is_ok())
            });
            assert!(used, "{command} {name} is refused by every job");
        }
        Prints(without, with) => {
            let [without, with] = [without, with].map(|line| effect(line, ModelSource::Synthetic).unwrap());
            assert_ne!(without, with, "{command} {name} changes nothing");
        }
    }
}

/// The commands that do something, with their words, and the program itself.
fn leaves(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    if words.is_empty() || !command.has_subcommands() {
        found.push((words.to_owned(), command.clone()));
    }
    for sub in command.get_subcommands().filter(|sub| !INTERNAL.contains(&sub.get_name())) {
        found.extend(leaves(sub, format!("{words} {}", sub.get_name()).trim_start()));
    }
    found
}

/// The rows that the test `flags` runs.
fn run_rows() -> impl Iterator<Item = &'static rows::Row> {
    let weights = if cfg!(feature = "embedded-daemon") { rows::WEIGHTS } else { &[] };
    rows::ROWS.iter().chain(weights)
}

#[test]
fn every_flag_of_every_command_has_an_effect_or_is_refused_by_its_name() {
    for (words, command) in leaves(&Cli::command(), "") {
        for arg in command.get_arguments() {
            let id = arg.get_id();
            let of_command = ROWS.iter().filter(|(row, _)| *row == words);
            if let Some((_, proof)) = of_command.flat_map(|(_, flags)| *flags).find(|(flag, _)| id == *flag) {
                prove(&words, arg, proof);
                continue;
            }
            let row = run_rows().find(|row| row.command == words && id == row.flag);
            assert!(
                row.is_some(),
                "add a row for {} of `slmscope {words}` to tests/flags/rows.rs: nothing shows its effect",
                name(arg)
            );
        }
    }
}

#[test]
fn every_row_is_of_a_flag_that_there_is_and_that_its_second_line_has() {
    let leaves = leaves(&Cli::command(), "");
    let find = |words: &str, flag: &str| -> Arg {
        let command = leaves.iter().find(|(leaf, _)| leaf == words).map(|(_, command)| command);
        let command = command.unwrap_or_else(|| panic!("there is no command `{words}`"));
        let arg = command.get_arguments().find(|arg| arg.get_id() == flag);
        arg.unwrap_or_else(|| panic!("`{words}` has no {flag}")).clone()
    };
    for (words, flags) in ROWS {
        flags.iter().for_each(|(flag, _)| drop(find(words, flag)));
    }
    for row in run_rows() {
        let arg = find(row.command, row.flag);
        assert!(!row.shows.is_empty(), "{} {}", row.command, row.flag);
        assert_ne!(row.without, row.with, "{} {}", row.command, row.flag);
        let is_given = |words: &[&str]| words.contains(&&*name(&arg));
        assert!(arg.is_positional() || is_given(row.with), "{} {}", row.command, row.flag);
    }
}

#[test]
fn the_command_that_a_result_names_repeats_its_workload() {
    let workload = |words: &[&str]| match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(Command::Run(args))) => run::tests::workload(&args),
        Ok(_) => panic!("{words:?} is no run"),
        Err(error) => panic!("{words:?}: {error}"),
    };
    for (id, proof) in JOB {
        // A file's content is not repeated, and a pause needs a loop.
        let Job(flag) = proof else { continue };
        let line = match *id {
            "prompt_file" => continue,
            "pause" => vec!["--loop", "--pause", "7"],
            "ignore_eos" => vec!["--chat", "hi", "--ignore-eos"],
            _ => flag.to_vec(),
        };
        let asked = workload(&[&["slmscope", "run"], &line[..]].concat());
        let named = slmscope_profiles::command::line("smollm2-135m", &asked);
        let words: Vec<_> = named.split(' ').collect();
        assert_eq!(workload(&words), asked, "{named}");
    }
    assert_eq!(workload(&["slmscope", "run", "--chat", "-x"]).chat.as_deref(), Some("-x"));
}

#[test]
fn a_socket_is_named_only_where_a_daemon_is_asked() {
    let refused = |words: &[&str]| {
        let line = [&["slmscope", "--socket", "/run/slmscope.sock"], words].concat();
        Cli::try_parse_from(line).unwrap().check().err().and_then(|failure| failure.message)
    };
    for words in [
        &["models"][..],
        &["model", "x"],
        &["doctor", "--root", "x"],
        &["doctor", "--bundle", "x"],
        &["help"],
        &["completions", "bash"],
    ] {
        assert!(refused(words).is_some_and(|told| told.contains("--socket")), "{words:?}");
    }
    for words in [&["run"][..], &["submit"], &["doctor"], &["status"], &["jobs"], &["cancel", "1"], &[]] {
        assert_eq!(refused(words), None, "{words:?}");
    }
}

#[test]
fn a_host_is_named_only_where_its_daemon_can_be_asked_and_by_a_command_only_one() {
    let refused = |words: &[&str]| {
        let line = [&["slmscope"], words].concat();
        Cli::try_parse_from(line).unwrap().check().err().and_then(|failure| failure.message)
    };
    for (words, told) in [
        (&["--host", "a", "models"][..], "asks no daemon"),
        (&["--host", "a", "doctor", "--root", "x"], "asks no daemon"),
        (&["--host", "a", "proxy"], "run it on the other one"),
        (&["--host", "a", "--host", "b", "status"], "a command asks one machine"),
        (&["--host", "a", "--socket", "none", "status"], "no daemon is started on another machine"),
    ] {
        let refused = refused(words).unwrap_or_default();
        assert!(refused.starts_with("--host: ") && refused.contains(told), "{words:?}: {refused}");
    }
    for words in [
        &["--host", "a"][..],
        &["--host", "a", "--host", "b"],
        &["--host", "a", "--socket", "/x", "status"],
        &["run", "--host", "a"],
        &["doctor", "--host", "a"],
        &["diff", "1", "2", "--host", "a"],
    ] {
        assert_eq!(refused(words), None, "{words:?}");
    }
    assert!(refused(&["--theme", "light", "status"]).is_some_and(|told| told.starts_with("--theme: ")));
    assert_eq!(refused(&["--theme", "light"]), None);
}

#[test]
fn an_option_of_a_workload_is_the_flag_of_its_name() {
    let fields = serde_json::to_value(slmscope_profiles::workload::Workload::default()).unwrap();
    let program = Cli::command();
    let run = program.find_subcommand("run").unwrap();
    for field in fields.as_object().unwrap().keys() {
        let flag = crate::failure::flag(field);
        let found = run.get_arguments().any(|arg| name(arg) == flag);
        assert!(found, "the daemon's error about `{field}` would name {flag}, which `run` does not have");
    }
}
