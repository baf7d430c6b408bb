//! `slmscope help`: commands, and topics that explain the terms of reports in a screen each.

use std::process::ExitCode;

use clap::{Args, CommandFactory};

use super::Cli;
use crate::failure::{Failure, print};

/// Topics and their texts, at most 24 lines of 80 columns.
pub const TOPICS: [(&str, &str); 6] = [
    ("terms", include_str!("help/terms.txt")),
    ("roofs", include_str!("help/roofs.txt")),
    ("energy", include_str!("help/energy.txt")),
    ("overhead", include_str!("help/overhead.txt")),
    ("formats", include_str!("help/formats.txt")),
    ("environment", include_str!("help/environment.txt")),
];

/// Options of `help`.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, or a topic: terms, roofs, energy, overhead, formats, environment
    #[arg(value_name = "COMMAND|TOPIC")]
    about: Option<String>,
}

/// Prints the help of a command, a topic, or of the whole program.
///
/// # Errors
/// If there is no such command or topic.
pub fn run(args: &HelpArgs) -> Result<ExitCode, Failure> {
    print(&text(args.about.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}

fn text(about: Option<&str>) -> Result<String, Failure> {
    let mut program = Cli::command();
    program.build();
    let Some(about) = about else { return Ok(program.render_long_help().to_string()) };
    if let Some((_, text)) = TOPICS.iter().find(|(topic, _)| *topic == about) {
        return Ok((*text).to_owned());
    }
    if let Some(command) = program.find_subcommand_mut(about).filter(|command| !command.is_hide_set()) {
        return Ok(command.render_long_help().to_string());
    }
    let topics = TOPICS.map(|(topic, _)| topic).join(", ");
    Err(Failure::usage(format!(
        "there is no command or topic `{about}`; the topics are {topics}, and `slmscope help` lists the commands"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_fits_a_screen() {
        for (topic, text) in TOPICS {
            assert!(text.lines().count() <= 24, "{topic} has {} lines", text.lines().count());
            assert!(text.ends_with('\n') && text.is_ascii(), "{topic}");
            let wide = text.lines().find(|line| line.len() > 80);
            assert_eq!(wide, None, "{topic}");
            assert!(Cli::command().find_subcommand(topic).is_none(), "{topic} is a command too");
        }
    }

    #[test]
    fn help_has_every_topic_and_names_them() {
        let listed = text(None).unwrap();
        for (topic, explained) in TOPICS {
            assert!(listed.contains(topic), "{topic}: {listed}");
            assert_eq!(text(Some(topic)).unwrap(), explained);
        }
        assert!(text(Some("run")).unwrap().contains("Usage: slmscope run"));
        for unknown in ["dance", "worker", ""] {
            assert!(text(Some(unknown)).is_err(), "{unknown}");
        }
    }

    #[test]
    fn help_fits_80_columns() {
        let mut program = Cli::command();
        program.build();
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = text(Some(command.get_name())).unwrap();
            let wide = help.lines().find(|line| crate::width::columns(line) > 80);
            assert_eq!(wide, None, "{}", command.get_name());
        }
        let help = text(None).unwrap();
        assert_eq!(help.lines().find(|line| crate::width::columns(line) > 80), None);
    }

    /// The names of environment variables that a source file reads.
    fn variables(source: &str) -> Vec<&str> {
        let reads = ["var(\"", "var_os(\"", "variable(\"", "try_from_env(\""];
        let after = reads.iter().flat_map(|read| source.split(read).skip(1));
        after.filter_map(|rest| rest.split_once('"').map(|(name, _)| name)).collect()
    }

    #[test]
    fn every_variable_that_is_read_is_documented() {
        // Read by tests, and described in .github/CONTRIBUTING.md.
        let of_tests = ["SLMSCOPE_UPDATE_SNAPSHOTS", "SLMSCOPE_MODELS", "SLMSCOPE_BOARDS"];
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders = vec![root.join("tui/src"), root.join("daemon/src")];
        let mut found = std::collections::BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let source = std::fs::read_to_string(&path).unwrap();
                    found.extend(variables(&source).into_iter().map(str::to_owned));
                }
            }
        }
        assert!(found.contains("SLMSCOPE_SOCKET") && found.contains("HF_TOKEN"), "{found:?}");
        let (_, environment) = TOPICS[5];
        let undocumented: Vec<_> = found
            .iter()
            .filter(|name| {
                !of_tests.contains(&&***name) && **name != "HOME" && !environment.contains(&***name)
            })
            .collect();
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }

    #[test]
    fn the_formats_of_the_topic_are_those_that_there_are() {
        let (_, text) = TOPICS[4];
        for format in slmscope_profiles::format::WeightFormat::ALL {
            let bits = format.block_bytes() as f64 * 8.0 / format.block_elements() as f64;
            let decimals = usize::from(format.block_elements() > 1);
            let row = text.lines().find_map(|line| line.split_once(format.name()).map(|(_, rest)| rest));
            let words: Vec<_> = row.expect("it has a row").split_whitespace().take(2).collect();
            assert_eq!(
                words,
                [format!("{bits:.decimals$}"), format.block_elements().to_string()],
                "{format}"
            );
        }
    }
}
