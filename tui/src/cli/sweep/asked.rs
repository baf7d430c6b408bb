//! Which sweep a command line means.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use slmscope_profiles::campaign::{Order, Preset, Sweep};
use slmscope_profiles::words::nearest;

use super::preset_names;
use crate::cli::number;
use crate::failure::Failure;
use crate::model_source;

/// A file of a sweep is some hundred bytes.
const MAX_FILE: u64 = 1 << 20;

/// The value of `--axis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisFlag {
    option: String,
    values: String,
}

/// The text is no axis.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write OPTION=VALUES, such as threads=1..8 or format=q4_0,q8_0")]
pub struct BadAxis;

impl FromStr for AxisFlag {
    type Err = BadAxis;

    fn from_str(text: &str) -> Result<Self, BadAxis> {
        let (option, values) = text.split_once('=').ok_or(BadAxis)?;
        let option = option.trim().trim_start_matches('-').to_owned();
        // `50..=4096` has the range's own sign behind the first one.
        Ok(Self { option, values: values.to_owned() })
    }
}

/// How the runs are ordered; what is not given is as the sweep says.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Order")]
pub struct ScheduleFlags {
    /// Order of the runs [default: as the sweep says, else interleaved]
    #[arg(long, value_name = "HOW")]
    order: Option<OrderFlag>,
    /// Seed of a random order [default: 1]
    #[arg(long, value_name = "N", value_parser = number::long)]
    order_seed: Option<u64>,
    /// Run each point so often; with 2 and more the table says how much runs of the same thing differ [default: 1]
    #[arg(long, value_name = "N", value_parser = number::count)]
    rounds: Option<u32>,
    /// Seconds to wait before each run but the first [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = number::count)]
    pause: Option<u32>,
    /// Before each run, wait until the hottest sensor of what computes is below this
    #[arg(long, value_name = "CELSIUS")]
    cool_below: Option<f64>,
    /// Wait no longer than this to cool down, and say so [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = number::count)]
    cool_limit: Option<u32>,
}

/// [`Order`] as a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderFlag {
    /// Forward in one round, backward in the next, which cancels a steady drift
    Interleaved,
    /// Shuffled in each round
    Random,
}

/// A sweep, and what its folder is called after.
#[derive(Debug)]
pub struct Asked {
    pub name: String,
    pub sweep: Sweep,
}

/// The sweep that words and flags describe.
///
/// # Errors
/// If they name no sweep, a file that cannot be read, or an option or value that there is not.
pub fn asked(what: &[String], axes: &[AxisFlag], schedule: &ScheduleFlags) -> Result<Asked, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let (mut asked, model) = match what {
        [sweep, model] => (named(sweep)?, Some(model)),
        [one] if is_sweep(one) => (named(one)?, None),
        [one] if axes.is_empty() => return Err(no_sweep(one)),
        [model] => (of_axes(), Some(model)),
        _ if axes.is_empty() => {
            return Err(Failure::usage(
                "name a sweep (`slmscope sweep --list`), a *.toml file, or axes: --axis threads=1..8",
            ));
        }
        _ => (of_axes(), None),
    };
    if let Some(model) = model {
        asked.sweep.set_models(std::slice::from_ref(model)).map_err(|error| usage(&error))?;
    }
    for AxisFlag { option, values } in axes {
        asked.sweep.set(option, values).map_err(|error| Failure::usage(format!("--axis: {error}")))?;
    }
    let own = &mut asked.sweep.schedule;
    match schedule.order {
        Some(OrderFlag::Interleaved) => own.order = Order::Interleaved,
        Some(OrderFlag::Random) => own.order = Order::Random,
        None => {}
    }
    own.seed = schedule.order_seed.unwrap_or(own.seed);
    own.rounds = schedule.rounds.unwrap_or(own.rounds);
    own.pause = schedule.pause.unwrap_or(own.pause);
    own.cool_below = schedule.cool_below.or(own.cool_below);
    own.cool_limit = schedule.cool_limit.unwrap_or(own.cool_limit);
    if schedule.order_seed.is_some() && own.order != Order::Random {
        return Err(Failure::usage("--order-seed: has no effect on this order; give --order random"));
    }
    if schedule.cool_limit.is_some() && own.cool_below.is_none() {
        return Err(Failure::usage("--cool-limit: has no effect without --cool-below; leave it out"));
    }
    Ok(asked)
}

fn of_axes() -> Asked {
    Asked { name: "axes".to_owned(), sweep: Sweep::new("") }
}

/// Whether a word names a sweep and no model.
fn is_sweep(word: &str) -> bool {
    is_file(word) || Preset::find(word).is_some()
}

fn is_file(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"))
}

fn named(word: &str) -> Result<Asked, Failure> {
    if !is_file(word) {
        let sweep = preset(word)?.sweep().map_err(|error| Failure::error(format!("{word}: {error}")))?;
        return Ok(Asked { name: word.to_owned(), sweep });
    }
    let path = Path::new(word);
    let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{word}: {error}"));
    let file: File = model_source::open(path).map_err(|error| failed(&error))?;
    let mut text = String::new();
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if read as u64 > MAX_FILE {
        return Err(failed(&"longer than 1 MiB, which no sweep is"));
    }
    let sweep = Sweep::parse(&text).map_err(|error| failed(&error))?;
    let stem =
        path.file_stem().map_or_else(|| "sweep".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Asked { name: stem, sweep })
}

/// The sweep of a name that comes with the program.
pub fn preset(word: &str) -> Result<Preset, Failure> {
    Preset::find(word).ok_or_else(|| no_sweep(word))
}

fn no_sweep(word: &str) -> Failure {
    let hint = nearest(word, preset_names());
    let hint = hint.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    let names = preset_names().join(", ");
    let word = slmscope_profiles::display::excerpt(word, 100);
    Failure::usage(format!(
        "there is no sweep `{word}`{hint}; those that come with slmscope are {names}; name a *.toml file, or what \
         changes: --axis threads=1..8"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(what: &[&str], axes: &[&str]) -> Result<(String, usize, String), String> {
        let what: Vec<String> = what.iter().map(|&word| word.to_owned()).collect();
        let axes: Vec<AxisFlag> = axes.iter().map(|axis| axis.parse().unwrap()).collect();
        let said = |failure: Failure| failure.message.unwrap_or_default();
        let asked = asked(&what, &axes, &ScheduleFlags::default()).map_err(said)?;
        let plan = asked.sweep.plan().map_err(|error| error.to_string())?;
        Ok((asked.name, plan.points.len(), plan.points[0].model.clone()))
    }

    #[test]
    fn a_sweep_is_a_preset_a_file_or_axes_with_a_model_behind_it() {
        let is = |what: &[&str], axes: &[&str], name: &str, count, model: &str| {
            assert_eq!(
                points(what, axes),
                Ok((name.to_owned(), count, model.to_owned())),
                "{what:?} {axes:?}"
            );
        };
        is(&["llama-bench"], &[], "llama-bench", 2, "smollm2-135m");
        is(&["llama-bench", "a.gguf"], &[], "llama-bench", 2, "a.gguf");
        is(&["depths"], &["depth=0,64", "threads=1..=4"], "depths", 8, "smollm2-135m");
        is(&[], &["threads=1..8"], "axes", 8, "smollm2-135m");
        is(&["qwen2-0.5b"], &["prompt=50..=4096 *2", "--kv=f16"], "axes", 7, "qwen2-0.5b");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        std::fs::write(&file, "[workload]\nthreads = [1, 2]").unwrap();
        is(&[file.to_str().unwrap(), "b.gguf"], &[], "mine", 2, "b.gguf");
    }

    #[test]
    fn what_names_no_sweep_is_told_what_there_is() {
        for (what, axes, told) in [
            (&[][..], &[][..], "name a sweep"),
            (&["depth"], &[], "no sweep `depth` (did you mean depths?)"),
            (&["smollm2-135m"], &[], "--axis threads=1..8"),
            (&["nowhere.toml"], &[], "nowhere.toml: No such file"),
            (&["survey"], &["thread=2"], "--axis: there is no option `thread` (did you mean threads?)"),
            (&["survey"], &["threads="], "--axis: threads has no values"),
        ] {
            let refused = points(what, axes).unwrap_err();
            assert!(refused.contains(told), "{what:?} {axes:?}: {refused}");
        }
        assert_eq!("threads".parse::<AxisFlag>(), Err(BadAxis));
    }
}
