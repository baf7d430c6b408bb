//! Every flag of every command has an effect, or is refused by its name.
//!
//! The flags are those of clap's own tree, so a new one without a row here fails the test.

use clap::{Arg, CommandFactory, Parser};
use slmscope_profiles::model::ModelSource;

use super::{Cli, Command, models, run};
use crate::failure::Failure;
use crate::style::Style;

/// How it is shown that a flag has an effect.
enum Proof {
    /// Given this value, or as a switch, it changes what `run` and `submit` ask for, or is refused, with each kind of
    /// model and of job.
    Job(&'static [&'static str]),
    /// Of these two command lines the second, which has the flag, prints something else.
    Prints(&'static [&'static str], &'static [&'static str]),
    /// A test in this file gives it and sees its effect.
    In(&'static str),
}

use Proof::{In, Job, Prints};

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
            ("record", In("tests/sessions.rs")),
            ("force", In("tests/sessions.rs")),
        ],
    ),
    ("submit", JOB),
    ("submit", &[("json", Job(&["--json"]))]),
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
    (
        "weights",
        &[
            ("model", In("tests/weights.rs")),
            ("format", In("tests/weights.rs")),
            ("output", In("tests/weights.rs")),
            ("seed", In("tests/weights.rs")),
            ("force", In("tests/weights.rs")),
        ],
    ),
    (
        "verify",
        &[
            ("model", In("tests/verify.rs")),
            ("golden", In("tests/verify.rs")),
            ("kv", In("tests/verify.rs")),
            ("executor", In("tests/verify.rs")),
            ("threads", In("tests/verify.rs")),
            ("json", In("tests/verify.rs")),
        ],
    ),
    (
        "doctor",
        &[
            ("groups", In("tests/doctor.rs")),
            ("root", In("tests/doctor.rs")),
            ("bundle", In("tests/doctor.rs")),
            ("require", In("tests/doctor.rs")),
            ("json", In("tests/doctor.rs")),
        ],
    ),
    ("status", &[("json", In("tests/runs.rs"))]),
    ("jobs", &[("json", In("tests/runs.rs"))]),
    (
        "result",
        &[
            ("which", In("tests/results.rs")),
            ("wait", In("tests/results.rs")),
            ("full", In("tests/results.rs")),
            ("json", In("tests/results.rs")),
        ],
    ),
    (
        "record",
        &[
            ("output", In("tests/sessions.rs")),
            ("seconds", In("tests/sessions.rs")),
            ("force", In("tests/sessions.rs")),
        ],
    ),
    ("replay", &[("session", In("src/cli/replay.rs")), ("speed", In("src/cli/replay.rs"))]),
    (
        "diff",
        &[
            ("a", In("tests/sessions.rs")),
            ("b", In("tests/sessions.rs")),
            ("margin", In("tests/sessions.rs")),
            ("by", In("tests/sessions.rs")),
            ("force", In("tests/sessions.rs")),
            ("strict", In("tests/sessions.rs")),
            ("json", In("tests/sessions.rs")),
            ("markdown", In("tests/sessions.rs")),
        ],
    ),
    ("cancel", &[("job", In("tests/results.rs")), ("yes", In("src/cli/jobs.rs"))]),
    ("help", &[("about", In("src/cli/help.rs"))]),
    ("completions", &[("shell", In("src/cli/shell.rs"))]),
    ("package-files", &[("folder", In("src/cli/shell.rs"))]),
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
        In(file) => {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let test = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            let word = if arg.is_positional() { command } else { &name };
            assert!(test.contains(word) && test.contains("#[test]"), "{file} does not test {command} {name}");
        }
    }
}

#[test]
fn every_flag_of_every_command_has_an_effect_or_is_refused_by_its_name() {
    let program = Cli::command();
    for command in program.get_subcommands().filter(|command| !INTERNAL.contains(&command.get_name())) {
        for arg in command.get_arguments() {
            let of_command = ROWS.iter().filter(|(row, _)| *row == command.get_name());
            let proof = of_command.flat_map(|(_, flags)| *flags).find(|(id, _)| arg.get_id() == *id);
            let (_, proof) = proof.unwrap_or_else(|| {
                panic!("add a row for {} of `slmscope {}`", name(arg), command.get_name())
            });
            prove(command.get_name(), arg, proof);
        }
    }
}

#[test]
fn every_row_is_of_a_flag_that_there_is() {
    let program = Cli::command();
    for (command, flags) in ROWS {
        if *command == "weights" && !cfg!(feature = "embedded-daemon") {
            continue;
        }
        let command = program.find_subcommand(command).unwrap_or_else(|| panic!("there is no {command}"));
        for (id, _) in *flags {
            assert!(
                command.get_arguments().any(|arg| arg.get_id() == *id),
                "{} has no {id}",
                command.get_name()
            );
        }
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
