//! Lists of equally long lists, as they come in JSON, in one piece: what is taken is bounded by what is there,
//! however many short rows a file has.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// A matrix, row after row.
#[derive(Debug)]
pub(super) struct Rows<T> {
    values: Vec<T>,
    columns: usize,
}

impl<T> Rows<T> {
    /// `None` if there are no columns, or if they do not divide the values.
    pub(super) fn new(values: Vec<T>, columns: usize) -> Option<Self> {
        (columns > 0 && values.len().is_multiple_of(columns)).then_some(Self { values, columns })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[T]> {
        self.values.chunks_exact(self.columns)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Outer(PhantomData))
    }
}

struct Outer<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Outer<T> {
    type Value = Rows<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of equally long rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows<T>, A::Error> {
        let (mut values, mut columns) = (Vec::new(), 0);
        let mut before = 0;
        while rows.next_element_seed(Inner(&mut values))?.is_some() {
            let length = values.len() - before;
            if before == 0 {
                columns = length;
            }
            if length == 0 || length != columns {
                let row = before / columns.max(1) + 1;
                return Err(A::Error::custom(format!("row {row} has {length} entries, not {columns}")));
            }
            before = values.len();
        }
        Rows::new(values, columns).ok_or_else(|| A::Error::custom("there are no rows"))
    }
}

/// Appends one row.
struct Inner<'a, T>(&'a mut Vec<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Inner<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        while let Some(value) = row.next_element()? {
            self.0.push(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_equally_long_and_not_empty() {
        let read = serde_json::from_str::<Rows<f32>>;
        let rows = read("[[1, 2], [3, 4.5]]").unwrap();
        assert_eq!((rows.columns(), rows.count(), rows.values()), (2, 2, &[1.0, 2.0, 3.0, 4.5][..]));
        assert_eq!(rows.iter().last(), Some(&[3.0, 4.5][..]));
        for (text, word) in [
            ("[]", "no rows"),
            ("[[]]", "row 1 has 0"),
            ("[[1], [2, 3]]", "row 2 has 2"),
            ("[[1], []]", "row 2 has 0"),
            ("[1]", "a row"),
            ("3", "equally long"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
