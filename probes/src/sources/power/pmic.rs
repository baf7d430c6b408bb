//! The power-management chip of the Raspberry Pi 5, which only the firmware reads: voltage and current of
//! twelve rails, through the mailbox behind `/dev/vcio` (what `vcgencmd pmic_read_adc` prints).
//!
//! The sum leaves out the regulators' losses, USB and whatever hangs on 5 V: at the wall it is a third more.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fd::AsRawFd;
use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, Interface};
use crate::machine::board::compatible;
use crate::machine::deadline;
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::power::total::{PMIC_POWER, rail_power};

const DEVICE: &str = "/dev/vcio";

/// `_IOWR(100, 0, char *)`.
const PROPERTY: libc::c_ulong = 3 << 30 | (size_of::<usize>() as libc::c_ulong) << 16 | 100 << 8;

/// The firmware's tag for a command in words, and room for its answer, bytes.
const COMMAND: u32 = 0x0003_0080;
const ROOM: usize = 1024;

/// Words before and after the text.
const HEAD: usize = 6;

/// Rails that are listed.
const MAX_RAILS: usize = 32;

/// Enters `power.rail.NAME` and their sum where this is such a board; otherwise nothing.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    if !compatible(root).iter().any(|name| name == "brcm,bcm2712") {
        return None;
    }
    if !root.is_live() {
        let detail = "only the firmware reads the chip, and a captured tree has none to ask";
        let reason = Reason::new(ReasonCode::NoSuchInterface, detail);
        catalogue.absent(
            (PMIC_POWER, Quantity::Power, Unit::Watts, Scope::Rail("pmic".to_owned())),
            DEVICE,
            reason,
        );
        return None;
    }
    let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
    let first = match open {
        Ok(file) => deadline::within(deadline::SENSOR, move || ask(&file).map(|text| (file, text)))
            .and_then(|answer| answer)
            .map_err(|code| Reason::new(code, format!("{DEVICE}: {code}"))),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Reason::new(ReasonCode::Permission, format!("{DEVICE}: {error}")))
        }
        Err(error) => Err(Reason::new(ReasonCode::NoSuchInterface, format!("{DEVICE}: {error}"))),
    };
    match first {
        Ok((file, text)) => {
            let entry = |name: &str, class| Entry {
                id: rail_power(name),
                quantity: Quantity::Power,
                unit: Unit::Watts,
                scope: Scope::Rail(name.to_owned()),
                class,
                source: format!("{DEVICE} (pmic_read_adc)"),
                group: Group::Bus,
            };
            let names: Vec<String> = rails(&text).into_iter().map(|(name, _)| name).collect();
            let rails =
                names.into_iter().map(|name| (catalogue.gauge(entry(&name, Class::Derived)), name)).collect();
            let sum = catalogue.gauge(entry(PMIC_POWER.trim_start_matches("power.rail."), Class::Derived));
            Some(Box::new(Pmic { file, rails, sum }))
        }
        Err(reason) => {
            let channel = (PMIC_POWER, Quantity::Power, Unit::Watts, Scope::Rail("pmic".to_owned()));
            let channel = catalogue.absent(channel, DEVICE, reason);
            catalogue.set_interface(channel, Interface::FirmwareMailbox);
            None
        }
    }
}

struct Pmic {
    file: File,
    rails: Vec<(ChannelId, String)>,
    sum: ChannelId,
}

impl Source for Pmic {
    fn channels(&self) -> Vec<ChannelId> {
        self.rails.iter().map(|&(channel, _)| channel).chain([self.sum]).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let read = ask(&self.file).map(|text| rails(&text));
        let mut sum = Ok(0.0);
        for (channel, name) in &self.rails {
            let watts = match &read {
                Ok(rails) => rails
                    .iter()
                    .find(|(rail, _)| rail == name)
                    .map(|&(_, watts)| watts)
                    .ok_or(ReasonCode::Vanished),
                Err(code) => Err(*code),
            };
            sum = sum.and_then(|sum| Ok(sum + watts?));
            values.push((*channel, watts.map_or_else(Value::Absent, Value::Present)));
        }
        values.push((self.sum, sum.map_or_else(Value::Absent, Value::Present)));
    }
}

/// Sends the command to the firmware and returns what it prints.
fn ask(file: &File) -> Result<String, ReasonCode> {
    let mut message = [0_u32; HEAD + ROOM / 4 + 1];
    let text = b"pmic_read_adc\0";
    message[0] = size_of_val(&message) as u32;
    message[2] = COMMAND;
    message[3] = ROOM as u32;
    for (word, bytes) in message.iter_mut().skip(HEAD).zip(text.chunks(4)) {
        let mut padded = [0; 4];
        padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *word = u32::from_ne_bytes(padded);
    }
    // SAFETY: the driver writes within the length that the message states, which is that of the array.
    #[expect(unsafe_code, reason = "the driver's only interface")]
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), PROPERTY as _, message.as_mut_ptr()) };
    if failed < 0 {
        return Err(ReasonCode::ReadError);
    }
    if message.get(HEAD - 1) != Some(&0) {
        return Err(ReasonCode::NotSupported);
    }
    let bytes: Vec<u8> = message
        .iter()
        .skip(HEAD)
        .take(ROOM / 4)
        .flat_map(|word| word.to_ne_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Watts of each rail that has both `NAME_A current(n)=1.2A` and `NAME_V volt(n)=0.9V`.
fn rails(text: &str) -> Vec<(String, f64)> {
    let mut volts: Vec<(&str, f64)> = Vec::new();
    let mut amperes: Vec<(&str, f64)> = Vec::new();
    for line in text.lines().take(2 * MAX_RAILS) {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let Some((_, number)) = value.split_once('=') else { continue };
        let parse = |unit| number.strip_suffix(unit)?.parse::<f64>().ok().filter(|value| value.is_finite());
        if let (Some(rail), Some(value)) = (name.strip_suffix("_A"), parse('A')) {
            amperes.push((rail, value));
        } else if let (Some(rail), Some(value)) = (name.strip_suffix("_V"), parse('V')) {
            volts.push((rail, value));
        }
    }
    amperes
        .into_iter()
        .filter_map(|(rail, current)| {
            let (_, voltage) = volts.iter().find(|(name, _)| *name == rail)?;
            let watts = current * voltage;
            (0.0..100.0).contains(&watts).then(|| (rail.to_owned(), watts))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rail_needs_voltage_and_current() {
        let text = "     3V7_WL_SW_A current(0)=0.10000000A\n     VDD_CORE_A current(7)=2.00000000A\n\
            \x20    3V7_WL_SW_V volt(8)=3.70000000V\n     VDD_CORE_V volt(15)=0.90000000V\n\
            \x20    EXT5V_V volt(24)=5.10000000V\n     BATT_V volt(25)=0.00000000V\n     BAD_A current(1)=xA\n";
        let rails = rails(text);
        assert_eq!(rails.len(), 2);
        assert_eq!(rails[0].0, "3V7_WL_SW");
        assert!((rails[0].1 - 0.37).abs() < 1e-9 && (rails[1].1 - 1.8).abs() < 1e-9);
        assert!(super::rails("VDD_A current(0)=infA\nVDD_V volt(1)=1V\n").is_empty());
        if size_of::<usize>() == 8 {
            assert_eq!(PROPERTY, 0xc008_6400);
        }
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"VDD_A current(0)=2.5A\nVDD_V volt(1)=0.9V\n", |text| {
            let words = String::from_utf8_lossy(text);
            assert!(rails(&words).iter().all(|(_, watts)| (0.0..100.0).contains(watts)));
        });
    }
}
