//! Whether a model can run a workload, by what is known before its weights are loaded. One check for all: the client asks
//! before it submits a job, the daemon before it queues one, and the worker once it has read a file's header.

use crate::catalogue::Row;
use crate::display;
use crate::engine_memory::EngineMemory;
use crate::format::WeightFormat;
use crate::spec::Lengths;
use crate::workload::{Workload, WorkloadError};

/// What of a model decides which workloads it can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// As a person calls it.
    pub name: String,
    /// Tokens of its longest context.
    pub max_context: u32,
    /// It comes with a tokenizer, which turns text into ids.
    pub has_tokenizer: bool,
    /// It comes with a chat template, which turns a message into a prompt.
    pub has_template: bool,
}

/// Tokens that a run feeds and generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// In the context before the prompt.
    pub depth: u32,
    /// Of the prompt.
    pub prompt: u64,
    /// To generate.
    pub generate: u32,
}

/// A run needs a longer context than the model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "depth {} + prompt {} + generate {} are longer than the context of {name}, {max_context} tokens: ask for fewer",
    .tokens.depth,
    .tokens.prompt,
    .tokens.generate
)]
pub struct TooLong {
    name: String,
    max_context: u32,
    tokens: Tokens,
}

/// A model cannot read text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// Nothing turns text into ids.
    #[error(
        "{0} has no tokenizer, which a text needs; leave it out for a random prompt, or name a model file or \
         directory with a tokenizer"
    )]
    Tokenizer(String),
    /// Nothing turns a message into a prompt.
    #[error("{0} has no chat template; give the message as prompt_text, or use the model's instruct version")]
    Template(String),
}

impl ModelFacts {
    /// Those of a model of the catalogue. Its weights are synthetic, and no tokenizer comes with them.
    pub fn of_catalogue(row: &Row) -> Self {
        let (name, max_context) = (row.id.clone(), row.max_context);
        Self { name, max_context, has_tokenizer: false, has_template: false }
    }

    /// Checks all that `workload` needs of the model. The length of a text is not known yet: it counts as one token.
    ///
    /// # Errors
    /// Names the option at fault, the limit and the remedy.
    pub fn check(&self, workload: &Workload) -> Result<(), WorkloadError> {
        let prompt_field = match (&workload.chat, &workload.prompt_text) {
            (Some(_), _) => "chat",
            (None, Some(_)) => "prompt_text",
            (None, None) => "prompt",
        };
        if workload.has_text() {
            let readable = self.check_text(workload.chat.is_some());
            readable
                .map_err(|refused| WorkloadError { field: prompt_field, problem: refused.to_string() })?;
        }
        let &Workload { depth, generate, .. } = workload;
        let prompt = if workload.has_text() { 1 } else { workload.prompt.into() };
        let lengths = self.lengths(Tokens { depth, prompt, generate });
        lengths.map(drop).map_err(|refused| {
            let most = u64::from(depth.max(generate)).max(prompt);
            // What asks for most of them is the first to be made smaller.
            let field = match most {
                most if most == prompt => prompt_field,
                most if most == u64::from(generate) => "generate",
                _ => "depth",
            };
            WorkloadError { field, problem: refused.to_string() }
        })
    }

    /// Checks that the model can read text, or a message.
    ///
    /// # Errors
    /// Says what it lacks, and the remedy.
    pub fn check_text(&self, is_message: bool) -> Result<(), NoText> {
        if !self.has_tokenizer {
            Err(NoText::Tokenizer(self.name.clone()))
        } else if is_message && !self.has_template {
            Err(NoText::Template(self.name.clone()))
        } else {
            Ok(())
        }
    }

    /// Tokens that the cache must hold. Those that fill the context before the run count as prompt.
    ///
    /// # Errors
    /// If the model's context is shorter.
    pub fn lengths(&self, tokens: Tokens) -> Result<Lengths, TooLong> {
        let Tokens { depth, prompt, generate } = tokens;
        // The first step is fed a token even if there is none before it.
        let fed = u64::from(prompt == 0 && depth == 0);
        let needed = (u64::from(depth) + u64::from(generate) + fed).saturating_add(prompt);
        match u32::try_from(needed).ok().filter(|&needed| needed <= self.max_context) {
            Some(needed) => Ok(Lengths { prompt: needed - generate, total: needed.max(1) }),
            None => Err(TooLong { name: self.name.clone(), max_context: self.max_context, tokens }),
        }
    }
}

/// A run needs more memory than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "weights ({}), keys and values ({}) and activations ({}) need {}, and {}: {}",
    display::bytes(needed.weights + needed.packed),
    display::bytes(needed.kv),
    display::bytes(needed.scratch + needed.tables),
    display::bytes(needed.total()),
    .limit,
    remedy(*.fits)
)]
pub struct TooLarge {
    /// By the engine's own account.
    pub needed: EngineMemory,
    /// What there is.
    pub limit: MemoryLimit,
    /// The format with the most bits in which it would fit; `None` if it fits in none that is proposed, or its own is not
    /// known.
    pub fits: Option<Fits>,
}

/// What a run would need in another format (modelled: weights in proportion to the bits, the rest as it is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fits {
    /// The format.
    pub format: WeightFormat,
    /// All memory of the run, bytes.
    pub bytes: u64,
}

impl Fits {
    /// The proposed format with the most bits in which a run that needs `needed` in `format` takes at most `limit` bytes.
    fn find(needed: EngineMemory, format: WeightFormat, limit: u64) -> Option<Self> {
        let weights = needed.weights + needed.packed;
        let smaller = WeightFormat::PROPOSED.into_iter().rev().filter(|other| other.bits() < format.bits());
        let fits = smaller.map(|other| {
            let then = (weights as f64 * other.bits() / format.bits()).ceil() as u64;
            Self { format: other, bytes: needed.total() - weights + then.min(weights) }
        });
        fits.into_iter().find(|fits| fits.bytes <= limit)
    }
}

fn remedy(fits: Option<Fits>) -> String {
    match fits {
        Some(Fits { format, bytes }) => format!(
            "in {format} it would need about {}; or choose a smaller model or kv, or a shorter context",
            display::bytes(bytes)
        ),
        None => "choose a smaller model, format or kv, or a shorter context".to_owned(),
    }
}

/// Memory that a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryLimit {
    /// What is free now, or given back when it is asked for, bytes.
    #[error("{} of memory are available", display::bytes(*.0))]
    Available(u64),
    /// All that the machine has, bytes: other jobs may give theirs back before the run begins.
    #[error("the machine has {} of memory", display::bytes(*.0))]
    Installed(u64),
}

impl MemoryLimit {
    /// Checks that a run fits whose weights are in `format`, if that is known.
    ///
    /// # Errors
    /// If it does not, with the format in which it would.
    pub fn check(self, needed: EngineMemory, format: Option<WeightFormat>) -> Result<(), TooLarge> {
        let (Self::Available(bytes) | Self::Installed(bytes)) = self;
        if needed.total() <= bytes {
            return Ok(());
        }
        let fits = format.and_then(|format| Fits::find(needed, format, bytes));
        Err(TooLarge { needed, limit: self, fits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(has_tokenizer: bool, has_template: bool) -> ModelFacts {
        ModelFacts { name: "m".to_owned(), max_context: 1000, has_tokenizer, has_template }
    }

    fn refused(model: &ModelFacts, change: impl FnOnce(&mut Workload)) -> Option<(&'static str, String)> {
        let mut workload = Workload::default();
        change(&mut workload);
        model.check(&workload).err().map(|refused| (refused.field, refused.problem))
    }

    #[test]
    fn text_needs_a_tokenizer_and_a_message_a_template() {
        let text = |workload: &mut Workload| workload.prompt_text = Some("hi".to_owned());
        let chat = |workload: &mut Workload| workload.chat = Some("hi".to_owned());
        for (model, asks, field) in [
            (facts(false, false), &text as &dyn Fn(&mut Workload), Some("prompt_text")),
            (facts(false, true), &chat, Some("chat")),
            (facts(true, false), &chat, Some("chat")),
            (facts(true, false), &text, None),
            (facts(true, true), &chat, None),
        ] {
            assert_eq!(refused(&model, asks).map(|(field, _)| field), field, "{model:?}");
        }
        let (_, problem) = refused(&facts(true, false), chat).unwrap();
        assert!(problem.starts_with("m has no chat template; give the message as prompt_text"), "{problem}");
    }

    #[test]
    fn a_context_that_is_too_long_names_the_option_that_asks_for_most() {
        let model = facts(true, true);
        let sizes = |prompt, generate, depth| {
            refused(&model, |workload| {
                (workload.prompt, workload.generate, workload.depth) = (prompt, generate, depth);
            })
        };
        assert_eq!(sizes(500, 500, 0), None);
        let (field, problem) = sizes(999_999, 128, 0).unwrap();
        let expected = "depth 0 + prompt 999999 + generate 128 are longer than the context of m, 1000 tokens: ask for fewer";
        assert_eq!((field, problem.as_str()), ("prompt", expected));
        assert_eq!(sizes(300, 701, 0).unwrap().0, "generate");
        assert_eq!(sizes(300, 100, 601).unwrap().0, "depth");
        assert_eq!(sizes(0, 1000, 0).unwrap().0, "generate", "the first step is fed a token");
        assert_eq!(sizes(u32::MAX, u32::MAX, u32::MAX).unwrap().0, "prompt");
        let text = refused(&model, |workload| {
            (workload.chat, workload.depth) = (Some("hi".to_owned()), 1000);
        });
        assert_eq!(text.unwrap().0, "depth");
        let tokens = |prompt| Tokens { depth: 0, prompt, generate: 8 };
        assert!(model.lengths(tokens(u64::MAX)).is_err());
        assert_eq!(model.lengths(tokens(20)), Ok(Lengths { prompt: 20, total: 28 }));
    }

    #[test]
    fn memory_that_is_missing_is_named_with_what_would_take_it() {
        let needed =
            EngineMemory { weights: 3 << 30, kv: 1 << 30, scratch: 1 << 20, ..EngineMemory::default() };
        assert_eq!(MemoryLimit::Available(needed.total()).check(needed, None), Ok(()));
        let text = MemoryLimit::Available(2 << 30).check(needed, None).unwrap_err().to_string();
        assert!(
            text.starts_with("weights (3.00 GiB), keys and values (1.00 GiB) and activations (1.00 MiB)"),
            "{text}"
        );
        assert!(text.contains("and 2.00 GiB of memory are available: choose a smaller model"), "{text}");
        let text = MemoryLimit::Installed(2 << 30).check(needed, None).unwrap_err().to_string();
        assert!(text.contains("and the machine has 2.00 GiB of memory: "), "{text}");
    }

    #[test]
    fn a_format_in_which_it_would_fit_is_named_the_one_with_the_most_bits_first() {
        let needed =
            EngineMemory { weights: 15 << 30, packed: 1 << 30, kv: 1 << 30, ..EngineMemory::default() };
        let fits =
            |gib: u64, format| MemoryLimit::Available(gib << 30).check(needed, format).unwrap_err().fits;
        let f16 = Some(WeightFormat::F16);
        // 16 GiB in 16 bits: 8.5, 5.5 and 4.5 in the proposed ones, and 1 of keys and values.
        for (gib, format, bytes) in [
            (10, WeightFormat::Q8_0, 19 << 29),
            (7, WeightFormat::Q5_0, 13 << 29),
            (6, WeightFormat::Q4_0, 11 << 29),
        ] {
            assert_eq!(fits(gib, f16), Some(Fits { format, bytes }), "{gib} GiB");
        }
        assert_eq!(fits(5, f16), None);
        assert_eq!(fits(16, Some(WeightFormat::Q4_0)), None, "there is none that is smaller");
        assert_eq!(fits(16, None), None);
        let text = MemoryLimit::Available(6 << 30).check(needed, f16).unwrap_err().to_string();
        assert!(
            text.contains(": in q4_0 it would need about 5.50 GiB; or choose a smaller model or kv"),
            "{text}"
        );
    }
}
