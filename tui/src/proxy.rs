//! The host's end of `--host`: carries a client's messages between standard input and output and the daemon's socket.
//!
//! Bytes pass as they are, but for one kind of message: a job with a model that is named by its path. Open files cannot
//! come through ssh, so the proxy opens the model here, with the rights of the user who logged in, as a client on this
//! machine does, and sends the open files on with the message.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{ErrorCode, MAGIC, Method, Outcome, Reply, Request, Submit, WireError};

use crate::client::Sender;
use crate::model_source::{self, ChosenModel};

/// Bytes that are read at once.
const PART: usize = 16 << 10;
/// Longest line of an answer before a file, bytes.
pub const MAX_ANSWER: u64 = 1 << 20;

/// What the proxy says before the content of a file that was asked for: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAnswer {
    /// The file's content follows.
    Ok {
        /// The daemon's answer.
        value: serde_json::Value,
        /// How many bytes follow.
        bytes: u64,
    },
    /// The daemon refused; nothing follows.
    Error(WireError),
}

/// Which end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The daemon, or it has ended the connection.
    Daemon,
    /// The client.
    Client,
}

/// Carries messages until one end is gone, which may be while `input` still waits. On `daemon` nothing was said yet.
///
/// # Errors
/// If the daemon's socket fails.
pub fn relay(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    daemon: UnixStream,
) -> io::Result<Ended> {
    let relay = Arc::new(Relay {
        output: Mutex::new(output),
        is_message_pack: AtomicBool::new(false),
        client_left: AtomicBool::new(false),
        daemon,
    });
    let upwards = relay.clone();
    std::thread::Builder::new().name("upwards".to_owned()).spawn(move || upwards.upwards(input))?;
    relay.downwards()
}

struct Relay<W> {
    /// To the client. Whole messages, so that the proxy's own come between them.
    output: Mutex<W>,
    /// The client's messages are MessagePack; else its bytes pass as they are.
    is_message_pack: AtomicBool,
    client_left: AtomicBool,
    daemon: UnixStream,
}

impl<W: Write> Relay<W> {
    /// Carries what the client says until it says no more.
    fn upwards(&self, input: impl Read) {
        // That the daemon takes nothing shows downwards too.
        let _ = self.try_upwards(input);
        // `printf … | ssh HOST slmscope proxy` waits for its answers; a program of ours that has closed is gone.
        let how = if self.is_message_pack.load(Ordering::Acquire) {
            self.client_left.store(true, Ordering::Release);
            Shutdown::Both
        } else {
            Shutdown::Write
        };
        let _ = self.daemon.shutdown(how);
    }

    fn try_upwards(&self, mut input: impl Read) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        while buffer.len() < MAGIC.len() && MAGIC.starts_with(&buffer) {
            if fill(&mut input, &mut buffer)? == 0 {
                break;
            }
        }
        let sender = Sender::over(self.daemon.try_clone()?);
        if !buffer.starts_with(&MAGIC) {
            (&self.daemon).write_all(&buffer)?;
            io::copy(&mut input, &mut &self.daemon)?;
            return Ok(());
        }
        self.is_message_pack.store(true, Ordering::Release);
        (&self.daemon).write_all(&MAGIC)?;
        buffer.drain(..MAGIC.len());
        loop {
            while let Some(message) = Codec::MessagePack.split(&mut buffer)? {
                self.pass_on(&message, &sender)?;
            }
            if fill(&mut input, &mut buffer)? == 0 {
                return Ok(());
            }
        }
    }

    /// Sends a message of the client on, with the model's files if it names them by their path.
    fn pass_on(&self, message: &[u8], sender: &Sender) -> anyhow::Result<()> {
        let request = Codec::MessagePack.request(message);
        let Ok(Request { method: Method::Submit(submit), id, .. }) = request else {
            return Ok((&self.daemon).write_all(&framed(message))?);
        };
        let ModelRef::Path(path) = &submit.model else {
            return Ok((&self.daemon).write_all(&framed(message))?);
        };
        match model_source::choose(Some(path)) {
            Ok(ChosenModel { model, files }) => {
                let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
                let submit = Submit { model, ..submit };
                sender.send(&Request::new(id, Method::Submit(submit)), &files)
            }
            Err(refused) => {
                let message = refused.message.unwrap_or_default();
                let error = WireError { code: ErrorCode::UnknownModel, message, field: None };
                let reply = Reply { re: id, outcome: Outcome::Error(error) };
                let mut output = self.output();
                output.write_all(&Codec::MessagePack.encode(Envelope::Reply, &reply))?;
                Ok(output.flush()?)
            }
        }
    }

    /// Carries what the daemon says until it says no more.
    fn downwards(&self) -> io::Result<Ended> {
        let mut buffer = Vec::new();
        loop {
            let count = match fill(&mut &self.daemon, &mut buffer) {
                // As a daemon that is killed leaves it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                count => count?,
            };
            // The last bytes may be a part of a message, which is the client's to see.
            let whole = match count {
                1.. if self.is_message_pack.load(Ordering::Acquire) => whole_messages(&buffer),
                _ => buffer.len(),
            };
            let mut output = self.output();
            if output.write_all(&buffer[..whole]).and_then(|()| output.flush()).is_err() {
                return Ok(Ended::Client);
            }
            buffer.drain(..whole);
            if count == 0 {
                let is_client = self.client_left.load(Ordering::Acquire);
                return Ok(if is_client { Ended::Client } else { Ended::Daemon });
            }
        }
    }

    fn output(&self) -> MutexGuard<'_, W> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads some bytes into `buffer`; 0 at the end.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut part = [0; PART];
    loop {
        match input.read(&mut part) {
            Ok(count) => {
                buffer.extend_from_slice(&part[..count]);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A message with its length before it, as [`Codec::split`] took it off.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_le_bytes();
    [&length, message].concat()
}

/// How many bytes at the beginning are whole messages.
fn whole_messages(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = bytes.get(end..).and_then(<[u8]>::first_chunk) {
        let next = end + 4 + u32::from_le_bytes(*length) as usize;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use slmscope_profiles::wire::codec::Incoming;
    use slmscope_profiles::wire::{Frame, Talk};
    use slmscope_profiles::workload::Workload;

    use super::*;

    /// A client, the proxy between it and a daemon, and how the proxy ends.
    fn relayed() -> (UnixStream, UnixStream, mpsc::Receiver<Ended>) {
        let (client, near) = UnixStream::pair().unwrap();
        let (far, daemon) = UnixStream::pair().unwrap();
        let (sender, ended) = mpsc::channel();
        let output = near.try_clone().unwrap();
        std::thread::spawn(move || sender.send(relay(near, output, far).unwrap()));
        (client, daemon, ended)
    }

    fn message(stream: &mut UnixStream) -> Vec<u8> {
        let mut buffer = Vec::new();
        loop {
            if let Some(message) = Codec::MessagePack.split(&mut buffer).unwrap() {
                assert!(buffer.is_empty());
                return message;
            }
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            buffer.push(byte[0]);
        }
    }

    #[test]
    fn messages_pass_as_they_are_in_both_directions() {
        let (mut client, mut daemon, ended) = relayed();
        // A field that this version does not know is passed on.
        let mut unknown = vec![0x81, 0xa6];
        unknown.extend_from_slice(b"dances");
        unknown.push(0x80);
        let request = framed(&[&[Envelope::Request as u8][..], &unknown].concat());
        client.write_all(&[&MAGIC[..], &request].concat()).unwrap();
        let mut heard = vec![0; MAGIC.len() + request.len()];
        daemon.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [&MAGIC[..], &request].concat());
        let bye = Frame::Talk(Talk::Bye { reason: "enough".to_owned() });
        daemon.write_all(&Codec::MessagePack.encode(Envelope::Frame, &bye)).unwrap();
        let heard = Codec::MessagePack.incoming(&message(&mut client)).unwrap();
        assert_eq!(heard, Incoming::Frame(Box::new(bye)));
        drop(daemon);
        assert_eq!(ended.recv().unwrap(), Ended::Daemon);
    }

    #[test]
    fn a_client_that_is_gone_ends_the_connection_to_the_daemon() {
        let (mut client, mut daemon, ended) = relayed();
        client.write_all(&MAGIC).unwrap();
        drop(client);
        assert_eq!(ended.recv().unwrap(), Ended::Client);
        let mut heard = Vec::new();
        daemon.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, MAGIC);
    }

    #[test]
    fn lines_of_json_are_answered_after_the_client_has_said_all() {
        let (mut client, mut daemon, ended) = relayed();
        client.write_all(b"{\"status\":{}}\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        daemon.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "{\"status\":{}}\n");
        daemon.write_all(b"{\"ok\":1}\n").unwrap();
        drop(daemon);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((answer.as_str(), ended.recv().unwrap()), ("{\"ok\":1}\n", Ended::Daemon));
    }

    #[test]
    fn a_model_that_is_named_by_its_path_is_opened_on_the_host_or_refused_by_its_name() {
        let (mut client, mut daemon, _ended) = relayed();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf").display().to_string();
        let submit = |id| {
            let submit = Submit::new(ModelRef::Path(path.clone()), Workload::default());
            Codec::MessagePack.encode(Envelope::Request, &Request::new(Some(id), Method::Submit(submit)))
        };
        client.write_all(&[&MAGIC[..], &submit(1)].concat()).unwrap();
        let refused = Codec::MessagePack.incoming(&message(&mut client)).unwrap();
        let Incoming::Reply(Reply { re: Some(1), outcome: Outcome::Error(error) }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.message.contains(&path) && error.message.contains("No such file"), "{}", error.message);
        std::fs::write(&path, "weights").unwrap();
        client.write_all(&submit(2)).unwrap();
        daemon.read_exact(&mut [0; MAGIC.len()]).unwrap();
        let request = Codec::MessagePack.request(&message(&mut daemon)).unwrap();
        let Method::Submit(sent) = request.method else { panic!("{request:?}") };
        assert_eq!((request.id, sent.model), (Some(2), ModelRef::Descriptors(vec![path])));
    }

    #[test]
    fn parts_of_messages_wait_for_their_rest() {
        let two = [framed(b"one"), framed(b"")].concat();
        for (length, whole) in [(0, 0), (3, 0), (6, 0), (7, 7), (10, 7), (11, 11)] {
            assert_eq!(whole_messages(&two[..length]), whole, "{length}");
        }
        assert_eq!(whole_messages(&u32::MAX.to_le_bytes()), 0);
    }
}
