//! Writing structures in Thrift's compact protocol, as Parquet's metadata is written
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).

use super::proto::{varint, zigzag};

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A structure that is being written; its fields come in the order of their numbers.
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn list_head(out: &mut Vec<u8>, kind: u8, length: usize) {
    if length < 15 {
        out.push((length as u8) << 4 | kind);
    } else {
        out.push(0xf0 | kind);
        varint(out, length as u64);
    }
}

/// Appends a structure whose fields `write` writes.
pub(super) fn structure(out: &mut Vec<u8>, write: impl FnOnce(&mut Struct<'_>)) {
    write(&mut Struct { out, last: 0 });
    out.push(0);
}

impl Struct<'_> {
    fn head(&mut self, field: u8, kind: u8) {
        // Fields of Parquet's structures are fewer than 16 apart.
        self.out.push((field - self.last) << 4 | kind);
        self.last = field;
    }

    pub(super) fn i32(&mut self, field: u8, number: i32) {
        self.head(field, I32);
        varint(self.out, zigzag(number.into()));
    }

    pub(super) fn i64(&mut self, field: u8, number: i64) {
        self.head(field, I64);
        varint(self.out, zigzag(number));
    }

    pub(super) fn text(&mut self, field: u8, text: &str) {
        self.head(field, BINARY);
        binary(self.out, text.as_bytes());
    }

    pub(super) fn i32s(&mut self, field: u8, numbers: &[i32]) {
        self.head(field, LIST);
        list_head(self.out, I32, numbers.len());
        for &number in numbers {
            varint(self.out, zigzag(number.into()));
        }
    }

    pub(super) fn texts(&mut self, field: u8, texts: &[&str]) {
        self.head(field, LIST);
        list_head(self.out, BINARY, texts.len());
        for text in texts {
            binary(self.out, text.as_bytes());
        }
    }

    pub(super) fn structure(&mut self, field: u8, write: impl FnOnce(&mut Struct<'_>)) {
        self.head(field, STRUCT);
        structure(self.out, write);
    }

    /// A list of structures, one for each item.
    pub(super) fn structures<T>(&mut self, field: u8, items: &[T], write: impl Fn(&mut Struct<'_>, &T)) {
        self.head(field, LIST);
        list_head(self.out, STRUCT, items.len());
        for item in items {
            structure(self.out, |out| write(out, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_is_encoded_as_the_specification_says() {
        let mut out = Vec::new();
        structure(&mut out, |out| {
            out.i32(1, -3);
            out.text(4, "ab");
            out.i32s(5, &[1, 2]);
            out.structure(8, |out| out.i64(2, 64));
        });
        assert_eq!(out, b"\x15\x05\x38\x02ab\x19\x25\x02\x04\x3c\x26\x80\x01\x00\x00");
    }
}
