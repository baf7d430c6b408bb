//! The sessions that are kept: those of the running daemon, or without one those in the user's own folder.

use std::fs::File;

use serde::Deserialize;
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::sessions::{NoteChange, SessionInfo};
use slmscope_profiles::wire::Method;

use crate::client::Connection;
use crate::connect::{self, Target};
#[cfg(feature = "embedded-daemon")]
use crate::embedded;
use crate::failure::Failure;

/// Whoever can enter the user's own folder may do with all that is in it what root may.
#[cfg(feature = "embedded-daemon")]
const ANYBODYS: u32 = 0;

/// Sessions of one place.
pub enum KeptSessions {
    /// Of a daemon that runs.
    Daemon(Box<Connection>),
    /// Of the daemons that this user starts.
    #[cfg(feature = "embedded-daemon")]
    Own(embedded::SessionFolder),
}

impl KeptSessions {
    /// Those of the running daemon, or without one the user's own.
    ///
    /// # Errors
    /// If they cannot be reached.
    pub fn of(target: &Target) -> Result<Self, Failure> {
        if let Some(connection) = connect::running(target)? {
            return Ok(Self::Daemon(Box::new(connection)));
        }
        #[cfg(feature = "embedded-daemon")]
        {
            Ok(Self::Own(embedded::own_sessions()?))
        }
        #[cfg(not(feature = "embedded-daemon"))]
        {
            crate::embedded::absent("reading sessions without a running daemon")
        }
    }

    /// All of them, oldest first.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn list(&mut self) -> Result<Vec<SessionInfo>, Failure> {
        #[derive(Deserialize)]
        struct Listed {
            sessions: Vec<SessionInfo>,
        }
        match self {
            Self::Daemon(connection) => {
                let listed: Listed = answered(connection.call(Method::Sessions {}, &[])??)?;
                Ok(listed.sessions)
            }
            #[cfg(feature = "embedded-daemon")]
            Self::Own(folder) => Ok(folder.list()),
        }
    }

    /// Opens one for reading.
    ///
    /// # Errors
    /// If there is none, or it is somebody else's.
    pub fn open(&mut self, wanted: &Wanted) -> Result<File, Failure> {
        match self {
            Self::Daemon(connection) => {
                let (_, file) = connection.call_for_file(Method::OpenSession(wanted.clone()))??;
                Ok(file.into())
            }
            #[cfg(feature = "embedded-daemon")]
            Self::Own(folder) => {
                let opened = folder.open_session(wanted, ANYBODYS);
                let (_, file) = opened.map_err(anyhow::Error::from)?;
                Ok(file)
            }
        }
    }

    /// Removes one; how many bytes that frees.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or in use.
    pub fn remove(&mut self, session: JobId) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Removed {
            bytes: u64,
        }
        match self {
            Self::Daemon(connection) => {
                let removed: Removed = answered(connection.call(Method::RemoveSession { session }, &[])??)?;
                Ok(removed.bytes)
            }
            #[cfg(feature = "embedded-daemon")]
            Self::Own(folder) => Ok(folder.remove(session, ANYBODYS).map_err(anyhow::Error::from)?),
        }
    }

    /// Changes what its owner says of one.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or the note is too long.
    pub fn note(&mut self, session: JobId, change: NoteChange) -> Result<SessionInfo, Failure> {
        match self {
            Self::Daemon(connection) => {
                answered(connection.call(Method::NoteSession { session, change }, &[])??)
            }
            #[cfg(feature = "embedded-daemon")]
            Self::Own(folder) => Ok(folder.note(session, ANYBODYS, change).map_err(anyhow::Error::from)?),
        }
    }
}

/// The daemon's answer in its shape.
fn answered<T: for<'de> Deserialize<'de>>(answer: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's answer cannot be read: {error}")))
}
