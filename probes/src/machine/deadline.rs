//! Deadlines for calls that may never return: a read that hangs in a driver, a library that does not open.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use slmscope_profiles::channel::ReasonCode;

/// The time that a sensor has to answer where a caller waits for it. Those behind a controller's mailbox take some
/// 100 ms.
pub(crate) const SENSOR: Duration = Duration::from_millis(500);

/// What `work` returns. It runs in a thread of its own, which is left behind if that takes too long.
///
/// # Errors
/// [`ReasonCode::Deadline`] if it took longer than `limit`, [`ReasonCode::ReadError`] if there is no thread
/// for it.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReasonCode> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let body = move || {
        // Nobody listens any more after the deadline; what came late is dropped here.
        let _ = sender.send(work());
    };
    thread::Builder::new()
        .name("probe-deadline".to_owned())
        .spawn(body)
        .map_err(|_| ReasonCode::ReadError)?;
    receiver.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => ReasonCode::Deadline,
        RecvTimeoutError::Disconnected => ReasonCode::ReadError,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_left_behind() {
        let (release, held) = mpsc::channel::<()>();
        let (ended, done) = mpsc::channel();
        let work = move || {
            let _ = held.recv();
            let _ = ended.send(());
        };
        assert_eq!(within(Duration::ZERO, work), Err(ReasonCode::Deadline));
        drop(release);
        assert_eq!(done.recv(), Ok(()), "its thread goes on by itself");
        assert_eq!(within(Duration::MAX, || 7), Ok(7));
    }
}
