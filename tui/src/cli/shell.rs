//! Completions for shells, and the files that a package ships: completions and man pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::Cli;
use super::help::TOPICS;
use crate::failure::{Failure, print};

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  D=~/.local/share/bash-completion/completions
  mkdir -p $D && slmscope completions bash > $D/slmscope
  slmscope completions zsh > ~/.zfunc/_slmscope    (a folder of $fpath)
  slmscope completions fish > ~/.config/fish/completions/slmscope.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: ShellName,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl ShellName {
    /// Where packages put the script, below the folder `share`.
    fn place(self) -> &'static str {
        match self {
            Self::Bash => "bash-completion/completions/slmscope",
            Self::Zsh => "zsh/site-functions/_slmscope",
            Self::Fish => "fish/vendor_completions.d/slmscope.fish",
        }
    }

    fn script(self) -> Vec<u8> {
        let shell = match self {
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "slmscope", &mut script);
        script
    }
}

/// Prints the completions of a shell.
///
/// # Errors
/// If standard output cannot be written to.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    print(&String::from_utf8_lossy(&args.shell.script()))?;
    Ok(ExitCode::SUCCESS)
}

/// Options of `package-files`.
#[derive(Debug, Args)]
pub struct PackageFilesArgs {
    /// The folder `share` of the package, such as pkg/usr/share
    folder: PathBuf,
}

/// Writes completions and man pages where packages put them below `share`.
///
/// # Errors
/// If a file cannot be written.
pub fn package_files(args: &PackageFilesArgs) -> Result<ExitCode, Failure> {
    for (place, content) in
        files().map_err(|error| Failure::error(format!("cannot make man pages: {error}")))?
    {
        let path = args.folder.join(place);
        write(&path, &content)
            .map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}

/// All files and their places below `share`.
fn files() -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let scripts = [ShellName::Bash, ShellName::Zsh, ShellName::Fish];
    let mut files: Vec<_> = scripts.map(|shell| (PathBuf::from(shell.place()), shell.script())).into();
    let mut program = Cli::command();
    program.build();
    let mut page = man(program.clone(), "slmscope", "1")?;
    for (topic, text) in TOPICS {
        // Lines stay as they are: the texts are made for a screen.
        page.extend(format!(".SH {}\n.nf\n{text}.fi\n", topic.to_uppercase()).bytes());
    }
    files.push(("man/man1/slmscope.1".into(), page));
    for (name, command) in pages(&program, "slmscope") {
        files.push((format!("man/man1/{name}.1").into(), man(command.clone(), &name, "1")?));
    }
    #[cfg(feature = "embedded-daemon")]
    files.push(("man/man8/slmscoped.8".into(), man_of_the_daemon()?));
    Ok(files)
}

/// The commands below `command` that users see, those of `sessions` too, with the names of their pages.
fn pages<'a>(command: &'a Command, name: &str) -> Vec<(String, &'a Command)> {
    let seen = command.get_subcommands().filter(|command| !command.is_hide_set());
    let with_those_below = |command: &'a Command| {
        let name = format!("{name}-{}", command.get_name());
        let below = pages(command, &name);
        [(name, command)].into_iter().chain(below)
    };
    seen.flat_map(with_those_below).collect()
}

/// The page of `slmscoped`, whose flags are those of the hidden command `daemon`.
#[cfg(feature = "embedded-daemon")]
fn man_of_the_daemon() -> io::Result<Vec<u8>> {
    let flags = crate::embedded::ServeArgs::augment_args(Command::new("slmscoped"));
    let command = flags
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs small language models under observation and serves what it sees on a local socket")
        .after_help("slmscope(1) is the client, and explains the variables of the environment.");
    man(command, "slmscoped", "8")
}

/// The page of a command in a section of the manual.
fn man(command: Command, name: &str, section: &str) -> io::Result<Vec<u8>> {
    let page = Man::new(command).title(name).section(section);
    let page = page.source(concat!("slmscope ", env!("CARGO_PKG_VERSION"))).manual("slmscope");
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_completions_and_a_page_for_each_command_and_flag() {
        let files = files().unwrap();
        let text = |place: &str| {
            let found = files.iter().find(|(path, _)| path == Path::new(place));
            String::from_utf8(found.unwrap_or_else(|| panic!("no {place}")).1.clone()).unwrap()
        };
        let scripts = ["bash-completion/completions/slmscope", "fish/vendor_completions.d/slmscope.fish"];
        let scripts = [text(scripts[0]), text(scripts[1]), text("zsh/site-functions/_slmscope")];
        let mut program = Cli::command();
        program.build();
        let pages = pages(&program, "slmscope");
        assert!(pages.iter().any(|(name, _)| name == "slmscope-sessions-verify"));
        for (name, command) in pages {
            let page = text(&format!("man/man1/{name}.1"));
            assert!(scripts.iter().all(|script| script.contains(command.get_name())), "{name}");
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&flag.replace('-', "\\-")), "{name} has no --{flag}");
                assert!(scripts.iter().all(|script| script.contains(flag)), "--{flag}");
            }
        }
        #[cfg(feature = "embedded-daemon")]
        assert!(text("man/man8/slmscoped.8").contains("\\-\\-results"));
        assert!(text("man/man1/slmscope.1").contains("SLMSCOPE_SOCKET"));
    }
}
