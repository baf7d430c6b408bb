//! Texts of exports: names that repeat, of which each is kept once and has a number, and texts as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use slmscope_profiles::json;

/// Number of a name, from 0.
pub(super) type NameId = u32;

/// Names by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, NameId>,
}

impl Names {
    /// The number of `text`, which is kept if it is new.
    pub(super) fn id(&mut self, text: &str) -> NameId {
        if let Some(&id) = self.numbers.get(text) {
            return id;
        }
        let (id, text) = (self.texts.len() as NameId, Arc::<str>::from(text));
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, id);
        id
    }

    /// The name of a number that was given out.
    pub(super) fn text(&self, id: NameId) -> &str {
        self.texts.get(id as usize).map_or("", |text| text)
    }

    /// All of them, in the order of their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }
}

/// `text` as JSON.
pub(super) fn quoted(text: &str) -> String {
    let bytes = json::to_vec(&text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
