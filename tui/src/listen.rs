//! What a command waits for while the daemon works: its frames, its end, and signals.

use std::ops::Deref;
use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::Context;
use signal_hook::iterator::{Handle, Signals};
use slmscope_profiles::wire::codec::Incoming;
use slmscope_profiles::wire::{Frame, Talk};

use crate::client::Connection;
use crate::failure::Failure;

/// What is waited for.
pub enum Event {
    /// The daemon sent it.
    Frame(Box<Frame>),
    /// The daemon answered a request that was sent while listening.
    Answer,
    /// The daemon is gone, and perhaps why.
    Gone(Option<String>),
    /// One of the signals came.
    Signal,
}

/// Frames and signals. Once it is dropped, no thread waits for signals any more.
pub struct Events {
    events: Receiver<Event>,
    signals: Handle,
}

impl Deref for Events {
    type Target = Receiver<Event>;

    fn deref(&self) -> &Receiver<Event> {
        &self.events
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// Reads frames and signals on two threads, into one queue.
///
/// # Errors
/// If no thread can be started.
pub fn listen(connection: Connection, mut signals: Signals) -> Result<Events, Failure> {
    let (sender, events) = mpsc::channel();
    let handle = signals.handle();
    let to_signals = sender.clone();
    let wait = move || {
        for _ in signals.forever() {
            if to_signals.send(Event::Signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("cannot start a thread")?;
    read_frames(connection, sender)?;
    Ok(Events { events, signals: handle })
}

/// The same without signals, which do to this process what they usually do.
///
/// # Errors
/// If no thread can be started.
pub fn frames(connection: Connection) -> Result<Receiver<Event>, Failure> {
    let (sender, events) = mpsc::channel();
    read_frames(connection, sender)?;
    Ok(events)
}

fn read_frames(mut connection: Connection, sender: Sender<Event>) -> Result<(), Failure> {
    let read = move || {
        loop {
            let event = match connection.next() {
                Ok(Some(Incoming::Frame(frame))) => match *frame {
                    Frame::Talk(Talk::Bye { reason }) => {
                        Event::Gone(Some(format!("the daemon ended the connection: {reason}")))
                    }
                    other => Event::Frame(Box::new(other)),
                },
                Ok(Some(Incoming::Reply(_))) => Event::Answer,
                Ok(Some(_)) => continue,
                Ok(None) => Event::Gone(None),
                Err(error) => Event::Gone(Some(format!("{error:#}"))),
            };
            let over = matches!(event, Event::Gone(_));
            if sender.send(event).is_err() || over {
                return;
            }
        }
    };
    std::thread::Builder::new().name("frames".to_owned()).spawn(read).context("cannot start a thread")?;
    Ok(())
}
