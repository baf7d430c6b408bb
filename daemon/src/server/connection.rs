//! One client: its first byte chooses the codec, then requests in, replies and frames out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{
    Capability, ErrorCode, Hello, MAGIC, Method, Outcome, PROTOCOL, Reply, Request, Talk, WireError,
    may_be_magic, other_protocol, protocol_of,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Daemon, rights};
use crate::descriptors::{self, MAX_DESCRIPTORS};
use crate::hub::ClientId;
use crate::hub::queue::{Item, Queue};
use crate::runner::{JobRequest, Submitter};

/// Serves one client until it is gone or the daemon stops.
pub(super) async fn serve(stream: UnixStream, daemon: Arc<Daemon>) {
    if let Err(error) = converse(stream, &daemon).await {
        tracing::debug!(%error, "A connection ended.");
    }
    daemon.watched_changed();
}

/// Bytes and descriptors as they arrive.
struct Input {
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Input {
    /// Waits for more; `false` at end of file.
    async fn fill(&mut self, stream: &OwnedReadHalf) -> io::Result<bool> {
        let stream: &UnixStream = stream.as_ref();
        loop {
            stream.readable().await?;
            let received = stream.try_io(Interest::READABLE, || {
                descriptors::receive(stream, &mut self.buffer, &mut self.descriptors)
            });
            match received {
                Ok(count) => {
                    // More than one message can carry were sent without one: nobody will ask for them.
                    self.descriptors.truncate(MAX_DESCRIPTORS);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn converse(stream: UnixStream, daemon: &Arc<Daemon>) -> io::Result<()> {
    let rights = rights::of(&stream)?;
    let pid = rustix::net::sockopt::socket_peercred(&stream)
        .ok()
        .map(|peer| peer.pid.as_raw_nonzero().get() as u32);
    let (read, write) = stream.into_split();
    let mut input = Input { buffer: Vec::new(), descriptors: Vec::new() };
    let Some((codec, protocol)) = choose_codec(&mut input, &read).await? else { return Ok(()) };
    let queue = Arc::new(Queue::new(codec));
    let client = daemon.hub.connect(queue.clone());
    let session = ClientSession { daemon: daemon.clone(), client, rights, pid };
    daemon.runner.client_connected(pid);
    push_talk(&queue, &session.hello());
    if !rights.submit && !daemon.config.read_for_others {
        let reason = "not permitted: only root, the daemon's user and members of group slmscope may connect";
        push_talk(&queue, &Talk::Bye { reason: reason.to_owned() });
        queue.close();
    }
    if protocol != PROTOCOL {
        refuse_protocol(&queue, protocol);
        // What it asks is not read: it could mean something else.
        return write_all(write, queue).await;
    }
    let mut writing = tokio::spawn(write_all(write, queue.clone()));
    let reading = async {
        let result = read_requests(&session, codec, &queue, input, &read).await;
        if result.is_ok() {
            // End of file is no disconnect: `printf … | nc` may close its half and listen on.
            hang_up(&read).await;
        }
        result
    };
    let result = tokio::select! {
        result = reading => result,
        _ = &mut writing => return Ok(()),
    };
    queue.close();
    // What waits is still sent to a client that listens; one that does not is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), &mut writing).await;
    writing.abort();
    result
}

/// Waits until the other end is closed altogether. The kernel tells it as a state, not as something to read,
/// so it is looked at.
async fn hang_up(read: &OwnedReadHalf) {
    loop {
        let stream: &UnixStream = read.as_ref();
        let mut state = [PollFd::new(stream, PollFlags::empty())];
        let polled = poll(&mut state, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if polled.is_err() || state[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says goodbye to a client of another protocol.
fn refuse_protocol(queue: &Queue, theirs: u32) {
    push_talk(queue, &Talk::Bye { reason: other_protocol(theirs) });
    queue.close();
}

/// Reads codec and protocol off the first bytes; `None` if the client left before it sent them. JSON clients
/// state their protocol with a request, if at all.
async fn choose_codec(input: &mut Input, read: &OwnedReadHalf) -> io::Result<Option<(Codec, u32)>> {
    let neither = || io::Error::new(io::ErrorKind::InvalidData, "neither JSON nor our magic");
    loop {
        if input.buffer.first() == Some(&b'{') {
            return Ok(Some((Codec::Json, PROTOCOL)));
        }
        if let Some(magic) = input.buffer.first_chunk() {
            let protocol = protocol_of(*magic).ok_or_else(neither)?;
            input.buffer.drain(..MAGIC.len());
            return Ok(Some((Codec::MessagePack, protocol)));
        }
        if !may_be_magic(&input.buffer) {
            return Err(neither());
        }
        if !input.fill(read).await? {
            return Ok(None);
        }
    }
}

async fn read_requests(
    session: &ClientSession,
    codec: Codec,
    queue: &Arc<Queue>,
    mut input: Input,
    read: &OwnedReadHalf,
) -> io::Result<()> {
    loop {
        while let Some(message) = codec.split(&mut input.buffer).map_err(io::Error::other)? {
            if codec == Codec::Json && message.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let reply = match codec.request(&message) {
                Ok(Request { protocol: Some(theirs), .. }) if theirs != PROTOCOL => {
                    refuse_protocol(queue, theirs);
                    return Ok(());
                }
                Ok(Request { id, method, .. }) => {
                    let files = std::mem::take(&mut input.descriptors);
                    Reply { re: id, outcome: session.answer(method, files).await }
                }
                Err(error) => Reply { re: None, outcome: Outcome::Error(bad_request(&error.to_string())) },
            };
            let bytes = codec.encode(Envelope::Reply, &reply).into();
            queue.push(Item::Control { bytes }, &AtomicU64::new(0));
        }
        if !input.fill(read).await? {
            return Ok(());
        }
    }
}

async fn write_all(mut write: OwnedWriteHalf, queue: Arc<Queue>) -> io::Result<()> {
    while let Some(bytes) = queue.next().await {
        write.write_all(&bytes).await?;
    }
    write.shutdown().await
}

fn push_talk(queue: &Queue, talk: &Talk) {
    let bytes = queue.codec().encode(Envelope::Frame, talk).into();
    queue.push(Item::Control { bytes }, &AtomicU64::new(0));
}

fn bad_request(problem: &str) -> WireError {
    let message = format!("{problem}; the requests are subscribe, submit, cancel, jobs, status and doctor");
    WireError { code: ErrorCode::BadRequest, message, field: None }
}

/// A connected client.
struct ClientSession {
    daemon: Arc<Daemon>,
    client: ClientId,
    rights: rights::Rights,
    pid: Option<u32>,
}

impl ClientSession {
    fn hello(&self) -> Talk {
        let mut capabilities = vec![Capability::Read];
        if self.rights.submit {
            capabilities.push(Capability::Submit);
        }
        Talk::Hello(Hello {
            protocol: [PROTOCOL, PROTOCOL],
            version: crate::VERSION.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            capabilities,
        })
    }

    async fn answer(&self, method: Method, files: Vec<OwnedFd>) -> Outcome {
        let daemon = &self.daemon;
        let result = match method {
            Method::Subscribe(subscribe) => {
                daemon.hub.subscribe(self.client, &subscribe, &daemon.runner.jobs());
                daemon.watched_changed();
                Ok(json!({}))
            }
            Method::Jobs {} => Ok(json!({ "jobs": daemon.runner.jobs() })),
            Method::Status {} => serde_json::to_value(daemon.status()).map_err(|error| internal(&error)),
            Method::Doctor {} => {
                let worker = daemon.sampler.worker();
                let read = move || crate::doctor::doctor(None, worker);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Err(error)) => Err(internal(&format!("{error:#}"))),
                    Ok(Ok(report)) => serde_json::to_value(report).map_err(|error| internal(&error)),
                    Err(error) => Err(internal(&error)),
                }
            }
            Method::Submit(_) | Method::Cancel { .. } if !self.rights.submit => Err(WireError {
                code: ErrorCode::Forbidden,
                message: "only root, the daemon's user and members of group slmscope may run jobs".to_owned(),
                field: None,
            }),
            Method::Submit(submit) => {
                let submitter = Submitter { client: self.client, uid: self.rights.uid, files };
                let request = JobRequest { submit, submitter };
                let queue = |request| daemon.runner.submit(request).map_err(WireError::from);
                request.check(&daemon.config).and_then(queue).map(|job| json!({ "job": job }))
            }
            Method::Cancel { job } => match daemon.runner.cancel(job, self.rights.uid) {
                Ok(job) => serde_json::to_value(job).map_err(|error| internal(&error)),
                Err(error) => Err(error.into()),
            },
        };
        match result {
            Ok(value) => Outcome::Ok(value),
            Err(error) => Outcome::Error(error),
        }
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        self.daemon.hub.disconnect(self.client);
        self.daemon.runner.client_left(self.client, self.pid);
    }
}

fn internal(error: &dyn std::fmt::Display) -> WireError {
    WireError { code: ErrorCode::Internal, message: error.to_string(), field: None }
}
