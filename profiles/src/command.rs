//! The command line that repeats a run.

use std::fmt::{Display, Write};

use crate::catalogue::DEFAULT_MODEL;
use crate::workload::{OverheadMode, Workload};

/// Texts that are longer, bytes, are not repeated on the command line.
const MAX_TEXT: usize = 200;

/// The command that runs `workload`, as it was asked for, with `model`. Options at their defaults are left out. A text
/// with line breaks or of more than 200 bytes is not repeated: `FILE` stands for a file that holds it.
pub fn line(model: &str, workload: &Workload) -> String {
    let (default, asked) = (Workload::default(), workload);
    let mut line = "slmscope run".to_owned();
    if model != DEFAULT_MODEL {
        let _ = write!(line, " {}", quoted(model));
    }
    let mut add = |flag: &str, value: &dyn Display| {
        let _ = write!(line, " --{flag} {value}");
    };
    match (&asked.chat, &asked.prompt_text) {
        (Some(text), _) => add("chat", &quoted(text)),
        (None, Some(text)) if text.len() > MAX_TEXT || text.contains('\n') => add("prompt-file", &"FILE"),
        (None, Some(text)) => add("prompt-text", &quoted(text)),
        (None, None) if asked.prompt != default.prompt => add("prompt", &asked.prompt),
        (None, None) => {}
    }
    let numbers = [
        ("generate", asked.generate, default.generate),
        ("depth", asked.depth, default.depth),
        ("warmup", asked.warmup, default.warmup),
        ("pause", asked.pause, default.pause),
    ];
    for (flag, value, _) in numbers.into_iter().filter(|(_, value, default)| value != default) {
        add(flag, &value);
    }
    let given: [(&str, Option<&dyn Display>); 7] = [
        ("repetitions", asked.repetitions.as_ref().map(|value| value as &dyn Display)),
        ("threads", asked.threads.as_ref().map(|value| value as &dyn Display)),
        ("cores", asked.cores.as_ref().map(|value| value as &dyn Display)),
        ("isa", asked.isa.as_ref().map(|value| value as &dyn Display)),
        ("kv", asked.kv.as_ref().map(|value| value as &dyn Display)),
        ("format", asked.format.as_ref().map(|value| value as &dyn Display)),
        ("timeout", asked.timeout.as_ref().map(|value| value as &dyn Display)),
    ];
    for (flag, value) in given {
        if let Some(value) = value {
            add(flag, value);
        }
    }
    if asked.executor != default.executor {
        add("executor", &asked.executor.name());
    }
    if asked.seed != default.seed {
        add("seed", &asked.seed);
    }
    if let Some(ignore) = asked.ignore_eos.filter(|_| asked.has_text()) {
        add("ignore-eos", &ignore);
    }
    if asked.cold {
        add("cold", &"true");
    }
    match asked.overhead {
        OverheadMode::Auto => {}
        OverheadMode::Full => add("overhead", &"full"),
        OverheadMode::Off => add("overhead", &"off"),
    }
    if let Some(budget) = asked.overhead_budget {
        add("overhead-budget", &budget);
    }
    if asked.looped {
        line.push_str(" --loop");
    }
    line
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{KvFormat, WeightFormat};
    use crate::isa::Isa;
    use crate::workload::ExecutorKind;

    #[test]
    fn defaults_are_left_out() {
        assert_eq!(line(DEFAULT_MODEL, &Workload::default()), "slmscope run");
        assert_eq!(line("qwen2-0.5b", &Workload::default()), "slmscope run qwen2-0.5b");
    }

    #[test]
    fn every_option_that_was_given_is_repeated() {
        let asked = Workload {
            prompt: 0,
            generate: 5,
            depth: 6,
            repetitions: Some(7),
            warmup: 0,
            threads: Some(3),
            cores: "0-1+3".parse().ok(),
            executor: ExecutorKind::Candle,
            isa: Some(Isa::Scalar),
            kv: Some(KvFormat::F32),
            format: Some(WeightFormat::Q8_0),
            seed: 9,
            ignore_eos: Some(false),
            cold: true,
            overhead: OverheadMode::Full,
            overhead_budget: Some(0.005),
            timeout: Some(60),
            looped: true,
            pause: 2,
            prompt_text: None,
            chat: None,
        };
        assert_eq!(
            line("m", &asked),
            "slmscope run m --prompt 0 --generate 5 --depth 6 --warmup 0 --pause 2 --repetitions 7 --threads 3 --cores \
             0-1,3 --isa scalar --kv f32 --format q8_0 --timeout 60 --executor candle --seed 9 --cold true --overhead full \
             --overhead-budget 0.005 --loop"
        );
    }

    #[test]
    fn texts_are_one_word_and_long_ones_are_in_a_file() {
        let chat = Some("it's 5 > 4?".to_owned());
        let asked = Workload { chat, ignore_eos: Some(true), ..Workload::default() };
        let command = r"slmscope run 'a b.gguf' --chat 'it'\''s 5 > 4?' --ignore-eos true";
        assert_eq!(line("a b.gguf", &asked), command);
        for text in ["two\nlines".to_owned(), "x".repeat(201)] {
            let asked = Workload { prompt_text: Some(text), ..Workload::default() };
            assert_eq!(line("m", &asked), "slmscope run m --prompt-file FILE");
        }
        assert_eq!([quoted(""), quoted("-x")], ["''", "'-x'"]);
    }
}
