//! Everything that the views show. Only [`update`](super::update::update) changes it. It contains no colours.

use slmscope_profiles::job::JobId;

use super::Options;
use super::data::Data;
use super::events::Events;
use super::export_line::ExportLine;
use super::form::Form;
use super::list::List;
use super::mark::Mark;
use super::overlay::{Overlay, Page};
use super::picker::Picker;
use super::replay::Replay;
use super::screens::hardware::state::Hardware;
use super::screens::ops::state::OpsTable;
use super::screens::sessions::state::Sessions;
use super::screens::timeline::state::Timeline;
use super::tab::Tab;
use super::tape::Tape;

/// The connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Not yet connected.
    Waiting,
    /// Connected.
    Up {
        /// Version of the daemon.
        version: String,
        /// Jobs may be submitted.
        may_submit: bool,
    },
    /// Ended, or could not be made.
    Down {
        /// Why.
        reason: String,
        /// Time between two tries to connect again, ns.
        retry_ns: u64,
    },
}

/// A connected daemon sends readings many times a second, and answers within two; longer than this is silence, ns.
const SILENT_NS: u64 = 5_000_000_000;

/// Whose the mouse events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mouse {
    /// They open tabs and scroll.
    Ours,
    /// The terminal selects text with them.
    Terminals,
}

/// A moment of the daemon's stream that stays on screen while the stream goes on.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// The figures at that moment.
    pub(super) data: Data,
    /// The moment, CLOCK_MONOTONIC ns.
    pub(super) at_ns: u64,
    /// The moment at which the screen was paused, CLOCK_MONOTONIC ns.
    pub(super) paused_ns: u64,
    /// Single events as they were when the screen was paused.
    pub(super) events: Events,
}

/// A question that waits for `y`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Confirm {
    /// As it is asked.
    pub(super) question: String,
    /// What is done then.
    pub(super) deed: Deed,
}

/// What is not done without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// A job is cancelled.
    Cancel(JobId),
    /// A session is removed.
    Remove(JobId),
}

/// When the daemon sent something.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hearing {
    /// It did since the last tick.
    pub(super) now: bool,
    /// The last tick before which it did, ns; `None` while it is not connected.
    pub(super) last_ns: Option<u64>,
}

/// The state of the dashboard.
#[derive(Debug)]
pub(super) struct State {
    /// What the dashboard was started with.
    pub(super) options: Options,
    /// The connection; not used while a recording is replayed.
    pub(super) link: Link,
    /// The recording that is replayed.
    pub(super) replay: Option<Replay>,
    /// It was opened over a daemon, to which the screen can return.
    pub(super) replay_is_over_live: bool,
    /// The recording as commands name it: a session's number or a file. Empty without one.
    pub(super) replay_source: String,
    /// The open screen.
    pub(super) tab: Tab,
    /// What is drawn over it.
    pub(super) overlay: Option<Overlay>,
    /// Rows that it is scrolled by.
    pub(super) scroll: usize,
    /// Whose the mouse is.
    pub(super) mouse: Mouse,
    /// Column from which on a part of the token on the Timeline screen is being marked with the mouse.
    pub(super) marked_from: Option<u16>,
    /// Keys are typed into the filter.
    pub(super) typing: bool,
    /// The Ops screen.
    pub(super) ops: OpsTable,
    /// The choice of a model.
    pub(super) picker: Picker,
    /// The Timeline screen.
    pub(super) timeline: Timeline,
    /// The selected op of the Roofline screen.
    pub(super) roofline: List,
    /// The Hardware screen.
    pub(super) hardware: Hardware,
    /// The Sessions screen.
    pub(super) sessions: Sessions,
    /// The form of a workload.
    pub(super) form: Form,
    /// The page of text that is open, such as a comparison.
    pub(super) page: Page,
    /// The file that an export goes to, as it is typed.
    pub(super) export: ExportLine,
    /// The op that is followed on all screens.
    pub(super) mark: Option<Mark>,
    /// A question that the next key answers.
    pub(super) confirm: Option<Confirm>,
    /// Numbers of requests for jobs, and of the jobs that came of them.
    pub(super) submitted: Vec<u64>,
    pub(super) own_jobs: Vec<JobId>,
    /// One line for the user, such as the refusal of a request.
    pub(super) notice: Option<String>,
    /// The moment of what is shown, CLOCK_MONOTONIC of the daemon's machine, ns: that of the last tick, where the screen
    /// follows the daemon.
    pub(super) now_ns: u64,
    /// How far that clock is ahead of this machine's, ns; 0 on this machine.
    pub(super) ahead_ns: i64,
    /// CLOCK_MONOTONIC of this machine at the last tick, ns.
    pub(super) clock_ns: u64,
    /// When the daemon sent something.
    pub(super) hearing: Hearing,
    /// Job and turn whose result was last asked for.
    pub(super) result_asked: Option<(JobId, u32)>,
    /// Number of that request.
    pub(super) result_request: Option<u64>,
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
    /// What the daemon has sent.
    pub(super) live: Data,
    /// The last of it, to go back in.
    pub(super) tape: Tape,
    /// What is shown instead while the screen is paused.
    pub(super) frozen: Option<Box<Frozen>>,
    /// What the recording holds up to its moment.
    pub(super) replayed: Data,
    /// Number of the next request.
    pub(super) next_id: u64,
    /// Number of the last request for the status, and when it was sent, ns.
    pub(super) status_asked: Option<(u64, u64)>,
    pub(super) dirty: bool,
}

impl State {
    /// The state before anything was received.
    pub(super) fn new(options: Options) -> Self {
        Self {
            mouse: if options.settings.mouse { Mouse::Ours } else { Mouse::Terminals },
            notice: options.settings.problems.first().cloned(),
            options,
            link: Link::Waiting,
            replay: None,
            replay_is_over_live: false,
            replay_source: String::new(),
            tab: Tab::Live,
            overlay: None,
            scroll: 0,
            marked_from: None,
            typing: false,
            ops: OpsTable::default(),
            picker: Picker::default(),
            timeline: Timeline::default(),
            roofline: List::default(),
            hardware: Hardware::default(),
            sessions: Sessions::default(),
            form: Form::default(),
            page: Page::default(),
            export: ExportLine::default(),
            mark: None,
            confirm: None,
            submitted: Vec::new(),
            own_jobs: Vec::new(),
            now_ns: 0,
            ahead_ns: 0,
            clock_ns: 0,
            hearing: Hearing::default(),
            result_asked: None,
            result_request: None,
            size: (80, 24),
            live: Data::default(),
            tape: Tape::default(),
            frozen: None,
            replayed: Data::default(),
            next_id: 1,
            status_asked: None,
            dirty: true,
        }
    }

    /// The data on screen: that of the recording, of the moment at which the screen was paused, or the current data.
    pub(super) fn shown(&self) -> &Data {
        match (&self.replay, &self.frozen) {
            (Some(_), _) => &self.replayed,
            (None, Some(frozen)) => &frozen.data,
            (None, None) => &self.live,
        }
    }

    /// The data on screen, and the screens whose settings depend on it.
    pub(super) fn shown_and_screens(&mut self) -> (&Data, &mut OpsTable, &mut Timeline) {
        let data = match (&self.replay, &self.frozen) {
            (Some(_), _) => &self.replayed,
            (None, Some(frozen)) => &frozen.data,
            (None, None) => &self.live,
        };
        (data, &mut self.ops, &mut self.timeline)
    }

    /// Whether the screen follows the daemon.
    pub(super) fn follows(&self) -> bool {
        self.replay.is_none() && self.frozen.is_none()
    }

    /// CLOCK_MONOTONIC of the daemon's machine at the last tick, ns.
    pub(super) fn daemon_now_ns(&self) -> u64 {
        self.clock_ns.saturating_add_signed(self.ahead_ns)
    }

    /// For how long a connected daemon has sent nothing, ns; `None` while that is no longer than usual.
    pub(super) fn silent_ns(&self) -> Option<u64> {
        let silent_ns = self.clock_ns.saturating_sub(self.hearing.last_ns?);
        (silent_ns >= SILENT_NS).then_some(silent_ns)
    }

    /// The state before anything of a recording was read.
    pub(super) fn replaying(options: Options, replay: Replay) -> Self {
        let state = Self::new(options);
        Self { notice: replay.problem().or(state.notice), replay: Some(replay), ..state }
    }

    /// Whether a moment of the daemon's stream stays on screen.
    pub(super) fn is_paused(&self) -> bool {
        self.replay.is_none() && self.frozen.is_some()
    }

    /// Whether something changed since the last frame, or changes with time.
    pub(super) fn is_dirty(&self) -> bool {
        let moves = |replay: &Replay| replay.playing || replay.follows || replay.is_behind();
        self.dirty || self.replay.as_ref().is_some_and(moves)
    }

    /// The same, and resets it because a frame is drawn now.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }
}
