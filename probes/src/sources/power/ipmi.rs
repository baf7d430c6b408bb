//! What the management controller of a server measures at its power supplies: DCMI's "get power reading".
//!
//! It is a whole number of watts, averaged over a window that the controller chooses, and takes 50 to 500 ms
//! to ask for; so it is asked every 5 s at most, and its last answer is reported in between. 0 W means that the
//! controller has no meter. The state byte is ignored: it is "deactivated" beside valid readings too.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsRawFd;
use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::power::total::NODE_POWER;

const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];

/// Time between two requests.
const EVERY: Duration = Duration::from_secs(5);

/// How long the controller may take to answer.
const PATIENCE_MS: i32 = 1000;

/// Network function of group extensions, the command, and its body: DCMI, system power statistics.
const NETFN: u8 = 0x2c;
const COMMAND: u8 = 0x02;
const BODY: [u8; 4] = [0xdc, 0x01, 0, 0];

/// `struct ipmi_system_interface_addr`.
#[repr(C)]
struct Address {
    kind: libc::c_int,
    channel: libc::c_short,
    lun: u8,
}

/// `struct ipmi_msg`.
#[repr(C)]
struct Message {
    netfn: u8,
    command: u8,
    length: u16,
    data: *mut u8,
}

/// `struct ipmi_req`.
#[repr(C)]
struct Request {
    address: *mut Address,
    address_length: libc::c_uint,
    id: libc::c_long,
    message: Message,
}

/// `struct ipmi_recv`.
#[repr(C)]
struct Received {
    kind: libc::c_int,
    address: *mut Address,
    address_length: libc::c_uint,
    id: libc::c_long,
    message: Message,
}

/// `_IOR('i', 13, struct ipmi_req)` and `_IOWR('i', 11, struct ipmi_recv)`.
const SEND: libc::c_ulong = 2 << 30 | (size_of::<Request>() as libc::c_ulong) << 16 | 0x69 << 8 | 0x0d;
const RECEIVE: libc::c_ulong = 3 << 30 | (size_of::<Received>() as libc::c_ulong) << 16 | 0x69 << 8 | 0x0b;

/// Enters `power.node` where there is a controller. Nothing is entered where there is none.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    if !root.is_live() {
        return None;
    }
    let path = DEVICES.into_iter().find(|path| std::path::Path::new(path).exists())?;
    let channel = (NODE_POWER, Quantity::Power, Unit::Watts, Scope::BoardInput);
    let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut controller = match open {
        Ok(file) => Controller { file, sequence: 0 },
        Err(error) => {
            let code = match error.kind() {
                std::io::ErrorKind::PermissionDenied => ReasonCode::Permission,
                _ => ReasonCode::ReadError,
            };
            let reason = slmscope_profiles::channel::Reason::new(code, format!("{path}: {error}"));
            let channel = catalogue.absent(channel, path, reason);
            catalogue.set_interface(channel, Interface::ManagementController);
            return None;
        }
    };
    if let Err(code) = controller.watts() {
        let reason = crate::machine::root::plain_reason(code, path);
        catalogue.absent(channel, path, reason);
        return None;
    }
    let channel = catalogue.gauge(Entry {
        id: NODE_POWER.to_owned(),
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: Scope::BoardInput,
        class: Class::Measured,
        source: format!("{path} (DCMI power reading)"),
        group: Group::Slow,
    });
    Some(Box::new(Node { controller, last: None, channel }))
}

struct Node {
    controller: Controller,
    last: Option<(Instant, Value)>,
    channel: ChannelId,
}

impl Source for Node {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let value = match self.last {
            Some((at, value)) if at.elapsed() < EVERY => value,
            _ => {
                let value = self.controller.watts().map_or_else(Value::Absent, Value::Present);
                self.last = Some((Instant::now(), value));
                value
            }
        };
        values.push((self.channel, value));
    }
}

struct Controller {
    file: File,
    sequence: libc::c_long,
}

impl Controller {
    fn watts(&mut self) -> Result<f64, ReasonCode> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send()?;
        // A late answer to an earlier request is discarded.
        for _ in 0..4 {
            let mut ready = [PollFd::new(&self.file, PollFlags::IN)];
            let timeout =
                rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE_MS - 1) * 1_000_000 };
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) => return Err(ReasonCode::Deadline),
                Ok(_) => {}
                Err(_) => return Err(ReasonCode::ReadError),
            }
            let mut data = [0_u8; 64];
            let (id, length) = self.receive(&mut data)?;
            if id == self.sequence {
                return parse(data.get(..length).unwrap_or_default());
            }
        }
        Err(ReasonCode::Deadline)
    }

    fn send(&self) -> Result<(), ReasonCode> {
        let (mut body, mut address) = (BODY, Address { kind: 0x0c, channel: 0x0f, lun: 0 });
        let mut request = Request {
            address: &raw mut address,
            address_length: size_of::<Address>() as libc::c_uint,
            id: self.sequence,
            message: Message {
                netfn: NETFN,
                command: COMMAND,
                length: body.len() as u16,
                data: body.as_mut_ptr(),
            },
        };
        // SAFETY: the request and what it points to live through the call, which copies them.
        #[expect(unsafe_code, reason = "the driver's only interface")]
        let failed = unsafe { libc::ioctl(self.file.as_raw_fd(), SEND as _, &raw mut request) };
        if failed == 0 { Ok(()) } else { Err(ReasonCode::ReadError) }
    }

    fn receive(&self, data: &mut [u8; 64]) -> Result<(libc::c_long, usize), ReasonCode> {
        let mut address = [0_u64; 5];
        let mut received = Received {
            kind: 0,
            address: address.as_mut_ptr().cast(),
            address_length: size_of_val(&address) as libc::c_uint,
            id: 0,
            message: Message { netfn: 0, command: 0, length: data.len() as u16, data: data.as_mut_ptr() },
        };
        // SAFETY: the driver writes at most the lengths given, into places that live through the call.
        #[expect(unsafe_code, reason = "the driver's only interface")]
        let failed = unsafe { libc::ioctl(self.file.as_raw_fd(), RECEIVE as _, &raw mut received) };
        if failed != 0 {
            return Err(ReasonCode::ReadError);
        }
        Ok((received.id, usize::from(received.message.length).min(data.len())))
    }
}

/// Completion code, group, watts now, least, most, mean (16 bits each), time stamp, window (32 bits), state.
fn parse(answer: &[u8]) -> Result<f64, ReasonCode> {
    match answer {
        [0, 0xdc, low, high, ..] => match u16::from_le_bytes([*low, *high]) {
            0 => Err(ReasonCode::NotSupported),
            u16::MAX => Err(ReasonCode::Implausible),
            watts => Ok(f64::from(watts)),
        },
        // Node busy, time out.
        [0xc0 | 0xc3, ..] => Err(ReasonCode::Deadline),
        [0xd4, ..] => Err(ReasonCode::Permission),
        [_, ..] => Err(ReasonCode::NotSupported),
        [] => Err(ReasonCode::ReadError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_s_structures_have_its_sizes() {
        assert_eq!(size_of::<Address>(), 8);
        if size_of::<usize>() == 8 {
            assert_eq!((size_of::<Message>(), size_of::<Request>(), size_of::<Received>()), (16, 40, 48));
            assert_eq!((SEND, RECEIVE), (0x8028_690d, 0xc030_690b));
        }
    }

    #[test]
    fn a_reading_or_why_there_is_none() {
        let answer = [0, 0xdc, 0x3f, 0x01, 0, 0, 9, 9, 1, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x00];
        assert_eq!(parse(&answer), Ok(319.0), "whatever the state says");
        assert_eq!(parse(&[0, 0xdc, 0, 0]), Err(ReasonCode::NotSupported));
        assert_eq!(parse(&[0, 0xdc, 0xff, 0xff]), Err(ReasonCode::Implausible));
        assert_eq!(parse(&[0xc1]), Err(ReasonCode::NotSupported));
        assert_eq!(parse(&[0xc3]), Err(ReasonCode::Deadline));
        assert_eq!(parse(&[0xd4]), Err(ReasonCode::Permission));
        assert_eq!(parse(&[0, 0xdc, 5]), Err(ReasonCode::NotSupported));
        assert_eq!(parse(&[]), Err(ReasonCode::ReadError));
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(&[0, 0xdc, 0x3f, 0x01, 0, 0, 9, 9], |text| {
            assert!(parse(text).is_ok_and(|watts| (1.0..65535.0).contains(&watts)) || parse(text).is_err());
        });
    }
}
