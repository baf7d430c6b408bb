//! Chat templates: how a model wants a conversation written. They are Jinja programs that come with the
//! model, so they run with a bound on work and memory (fuel) and on depth, and reach nothing but their input.
//!
//! What the templates expect beyond the language is what Hugging Face's library gives them: Python's methods
//! of strings and maps, `raise_exception`, `strftime_now`, a `tojson` that escapes nothing, and the tags
//! `{% generation %}`, which mark the reply for training and do nothing here.

mod json;

use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use regex::Regex;

use super::config::{SpecialToken, TOKENIZER_CONFIG, Templates, TokenizerConfig};
use super::error::TokenizerError;
use super::files::{self, Files};
use crate::gguf::Gguf;

const TEMPLATE: &str = "tokenizer.chat_template";
/// The largest templates known have 20 KB.
const MAX_BYTES: usize = 1 << 20;
/// Bounds a rendering to about so many instructions, or 64 times as many bytes.
const FUEL: u64 = 2_000_000;
/// Calls of macros within each other count by ten.
const DEPTH: usize = 200;

/// A template, and the texts that it puts at the borders of a conversation.
pub struct ChatTemplate {
    file: String,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template in a GGUF file.
    ///
    /// # Errors
    /// [`TokenizerError::NoTemplate`] if it has none.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, TokenizerError> {
        let file = gguf.file().to_owned();
        let Some(source) = gguf.get_str(TEMPLATE)? else { return Err(TokenizerError::NoTemplate { file }) };
        let token = |key| -> Result<String, TokenizerError> {
            let Some(id) = gguf.get_u32(key)? else { return Ok(String::new()) };
            let text = gguf.get_strings("tokenizer.ggml.tokens")?.and_then(|mut all| all.nth(id as usize));
            Ok(text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default())
        };
        let (bos, eos) = (token("tokenizer.ggml.bos_token_id")?, token("tokenizer.ggml.eos_token_id")?);
        Self::new(file, source, bos, eos)
    }

    /// The template in a model's directory: `chat_template.jinja`, or an entry of `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`TokenizerError::NoTemplate`] if it has none.
    pub fn from_directory(files: &Files) -> Result<Self, TokenizerError> {
        let config: TokenizerConfig = files::json(files, TOKENIZER_CONFIG)?.unwrap_or_default();
        let text = |token: &Option<SpecialToken>| token.as_ref().map_or("", SpecialToken::text).to_owned();
        let (bos, eos) = (text(&config.bos_token), text(&config.eos_token));
        if let Some((file, bytes)) = files::find(files, "chat_template.jinja")? {
            let source = std::str::from_utf8(bytes).map_err(|_| TokenizerError::Template {
                file: file.to_owned(),
                problem: "is not UTF-8".to_owned(),
            })?;
            return Self::new(file.to_owned(), source, bos, eos);
        }
        let file = files::find(files, TOKENIZER_CONFIG)?
            .map_or_else(|| files::directory_name(files), |(file, _)| file.to_owned());
        match config.chat_template.and_then(Templates::default) {
            Some(source) => Self::new(file, &source, bos, eos),
            None => Err(TokenizerError::NoTemplate { file }),
        }
    }

    fn new(file: String, source: &str, bos: String, eos: String) -> Result<Self, TokenizerError> {
        if source.len() > MAX_BYTES {
            let problem = format!("has {} bytes, and no real one exceeds {MAX_BYTES}", source.len());
            return Err(TokenizerError::Template { file, problem });
        }
        let source = without_generation_tags(source);
        Ok(Self { file, source, bos, eos })
    }

    /// A conversation of one user message, ready for the model's reply. Templates that write the date
    /// get `now`, in UTC.
    ///
    /// The text contains its own BOS: it is encoded without adding special tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Template`] for a template that cannot be read, refuses the conversation, or takes
    /// more than its share of work.
    pub fn render(&self, message: &str, now: SystemTime) -> Result<String, TokenizerError> {
        let render = || {
            let environment = environment(now)?;
            environment.template_from_named_str("template", &self.source)?.render(context! {
                messages => [context! { role => "user", content => message }],
                add_generation_prompt => true,
                bos_token => &self.bos,
                eos_token => &self.eos,
                tools => (),
                documents => (),
            })
        };
        render()
            .map_err(|error| TokenizerError::Template { file: self.file.clone(), problem: explain(&error) })
    }
}

fn environment<'source>(now: SystemTime) -> Result<Environment<'source>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", json::to_json);
    // Templates test `tools` with it, which is `none` here; without this, `none` would count as iterable.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: &str| date(now, format));
    Ok(environment)
}

fn date(now: SystemTime, format: &str) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let now = jiff::Timestamp::try_from(now).map_err(wrong)?.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now).map_err(wrong)
}

/// The tags that mark a reply, turned into ones that do nothing.
fn without_generation_tags(source: &str) -> String {
    let tags = Regex::new(r"\{%(-?)\s*(end)?generation\s*(-?)%\}").expect("a constant, which tests compile");
    let replace = |found: &regex::Captures<'_>| {
        let tag = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {tag} {}%}}", &found[1], &found[3])
    };
    tags.replace_all(source, replace).into_owned()
}

/// An error in words that fit behind "the chat template".
fn explain(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => "takes more work than a conversation of one message can need".to_owned(),
        ErrorKind::SyntaxError => format!("cannot be read: {line}{error}"),
        _ => format!("fails: {line}{}", error.detail().map_or_else(|| error.to_string(), str::to_owned)),
    }
}
