//! One client: its first bytes choose the codec, then requests come in, and answers and frames go out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{
    ErrorCode, MAGIC, Outcome, PROTOCOL, Reply, Request, Talk, WireError, may_be_magic, other_protocol,
    protocol_of,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::session::ClientSession;
use super::{Daemon, hangup, rights};
use crate::descriptors::{self, MAX_DESCRIPTORS};
use crate::hub::queue::{Item, Queue};

/// Serves one client until it is gone or the daemon stops.
pub(super) async fn serve(stream: UnixStream, daemon: Arc<Daemon>) {
    if let Err(error) = converse(stream, &daemon).await {
        tracing::debug!(%error, "A connection ended.");
    }
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
                    // No request takes more than one message can carry.
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
    let rights = rights::of(&stream).await?;
    let pid = rustix::net::sockopt::socket_peercred(&stream)
        .ok()
        .map(|peer| peer.pid.as_raw_nonzero().get() as u32);
    let (read, write) = stream.into_split();
    let mut input = Input { buffer: Vec::new(), descriptors: Vec::new() };
    let Some((codec, protocol)) = choose_codec(&mut input, &read).await? else { return Ok(()) };
    let (client, queue) = daemon.hub.connect(codec);
    let session = ClientSession::new(daemon.clone(), client, rights, pid);
    push_talk(&queue, codec, &session.hello());
    if !rights.submit && !daemon.config.read_for_others {
        let reason = "not permitted: only root, the daemon's user and members of group slmscope may connect";
        say_goodbye(&queue, codec, reason.to_owned());
    } else if protocol != PROTOCOL {
        // What it asks is not read: it could mean something else.
        say_goodbye(&queue, codec, other_protocol(protocol));
    }
    let mut writing = tokio::spawn(write_all(write, queue.clone()));
    let reading = async {
        let result = read_requests(&session, codec, &queue, input, &read).await;
        // End of file is no disconnect: `printf … | nc` closes its writing half and listens on.
        if result.is_ok() { hangup::hung_up(AsRef::<UnixStream>::as_ref(&read)).await } else { result }
    };
    let result = tokio::select! {
        biased;
        () = queue.closed() => Ok(()),
        _ = &mut writing => return Ok(()),
        result = reading => result,
    };
    queue.close();
    // What waits is still sent to a client that reads; one that does not is not waited for.
    let _ = tokio::time::timeout(daemon.farewell, &mut writing).await;
    writing.abort();
    result
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
                    say_goodbye(queue, codec, other_protocol(theirs));
                    return Ok(());
                }
                Ok(Request { id, method, .. }) => {
                    let files = std::mem::take(&mut input.descriptors);
                    Reply { re: id, outcome: session.answer(method, files).await }
                }
                Err(error) => Reply { re: None, outcome: Outcome::Error(bad_request(&error.to_string())) },
            };
            let bytes = codec.encode(Envelope::Reply, &reply).into();
            queue.push(Item::Control { bytes });
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

fn push_talk(queue: &Queue, codec: Codec, talk: &Talk) {
    let bytes = codec.encode(Envelope::Frame, talk).into();
    queue.push(Item::Control { bytes });
}

/// Ends the connection once the client was told why.
fn say_goodbye(queue: &Queue, codec: Codec, reason: String) {
    push_talk(queue, codec, &Talk::Bye { reason });
    queue.close();
}

fn bad_request(problem: &str) -> WireError {
    let message =
        format!("{problem}; the requests are subscribe, submit, cancel, jobs, result, status and doctor");
    WireError { code: ErrorCode::BadRequest, message, field: None }
}
