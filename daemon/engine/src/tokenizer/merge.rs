//! The merging that BPE and SentencePiece tokenizers share.
//!
//! A text begins as a row of small symbols. Again and again the best pair of neighbours becomes one symbol,
//! the leftmost where two are equally good, until no pair is left that may merge. Candidates wait in a heap;
//! one whose symbols have changed meanwhile is dropped when it comes up, so n symbols take O(n log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No neighbour on this side.
const NONE: usize = usize::MAX;

/// A piece of the text.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    /// Where it starts, in bytes.
    pub(super) start: usize,
    /// Its bytes; 0 once it has become part of the symbol to its left.
    pub(super) length: usize,
    /// Its token, where known: initial symbols may have none.
    pub(super) token: Option<u32>,
    left: usize,
    right: usize,
}

impl Symbol {
    /// Where it ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.length
    }
}

/// Appends a symbol to the row.
pub(super) fn push(symbols: &mut Vec<Symbol>, length: usize, token: Option<u32>) {
    let index = symbols.len();
    let start = symbols.last().map_or(0, Symbol::end);
    let left = index.checked_sub(1).unwrap_or(NONE);
    if let Some(previous) = symbols.last_mut() {
        previous.right = index;
    }
    symbols.push(Symbol { start, length, token, left, right: NONE });
}

/// A pair that may merge. Ordered by what merges first: the priority, then the place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<P> {
    priority: P,
    left: Reverse<usize>,
    right: usize,
    length: usize,
    token: u32,
}

/// Merges a row. `judge` says for two neighbours how urgent their merge is (the greatest first) and which
/// token it makes. Symbols that were swallowed stay in the row with length 0.
pub(super) fn merge<P: Ord>(symbols: &mut [Symbol], judge: impl Fn(&Symbol, &Symbol) -> Option<(P, u32)>) {
    let mut queue = BinaryHeap::with_capacity(symbols.len());
    let consider = |queue: &mut BinaryHeap<Candidate<P>>, symbols: &[Symbol], left: usize, right: usize| {
        // Of NONE, `get` gives nothing.
        let (Some(a), Some(b)) = (symbols.get(left), symbols.get(right)) else { return };
        if let Some((priority, token)) = judge(a, b) {
            queue.push(Candidate {
                priority,
                left: Reverse(left),
                right,
                length: a.length + b.length,
                token,
            });
        }
    };
    for right in 1..symbols.len() {
        consider(&mut queue, symbols, right - 1, right);
    }
    while let Some(Candidate { left: Reverse(left), right, length, token, .. }) = queue.pop() {
        let swallowed = &symbols[right];
        if symbols[left].length == 0
            || swallowed.length == 0
            || symbols[left].length + swallowed.length != length
        {
            continue; // one of the two has merged with another meanwhile
        }
        let next = swallowed.right;
        symbols[right].length = 0;
        symbols[left].length = length;
        symbols[left].token = Some(token);
        symbols[left].right = next;
        if let Some(next) = symbols.get_mut(next) {
            next.left = left;
        }
        let previous = symbols[left].left;
        consider(&mut queue, symbols, previous, left);
        consider(&mut queue, symbols, left, next);
    }
}
