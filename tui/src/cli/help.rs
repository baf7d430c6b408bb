//! `slmscope help`: commands, and topics that explain the terms of reports in a screen each.

use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use slmscope_profiles::display::excerpt;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::words::nearest;

use super::Cli;
use crate::dashboard;
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
    /// A command, a topic (terms, roofs, energy, overhead, formats, environment, keys), or a word that a topic explains,
    /// such as gap
    #[arg(value_name = "COMMAND|TOPIC|WORD")]
    about: Vec<String>,
}

/// Prints the help of a command, a topic, or of the whole program.
///
/// # Errors
/// If there is no such command or topic.
pub fn run(args: &HelpArgs) -> Result<ExitCode, Failure> {
    print(&text(&args.about)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed about these words: those of a command, such as `sessions info`, or of a term, such as `foreign load`.
fn text(about: &[String]) -> Result<String, Failure> {
    let mut program = Cli::command();
    program.build();
    if about.is_empty() {
        return Ok(program.render_long_help().to_string());
    }
    let word = about.join(" ");
    if word.eq_ignore_ascii_case("keys") {
        return Ok(dashboard::keys());
    }
    if let Some((_, text)) = TOPICS.iter().find(|(topic, _)| topic.eq_ignore_ascii_case(&word)) {
        return Ok((*text).to_owned());
    }
    if let Some(command) = command(&mut program, about) {
        return Ok(command.render_long_help().to_string());
    }
    if let Some(text) = topic_of(&word) {
        return Ok(text.to_owned());
    }
    let topics = TOPICS.map(|(topic, _)| topic).join(", ") + ", keys";
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let known = commands.map(Command::get_name).chain(TOPICS.map(|(topic, _)| topic)).chain(["keys"]);
    let terms = TOPICS.into_iter().flat_map(|(_, text)| terms(text));
    let hint = nearest(&word, known.chain(terms))
        .map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    let word = excerpt(&word, 100);
    Err(Failure::usage(format!(
        "there is no command or topic `{word}`{hint}; the topics are {topics}, and `slmscope help` lists the commands"
    )))
}

/// The command of these words below `program`; `None` if there is none for users.
fn command<'a>(program: &'a mut Command, words: &[String]) -> Option<&'a mut Command> {
    words.iter().try_fold(program, |command, word| {
        command.find_subcommand_mut(word).filter(|command| !command.is_hide_set())
    })
}

/// The text that explains `word`: the topic of that name but for an `s`, or the first that defines it.
fn topic_of(word: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], " ");
    let word = plain(word);
    let plural = format!("{word}s");
    let named = |name: &str| TOPICS.iter().find(|(topic, _)| *topic == name);
    let defines = |text: &str| terms(text).any(|term| [&word, &plural].contains(&&plain(term)));
    let format = || named("formats").filter(|_| word.parse::<WeightFormat>().is_ok());
    let found = named(&plural).or_else(|| TOPICS.iter().find(|(_, text)| defines(text))).or_else(format);
    found.map(|(_, text)| *text)
}

/// The words that a topic defines: at the beginning of lines that are indented by two, before at least two blanks or the
/// line's end, several with commas between them.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let heads = lines.map(|line| line.split_once("  ").map_or(line, |(head, _)| head));
    let is_term = |head: &&str| head.starts_with(char::is_alphabetic) && !head.starts_with("slmscope ");
    heads.filter(is_term).flat_map(|head| head.split(", "))
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
        let text = |about: &str| super::text(&about.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let listed = super::text(&[]).unwrap();
        for (topic, explained) in TOPICS {
            assert!(listed.contains(topic), "{topic}: {listed}");
            assert_eq!(text(topic).unwrap(), explained);
        }
        assert!(text("run").unwrap().contains("Usage: slmscope run"));
        assert!(text("sessions info").unwrap().contains("Usage: slmscope sessions info"));
        for unknown in ["dance", "worker", "", "sessions dance"] {
            assert!(text(unknown).is_err(), "{unknown}");
        }
        let told = text("overhaed").unwrap_err().message.unwrap();
        assert!(told.contains("`overhaed` (did you mean overhead?); the topics are terms"), "{told}");
    }

    #[test]
    fn a_word_that_a_topic_defines_leads_to_it() {
        let text = |topic| TOPICS.iter().find(|(name, _)| *name == topic).map(|(_, text)| *text);
        for (topic, words) in [
            (
                "terms",
                &[
                    "gap",
                    "TTFT",
                    "turn",
                    "stolen",
                    "steal",
                    "lane",
                    "kv-cache",
                    "KV cache",
                    "foreign load",
                    "derived",
                    "unavailable",
                ][..],
            ),
            ("roofs", &["roof", "Roofs"]),
            ("energy", &["battery", "packages"]),
            ("formats", &["q4_0", "Q2_K", "format"]),
            ("environment", &["SLMSCOPE_SOCKET", "hf_home", "HF_HUB_CACHE", "state_directory"]),
        ] {
            for word in words {
                let words: Vec<_> = word.split(' ').map(str::to_owned).collect();
                assert_eq!(super::text(&words).ok().as_deref(), text(topic), "{word}");
            }
        }
        for (topic, text) in TOPICS {
            for term in terms(text) {
                assert!(topic_of(term).is_some(), "{topic}: {term}");
            }
        }
        assert_eq!(terms(TOPICS[0].1).count(), 23, "{:?}", terms(TOPICS[0].1).collect::<Vec<_>>());
    }

    #[test]
    fn help_fits_80_columns() {
        let mut program = Cli::command();
        program.build();
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = text(&[command.get_name().to_owned()]).unwrap();
            let wide = help.lines().find(|line| crate::width::columns(line) > 80);
            assert_eq!(wide, None, "{}", command.get_name());
        }
        let help = text(&[]).unwrap();
        assert_eq!(help.lines().find(|line| crate::width::columns(line) > 80), None);
    }

    /// The names of environment variables that a source file reads.
    fn variables(source: &str) -> Vec<&str> {
        let reads = ["var(\"", "var_os(\"", "variable(\"", "try_from_env(\"", "folder(\""];
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
        let some = ["SLMSCOPE_SOCKET", "HF_TOKEN", "STATE_DIRECTORY"];
        assert!(some.iter().all(|name| found.contains(*name)), "{found:?}");
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
