//! A connection to the daemon: MessagePack requests out, replies and frames in. Blocking.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use slmscope_profiles::model_files::MAX_FILES;
use slmscope_profiles::wire::codec::{Codec, Envelope, Incoming};
use slmscope_profiles::wire::{Frame, Hello, MAGIC, Method, Outcome, PROTOCOL, Request, Talk, WireError};

use crate::clock;
use crate::connect::remote::{Remote, RemoteError};
use crate::scratch;

/// The reading end.
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Files that came with answers.
    files: VecDeque<OwnedFd>,
    /// Frames that arrived while waiting for an answer.
    early: VecDeque<Incoming>,
    sender: Sender,
    next_id: u64,
    /// What carries the stream, if the daemon is on another machine.
    remote: Option<Remote>,
    /// How far the clock of its machine is ahead of this one's, ns; 0 on this machine.
    pub ahead_ns: i64,
    /// The daemon's greeting.
    pub hello: Hello,
}

/// A daemon that this client cannot talk to, with the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtherProtocol {
    /// It closed the connection instead of greeting.
    #[error(
        "the daemon closed the connection without a greeting; it is probably of another version: update it, or \
         restart it if it was updated"
    )]
    Unknown,
    /// It speaks these protocols.
    #[error(
        "the daemon speaks protocol {low} to {high} and this client protocol {PROTOCOL}: {}, so that both are of the \
         same version",
        remedy(*high)
    )]
    Known {
        /// The lowest.
        low: u32,
        /// The highest.
        high: u32,
    },
}

/// What is said where something else came than a greeting.
fn no_greeting(remote: Option<&Remote>) -> String {
    match remote {
        None => "the daemon's greeting cannot be read; if it is of another version, update or restart it"
            .to_owned(),
        Some(remote) => format!(
            "{}: what answers is not the proxy; the shell there must print nothing by itself when it has no terminal",
            remote.host()
        ),
    }
}

fn remedy(high: u32) -> &'static str {
    if high < PROTOCOL { "update the daemon, or restart it if it was updated" } else { "update the client" }
}

/// The writing end; may be used from another thread.
pub struct Sender {
    stream: UnixStream,
}

impl Connection {
    /// Greets the daemon at the other end of `stream`.
    ///
    /// # Errors
    /// If no daemon answers, or its protocol is another.
    pub fn greet(stream: UnixStream) -> anyhow::Result<Self> {
        Self::greet_through(stream, None)
    }

    /// The same, where `remote` carries the stream to another machine.
    ///
    /// # Errors
    /// The same, and why that machine is not reached.
    pub fn greet_through(stream: UnixStream, mut remote: Option<Remote>) -> anyhow::Result<Self> {
        let sender = Sender { stream: stream.try_clone()? };
        if let Err(error) = sender.write(&MAGIC, &[]) {
            return Err(match &mut remote {
                // It may have ended before anything was said.
                Some(remote) => remote.ended().into(),
                None => anyhow::Error::from(error).context("the daemon does not accept data"),
            });
        }
        let hello = Hello {
            protocol: [0, 0],
            version: String::new(),
            uid: 0,
            capabilities: Vec::new(),
            client_uid: None,
            now_ns: None,
        };
        let mut connection = Self {
            stream,
            buffer: Vec::new(),
            files: VecDeque::new(),
            early: VecDeque::new(),
            sender,
            next_id: 1,
            remote,
            ahead_ns: 0,
            hello,
        };
        // Another program may listen there and never send anything. ssh has limits of its own, and may wait for a person.
        let patience = connection.remote.is_none().then_some(Duration::from_secs(5));
        connection.stream.set_read_timeout(patience)?;
        let greeting = match connection.next() {
            Err(error) if error.is::<RemoteError>() => return Err(error),
            Err(error) => return Err(error.context(no_greeting(connection.remote.as_ref()))),
            Ok(greeting) => greeting,
        };
        connection.stream.set_read_timeout(None)?;
        match greeting {
            Some(Incoming::Frame(frame)) => match *frame {
                Frame::Talk(Talk::Hello(hello)) => connection.hello = hello,
                other => bail!("the daemon sent {other:?} instead of a greeting"),
            },
            // A daemon of another protocol may know no other answer to our first bytes.
            _ => return Err(OtherProtocol::Unknown.into()),
        }
        let [low, high] = connection.hello.protocol;
        if !(low..=high).contains(&PROTOCOL) {
            return Err(OtherProtocol::Known { low, high }.into());
        }
        if connection.remote.is_some() {
            connection.ahead_ns = connection.hello.now_ns.map_or(0, clock::ahead_ns);
            clock::set_elsewhere(connection.ahead_ns);
        }
        Ok(connection)
    }

    /// The next message; `None` when the daemon has closed the connection.
    ///
    /// # Errors
    /// If the socket fails, or receives something that is no message.
    pub fn next(&mut self) -> anyhow::Result<Option<Incoming>> {
        match self.early.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive(),
        }
    }

    fn receive(&mut self) -> anyhow::Result<Option<Incoming>> {
        loop {
            if let Some(message) = Codec::MessagePack.split(&mut self.buffer)? {
                return Ok(Some(Codec::MessagePack.incoming(&message)?));
            }
            match self.read() {
                Ok(0) => return self.ended(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return self.ended(),
                Err(error) => return Err(error).context("cannot read from the daemon"),
            }
        }
    }

    /// The end of the messages, or why another machine is no longer reached.
    fn ended(&mut self) -> anyhow::Result<Option<Incoming>> {
        self.remote.as_mut().map_or(Ok(None), |remote| Err(remote.ended().into()))
    }

    /// Reads bytes, and the files that travel with them; 0 at the end.
    fn read(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut part = [0; 16 << 10];
        let received = {
            let mut slices = [io::IoSliceMut::new(&mut part)];
            recvmsg(&self.stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.buffer.extend_from_slice(&part[..received]);
        Ok(received)
    }

    /// Sends a request whose answer is an open file, and waits for it. From another machine the file's content as it is
    /// now is fetched.
    ///
    /// # Errors
    /// As [`call`](Self::call), and if no file came with the answer.
    pub fn call_for_file(
        &mut self,
        method: Method,
    ) -> anyhow::Result<Result<(serde_json::Value, OwnedFd), WireError>> {
        if let Some(remote) = &self.remote {
            let mut file = scratch::file().context("cannot make a temporary file")?;
            let answer = remote.fetch(&method, &mut file)?;
            file.rewind().context("cannot read the temporary file")?;
            return Ok(answer.map(|value| (value, file.into())));
        }
        self.files.clear();
        Ok(match self.call(method, &[])? {
            Ok(value) => {
                let file = self.files.pop_front();
                Ok((value, file.context("the daemon's answer came without its file")?))
            }
            Err(error) => Err(error),
        })
    }

    /// Sends a request that lets the daemon write into `file`, and waits for the answer. From another machine what it
    /// wrote there is fetched.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_into_file(
        &mut self,
        method: Method,
        file: &mut File,
    ) -> anyhow::Result<Result<serde_json::Value, WireError>> {
        match &self.remote {
            Some(remote) => remote.fetch(&method, file),
            None => self.call(method, &[file.as_fd()]),
        }
    }

    /// Sends a request with open files and waits for the answer. Frames that arrive before it are kept for `next`.
    ///
    /// # Errors
    /// The outer one if the connection ended, the inner one if the daemon refused the request.
    pub fn call(
        &mut self,
        method: Method,
        files: &[BorrowedFd<'_>],
    ) -> anyhow::Result<Result<serde_json::Value, WireError>> {
        let id = self.next_id;
        self.next_id += 1;
        self.sender.send(&Request::new(Some(id), method), files)?;
        loop {
            match self.receive()? {
                Some(Incoming::Reply(reply)) if reply.re == Some(id) => {
                    return Ok(match reply.outcome {
                        Outcome::Ok(value) => Ok(value),
                        Outcome::Error(error) => Err(error),
                    });
                }
                Some(Incoming::Frame(frame)) => {
                    if let Frame::Talk(Talk::Bye { reason }) = &*frame {
                        bail!("the daemon ended the connection: {reason}");
                    }
                    self.early.push_back(Incoming::Frame(frame));
                }
                Some(_) => {}
                None => bail!("the daemon is gone"),
            }
        }
    }

    /// Another writing end.
    ///
    /// # Errors
    /// If the kernel gives no descriptor.
    pub fn sender(&self) -> io::Result<Sender> {
        Ok(Sender { stream: self.stream.try_clone()? })
    }
}

impl Sender {
    /// The writing end of `stream`.
    pub fn over(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Sends a request; `files` travel with it.
    ///
    /// # Errors
    /// If the daemon is gone.
    pub fn send(&self, request: &Request, files: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
        let bytes = Codec::MessagePack.encode(Envelope::Request, request);
        self.write(&bytes, files).context("the daemon is gone")
    }

    fn write(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(io::Error::other("too many files for one message"));
            }
            let part = [io::IoSlice::new(&bytes[sent..])];
            match sendmsg(self.stream.as_fd(), &part, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn greeted_with(protocol: [u32; 2]) -> anyhow::Result<Connection> {
        let (client, mut daemon) = UnixStream::pair().unwrap();
        let hello = Hello {
            protocol,
            version: "1.2.3".to_owned(),
            uid: 0,
            capabilities: Vec::new(),
            client_uid: None,
            now_ns: None,
        };
        let bytes = Codec::MessagePack.encode(Envelope::Frame, &Frame::Talk(Talk::Hello(hello)));
        daemon.write_all(&bytes).unwrap();
        Connection::greet(client)
    }

    #[test]
    fn a_daemon_of_another_protocol_is_refused_with_the_remedy() {
        assert_eq!(greeted_with([PROTOCOL, PROTOCOL]).unwrap().hello.version, "1.2.3");
        for (protocol, remedy) in [(PROTOCOL - 1, "update the daemon"), (PROTOCOL + 1, "update the client")] {
            let refused = greeted_with([protocol, protocol]).err().unwrap().to_string();
            assert!(refused.contains(remedy), "{refused}");
        }
    }
}
