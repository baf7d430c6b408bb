//! The sequence that an executor computes on: tokens that its cache holds, and the tokens of the running pass.

use crate::error::EngineError;

/// Tokens in the cache and room for more.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// Rows of the embedding table.
    vocab: u32,
    /// Most ids of a pass.
    rows: usize,
    /// Tokens that there is room for.
    capacity: u32,
    /// Tokens in the cache, those of the running pass included once it has ended.
    filled: u32,
    /// Tokens before the running pass.
    context: u32,
    /// Ids of the running pass.
    ids: Vec<u32>,
}

impl Sequence {
    /// An empty sequence without room, for passes of at most `rows` ids below `vocab`.
    pub(crate) fn new(vocab: u32, rows: usize) -> Self {
        Self { vocab, rows, capacity: 0, filled: 0, context: 0, ids: Vec::with_capacity(rows) }
    }

    /// Forgets all tokens; there is room for `capacity`.
    pub(crate) fn reset(&mut self, capacity: u32) {
        (self.filled, self.capacity) = (0, capacity);
    }

    /// Starts a pass over `ids` after `context` tokens. `rewind` restores recurrent state to `context`, if it can.
    ///
    /// # Errors
    /// Ids outside the vocabulary, more rows or tokens than there is room for, and a `context` that the cache does
    /// not hold.
    pub(crate) fn begin(
        &mut self,
        ids: &[u32],
        context: u32,
        rewind: impl FnOnce(u32) -> bool,
    ) -> Result<(), EngineError> {
        if ids.is_empty() || ids.len() > self.rows {
            return Err(EngineError::Rows { rows: ids.len(), limit: self.rows });
        }
        if let Some(&id) = ids.iter().find(|id| **id >= self.vocab) {
            return Err(EngineError::Token { id, vocab: self.vocab });
        }
        let needed = u64::from(context) + ids.len() as u64;
        if needed > u64::from(self.capacity) {
            return Err(EngineError::Context { needed, capacity: self.capacity });
        }
        if context > self.filled || !rewind(context) {
            return Err(EngineError::Hole { context, filled: self.filled });
        }
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.context = context;
        // Grows when the pass ends: one that ends early leaves no tokens.
        self.filled = context;
        Ok(())
    }

    /// Ends the pass: its tokens are in the cache now. Returns how many tokens that makes.
    pub(crate) fn end(&mut self) -> u32 {
        self.filled = self.context + self.ids.len() as u32;
        self.filled
    }

    /// Forgets all but the first `context` tokens, or more where `rewind` cannot restore recurrent state to them: it
    /// returns where it has brought it. Returns how many are left.
    pub(crate) fn truncate(&mut self, context: u32, rewind: impl FnOnce(u32) -> u32) -> u32 {
        self.filled = rewind(self.filled.min(context));
        self.filled
    }

    /// Tokens in the cache.
    pub(crate) fn filled(&self) -> u32 {
        self.filled
    }

    /// Tokens before the running pass.
    pub(crate) fn context(&self) -> u32 {
        self.context
    }

    /// Ids of the running pass.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_counts_when_it_has_ended() {
        let mut sequence = Sequence::new(10, 4);
        assert!(matches!(sequence.begin(&[1], 0, |_| true), Err(EngineError::Context { needed: 1, .. })));
        sequence.reset(6);
        sequence.begin(&[1, 2, 3], 0, |_| true).unwrap();
        assert_eq!((sequence.filled(), sequence.end(), sequence.filled()), (0, 3, 3));
        sequence.begin(&[4], 2, |_| true).unwrap();
        assert_eq!((sequence.context(), sequence.ids(), sequence.filled()), (2, &[4][..], 2));
        assert_eq!(sequence.end(), 3);
        assert_eq!(sequence.truncate(9, |context| context), 3);
        assert_eq!(sequence.truncate(2, |_| 0), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_refused() {
        let mut sequence = Sequence::new(10, 4);
        sequence.reset(6);
        sequence.begin(&[1, 2], 0, |_| true).unwrap();
        sequence.end();
        let mut refused = |ids: &[u32], context| sequence.begin(ids, context, |_| true).unwrap_err();
        assert!(matches!(refused(&[], 0), EngineError::Rows { rows: 0, limit: 4 }));
        assert!(matches!(refused(&[0; 5], 0), EngineError::Rows { rows: 5, .. }));
        assert!(matches!(refused(&[1, 10], 0), EngineError::Token { id: 10, vocab: 10 }));
        assert!(matches!(refused(&[1], 3), EngineError::Hole { context: 3, filled: 2 }));
        assert!(matches!(refused(&[1, 1], 5), EngineError::Context { needed: 7, capacity: 6 }));
        let hole = sequence.begin(&[1], 1, |_| false);
        assert!(matches!(hole, Err(EngineError::Hole { context: 1, filled: 2 })));
        assert_eq!(sequence.filled(), 2);
    }
}
