//! A recording that is replayed: where it is, and where the user wants it to be.
//!
//! The [`Player`](super::player::Player) gives the frames up to the target, as a daemon would have sent them. One that is
//! still written is followed: its target is its end, which moves.

use crossterm::event::KeyCode;

use super::keys::{self, Binding, bind};

/// How fast a recording is played: seconds of the recording in a second.
pub const SPEEDS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// Index of the speed at which it was recorded.
const NORMAL: usize = 2;
/// Part of a recording that a seek goes over.
const SEEK: u64 = 20;

/// What a key does to the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    NextToken,
    PreviousToken,
    Forward,
    Back,
    Begin,
    End,
    Faster,
    Slower,
}

/// Keys that work on every screen while a recording is replayed, in the order in which help lists them.
pub const KEYS: &[Binding] = &[
    bind(&[KeyCode::Char(' ')], "space", "play or pause", keys::Action::Pause).in_footer(),
    bind(&[KeyCode::Right], "→", "next token", keys::Action::Replay(Action::NextToken)),
    bind(&[KeyCode::Left], "←", "previous token", keys::Action::Replay(Action::PreviousToken)),
    bind(&[KeyCode::Char('.')], ".", "a 20th forward", keys::Action::Replay(Action::Forward)),
    bind(&[KeyCode::Char(',')], ",", "a 20th back", keys::Action::Replay(Action::Back)),
    bind(&[KeyCode::Char('0')], "0", "to the beginning", keys::Action::Replay(Action::Begin)),
    bind(&[KeyCode::Char('$')], "$", "to the end", keys::Action::Replay(Action::End)),
    bind(&[KeyCode::Char(']')], "]", "play faster", keys::Action::Replay(Action::Faster)),
    bind(&[KeyCode::Char('[')], "[", "play slower", keys::Action::Replay(Action::Slower)),
];

/// What a recording holds, by time. All times are CLOCK_MONOTONIC, ns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// The first time of a message, leaving out the daemon's start.
    pub first_ns: u64,
    /// The last one.
    pub last_ns: u64,
    /// Ends of the host's tokens and chunks, in order.
    pub tokens: Vec<u64>,
    /// Parts that cannot be read.
    pub damaged: u64,
    /// Whether its writer ended it.
    pub is_complete: bool,
    /// Whether it is still written.
    pub is_growing: bool,
}

/// What was read of a recording beyond what its [`Index`] held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    /// The first time of a message; 0 if none came.
    pub first_ns: u64,
    /// The last one; 0 likewise.
    pub last_ns: u64,
    /// Ends of the host's tokens and chunks.
    pub tokens: Vec<u64>,
    /// Parts of the whole recording that cannot be read.
    pub damaged: u64,
    /// Whether its writer ended it.
    pub is_complete: bool,
    /// Whether it is still written.
    pub is_growing: bool,
}

/// The recording as the state has it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub index: Index,
    /// All messages up to here are in the state; `None` before the first.
    pub position_ns: Option<u64>,
    /// Up to where they are wanted.
    pub target_ns: u64,
    /// Whether the target moves on with time.
    pub playing: bool,
    /// Whether the target is the end of a recording that is still written, wherever that is.
    pub follows: bool,
    speed: usize,
    ticked_ns: Option<u64>,
}

impl Replay {
    /// A recording that is shown whole, and followed if it is still written; or played from its beginning if a speed is
    /// given.
    pub fn new(name: String, index: Index, speed: Option<f64>) -> Self {
        let known = speed.and_then(|speed| SPEEDS.iter().position(|known| known.total_cmp(&speed).is_eq()));
        Self {
            name,
            position_ns: None,
            target_ns: if speed.is_some() { index.first_ns } else { index.last_ns },
            playing: speed.is_some(),
            follows: speed.is_none() && index.is_growing,
            speed: known.unwrap_or(NORMAL),
            ticked_ns: None,
            index,
        }
    }

    /// What of the recording is missing, in a line.
    pub fn problem(&self) -> Option<String> {
        match self.index.damaged {
            0 if self.index.is_complete || self.index.is_growing => None,
            0 => Some("the recording has no end: its writer was killed, or the file is cut".to_owned()),
            1 => Some("a part of the recording cannot be read and is left out".to_owned()),
            parts => Some(format!("{parts} parts of the recording cannot be read and are left out")),
        }
    }

    /// What it does, in a word.
    pub fn does(&self) -> &'static str {
        match (self.playing, self.follows) {
            (true, _) => "playing",
            (false, true) => "following",
            (false, false) => "replay",
        }
    }

    /// Takes what was written meanwhile. If the end is followed, the target moves with it.
    pub fn grow(&mut self, growth: Growth) {
        let index = &mut self.index;
        index.last_ns = index.last_ns.max(growth.last_ns);
        // A recording of nothing begins with its first message.
        index.first_ns = if index.first_ns == 0 { growth.first_ns } else { index.first_ns };
        index.tokens.extend(growth.tokens);
        index.damaged = growth.damaged;
        (index.is_complete, index.is_growing) = (growth.is_complete, growth.is_growing);
        if self.follows {
            self.target_ns = index.last_ns;
            self.follows = index.is_growing;
        }
    }

    /// Seconds of the recording in a second.
    pub fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// Whether the state is not where it is wanted.
    pub fn is_behind(&self) -> bool {
        self.position_ns != Some(self.target_ns)
    }

    /// Whether the target is before what the state has, so that playing begins anew.
    pub fn must_rewind(&self) -> bool {
        self.position_ns.is_some_and(|position_ns| position_ns > self.target_ns)
    }

    /// Time since the beginning, ns.
    pub fn elapsed_ns(&self) -> u64 {
        self.position_ns.unwrap_or(self.index.first_ns).saturating_sub(self.index.first_ns)
    }

    /// Its length, ns.
    pub fn length_ns(&self) -> u64 {
        self.index.last_ns.saturating_sub(self.index.first_ns)
    }

    /// Moves the target on, if the recording is played. `now_ns` is the time of the terminal's machine.
    pub fn tick(&mut self, now_ns: u64) {
        let before_ns = self.ticked_ns.replace(now_ns).unwrap_or(now_ns);
        // Where reading cannot keep up, playing is slower than its speed says, and does not jump.
        if !self.playing || self.is_behind() {
            return;
        }
        let step = now_ns.saturating_sub(before_ns) as f64 * self.speed();
        self.target_ns = self.target_ns.saturating_add(step as u64).min(self.index.last_ns);
        self.playing = self.target_ns < self.index.last_ns;
        self.follows = !self.playing && self.index.is_growing;
    }

    /// Plays or follows, or stops that. At the end it begins again, or follows if it is still written.
    pub fn toggle(&mut self) {
        let is_at_end = self.target_ns >= self.index.last_ns;
        if self.index.is_growing && is_at_end {
            self.follows = !self.follows;
            return;
        }
        self.playing = !self.playing;
        if self.playing && is_at_end {
            self.target_ns = self.index.first_ns;
        }
    }

    /// Applies a key.
    pub fn act(&mut self, action: Action) {
        let Index { first_ns, last_ns, ref tokens, .. } = self.index;
        let part = (self.length_ns() / SEEK).max(1);
        let at = self.target_ns;
        self.follows &= matches!(action, Action::Faster | Action::Slower);
        match action {
            Action::NextToken => {
                let next = tokens.partition_point(|&end| end <= at);
                self.stop_at(tokens.get(next).copied().unwrap_or(last_ns));
            }
            Action::PreviousToken => {
                let before = tokens.partition_point(|&end| end < at).checked_sub(1);
                self.stop_at(before.and_then(|before| tokens.get(before)).copied().unwrap_or(first_ns));
            }
            Action::Forward => self.target_ns = at.saturating_add(part).min(last_ns),
            Action::Back => self.target_ns = at.saturating_sub(part).max(first_ns),
            Action::Begin => self.target_ns = first_ns,
            Action::End => {
                self.stop_at(last_ns);
                self.follows = self.index.is_growing;
            }
            Action::Faster => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            Action::Slower => self.speed = self.speed.saturating_sub(1),
        }
    }

    fn stop_at(&mut self, at_ns: u64) {
        self.playing = false;
        self.target_ns = at_ns;
    }
}
