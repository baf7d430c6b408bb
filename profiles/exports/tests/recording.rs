//! Recordings survive what happens to files: cuts, zeros, flipped bytes, hostile lengths, other programs.

mod support;

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::sync::Arc;

use slmscope_exports::recording::{DamageKind, Entry, Event, OpenError, Reader, Writer};
use slmscope_profiles::record::Record;
use slmscope_profiles::stats::SplitMix;
use support::{batch, session};

/// A file of `entries`, with a chunk for each of `per_chunk` of them.
fn file_of(entries: &[Entry], per_chunk: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("memory takes all");
    for entries in entries.chunks(per_chunk) {
        for entry in entries {
            writer.write(entry).expect("memory takes all");
        }
        writer.flush().expect("memory takes all");
        assert_eq!(writer.unflushed(), 0);
    }
    writer.finish().expect("memory takes all")
}

/// The messages of a file and the damage in it.
fn read(file: &[u8]) -> (Vec<Entry>, Vec<DamageKind>) {
    let (mut entries, mut damage) = (Vec::new(), Vec::new());
    let Ok(reader) = Reader::new(file) else { return (entries, damage) };
    for event in reader {
        match event.expect("memory can be read") {
            Event::Entry(entry) => entries.push(entry),
            Event::Damage(found) => damage.push(found.kind),
        }
    }
    (entries, damage)
}

#[test]
fn what_was_written_is_read() {
    let entries = session(12);
    let file = file_of(&entries, 5);
    let mut reader = Reader::new(&file[..]).unwrap();
    for entry in &entries {
        assert_eq!(reader.next().unwrap().unwrap(), Event::Entry(entry.clone()));
    }
    assert!(reader.next().is_none());
    let end = reader.end();
    assert!(end.is_complete && end.unknown == 0 && end.damaged == 0);
    assert!(end.offset <= file.len() as u64);
}

#[test]
fn a_file_cut_at_any_length_has_the_chunks_before_the_cut() {
    let entries = session(6);
    let file = file_of(&entries, 4);
    let mut longest = 0;
    for length in 0..file.len() {
        let (found, damage) = read(&file[..length]);
        assert!(found.len() >= longest && damage.is_empty(), "{length}");
        longest = found.len();
        assert_eq!(found, entries[..longest]);
        if let Ok(mut reader) = Reader::new(&file[..length]) {
            let _ = reader.by_ref().count();
            assert!(reader.end().offset <= length as u64);
        }
    }
    assert_eq!(longest, entries.len());
}

#[test]
fn zeros_behind_a_cut_are_named_and_cost_nothing() {
    let entries = session(6);
    let file = file_of(&entries, 4);
    for length in (40..file.len() - 40).step_by(7) {
        let (expected, _) = read(&file[..length]);
        let mut zeros = file[..length].to_vec();
        zeros.resize(file.len(), 0);
        let (found, damage) = read(&zeros);
        assert_eq!(found, expected, "{length}");
        assert!(damage.len() <= 2, "{length}: {damage:?}");
    }
}

/// A file of which so many bytes are written by now.
struct Growing {
    whole: Cursor<Vec<u8>>,
    written: Rc<Cell<usize>>,
}

impl Read for Growing {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.written.get().saturating_sub(self.whole.position() as usize).min(bytes.len());
        self.whole.read(&mut bytes[..left])
    }
}

impl Seek for Growing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.whole.seek(to)
    }
}

#[test]
fn a_reader_goes_on_with_what_is_written_meanwhile() {
    let entries = session(12);
    let file = file_of(&entries, 3);
    for step in [1, 7, 100, 1000] {
        let written = Rc::new(Cell::new(60));
        let growing = Growing { whole: Cursor::new(file.clone()), written: written.clone() };
        let mut reader = Reader::new(growing).unwrap();
        let mut found = Vec::new();
        loop {
            for event in reader.by_ref() {
                let Event::Entry(entry) = event.unwrap() else { panic!("damage at {}", written.get()) };
                found.push(entry);
            }
            if reader.end().is_complete {
                break;
            }
            assert!(written.get() < file.len(), "the end was not seen");
            written.set((written.get() + step).min(file.len()));
            reader.resume().unwrap();
        }
        assert_eq!(found, entries, "step {step}");
        reader.resume().unwrap();
        assert!(reader.next().is_none(), "nothing follows the end");
    }
}

#[test]
fn a_reader_does_not_go_on_behind_zeros() {
    let mut file = file_of(&session(6), 4);
    file.truncate(file.len() / 2);
    file.resize(2 * file.len(), 0);
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    assert!(reader.by_ref().count() > 0);
    reader.resume().unwrap();
    assert!(reader.next().is_none());
}

#[test]
fn a_flipped_byte_costs_its_chunk_alone() {
    let entries = session(12);
    let file = file_of(&entries, 4);
    let mut random = SplitMix(3);
    for _ in 0..3_000 {
        let mut broken = file.clone();
        let at = random.below(broken.len());
        broken[at] ^= 1 << random.below(8);
        let (found, _) = read(&broken);
        // All that is read was written, in order.
        let mut written = entries.iter();
        for entry in &found {
            assert!(written.any(|other| other == entry), "byte {at}");
        }
    }
    // In the compressed bytes of the second of the chunks, of which each has four messages.
    let second = chunks(&file)[1];
    let mut broken = file.clone();
    broken[second.0 + second.1 / 2] ^= 4;
    let (found, damage) = read(&broken);
    assert_eq!((&found[..4], &found[4..]), (&entries[..4], &entries[8..]));
    assert!(matches!(damage[..], [DamageKind::Checksum | DamageKind::Compression]), "{damage:?}");
}

/// Offset and length of the bodies of all chunks.
fn chunks(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 8;
    while let Some(head) = file.get(at..at + 9) {
        let length = u64::from_le_bytes(head[1..].try_into().expect("8 of 9 bytes")) as usize;
        if head[0] == 6 {
            found.push((at + 9, length));
        }
        at += 9 + length;
    }
    found
}

#[test]
fn a_length_that_nobody_writes_costs_no_memory() {
    let file = file_of(&session(6), 4);
    let (at, _) = chunks(&file)[1];
    let mut broken = file.clone();
    broken[at - 8..at].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    let (found, damage) = read(&broken);
    assert_eq!(found.len(), 4);
    assert_eq!(damage, [DamageKind::TooLong(u64::MAX / 2)]);
    // The decompressed length of the chunk, behind two times of 8 bytes.
    let mut broken = file.clone();
    broken[at + 16..at + 24].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    assert_eq!(read(&broken).1, [DamageKind::TooLong(1 << 50)]);
}

#[test]
fn a_chunk_that_decompresses_to_more_than_it_says_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(bomb.len() < 8 << 10);
    let mut file = file_of(&session(1), 4);
    let (at, length) = chunks(&file)[0];
    let mut body = file[at..at + 28].to_vec();
    body.extend(4_u32.to_le_bytes());
    body.extend(b"zstd");
    body.extend((bomb.len() as u64).to_le_bytes());
    body.extend(&bomb);
    let mut chunk = vec![6];
    chunk.extend((body.len() as u64).to_le_bytes());
    chunk.extend(body);
    file.splice(at - 9..at + length, chunk);
    assert_eq!(read(&file).1[0], DamageKind::Compression);
}

#[test]
fn other_files_are_told_apart() {
    let open = |file: &[u8]| Reader::new(file).err().unwrap();
    assert!(matches!(open(b""), OpenError::Empty));
    assert!(matches!(open(b"GGUF"), OpenError::NotMcap));
    assert!(matches!(open(&[b' '; 100]), OpenError::NotMcap));
    let file = file_of(&session(1), 1);
    assert!(matches!(open(&file[..6]), OpenError::NoHeader));
    assert!(matches!(open(&file[..20]), OpenError::NoHeader));
    let of_profile = |profile: &str| {
        let options = mcap::WriteOptions::new().profile(profile);
        let mut writer = mcap::Writer::with_options(io::Cursor::new(Vec::new()), options).unwrap();
        writer.finish().unwrap();
        writer.into_inner().into_inner()
    };
    assert!(matches!(open(&of_profile("ros2")), OpenError::Foreign(profile) if profile == "ros2"));
    assert!(matches!(open(&of_profile("slmscope-2")), OpenError::Newer(profile) if profile == "slmscope-2"));
    assert!(Reader::new(&of_profile("slmscope")[..]).is_ok());
}

#[test]
fn messages_of_a_newer_build_are_counted_and_skipped() {
    let options = mcap::WriteOptions::new().profile("slmscope");
    let mut writer = mcap::Writer::with_options(io::Cursor::new(Vec::new()), options).unwrap();
    let channel = writer.add_channel(0, "eclipse", "msgpack", &std::collections::BTreeMap::new()).unwrap();
    let mut write = |data: &[u8]| {
        let header =
            mcap::records::MessageHeader { channel_id: channel, sequence: 0, log_time: 0, publish_time: 0 };
        writer.write_to_known_channel(&header, data).unwrap();
    };
    write(b"\x81\xa7eclipse\x01");
    write(b"\x81\xa4loss\x81\xa7batches\x02");
    write(b"\x81\xa4loss\x81\xa7batches\xa1x");
    write(b"\x80");
    writer.finish().unwrap();
    let file = writer.into_inner().into_inner();
    let mut reader = Reader::new(&file[..]).unwrap();
    let found: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(found[0], Event::Entry(Entry::Record(Arc::new(Record::Loss { batches: 2 }))));
    let damage =
        |event: &Event| matches!(event, Event::Damage(damage) if damage.kind == DamageKind::Message("loss"));
    assert!(damage(&found[1]));
    assert!(matches!(&found[2], Event::Damage(damage) if damage.kind == DamageKind::Structure));
    assert_eq!((found.len(), reader.end().unknown, reader.end().damaged), (3, 1, 2));
}

/// A disk with room for so many bytes.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for &mut Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.room - self.bytes.len());
        if length == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_is_killed_after_any_write_leaves_what_was_flushed() {
    let entries = session(8);
    let whole = file_of(&entries, 3);
    for room in (0..whole.len()).step_by(11) {
        let mut disk = Disk { bytes: Vec::new(), room };
        let mut flushed = 0;
        if let Ok(mut writer) = Writer::new(&mut disk) {
            for entries in entries.chunks(3) {
                let written = entries.iter().try_for_each(|entry| writer.write(entry));
                if written.and_then(|()| writer.flush()).is_err() {
                    break;
                }
                flushed += entries.len();
            }
        }
        let (found, damage) = read(&disk.bytes);
        assert!(found.len() >= flushed, "{room}");
        assert_eq!(found, entries[..found.len()]);
        assert!(damage.is_empty());
    }
}

/// As DESIGN: at most 5 bytes for an op event, with times that vary as real ones do.
#[test]
fn an_op_event_takes_at_most_five_bytes() {
    const EVENTS: u32 = 400;
    let mut random = SplitMix(9);
    let mut writer = Writer::new(Vec::new()).unwrap();
    let tokens = 500;
    for token in 0..tokens {
        let record = Record::Ops((&batch(token, EVENTS, &mut random)).into());
        writer.write(&Entry::Record(record.into())).unwrap();
        // About 50 tokens a second, flushed five times a second.
        if token % 10 == 9 {
            writer.flush().unwrap();
        }
    }
    let bytes = writer.finish().unwrap().len() as f64;
    let each = bytes / f64::from(EVENTS * tokens);
    assert!(each <= 5.0, "{each}");
}
