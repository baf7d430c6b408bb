//! A column of numbers: raw little-endian bytes in MessagePack, an array in JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Numbers of one kind, in the order of the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column<T>(pub Vec<T>);

/// Fixed-width integers that a column can hold.
pub trait Integer: Copy + Serialize + for<'de> Deserialize<'de> {
    /// Bytes of one.
    const WIDTH: usize;
    /// Appends its little-endian bytes.
    fn put(self, bytes: &mut Vec<u8>);
    /// From exactly `WIDTH` bytes.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! integer {
    ($type:ty) => {
        impl Integer for $type {
            const WIDTH: usize = size_of::<$type>();

            #[inline]
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn get(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("chunks_exact gives WIDTH bytes"))
            }
        }
    };
}

integer!(u16);
integer!(u32);

impl<T: Integer> Serialize for Column<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut bytes = Vec::with_capacity(self.0.len() * T::WIDTH);
        self.0.iter().for_each(|number| number.put(&mut bytes));
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de, T: Integer> Deserialize<'de> for Column<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnVisitor(PhantomData))
    }
}

struct ColumnVisitor<T>(PhantomData<T>);

impl<'de, T: Integer> Visitor<'de> for ColumnVisitor<T> {
    type Value = Column<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "numbers, or their {}-byte little-endian bytes", T::WIDTH)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        if !bytes.len().is_multiple_of(T::WIDTH) {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(Column(bytes.chunks_exact(T::WIDTH).map(T::get).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element()? {
            numbers.push(number);
        }
        Ok(Column(numbers))
    }
}
