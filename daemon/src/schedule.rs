//! The schedule: workloads that the daemon runs by itself, as the configuration has them.
//!
//! ```text
//! due (at start, every N minutes, cron) ──▶ waits for its conditions ──▶ queued as a job ──▶ runs
//!                                             │ due again meanwhile
//!                                             └──▶ this time is skipped, and counted
//! ```
//!
//! Each change is one line of the log. A condition that cannot be read does not hold: a board whose temperature is
//! unknown is not cool.

pub mod cron;
pub mod entry;
mod queue;

use slmscope_profiles::job::JobId;

pub use entry::{Entry, EntryError};
pub(crate) use queue::run;

/// The load that the kernel states for the last minute must be below this for the machine to be idle.
const IDLE_LOAD: f64 = 0.5;

/// The machine and the daemon at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// CLOCK_MONOTONIC, ns.
    pub(crate) now_ns: u64,
    /// Minutes since 1970.
    pub(crate) wall_minute: i64,
    /// A job runs or waits.
    pub(crate) is_busy: bool,
    /// The kernel's load of the last minute; `None` if it is not known.
    pub(crate) load: Option<f64>,
    /// The highest temperature, °C; `None` if none is known.
    pub(crate) hottest: Option<f64>,
    /// How full the battery is.
    pub(crate) battery: Battery,
}

/// How full a battery is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Battery {
    /// The machine has none.
    None,
    /// It has one that does not say.
    Unknown,
    /// 0 to 1; of several, the emptiest.
    Level(f64),
}

/// The daemon, as the schedule uses it.
pub(crate) trait Queue {
    /// Queues the job of an entry.
    ///
    /// # Errors
    /// Why it is refused.
    fn submit(&mut self, entry: &Entry) -> Result<JobId, String>;

    /// Whether a job waits or runs.
    fn is_open(&self, job: JobId) -> bool;

    /// Counts what became of an entry that was due: `run`, `skipped` or `refused`.
    fn count(&mut self, entry: &Entry, outcome: &'static str);
}

/// Entries, and what each waits for.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    planned: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    entry: Entry,
    /// When `every_minutes` makes it due next, ns.
    next_ns: Option<u64>,
    /// The last minute that was looked at.
    minute: i64,
    /// It is due and waits for its conditions.
    waits: bool,
    /// The condition that was logged last.
    logged: Option<&'static str>,
    /// The job that it started last.
    job: Option<JobId>,
}

impl Planned {
    fn new(entry: Entry, moment: &Moment, is_start: bool) -> Self {
        let next_ns = entry.every_minutes.map(|minutes| moment.now_ns + minutes_ns(minutes));
        let waits = entry.at_start && is_start;
        Self { entry, next_ns, minute: moment.wall_minute, waits, logged: None, job: None }
    }

    /// Whether it became due since the last look. Times that passed unseen, as while the machine slept, count once.
    fn became_due(&mut self, moment: &Moment) -> bool {
        let mut due = false;
        if let (Some(next_ns), Some(minutes)) = (self.next_ns, self.entry.every_minutes)
            && moment.now_ns >= next_ns
        {
            let period_ns = minutes_ns(minutes);
            let missed = (moment.now_ns - next_ns) / period_ns;
            self.next_ns = Some(next_ns + (missed + 1) * period_ns);
            due = true;
        }
        if moment.wall_minute != self.minute {
            self.minute = moment.wall_minute;
            due |= self.entry.cron.as_ref().is_some_and(|cron| cron.is_due(moment.wall_minute));
        }
        due
    }

    /// The condition that does not hold; `None` if all do.
    fn unmet(&self, moment: &Moment) -> Option<&'static str> {
        let entry = &self.entry;
        if entry.idle_only && moment.is_busy {
            return Some("another job runs or waits");
        }
        if entry.idle_only && moment.load.is_none_or(|load| load >= IDLE_LOAD) {
            return Some("the machine is not idle");
        }
        if let Some(limit) = entry.max_celsius {
            match moment.hottest {
                None => return Some("no temperature is known"),
                Some(celsius) if celsius > limit => return Some("the machine is too warm"),
                Some(_) => {}
            }
        }
        match (entry.min_battery, moment.battery) {
            (Some(_), Battery::Unknown) => Some("the battery does not say how full it is"),
            (Some(least), Battery::Level(level)) if level < least => Some("the battery is too empty"),
            _ => None,
        }
    }

    fn look(&mut self, moment: &Moment, queue: &mut impl Queue) {
        if self.became_due(moment) && std::mem::replace(&mut self.waits, true) {
            let name = self.entry.name.as_str();
            tracing::info!(entry = name, "A run was skipped: it was due again before its conditions held.");
            queue.count(&self.entry, "skipped");
        }
        let name = self.entry.name.as_str();
        if !self.waits {
            return;
        }
        if self.job.is_some_and(|job| queue.is_open(job)) {
            self.waits = false;
            tracing::info!(entry = name, "A run was skipped: the one before it has not ended.");
            queue.count(&self.entry, "skipped");
            return;
        }
        if let Some(reason) = self.unmet(moment) {
            if self.logged.replace(reason) != Some(reason) {
                tracing::info!(entry = name, reason, "A run is due and waits.");
            }
            return;
        }
        (self.waits, self.logged) = (false, None);
        match queue.submit(&self.entry) {
            Ok(job) => {
                self.job = Some(job);
                tracing::info!(entry = name, job, "A run was queued.");
                queue.count(&self.entry, "run");
            }
            Err(error) => {
                tracing::warn!(entry = name, error, "A run was refused.");
                queue.count(&self.entry, "refused");
            }
        }
    }
}

impl Schedule {
    /// Takes other entries; those that stay as they were go on, new ones wait for their first time.
    pub(crate) fn set(&mut self, entries: &[Entry], moment: &Moment, is_start: bool) {
        let mut before = std::mem::take(&mut self.planned);
        for entry in entries {
            let known = before.iter().position(|planned| planned.entry == *entry);
            let planned = known.map(|at| before.swap_remove(at));
            self.planned.push(planned.unwrap_or_else(|| Planned::new(entry.clone(), moment, is_start)));
        }
    }

    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Starts what is due and may run.
    pub(crate) fn look(&mut self, moment: &Moment, queue: &mut impl Queue) {
        for planned in &mut self.planned {
            planned.look(moment, queue);
        }
    }
}

fn minutes_ns(minutes: u32) -> u64 {
    u64::from(minutes) * 60_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// A queue whose jobs stay open until they are closed.
    #[derive(Default)]
    struct Recorded {
        jobs: Vec<String>,
        open: bool,
        refuse: bool,
        outcomes: Vec<&'static str>,
    }

    impl Queue for Recorded {
        fn submit(&mut self, entry: &Entry) -> Result<JobId, String> {
            if self.refuse {
                return Err("no".to_owned());
            }
            self.jobs.push(entry.name.clone());
            Ok(self.jobs.len() as JobId)
        }

        fn is_open(&self, _: JobId) -> bool {
            self.open
        }

        fn count(&mut self, _: &Entry, outcome: &'static str) {
            self.outcomes.push(outcome);
        }
    }

    fn entry(text: &str) -> Entry {
        toml::from_str(&format!("name = \"e\"\nmodel = \"smollm2-135m\"\n{text}")).unwrap()
    }

    fn at(minute: u64) -> Moment {
        Moment {
            now_ns: minute * MINUTE,
            wall_minute: 29_000_000 + minute as i64,
            is_busy: false,
            load: Some(0.1),
            hottest: Some(40.0),
            battery: Battery::None,
        }
    }

    fn started(text: &str) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.set(&[entry(text)], &at(0), true);
        schedule
    }

    #[test]
    fn entries_are_due_at_start_every_so_often_and_at_times() {
        let run = |text: &str, minutes: std::ops::RangeInclusive<u64>| {
            let (mut schedule, mut queue) = (started(text), Recorded::default());
            for minute in minutes {
                // Looked at more often than once a minute.
                (0..3).for_each(|_| schedule.look(&at(minute), &mut queue));
            }
            queue.jobs.len()
        };
        assert_eq!(run("at_start = true", 0..=200), 1);
        assert_eq!(run("every_minutes = 10", 0..=60), 6);
        // 29,000,000 minutes after 1970 are 20 minutes past an hour.
        assert_eq!(run("cron = \"30 * * * *\"", 0..=120), 2);
        assert_eq!(run("at_start = true\nevery_minutes = 30", 0..=60), 3);
        let (mut schedule, mut queue) = (started("every_minutes = 10"), Recorded::default());
        schedule.look(&at(95), &mut queue);
        schedule.look(&at(99), &mut queue);
        schedule.look(&at(100), &mut queue);
        assert_eq!(queue.jobs.len(), 2, "what was missed asleep runs once");
    }

    #[test]
    fn conditions_are_waited_for() {
        let ok = at(1);
        for (text, blocked) in [
            ("idle_only = true", Moment { is_busy: true, ..ok }),
            ("idle_only = true", Moment { load: Some(0.9), ..ok }),
            ("idle_only = true", Moment { load: None, ..ok }),
            ("max_celsius = 60.0", Moment { hottest: Some(60.1), ..ok }),
            ("max_celsius = 60.0", Moment { hottest: None, ..ok }),
            ("min_battery = 0.5", Moment { battery: Battery::Level(0.49), ..ok }),
            ("min_battery = 0.5", Moment { battery: Battery::Unknown, ..ok }),
        ] {
            let (mut schedule, mut queue) =
                (started(&format!("at_start = true\n{text}")), Recorded::default());
            schedule.look(&blocked, &mut queue);
            assert!(queue.jobs.is_empty(), "{text} at {blocked:?}");
            schedule.look(&ok, &mut queue);
            assert_eq!(queue.outcomes, ["run"], "{text}");
        }
    }

    #[test]
    fn a_run_that_cannot_start_in_time_is_skipped_and_counted() {
        let (mut schedule, mut queue) =
            (started("every_minutes = 10\nmax_celsius = 30.0"), Recorded::default());
        for minute in [10, 20, 30] {
            schedule.look(&at(minute), &mut queue);
        }
        assert_eq!((queue.jobs.len(), queue.outcomes.as_slice()), (0, &["skipped", "skipped"][..]));
        let (mut schedule, mut queue) = (started("every_minutes = 10"), Recorded::default());
        schedule.look(&at(10), &mut queue);
        queue.open = true;
        schedule.look(&at(20), &mut queue);
        assert_eq!(queue.outcomes, ["run", "skipped"], "the one before still runs");
        (queue.open, queue.refuse) = (false, true);
        schedule.look(&at(30), &mut queue);
        schedule.look(&at(31), &mut queue);
        assert_eq!(queue.outcomes, ["run", "skipped", "refused"], "it is not tried again before it is due");
    }

    #[test]
    fn a_changed_schedule_keeps_what_stays() {
        let mut schedule = started("every_minutes = 10");
        let mut queue = Recorded::default();
        let other = Entry { name: "other".to_owned(), ..entry("at_start = true") };
        schedule.set(&[entry("every_minutes = 10"), other], &at(5), false);
        schedule.look(&at(10), &mut queue);
        assert_eq!(queue.jobs, ["e"], "at_start is for the start of the daemon");
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        for (text, message) in [
            ("idle_only = true", "is never due"),
            ("every_minutes = 0", "1 is the least"),
            ("at_start = true\nworkload = { loop = true }", "loops"),
            ("at_start = true\nworkload = { prompt = 0, generate = 0 }", "workload.generate: "),
            ("at_start = true\nmin_battery = 30.0", "from 0 to 1"),
            ("at_start = true\nmax_celsius = 900.0", "from -40 to 150"),
        ] {
            let refused = entry::check(&[entry(text)]).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
        let unknown = Entry { model: "smollm2-136m".to_owned(), ..entry("at_start = true") };
        let refused = entry::check(&[unknown]).unwrap_err().to_string();
        assert!(refused.contains("there is no model `smollm2-136m`; did you mean smollm2-1"), "{refused}");
        let twice = [entry("at_start = true"), entry("at_start = true")];
        assert!(entry::check(&twice).unwrap_err().to_string().contains("a name of its own"));
        assert!(entry::check(&twice[..1]).is_ok());
    }
}
