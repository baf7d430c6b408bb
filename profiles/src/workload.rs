//! What to run: one vocabulary for flags, TOML and JSON.
//!
//! | `prompt` | `generate` | phases |
//! |---|---|---|
//! | P > 0 | N > 1 | prefill of P tokens emits the first, N − 1 decode steps |
//! | P > 0 | 1 | prefill only |
//! | P > 0 | 0 | prefill, nothing sampled |
//! | 0 | N > 0 | N decode steps, the first fed the context's last id |

use serde::{Deserialize, Serialize};

use crate::cpu_set::CpuSet;
use crate::format::{KvFormat, WeightFormat};
use crate::isa::Isa;
use crate::model::ModelSource;
use crate::words::UnknownWord;

/// All options of a workload, with their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Tokens of a random prompt; not used with `prompt_text` or `chat`.
    pub prompt: u32,
    /// A real prompt; needs a model with a tokenizer.
    pub prompt_text: Option<String>,
    /// A user's message, from which the model's chat template makes the prompt.
    pub chat: Option<String>,
    /// Tokens to emit.
    pub generate: u32,
    /// Tokens of context filled before anything is measured.
    pub depth: u32,
    /// Measured repetitions; `None` for 6, then more until the interval is within ± 2 % or 60 s have passed.
    pub repetitions: Option<u32>,
    /// Unmeasured repetitions before.
    pub warmup: u32,
    /// Engine threads; `None` for the executor's default.
    pub threads: Option<u32>,
    /// CPUs to compute on; `None` for all that there are. Without `threads` there are as many threads.
    pub cores: Option<CpuSet>,
    /// Which executor computes.
    pub executor: ExecutorKind,
    /// Instruction set of the `cpu` executor's kernels; `None` for the best that the machine has.
    pub isa: Option<Isa>,
    /// How keys and values are kept; `None` for the executor's default.
    pub kv: Option<KvFormat>,
    /// Format of synthetic weights, `None` for q4_0; format that a directory's matrices are brought into, `None`
    /// for the stored one. A GGUF file has its own.
    pub format: Option<WeightFormat>,
    /// Seed of synthetic weights, random prompts and filled contexts.
    pub seed: u64,
    /// Whether generation goes on after an end-of-text token; `None`: sized prompts do, texts stop.
    pub ignore_eos: Option<bool>,
    /// The model's files are dropped from the page cache before they are opened, so that they come from storage. What other
    /// programs have mapped stays.
    pub cold: bool,
    /// How the cost of recording is found.
    pub overhead: OverheadMode,
    /// Share of the time that recording may cost, 0 to 1. Whole tokens are left unrecorded to stay within it; a run
    /// that cost more all the same has a finding. `None` records every token.
    pub overhead_budget: Option<f64>,
    /// Give up after so many seconds.
    pub timeout: Option<u32>,
    /// Start again when done, until cancelled.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// Seconds to wait between the turns of a loop.
    pub pause: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            prompt: 512,
            prompt_text: None,
            chat: None,
            generate: 128,
            depth: 0,
            repetitions: None,
            warmup: 1,
            threads: None,
            cores: None,
            executor: ExecutorKind::default(),
            isa: None,
            kv: None,
            format: None,
            seed: 1,
            ignore_eos: None,
            cold: false,
            overhead: OverheadMode::Auto,
            overhead_budget: None,
            timeout: None,
            looped: false,
            pause: 0,
        }
    }
}

/// Which executor computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum ExecutorKind {
    /// The engine's own kernels.
    #[default]
    Cpu,
    /// candle's.
    Candle,
}

impl ExecutorKind {
    /// The name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Candle => "candle",
        }
    }
}

impl std::str::FromStr for ExecutorKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Cpu, Self::Candle];
        let found = all.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownWord::new("executor", text, all.map(Self::name)))
    }
}

impl TryFrom<String> for ExecutorKind {
    type Error = UnknownWord;

    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

/// How the phase that measures the recorder's own cost is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverheadMode {
    /// As long as the measured decode took, at most 6 s.
    Auto,
    /// At least 1,024 tokens.
    Full,
    /// Not at all: the cost is then unknown, not zero.
    Off,
}

/// An option with an impossible value; judged without model or machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct WorkloadError {
    /// The option.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// The longest text of a prompt, bytes. A request and the worker's message with one that long pass the sockets.
pub const MAX_TEXT: usize = 16 << 20;

/// What of a prompt's text is shown again, bytes: jobs and results go to every client, whose queues are bounded.
const SHOWN_TEXT: usize = 64 << 10;

/// The most tokens that any part of a workload may ask for: no model has a longer context.
const MAX_TOKENS: u32 = 1 << 24;

impl Workload {
    /// Checks what can be judged from the options alone.
    ///
    /// # Errors
    /// Names the first option with an impossible value.
    pub fn validate(&self) -> Result<(), WorkloadError> {
        let fail = |field, problem: &str| Err(WorkloadError { field, problem: problem.to_owned() });
        if !self.has_text() && self.prompt == 0 && self.generate == 0 {
            return fail("generate", "prompt and generate are both 0: nothing would be measured");
        }
        for (field, text) in [("prompt_text", &self.prompt_text), ("chat", &self.chat)] {
            match text.as_ref().map(String::len) {
                Some(0) => {
                    return fail(field, "is empty; leave it out, or ask for a random prompt of some length");
                }
                Some(length) if length > MAX_TEXT => {
                    return Err(WorkloadError {
                        field,
                        problem: format!("has {length} bytes, and at most {MAX_TEXT} are accepted"),
                    });
                }
                _ => {}
            }
        }
        if self.chat.is_some() && self.prompt_text.is_some() {
            return fail("chat", "and prompt_text are both given, and only one can be the prompt");
        }
        if self.threads == Some(0) {
            return fail("threads", "0 threads compute nothing; leave it out for the default");
        }
        if self.isa.is_some() && self.executor == ExecutorKind::Candle {
            return fail("isa", "candle's kernels are chosen when it is compiled; leave it out");
        }
        if self.kv == Some(KvFormat::Q8_0) && self.executor == ExecutorKind::Candle {
            return fail("kv", "candle keeps keys and values in f32 or f16; q8_0 is the cpu executor's");
        }
        if self.repetitions == Some(0) {
            return fail("repetitions", "0 repetitions measure nothing; leave it out for as many as needed");
        }
        if self.overhead_budget.is_some_and(|budget| !(budget > 0.0 && budget <= 1.0)) {
            let problem =
                "is a share of the time above 0 and up to 1, like 0.005; leave it out to record all";
            return fail("overhead_budget", problem);
        }
        if self.ignore_eos == Some(false) && !self.has_text() {
            let problem =
                "false has no effect on a random prompt, for which no tokenizer is read; leave it out";
            return fail("ignore_eos", problem);
        }
        if self.pause > 0 && !self.looped {
            return fail("pause", "is the time between the turns of a loop, and this is none; leave it out");
        }
        if self.timeout == Some(0) {
            return fail("timeout", "0 s is over before anything starts");
        }
        for (field, tokens) in [("prompt", self.prompt), ("generate", self.generate), ("depth", self.depth)] {
            if tokens > MAX_TOKENS {
                return fail(field, "is more tokens than any model's context");
            }
        }
        Ok(())
    }

    /// Checks what depends on where the weights come from.
    ///
    /// # Errors
    /// Names the first option that has no effect on such weights.
    pub fn validate_for(&self, source: ModelSource) -> Result<(), WorkloadError> {
        if let (ModelSource::Gguf, Some(format)) = (source, self.format) {
            let problem = format!(
                "{format} has no effect on a GGUF file, which keeps the formats that its weights are stored in; \
                 leave it out, or name a directory with safetensors"
            );
            return Err(WorkloadError { field: "format", problem });
        }
        if self.cold && source == ModelSource::Synthetic {
            let problem = "has no effect on synthetic weights, which are made and not read; leave it out, or name a file";
            return Err(WorkloadError { field: "cold", problem: problem.to_owned() });
        }
        Ok(())
    }

    /// As jobs and results show it: of a text that is longer than 64 KiB the beginning, and then `…`.
    #[must_use]
    pub fn shown(&self) -> Self {
        let cut = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(match text.get(..text.floor_char_boundary(SHOWN_TEXT)) {
                Some(begin) if begin.len() < text.len() => format!("{begin}…"),
                _ => text.to_owned(),
            })
        };
        Self { prompt_text: cut(&self.prompt_text), chat: cut(&self.chat), ..self.clone() }
    }

    /// Whether only the beginning of its text is left, since this is what [`shown`](Self::shown) kept of a longer one.
    pub fn is_cut(&self) -> bool {
        let is_cut = |text: &String| text.len() > SHOWN_TEXT && text.ends_with('…');
        self.prompt_text.as_ref().is_some_and(is_cut) || self.chat.as_ref().is_some_and(is_cut)
    }

    /// Whether the prompt is text, whose number of tokens only the model's tokenizer knows.
    pub fn has_text(&self) -> bool {
        self.prompt_text.is_some() || self.chat.is_some()
    }

    /// Tokens of context that a prompt of `prompt` tokens needs.
    pub fn context(&self, prompt: u32) -> u32 {
        let fed_without_prompt = u32::from(prompt == 0 && self.depth == 0 && self.generate > 0);
        // The last emitted token is never fed; without a prompt the first step is fed a token of the context
        // or, if there is none, one more.
        self.depth + prompt + self.generate + fed_without_prompt
    }

    /// Whether generation stops at an end-of-text token.
    pub fn stops_at_end(&self) -> bool {
        !self.ignore_eos.unwrap_or(!self.has_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_measures_nothing_is_refused() {
        let check = |change: fn(&mut Workload)| {
            let mut workload = Workload::default();
            change(&mut workload);
            workload.validate().map_err(|e| e.field)
        };
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(check(|w| w.prompt = 0), Ok(()));
        assert_eq!(check(|w| w.generate = 0), Ok(()));
        assert_eq!(check(|w| (w.prompt, w.generate, w.depth) = (0, 0, 64)), Err("generate"));
        assert_eq!(check(|w| w.threads = Some(0)), Err("threads"));
        assert_eq!(check(|w| w.isa = Some(Isa::Avx2)), Ok(()));
        assert_eq!(check(|w| (w.isa, w.executor) = (Some(Isa::Avx2), ExecutorKind::Candle)), Err("isa"));
        let error = serde_json::from_str::<Workload>(r#"{"isa": "sse9"}"#).unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("avx2"), "{error}");
        for (budget, found) in [(0.0, Err("overhead_budget")), (1.5, Err("overhead_budget")), (0.01, Ok(()))]
        {
            let workload = Workload { overhead_budget: Some(budget), ..Workload::default() };
            assert_eq!(workload.validate().map_err(|e| e.field), found);
        }
        assert_eq!(check(|w| w.overhead_budget = Some(f64::NAN)), Err("overhead_budget"));
        assert_eq!(check(|w| w.repetitions = Some(0)), Err("repetitions"));
        assert_eq!(check(|w| w.prompt_text = Some(String::new())), Err("prompt_text"));
        assert_eq!(check(|w| w.chat = Some(String::new())), Err("chat"));
        let both = |w: &mut Workload| (w.chat, w.prompt_text) = (Some("a".to_owned()), Some("b".to_owned()));
        assert_eq!(check(both), Err("chat"));
        assert_eq!(check(|w| (w.chat, w.prompt, w.generate) = (Some("a".to_owned()), 0, 0)), Ok(()));
        assert_eq!(check(|w| w.depth = u32::MAX), Err("depth"));
        assert_eq!(check(|w| w.chat = Some("a".repeat(MAX_TEXT))), Ok(()));
        assert_eq!(check(|w| w.chat = Some("a".repeat(MAX_TEXT + 1))), Err("chat"));
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let text = Some("a".to_owned());
        let check = |workload: Workload| workload.validate().map_err(|e| e.field);
        let stops = Workload { ignore_eos: Some(false), ..Workload::default() };
        assert_eq!(check(stops.clone()), Err("ignore_eos"));
        assert_eq!(check(Workload { prompt_text: text, ..stops }), Ok(()));
        assert_eq!(check(Workload { ignore_eos: Some(true), ..Workload::default() }), Ok(()));
        let pauses = Workload { pause: 5, ..Workload::default() };
        assert_eq!(check(pauses.clone()), Err("pause"));
        assert_eq!(check(Workload { looped: true, ..pauses }), Ok(()));
        let converted = Workload { format: Some(WeightFormat::Q8_0), ..Workload::default() };
        let of = |source| converted.validate_for(source).map_err(|e| e.field);
        use ModelSource::{Gguf, Hf, Synthetic};
        assert_eq!([of(Gguf), of(Hf), of(Synthetic)], [Err("format"), Ok(()), Ok(())]);
        let cold = Workload { cold: true, ..Workload::default() };
        let of = |source| cold.validate_for(source).map_err(|e| e.field);
        assert_eq!([of(Gguf), of(Hf), of(Synthetic)], [Ok(()), Ok(()), Err("cold")]);
    }

    #[test]
    fn a_context_is_needed_even_without_a_prompt() {
        let workload = Workload { generate: 1, ..Workload::default() };
        assert!(workload.context(0) >= 1);
    }

    #[test]
    fn a_long_text_is_not_shown_to_every_client() {
        let workload = |bytes| Workload { chat: Some("é".repeat(bytes / 2)), ..Workload::default() };
        assert_eq!(workload(SHOWN_TEXT).shown(), workload(SHOWN_TEXT));
        let shown = workload(SHOWN_TEXT + 2).shown().chat.unwrap();
        assert_eq!((shown.len(), shown.ends_with("é…")), (SHOWN_TEXT + "…".len(), true));
        assert!(workload(SHOWN_TEXT + 2).shown().is_cut() && !workload(SHOWN_TEXT).shown().is_cut());
    }

    #[test]
    fn a_misspelled_option_is_refused_and_a_missing_one_has_its_default() {
        assert!(serde_json::from_str::<Workload>(r#"{"promt": 5}"#).is_err());
        let parsed: Workload = serde_json::from_str(r#"{"generate": 5, "loop": true}"#).unwrap();
        assert_eq!(parsed, Workload { generate: 5, looped: true, ..Workload::default() });
    }
}
