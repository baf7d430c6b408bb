//! The settings of a tokenizer in a model's directory, apart from the vocabulary: `tokenizer_config.json`,
//! `generation_config.json` and `config.json`.

use serde::Deserialize;
use slmscope_profiles::model_files::CONFIG;

use super::ends::END_TEXTS;
use super::error::TokenizerError;
use super::files::{Files, json};

/// The name of the file that [`TokenizerConfig`] is read from.
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// `tokenizer_config.json`, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenizerConfig {
    pub(super) bos_token: Option<SpecialToken>,
    pub(super) eos_token: Option<SpecialToken>,
    pub(super) unk_token: Option<SpecialToken>,
    pub(super) pad_token: Option<SpecialToken>,
    pub(super) chat_template: Option<Templates>,
    pub(super) tokenizer_class: Option<String>,
    pub(super) add_bos_token: Option<bool>,
    pub(super) add_eos_token: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
}

/// A special token: its text, or an object that holds it.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum SpecialToken {
    Text(String),
    Object { content: String },
}

impl SpecialToken {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// `config.json` and `generation_config.json`, as far as they matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

/// One id, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// As `tokenizer_config.json` spells it: one template, or several by name.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Templates {
    One(String),
    Named(Vec<Named>),
}

/// One of several templates.
#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
    template: String,
}

impl Templates {
    /// The one for plain conversations.
    pub(super) fn default(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(all) => all.into_iter().find(|one| one.name == "default").map(|one| one.template),
        }
    }
}

/// The ids of a model's special tokens.
#[derive(Default)]
pub(super) struct SpecialIds {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    /// Tokens that end a generation, sorted.
    pub(super) ends: Vec<u32>,
}

/// The special tokens of a vocabulary of `size` tokens; `id` looks a text up in it.
pub(super) fn special_ids(
    files: &Files,
    config: &TokenizerConfig,
    size: usize,
    id: &dyn Fn(&str) -> Option<u32>,
    is_special: &dyn Fn(u32) -> bool,
) -> Result<SpecialIds, TokenizerError> {
    let id_of = |token: &Option<SpecialToken>| id(token.as_ref()?.text());
    let model: GenerationConfig = json(files, CONFIG)?.unwrap_or_default();
    let generation: GenerationConfig = json(files, "generation_config.json")?.unwrap_or_default();
    let is_token = |id: &u32| (*id as usize) < size;
    let first = |ids: &Option<Ids>| ids.as_ref()?.as_slice().first().copied().filter(is_token);
    let eos = id_of(&config.eos_token).or_else(|| first(&model.eos_token_id));
    let mut ends: Vec<u32> = eos.into_iter().collect();
    for ids in [&model.eos_token_id, &generation.eos_token_id].into_iter().flatten() {
        ends.extend(ids.as_slice().iter().filter(|id| is_token(id)));
    }
    let spelled = END_TEXTS.iter().filter_map(|text| id(text));
    ends.extend(spelled.filter(|&id| is_special(id)));
    ends.sort_unstable();
    ends.dedup();
    Ok(SpecialIds { bos: id_of(&config.bos_token).or_else(|| first(&model.bos_token_id)), eos, ends })
}
