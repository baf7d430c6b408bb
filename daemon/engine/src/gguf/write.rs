//! Writing GGUF files, version 3.
//!
//! The table of tensors comes before their data, so a [`Header`] collects keys and tensors first. Then their
//! bytes are streamed in the order of the table, in pieces of any size: no tensor has to be in memory whole.

use std::io::{self, Write};

use super::{DEFAULT_ALIGNMENT, GgmlType, MAGIC};

/// A metadata value to write.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the format's own")]
pub enum Field {
    U32(u32),
    F32(f32),
    Bool(bool),
    String(String),
    Strings(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    Bools(Vec<bool>),
}

impl From<u32> for Field {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<f32> for Field {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Field {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

/// The header of a file to be written.
#[derive(Clone, Debug, Default)]
pub struct Header {
    keys: Vec<u8>,
    key_count: u64,
    table: Vec<u8>,
    /// Bytes of each tensor, in the order of the table.
    sizes: Vec<u64>,
    /// Where the data of the next tensor would begin, counted from the start of the data.
    next: u64,
}

impl Header {
    /// Adds the metadata entry `key`.
    pub fn key(&mut self, key: &str, value: &Field) {
        self.key_count += 1;
        string(&mut self.keys, key);
        field(&mut self.keys, value);
    }

    /// Adds a tensor behind those added before. `dimensions` are in ggml's order, the length of a row first;
    /// blocks of `format` divide it.
    pub fn tensor(&mut self, name: &str, dimensions: &[u64], format: GgmlType) {
        let bytes = format.bytes_of(dimensions.iter().product());
        string(&mut self.table, name);
        self.table.extend((dimensions.len() as u32).to_le_bytes());
        for dimension in dimensions {
            self.table.extend(dimension.to_le_bytes());
        }
        self.table.extend(format.as_u32().to_le_bytes());
        self.table.extend(self.next.to_le_bytes());
        let bytes = bytes.expect("the caller chose a format whose blocks divide the rows");
        self.sizes.push(bytes);
        self.next += bytes.next_multiple_of(DEFAULT_ALIGNMENT);
    }

    /// Bytes that the file will have.
    pub fn file_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(DEFAULT_ALIGNMENT) + self.next
    }

    /// Bytes of the header itself, before the padding.
    fn bytes(&self) -> u64 {
        (MAGIC.len() + 4 + 8 + 8 + self.keys.len() + self.table.len()) as u64
    }

    /// Writes the header to `out`, where the tensors' bytes follow.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn begin<W: Write>(self, mut out: W) -> io::Result<Body<W>> {
        out.write_all(MAGIC)?;
        out.write_all(&3_u32.to_le_bytes())?;
        out.write_all(&(self.sizes.len() as u64).to_le_bytes())?;
        out.write_all(&self.key_count.to_le_bytes())?;
        out.write_all(&self.keys)?;
        out.write_all(&self.table)?;
        pad(&mut out, self.bytes())?;
        Ok(Body { out, sizes: self.sizes.into_iter(), size: 0, written: 0 })
    }
}

/// The data of a file whose header is written.
#[derive(Debug)]
pub struct Body<W> {
    out: W,
    /// Tensors that have not begun.
    sizes: std::vec::IntoIter<u64>,
    /// Bytes of the tensor at hand.
    size: u64,
    /// How many of them are written.
    written: u64,
}

impl<W: Write> Body<W> {
    /// Writes the next bytes of the tensor at hand, or the first ones of the next if that one is whole.
    ///
    /// # Errors
    /// Errors of the file; [`io::ErrorKind::InvalidInput`] for bytes beyond the end of a tensor.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written == self.size {
            pad(&mut self.out, self.size)?;
            (self.size, self.written) = (self.sizes.next().unwrap_or(0), 0);
        }
        if bytes.len() as u64 > self.size - self.written {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more bytes than the tensor has"));
        }
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Pads the last tensor and gives the file back.
    ///
    /// # Errors
    /// Errors of the file; [`io::ErrorKind::InvalidInput`] if bytes of a tensor are missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.written < self.size || self.sizes.len() > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a tensor's bytes are missing"));
        }
        pad(&mut self.out, self.size)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Fills up to the alignment behind `length` bytes that began on it.
fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    let missing = length.next_multiple_of(DEFAULT_ALIGNMENT) - length;
    out.write_all(&[0; DEFAULT_ALIGNMENT as usize][..missing as usize])
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Writes the number of the value's type, and the value.
fn field(out: &mut Vec<u8>, value: &Field) {
    match value {
        Field::U32(value) => scalar(out, 4, &value.to_le_bytes()),
        Field::F32(value) => scalar(out, 6, &value.to_le_bytes()),
        Field::Bool(value) => scalar(out, 7, &[u8::from(*value)]),
        Field::String(text) => {
            out.extend(8_u32.to_le_bytes());
            string(out, text);
        }
        Field::Strings(texts) => {
            array(out, 8, texts.len());
            for text in texts {
                string(out, text);
            }
        }
        Field::F32s(values) => {
            array(out, 6, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Field::I32s(values) => {
            array(out, 5, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Field::Bools(values) => {
            array(out, 7, values.len());
            out.extend(values.iter().map(|value| u8::from(*value)));
        }
    }
}

fn scalar(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend(bytes);
}

fn array(out: &mut Vec<u8>, kind: u32, length: usize) {
    out.extend(9_u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Gguf, Value};

    fn header() -> Header {
        let mut header = Header::default();
        header.key("general.architecture", &"llama".into());
        header.key("a.number", &7_u32.into());
        header.key("a.float", &0.5_f32.into());
        header.key("a.truth", &true.into());
        header.key("a.texts", &Field::Strings(vec!["x".to_owned(), String::new(), "ß".to_owned()]));
        header.key("a.floats", &Field::F32s(vec![1.0, -2.0]));
        header.key("a.integers", &Field::I32s(vec![3, -4]));
        header.key("a.truths", &Field::Bools(vec![true, false]));
        header.tensor("vector", &[3], GgmlType::F32);
        header.tensor("matrix", &[64, 2], GgmlType::Q4_0);
        header
    }

    #[test]
    fn the_parser_reads_what_was_written() {
        let header = header();
        let promised = header.file_bytes();
        let mut body = header.begin(Vec::new()).unwrap();
        body.write(&[1; 12]).unwrap();
        body.write(&[2; 70]).unwrap();
        body.write(&[3; 2]).unwrap();
        let bytes = body.finish().unwrap();
        assert_eq!(bytes.len() as u64, promised);
        assert_eq!(bytes.len() % 32, 0);

        let gguf = Gguf::parse(&bytes, "m.gguf").unwrap();
        assert_eq!(gguf.version(), 3);
        assert_eq!(gguf.get_str("general.architecture"), Ok(Some("llama")));
        assert_eq!(gguf.get_u32("a.number"), Ok(Some(7)));
        assert_eq!(gguf.get_f32("a.float"), Ok(Some(0.5)));
        assert_eq!(gguf.get("a.truth"), Some(Value::Bool(true)));
        let texts: Vec<_> = gguf.get_strings("a.texts").unwrap().unwrap().collect();
        assert_eq!(texts, [b"x".as_slice(), b"", "ß".as_bytes()]);
        let floats = gguf.get_array("a.floats").unwrap().unwrap().floats().unwrap();
        assert_eq!(floats.collect::<Vec<_>>(), [1.0, -2.0]);
        for (key, values) in [("a.integers", [3, -4]), ("a.truths", [1, 0])] {
            let found = gguf.get_array(key).unwrap().unwrap().integers().unwrap();
            assert_eq!(found.collect::<Vec<_>>(), values);
        }
        let data = |name| gguf.data(gguf.need_tensor(name).unwrap());
        assert_eq!(data("vector"), [1; 12]);
        assert_eq!(data("matrix"), [[2; 70].as_slice(), &[3; 2]].concat());
    }

    #[test]
    fn bytes_that_do_not_fit_the_table_are_refused() {
        let mut body = header().begin(Vec::new()).unwrap();
        body.write(&[1; 10]).unwrap();
        assert_eq!(body.write(&[1; 3]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(body.finish().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let mut body = header().begin(Vec::new()).unwrap();
        body.write(&[1; 12]).unwrap();
        assert!(body.finish().is_err());
    }
}
