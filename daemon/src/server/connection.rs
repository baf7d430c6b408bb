//! One client: its first bytes choose the codec, then requests come in, and answers and frames go out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use slmscope_profiles::wire::codec::{Codec, CodecError, Envelope, MAX_MESSAGE};
use slmscope_profiles::wire::{
    BadRequest, ErrorCode, MAGIC, Outcome, PROTOCOL, Reply, Request, Talk, WireError, may_be_magic,
    other_protocol, protocol_of,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::http::{self, Access};
use super::session::{Answer, ClientSession};
use super::{Daemon, hangup, rights};
use crate::descriptors::{self, MAX_DESCRIPTORS};
use crate::hub::queue::{Item, Outgoing, Queue};

/// Serves one client until it is gone or the daemon stops.
pub(super) async fn serve(stream: UnixStream, daemon: Arc<Daemon>) {
    if let Err(error) = converse(stream, &daemon).await {
        tracing::debug!(%error, "A connection ended.");
    }
}

/// Bytes and descriptors as they arrive.
struct Input {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no line end.
    searched: usize,
    descriptors: Vec<OwnedFd>,
}

impl Input {
    /// Takes the first whole message off the buffer; `None` if more bytes are needed. A long line is searched for its end
    /// once, not again with each piece of it that comes.
    fn message(&mut self, codec: Codec) -> Result<Option<Vec<u8>>, CodecError> {
        if codec == Codec::Json {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if !fresh.contains(&b'\n') && self.buffer.len() <= MAX_MESSAGE {
                self.searched = self.buffer.len();
                return Ok(None);
            }
        }
        self.searched = 0;
        codec.split(&mut self.buffer)
    }

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
    let mut input = Input { buffer: Vec::new(), searched: 0, descriptors: Vec::new() };
    let (codec, protocol) = match read_opening(&mut input, &read).await? {
        Opening::Client(codec, protocol) => (codec, protocol),
        Opening::Http => {
            let may_read = rights.submit || daemon.config().read_for_others;
            return http::answer((read, write), input.buffer, Access::Local { may_read }, daemon).await;
        }
        Opening::Stranger => return turn_away(write).await,
        Opening::Left => return Ok(()),
    };
    let (client, queue) = daemon.hub.connect(codec);
    let session = ClientSession::new(daemon.clone(), client, rights, pid);
    push_talk(&queue, codec, &session.hello());
    if !rights.submit && !daemon.config().read_for_others {
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

/// What the first bytes of a connection show.
enum Opening {
    /// A client of this codec, which speaks this protocol.
    Client(Codec, u32),
    /// One that asks for metrics.
    Http,
    /// No client of ours.
    Stranger,
    /// The other end left before it sent enough.
    Left,
}

/// Reads codec and protocol off the first bytes. White space and a byte order mark before JSON are skipped. JSON clients
/// state their protocol with a request, if at all.
async fn read_opening(input: &mut Input, read: &OwnedReadHalf) -> io::Result<Opening> {
    const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";
    loop {
        if input.buffer.starts_with(&BYTE_ORDER_MARK) {
            input.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        let blank = input.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        input.buffer.drain(..blank);
        if input.buffer.first() == Some(&b'{') {
            return Ok(Opening::Client(Codec::Json, PROTOCOL));
        }
        if http::is_request(&input.buffer) {
            return Ok(Opening::Http);
        }
        if let Some(magic) = input.buffer.first_chunk() {
            let Some(protocol) = protocol_of(*magic) else { return Ok(Opening::Stranger) };
            input.buffer.drain(..MAGIC.len());
            return Ok(Opening::Client(Codec::MessagePack, protocol));
        }
        let may_be_client = may_be_magic(&input.buffer) || BYTE_ORDER_MARK.starts_with(&input.buffer);
        if !may_be_client && !http::may_be_request(&input.buffer) {
            return Ok(Opening::Stranger);
        }
        if !input.fill(read).await? {
            return Ok(Opening::Left);
        }
    }
}

/// Tells what is no client of ours, in one line, how to talk to a daemon.
async fn turn_away(mut write: OwnedWriteHalf) -> io::Result<()> {
    let reason = "this is a socket of slmscope: a request is one line of JSON, such as {\"status\":{}}";
    let line = Codec::Json.encode(Envelope::Frame, &Talk::Bye { reason: reason.to_owned() });
    write.write_all(&line).await?;
    write.shutdown().await
}

async fn read_requests(
    session: &ClientSession,
    codec: Codec,
    queue: &Arc<Queue>,
    mut input: Input,
    read: &OwnedReadHalf,
) -> io::Result<()> {
    loop {
        loop {
            let message = match input.message(codec) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    say_goodbye(queue, codec, error.to_string());
                    return Ok(());
                }
            };
            if codec == Codec::Json && message.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let (reply, file) = match codec.request(&message) {
                Ok(Request { protocol: Some(theirs), .. })
                | Err(BadRequest { protocol: Some(theirs), .. })
                    if theirs != PROTOCOL =>
                {
                    say_goodbye(queue, codec, other_protocol(theirs));
                    return Ok(());
                }
                Ok(Request { id, method, .. }) => {
                    let files = std::mem::take(&mut input.descriptors);
                    let Answer { outcome, file } = session.answer(method, files).await;
                    (Reply { re: id, outcome }, file)
                }
                Err(bad) => (Reply { re: bad.id, outcome: Outcome::Error(bad_request(bad)) }, None),
            };
            let bytes = codec.encode(Envelope::Reply, &reply).into();
            queue.push(match file {
                Some(file) => Item::File { bytes, file: Arc::new(file) },
                None => Item::Control { bytes },
            });
        }
        if !input.fill(read).await? {
            return Ok(());
        }
    }
}

async fn write_all(mut write: OwnedWriteHalf, queue: Arc<Queue>) -> io::Result<()> {
    while let Some(Outgoing { bytes, file }) = queue.next().await {
        let sent = match &file {
            Some(file) => send_with_file(&write, &bytes, file.as_fd()).await?,
            None => 0,
        };
        write.write_all(&bytes[sent..]).await?;
    }
    write.shutdown().await
}

/// Sends the first of `bytes`, and `file` with them; how many.
async fn send_with_file(write: &OwnedWriteHalf, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<usize> {
    let stream: &UnixStream = write.as_ref();
    loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || descriptors::send_part(stream, bytes, &[file])) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
    }
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

fn bad_request(bad: BadRequest) -> WireError {
    let message = bad.to_string();
    WireError { code: ErrorCode::BadRequest, message, field: bad.field }
}
