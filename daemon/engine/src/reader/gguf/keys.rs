//! The metadata keys of one architecture in one file.

use super::unsupported;
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::shown::shown;

/// Reads keys that begin with the architecture's name.
pub(super) struct Keys<'a> {
    pub(super) gguf: &'a Gguf<'a>,
    pub(super) prefix: &'static str,
}

impl Keys<'_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, LoadError> {
        Ok(self.gguf.get_u32(&self.key(name))?)
    }

    pub(super) fn need(&self, name: &str) -> Result<u32, LoadError> {
        self.number(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, LoadError> {
        Ok(self.gguf.get_f32(&self.key(name))?)
    }

    /// One number for all layers, or an array with one for each.
    pub(super) fn per_layer(&self, name: &str, layers: u32) -> Result<Option<Vec<u32>>, LoadError> {
        let key = self.key(name);
        let Ok(Some(array)) = self.gguf.get_array(&key) else {
            return Ok(self.number(name)?.map(|number| vec![number; layers as usize]));
        };
        let wrong = || self.gguf.wrong_type(&key, "an integer, or an array with one for each layer");
        let numbers = array.integers().filter(|_| array.len() == layers as usize).ok_or_else(wrong)?;
        let numbers: Result<Vec<u32>, _> = numbers.map(u32::try_from).collect();
        Ok(Some(numbers.map_err(|_| wrong())?))
    }

    pub(super) fn present(&self, tensor: &str) -> bool {
        self.gguf.tensor(tensor).is_some()
    }

    pub(super) fn missing(&self, name: &str) -> LoadError {
        self.gguf.missing(&self.key(name)).into()
    }

    pub(super) fn unsupported(&self, name: &str, found: &str, remedy: &'static str) -> LoadError {
        unsupported(self.gguf, format!("{} = {}", self.key(name), shown(found)), remedy)
    }
}
