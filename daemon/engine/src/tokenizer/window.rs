//! From ids back to text, one token at a time, for tokenizers that decode only whole texts.
//!
//! ```text
//! … | settled | fresh |      text of (settled + fresh) less the text of settled = what is new
//! ```
//! The settled tokens are those that the last piece of text came from: what a decoder does at the border of
//! two tokens (spaces, byte fallback) depends on the one before, and on no earlier one.

use super::library::Library;

/// A character that is not whole after so many further tokens never will be: UTF-8 has at most 4 bytes.
const MAX_HELD: usize = 3;

/// Turns ids into text as they come.
pub(super) struct LibraryDecoder<'t> {
    library: &'t Library,
    ids: Vec<u32>,
    /// So many of them are settled.
    settled: usize,
    /// Tokens since the last piece whose character is not whole.
    held: usize,
}

impl<'t> LibraryDecoder<'t> {
    pub(super) fn new(library: &'t Library) -> Self {
        Self { library, ids: Vec::new(), settled: 0, held: 0 }
    }

    pub(super) fn push(&mut self, id: u32) -> String {
        if self.library.token_text(id).is_none() {
            let mut text = self.take();
            text.push(char::REPLACEMENT_CHARACTER);
            return text;
        }
        if self.ids.is_empty() && !self.library.is_special(id) {
            self.ids.extend(self.library.lead);
            self.settled = self.ids.len();
        }
        self.ids.push(id);
        let fresh = self.fresh();
        if fresh.is_empty() {
            return fresh;
        }
        if fresh.ends_with(char::REPLACEMENT_CHARACTER) && self.held < MAX_HELD {
            self.held += 1;
            return String::new();
        }
        self.settle();
        fresh
    }

    pub(super) fn finish(mut self) -> String {
        self.take()
    }

    fn take(&mut self) -> String {
        let fresh = self.fresh();
        if !fresh.is_empty() {
            self.settle();
        }
        fresh
    }

    fn fresh(&self) -> String {
        let before = self.library.text(&self.ids[..self.settled]);
        let all = self.library.text(&self.ids);
        match all.strip_prefix(before.as_str()) {
            Some(fresh) => fresh.to_owned(),
            // A decoder that rewrites what went before; the border is then where the lengths say.
            None => all.get(before.len()..).unwrap_or_default().to_owned(),
        }
    }

    fn settle(&mut self) {
        self.ids.drain(..self.settled);
        self.settled = self.ids.len();
        self.held = 0;
    }
}
