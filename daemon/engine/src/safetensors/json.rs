//! Reads JSON field by field; errors name the byte.
//!
//! The general JSON library reports lines and columns. Here no value is built: the caller asks for what must come
//! next, so nothing is allocated but the strings that it keeps, and recursion is bounded by the caller's own code.

use std::borrow::Cow;

use super::error::{Problem, SafeTensorsError};

/// Brackets within brackets in what is skipped.
const DEEPEST: usize = 64;

/// A reading position in the JSON part of a file.
pub(super) struct Json<'a> {
    file: &'a str,
    text: &'a [u8],
    position: usize,
    /// Offset of the text in the file.
    start: usize,
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a [u8], start: usize, file: &'a str) -> Self {
        Self { file, text, position: 0, start }
    }

    /// Offset in the file of what comes next, white space skipped.
    pub(super) fn offset(&mut self) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.position) {
            self.position += 1;
        }
        self.start + self.position
    }

    pub(super) fn error_at(&self, offset: usize, problem: Problem) -> SafeTensorsError {
        SafeTensorsError { file: self.file.to_owned(), offset: offset as u64, problem }
    }

    /// The error that something else than `expected` comes next.
    pub(super) fn unexpected(&mut self, what: &str, expected: &'static str) -> SafeTensorsError {
        let offset = self.offset();
        let rest = &self.text[self.position..];
        let found = match rest.get(..rest.len().min(12)) {
            Some([]) | None => "the end".to_owned(),
            Some(bytes) => format!("`{}`", bytes.escape_ascii()),
        };
        self.error_at(offset, Problem::Json { what: what.to_owned(), expected, found })
    }

    /// Whether `byte` comes next, which is taken then.
    pub(super) fn next_is(&mut self, byte: u8) -> bool {
        self.offset();
        let found = self.text.get(self.position) == Some(&byte);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect(
        &mut self,
        byte: u8,
        what: &str,
        expected: &'static str,
    ) -> Result<(), SafeTensorsError> {
        if self.next_is(byte) { Ok(()) } else { Err(self.unexpected(what, expected)) }
    }

    /// Nothing but white space may be left.
    pub(super) fn end(&mut self, what: &str) -> Result<(), SafeTensorsError> {
        self.offset();
        if self.position == self.text.len() { Ok(()) } else { Err(self.unexpected(what, "the end")) }
    }

    /// Calls `entry` with the place and name of every member of an object, at its value.
    pub(super) fn object(
        &mut self,
        what: &str,
        mut entry: impl FnMut(&mut Self, usize, Cow<'a, str>) -> Result<(), SafeTensorsError>,
    ) -> Result<(), SafeTensorsError> {
        self.expect(b'{', what, "`{`")?;
        if self.next_is(b'}') {
            return Ok(());
        }
        loop {
            let at = self.offset();
            let name = self.string(what)?;
            self.expect(b':', what, "`:`")?;
            entry(self, at, name)?;
            if self.next_is(b'}') {
                return Ok(());
            }
            self.expect(b',', what, "`,` or `}`")?;
        }
    }

    /// Passes over one value of any kind that is inside of `depth` others and is called `name`.
    pub(super) fn skip(&mut self, name: &str, depth: usize) -> Result<(), SafeTensorsError> {
        self.offset();
        match self.text.get(self.position) {
            Some(b'"') => self.string(name).map(drop),
            Some(b'{' | b'[') if depth == DEEPEST => {
                Err(self.unexpected(name, "a value that is not so deep"))
            }
            Some(b'{') => self.object(name, |json, _, _| json.skip(name, depth + 1)),
            Some(b'[') => {
                self.position += 1;
                if self.next_is(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(name, depth + 1)?;
                    if self.next_is(b']') {
                        return Ok(());
                    }
                    self.expect(b',', name, "`,` or `]`")?;
                }
            }
            _ => self.word(name),
        }
    }

    /// Takes a number, a truth value or null.
    fn word(&mut self, what: &str) -> Result<(), SafeTensorsError> {
        let rest = &self.text[self.position..];
        let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().take_while(inside).count();
        let word = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        if matches!(word, "true" | "false" | "null") || word.parse::<f64>().is_ok_and(f64::is_finite) {
            self.position += length;
            Ok(())
        } else {
            Err(self.unexpected(what, "a value"))
        }
    }

    /// The numbers of an array of at most `most`.
    pub(super) fn numbers(&mut self, what: &str, most: usize) -> Result<Vec<u64>, SafeTensorsError> {
        let mut numbers = Vec::new();
        self.expect(b'[', what, "`[`")?;
        if self.next_is(b']') {
            return Ok(numbers);
        }
        loop {
            if numbers.len() == most {
                return Err(self.unexpected(what, "`]`: there are enough numbers"));
            }
            numbers.push(self.number(what)?);
            if self.next_is(b']') {
                return Ok(numbers);
            }
            self.expect(b',', what, "`,` or `]`")?;
        }
    }

    fn number(&mut self, what: &str) -> Result<u64, SafeTensorsError> {
        const EXPECTED: &str = "a whole number from 0 to 2^64 - 1";
        self.offset();
        let rest = &self.text[self.position..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let leading_zero = digits > 1 && rest.first() == Some(&b'0');
        let goes_on = matches!(rest.get(digits), Some(b'.' | b'e' | b'E'));
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if !leading_zero && !goes_on => {
                self.position += digits;
                Ok(number)
            }
            _ => Err(self.unexpected(what, EXPECTED)),
        }
    }

    /// The next string.
    pub(super) fn string(&mut self, what: &str) -> Result<Cow<'a, str>, SafeTensorsError> {
        self.offset();
        let begin = self.position;
        let text = self.text;
        let rest = text.get(begin..).and_then(|rest| rest.strip_prefix(b"\""));
        let Some(rest) = rest else { return Err(self.unexpected(what, "a string")) };
        let mut escaped = false;
        let mut length = 0;
        loop {
            match rest.get(length) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    length += 2;
                }
                Some(0..0x20) | None => {
                    return Err(self.unexpected(what, "a string that ends on its line"));
                }
                Some(_) => length += 1,
            }
        }
        let inner = std::str::from_utf8(&rest[..length]).ok();
        let value = inner.and_then(|inner| {
            if escaped { unescape(inner).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
        });
        match value {
            Some(value) => {
                self.position = begin + length + 2;
                Ok(value)
            }
            None => Err(self.unexpected(what, "a string of UTF-8 with the escapes of JSON")),
        }
    }
}

/// The text that `inner`, the inside of a JSON string, stands for.
fn unescape(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        text.push(match rest.next()? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = unit(&mut rest)?;
                let lead = (0xd800..0xdc00).contains(&unit);
                if lead && (rest.next(), rest.next()) != (Some('\\'), Some('u')) {
                    return None;
                }
                let tail = if lead { Some(self::unit(&mut rest)?) } else { None };
                char::decode_utf16([Some(unit), tail].into_iter().flatten()).next()?.ok()?
            }
            _ => return None,
        });
    }
    Some(text)
}

/// The number of four hexadecimal digits.
fn unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits: String = rest.by_ref().take(4).collect();
    let valid = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if valid { u16::from_str_radix(&digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Option<String> {
        let mut json = Json::new(text.as_bytes(), 0, "t");
        json.string("it").ok().map(Cow::into_owned)
    }

    #[test]
    fn strings_and_their_escapes() {
        assert_eq!(string(r#" "a.b" "#).unwrap(), "a.b");
        assert_eq!(string(r#""\"\\\/\b\f\n\r\t""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(string(r#""\u00df\ud83d\ude00""#).unwrap(), "ß😀");
        for wrong in ["", "\"", "\"\\\"", r#""\x""#, r#""\u12""#, r#""\ud800""#, r#""\udc00""#, "\"\n\"", "7"]
        {
            assert_eq!(string(wrong), None, "{wrong}");
        }
        assert_eq!(string(r#""\ud800\u0041""#), None);
        assert!(Json::new(b"\"\xff\"", 0, "t").string("it").is_err());
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        let numbers = |text: &str| Json::new(text.as_bytes(), 0, "t").numbers("it", 3).ok();
        assert_eq!(numbers(" [ 1 , 18446744073709551615 ] "), Some(vec![1, u64::MAX]));
        assert_eq!(numbers("[]"), Some(vec![]));
        for wrong in
            ["[-1]", "[1.0]", "[1e3]", "[01]", "[18446744073709551616]", "[1,]", "[1", "[1,2,3,4]", "7"]
        {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_byte_of_the_file() {
        let error = Json::new(b"  {\"a\" 7}", 8, "m.safetensors").object("it", |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.offset, 15);
        assert!(error.to_string().contains("it: `:` is expected, `7}` found (at byte 15)"), "{error}");
    }
}
