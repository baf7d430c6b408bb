//! The machine's roofs, looked at before and after the measured repetitions by a worker of their own.

use std::time::{Duration, Instant};

use slmscope_engine::kernels::Isa;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_profiles::roofline::{Look, Roofs};

use super::attempt::available_memory;
use crate::supervisor::WorkerProcess;
use crate::worker::protocol::{Command, Event, LookOrder};

/// Looks before, and as many after.
const LOOKS: u32 = 5;
/// What one look takes, ns.
const LOOK_NS: u64 = 100_000_000;
/// Memory that is read: far more than caches hold, and never more than a quarter of what is free.
const BUFFER_BYTES: u64 = 256 << 20;
/// Less says more of the caches than of memory.
const LEAST_BUFFER_BYTES: u64 = 32 << 20;
/// A look that is not over by then never will be.
const PATIENCE: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(25);

/// What was seen so far.
#[derive(Default)]
pub(super) struct Looks {
    looks: Vec<Look>,
    /// Why something was not seen.
    problem: Option<String>,
}

impl Looks {
    /// Looks once more, with the threads and instructions of `setup`. A machine that cannot be looked at has no
    /// roofs, with the reason; `stop` says that there is no time for it.
    pub(super) fn add(&mut self, setup: Setup, stop: impl FnMut() -> bool) {
        match look(of_machine(setup), stop) {
            Ok(looks) => self.looks.extend(looks),
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// The roofs for what ended at `now_ns`; all or none of the looks count.
    pub(super) fn roofs(&self, setup: Setup, now_ns: u64) -> Roofs {
        match &self.problem {
            Some(problem) => Roofs::absent(problem),
            None if self.looks.is_empty() => Roofs::absent("the run ended before the machine was looked at"),
            None => {
                let setup = of_machine(setup);
                Roofs::of(&self.looks, setup.threads.get() as u32, setup.isa.name(), now_ns)
            }
        }
    }
}

/// candle's instructions are the compiler's choice; what the machine could do is not.
fn of_machine(setup: Setup) -> Setup {
    let isa = if setup.executor == ExecutorKind::Cpu { setup.isa } else { Isa::detect() };
    Setup { executor: ExecutorKind::Cpu, isa, ..setup }
}

fn look(setup: Setup, mut stop: impl FnMut() -> bool) -> Result<Vec<Look>, String> {
    let buffer_bytes = available_memory().map_or(BUFFER_BYTES, |free| BUFFER_BYTES.min(free / 4));
    if buffer_bytes < LEAST_BUFFER_BYTES {
        return Err("too little memory is free to see how fast it is".to_owned());
    }
    let mut worker = WorkerProcess::spawn(setup).map_err(|error| format!("{error:#}"))?;
    let order = LookOrder { setup, buffer_bytes, looks: LOOKS, look_ns: LOOK_NS };
    let until = Instant::now() + PATIENCE;
    let sent = worker.send(&Command::Look(order), &[]);
    let looks = sent.map_err(|error| error.to_string()).and_then(|()| {
        loop {
            if stop() {
                return Err("the run ended before the machine was looked at".to_owned());
            }
            if Instant::now() >= until {
                return Err(format!("a look at the machine took more than {} s", PATIENCE.as_secs()));
            }
            match worker.next_event(TURN) {
                Ok(Some(Event::Looks(looks))) => return Ok(looks),
                Ok(Some(Event::Failed { message })) => return Err(message),
                Ok(_) => {}
                Err(error) => return Err(format!("the worker that looked at the machine is gone: {error}")),
            }
        }
    });
    worker.kill();
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_not_seen_whole_has_no_roofs() {
        let look = Look { at_ns: 1, read_bytes: 1.0, f32_flops: 1.0, int8_ops: 1.0 };
        let mut looks = Looks { looks: vec![look], problem: None };
        let setup = Setup::default();
        let roofs = looks.roofs(setup, 3);
        assert_eq!((roofs.looks, roofs.threads, roofs.age_ns, roofs.reason), (1, 1, Some(2), None));
        looks.problem = Some("gone".to_owned());
        assert_eq!(looks.roofs(setup, 3), Roofs::absent("gone"));
        assert!(Looks::default().roofs(setup, 3).reason.is_some());
    }
}
