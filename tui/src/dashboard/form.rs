//! The form of a workload: which model runs, how much it computes, and whether that fits the memory.

use crossterm::event::{KeyCode, KeyEvent};
use slmscope_profiles::admission::ModelFacts;
use slmscope_profiles::catalogue;
use slmscope_profiles::display;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::workload::{Workload, WorkloadError};

use crate::model_source;

/// Longest text of a field.
const LENGTH: usize = 200;

/// A field of the form, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Model,
    Format,
    Prompt,
    Generate,
    Threads,
    Repeat,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Model, Self::Format, Self::Prompt, Self::Generate, Self::Threads, Self::Repeat];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Format => "format",
            Self::Prompt => "prompt",
            Self::Generate => "generate",
            Self::Threads => "threads",
            Self::Repeat => "repeat",
        }
    }

    /// What it takes.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Model => "an id of the catalogue, a .gguf file, a directory, hf:org/name",
            Self::Format => "← → choose; synthetic weights and directories only",
            Self::Prompt => "tokens of a random prompt, computed as one prefill",
            Self::Generate => "tokens to generate, one decode step each",
            Self::Threads => "empty: as many as suit this machine",
            Self::Repeat => "← → choose: in a loop until cancelled, or one measurement",
        }
    }
}

/// Memory that a run needs at least, bytes (modelled: by the shapes of the model).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Weights.
    pub weights: u64,
    /// Keys and values of the whole context in f16.
    pub kv: u64,
}

impl Need {
    /// Of a model of the catalogue; `None` for all others, whose shapes are in their files.
    pub fn of(model: &str, workload: &Workload) -> Option<Self> {
        let spec = catalogue::find(model).ok()?.spec();
        let format = workload.format.unwrap_or(WeightFormat::Q4_0);
        let tokens = u64::from(workload.context(workload.prompt));
        let kv = KvFormat::F16.bytes(spec.kv_elements_per_token().saturating_mul(tokens));
        Some(Self { weights: spec.weight_bytes(format), kv })
    }

    /// Both.
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.kv)
    }
}

/// What is typed so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// The field that is edited, an index into [`Field::ALL`].
    pub at: usize,
    /// The model, as `slmscope run` takes it.
    pub model: String,
    prompt: String,
    generate: String,
    threads: String,
    /// All other options, and format and repetition.
    workload: Workload,
}

impl Default for Form {
    fn default() -> Self {
        Self::of(catalogue::DEFAULT_MODEL.to_owned(), Workload::default())
    }
}

impl Form {
    /// A form that is filled in.
    pub fn of(model: String, workload: Workload) -> Self {
        Self {
            at: 0,
            model,
            prompt: workload.prompt.to_string(),
            generate: workload.generate.to_string(),
            threads: workload.threads.map_or_else(String::new, |threads| threads.to_string()),
            workload,
        }
    }

    /// The field that is edited.
    pub fn field(&self) -> Field {
        Field::ALL.get(self.at).copied().unwrap_or(Field::Model)
    }

    /// The content of a field.
    pub fn text(&self, field: Field) -> String {
        match field {
            Field::Model => self.model.clone(),
            Field::Format => {
                self.workload.format.map_or_else(|| "default".to_owned(), |format| format.to_string())
            }
            Field::Prompt => match (&self.workload.chat, &self.workload.prompt_text) {
                (Some(text), _) | (None, Some(text)) => format!("\"{}\"", display::excerpt(text, 40)),
                (None, None) => self.prompt.clone(),
            },
            Field::Generate => self.generate.clone(),
            Field::Threads => self.threads.clone(),
            Field::Repeat if self.workload.looped => "in a loop".to_owned(),
            Field::Repeat => match self.workload.repetitions {
                Some(repetitions) => {
                    format!("{} of one measurement", display::plural(repetitions.into(), "repetition"))
                }
                None => "one measurement".to_owned(),
            },
        }
    }

    /// Edits the field, or goes to another one.
    pub fn type_key(&mut self, key: KeyEvent) {
        let last = Field::ALL.len() - 1;
        match (key.code, self.field()) {
            (KeyCode::Down | KeyCode::Tab, _) => self.at = if self.at == last { 0 } else { self.at + 1 },
            (KeyCode::Up | KeyCode::BackTab, _) => self.at = self.at.checked_sub(1).unwrap_or(last),
            (KeyCode::Left, Field::Format) => self.change_format(false),
            (KeyCode::Right | KeyCode::Char(' '), Field::Format) => self.change_format(true),
            (KeyCode::Left | KeyCode::Right | KeyCode::Char(' '), Field::Repeat) => self.change_repeat(),
            (_, Field::Format | Field::Repeat) => {}
            (code, field) => self.edit(code, field),
        }
    }

    fn edit(&mut self, code: KeyCode, field: Field) {
        let is_number = field != Field::Model;
        if field == Field::Prompt {
            // A number takes the place of a text.
            (self.workload.chat, self.workload.prompt_text) = (None, None);
        }
        let text = match field {
            Field::Prompt => &mut self.prompt,
            Field::Generate => &mut self.generate,
            Field::Threads => &mut self.threads,
            _ => &mut self.model,
        };
        match code {
            KeyCode::Char(letter) if is_number && !letter.is_ascii_digit() => {}
            KeyCode::Char(letter) if text.len() + letter.len_utf8() <= LENGTH => text.push(letter),
            KeyCode::Backspace => {
                text.pop();
            }
            _ => {}
        }
    }

    fn change_format(&mut self, forward: bool) {
        let all = WeightFormat::ALL;
        let at = self.workload.format.and_then(|format| all.iter().position(|&other| other == format));
        self.workload.format = match (at, forward) {
            (None, true) => all.first().copied(),
            (None, false) => all.last().copied(),
            (Some(at), true) => all.get(at + 1).copied(),
            (Some(at), false) => at.checked_sub(1).and_then(|at| all.get(at)).copied(),
        };
    }

    fn change_repeat(&mut self) {
        let plain = Workload::default();
        let workload = &mut self.workload;
        workload.looped = !workload.looped;
        (workload.repetitions, workload.warmup, workload.pause) =
            if workload.looped { (Some(1), 0, 0) } else { (plain.repetitions, plain.warmup, 0) };
    }

    /// The workload that is filled in.
    ///
    /// # Errors
    /// Names the first field with an impossible value, and what would be right.
    pub fn workload(&self) -> Result<Workload, WorkloadError> {
        let number = |field: Field, text: &str| {
            let problem = "write a whole number, such as 128".to_owned();
            text.parse::<u32>().map_err(|_| WorkloadError { field: field.label(), problem })
        };
        let threads =
            if self.threads.is_empty() { None } else { Some(number(Field::Threads, &self.threads)?) };
        let workload = Workload {
            prompt: if self.workload.has_text() {
                self.workload.prompt
            } else {
                number(Field::Prompt, &self.prompt)?
            },
            generate: number(Field::Generate, &self.generate)?,
            threads,
            ..self.workload.clone()
        };
        workload.validate()?;
        if let Some(source) = model_source::source_by_name(&self.model) {
            workload.validate_for(source)?;
        }
        if let Ok(row) = catalogue::find(&self.model) {
            ModelFacts::of_catalogue(row).check(&workload)?;
        }
        if self.model.is_empty() {
            return Err(WorkloadError { field: "model", problem: "name one".to_owned() });
        }
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    fn press(form: &mut Form, codes: &[KeyCode]) {
        for &code in codes {
            form.type_key(KeyEvent::new(code, KeyModifiers::NONE));
        }
    }

    #[test]
    fn fields_are_typed_and_chosen() {
        let mut form = Form::default();
        press(&mut form, &[KeyCode::Down, KeyCode::Right, KeyCode::Down]);
        press(&mut form, &[KeyCode::Backspace; 3]);
        press(&mut form, &[KeyCode::Char('x'), KeyCode::Char('1'), KeyCode::Char('6')]);
        press(&mut form, &[KeyCode::Down, KeyCode::Backspace, KeyCode::Down, KeyCode::Char('2')]);
        press(&mut form, &[KeyCode::Down, KeyCode::Char(' ')]);
        let workload = form.workload().unwrap();
        assert_eq!((workload.prompt, workload.generate, workload.threads), (16, 12, Some(2)));
        assert_eq!((workload.format, workload.looped), (Some(WeightFormat::ALL[0]), true));
        assert_eq!(workload.repetitions, Some(1));
        press(&mut form, &[KeyCode::Left]);
        assert_eq!(form.workload().unwrap().repetitions, None);
        press(&mut form, &[KeyCode::Down]);
        assert_eq!(form.field(), Field::Model, "around the end");
    }

    #[test]
    fn what_cannot_run_is_said_with_the_field() {
        let mut form = Form { prompt: "99999999".to_owned(), ..Form::default() };
        assert_eq!(form.workload().unwrap_err().field, "prompt");
        form.prompt.clear();
        assert_eq!(form.workload().unwrap_err().field, "prompt");
        let text = Workload { prompt_text: Some("hi".to_owned()), ..Workload::default() };
        let mut form = Form::of("smollm2-135m".to_owned(), text.clone());
        assert_eq!(form.workload().unwrap_err().field, "prompt_text", "synthetic models read no text");
        form.model = "my.gguf".to_owned();
        assert_eq!(form.workload().unwrap().prompt_text, text.prompt_text);
        form.workload.format = Some(WeightFormat::Q8_0);
        assert_eq!(form.workload().unwrap_err().field, "format");
        form.model.clear();
        form.workload.format = None;
        assert_eq!(form.workload().unwrap_err().field, "model");
    }

    #[test]
    fn the_memory_of_a_model_of_the_catalogue_grows_with_its_context() {
        let workload = Workload { prompt: 100, generate: 28, ..Workload::default() };
        let need =
            |tokens| Need::of("smollm2-135m", &Workload { prompt: tokens, ..workload.clone() }).unwrap();
        assert!(need(100).kv > 0 && need(1100).kv > need(100).kv);
        assert_eq!(need(100).weights, need(1100).weights);
        assert_eq!(Need::of("a.gguf", &workload), None);
    }
}
