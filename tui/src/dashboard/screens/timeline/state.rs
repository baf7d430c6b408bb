//! Which token the Timeline screen shows, and which part of it.

use std::collections::VecDeque;
use std::sync::Arc;

use slmscope_profiles::op::{OpBatch, Phase};

/// What a key of the screen changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    ZoomIn,
    ZoomOut,
    Later,
    Earlier,
    Down,
    Up,
    Slowest,
    P99,
    Median,
    Newest,
    /// Differences from the shown token are listed from here on, or no longer.
    Base,
}

/// Largest zoom: 2 to this power.
const MAX_ZOOM: u32 = 12;

/// Settings of the screen.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// Number of the shown token in its stream; `None` for the newest.
    pub selected: Option<u64>,
    /// What the shown token is compared with.
    pub base: Option<Arc<OpBatch>>,
    /// The part that is shown is 1/2^zoom of the token.
    pub zoom: u32,
    /// Where that part begins, as a share of the token.
    pub begin: f64,
    /// The first layer that is shown.
    pub first_row: usize,
}

/// Tokens and chunks, oldest first.
pub type Tokens = VecDeque<Arc<OpBatch>>;

impl Timeline {
    /// Index of the shown token; `None` without any. One that is no longer kept is replaced by the oldest.
    pub fn shown(&self, tokens: &Tokens) -> Option<usize> {
        let newest = tokens.len().checked_sub(1)?;
        let Some(selected) = self.selected else { return Some(newest) };
        Some(tokens.iter().position(|token| token.head.seq >= selected).unwrap_or(newest))
    }

    /// Begin and end of the part that is shown, as shares of the token.
    pub fn part(&self) -> (f64, f64) {
        let length = 0.5_f64.powi(self.zoom as i32);
        let begin = self.begin.clamp(0.0, 1.0 - length);
        (begin, begin + length)
    }

    /// Applies an action; `rows` is how many rows of layers there are.
    pub fn act(&mut self, action: Action, tokens: &Tokens, rows: usize) {
        let length = 0.5_f64.powi(self.zoom as i32);
        match action {
            Action::ZoomIn => self.zoom_to((self.zoom + 1).min(MAX_ZOOM)),
            Action::ZoomOut => self.zoom_to(self.zoom.saturating_sub(1)),
            Action::Later => self.begin = (self.part().0 + length / 2.0).min(1.0 - length),
            Action::Earlier => self.begin = (self.part().0 - length / 2.0).max(0.0),
            Action::Down => self.first_row = (self.first_row + 1).min(rows.saturating_sub(1)),
            Action::Up => self.first_row = self.first_row.saturating_sub(1),
            Action::Slowest => self.go_to(1.0, tokens),
            Action::P99 => self.go_to(0.99, tokens),
            Action::Median => self.go_to(0.5, tokens),
            Action::Newest => self.selected = None,
            Action::Base => {
                self.base = match self.base.take() {
                    Some(_) => None,
                    None => self.shown(tokens).and_then(|at| tokens.get(at)).cloned(),
                };
            }
        }
    }

    /// Keeps the middle of the part where it is.
    fn zoom_to(&mut self, zoom: u32) {
        let (begin, end) = self.part();
        self.zoom = zoom;
        let length = 0.5_f64.powi(zoom as i32);
        self.begin = (f64::midpoint(begin, end) - length / 2.0).clamp(0.0, 1.0 - length);
    }

    /// Shows what lies between two places, as shares of the part that is shown: all of it, and no more than twice as much.
    pub fn zoom_to_part(&mut self, from: f64, to: f64) {
        let (begin, end) = self.part();
        let place = |share: f64| begin + share.clamp(0.0, 1.0) * (end - begin);
        let (from, to) = (place(from.min(to)), place(from.max(to)));
        let length = (to - from).max(0.5_f64.powi(MAX_ZOOM as i32));
        self.zoom = (-length.log2()).floor().clamp(0.0, f64::from(MAX_ZOOM)) as u32;
        let length = 0.5_f64.powi(self.zoom as i32);
        self.begin = (f64::midpoint(from, to) - length / 2.0).clamp(0.0, 1.0 - length);
    }

    /// Goes to the next token, or to the one before; whether there is one.
    pub fn step(&mut self, is_forward: bool, tokens: &Tokens) -> bool {
        let Some(at) = self.shown(tokens) else { return false };
        let to = if is_forward { at.checked_add(1) } else { at.checked_sub(1) };
        let found = to.and_then(|to| tokens.get(to));
        self.selected = found.map(|token| token.head.seq).or(self.selected);
        found.is_some()
    }

    /// Goes to the decode step that a share `q` of them does not exceed.
    fn go_to(&mut self, q: f64, tokens: &Tokens) {
        let mut steps: Vec<_> = tokens
            .iter()
            .filter(|token| token.head.phase == Phase::Decode)
            .map(|token| (wall_ns(token), token.head.seq))
            .collect();
        steps.sort_unstable();
        let rank = ((steps.len() as f64 * q).ceil() as usize).saturating_sub(1);
        self.selected = steps.get(rank).map(|&(_, seq)| seq).or(self.selected);
    }
}

/// Wall time of a token or chunk, ns.
pub fn wall_ns(token: &OpBatch) -> u64 {
    token.head.end_ns.saturating_sub(token.head.begin_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_part_is_shown_whole_and_not_much_more() {
        let mut timeline = Timeline::default();
        timeline.zoom_to_part(0.7, 0.6);
        let (begin, end) = timeline.part();
        assert!(begin <= 0.6 && end >= 0.7 && end - begin <= 0.2 + 1e-9, "{begin} {end}");
        for (from, to) in [(0.0, 0.001), (0.5, 0.5), (f64::NAN, 2.0), (-1.0, 9.0)] {
            timeline.zoom_to_part(from, to);
            let (begin, end) = timeline.part();
            assert!(begin >= 0.0 && end <= 1.0 && begin < end, "{from} {to}");
        }
    }

    #[test]
    fn zooming_keeps_the_middle_and_stays_within_the_token() {
        let (none, mut timeline) = (Tokens::new(), Timeline::default());
        timeline.act(Action::ZoomIn, &none, 0);
        assert_eq!(timeline.part(), (0.25, 0.75));
        timeline.act(Action::Later, &none, 0);
        timeline.act(Action::Later, &none, 0);
        assert_eq!(timeline.part(), (0.5, 1.0));
        timeline.act(Action::ZoomOut, &none, 0);
        assert_eq!(timeline.part(), (0.0, 1.0));
        for _ in 0..99 {
            timeline.act(Action::ZoomIn, &none, 0);
        }
        assert!(timeline.part().1 > timeline.part().0);
        assert_eq!(timeline.shown(&none), None);
        for action in [Action::Slowest, Action::Base, Action::Down] {
            timeline.act(action, &none, 0);
        }
    }
}
