//! Writing protobuf messages field by field, without generated code (<https://protobuf.dev/programming-guides/encoding>).

/// Appends a number in the variable-length encoding.
pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number with a sign as one without, small where it is near 0.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// An integer field.
pub(super) fn integer(out: &mut Vec<u8>, field: u32, number: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, number);
}

/// A `fixed64` field.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// A `double` field.
pub(super) fn double(out: &mut Vec<u8>, field: u32, number: f64) {
    fixed64(out, field, number.to_bits());
}

/// A field of bytes or text.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A field that is a message, or a packed list, whose content `write` appends.
pub(super) fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, u64::from(field) << 3 | 2);
    let at = out.len();
    // Most messages are shorter than 128 bytes, and their length takes this one.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(5);
        varint(&mut prefix, length as u64);
        out.splice(at..=at, prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_documentation_of_protobuf_shows() {
        let mut out = Vec::new();
        integer(&mut out, 1, 150);
        bytes(&mut out, 2, b"testing");
        nested(&mut out, 3, |out| integer(out, 1, 150));
        assert_eq!(out, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
    }

    #[test]
    fn long_messages_have_long_lengths() {
        let mut out = Vec::new();
        nested(&mut out, 1, |out| out.resize(out.len() + 300, 7));
        assert_eq!(out[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(out.len(), 3 + 300);
    }
}
