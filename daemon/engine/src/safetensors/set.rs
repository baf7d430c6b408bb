//! The tensors of a whole checkpoint, in one file or in several.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Problem, SafeTensorsError};
use super::index::Index;
use super::{SafeTensors, TensorInfo};
use crate::map::MappedFile;

/// All tensors of a checkpoint with the files that hold them.
#[derive(Debug)]
pub struct TensorSet {
    name: String,
    files: Vec<Arc<MappedFile>>,
    tensors: HashMap<Box<str>, (usize, TensorInfo)>,
}

impl TensorSet {
    /// The tensors of one file.
    ///
    /// # Errors
    /// See [`SafeTensors::parse`].
    pub fn single(file: Arc<MappedFile>) -> Result<Self, SafeTensorsError> {
        let mut set = Self { name: file.name().to_owned(), files: Vec::new(), tensors: HashMap::new() };
        set.add(file)?;
        Ok(set)
    }

    /// The tensors of all `files`, which are those of [`Index::shards`] in that order.
    ///
    /// # Errors
    /// A missing file, a tensor that is not in the file that the index names or is in two, and see
    /// [`SafeTensors::parse`].
    pub fn sharded(index: &Index, files: Vec<Arc<MappedFile>>) -> Result<Self, SafeTensorsError> {
        let refused = |problem| SafeTensorsError { file: index.file().to_owned(), offset: 0, problem };
        if files.len() != index.shards().len() {
            let (named, found) = (index.shards().len(), files.len());
            return Err(refused(Problem::Shards(format!("names {named} files, {found} were opened"))));
        }
        let mut set = Self { name: index.file().to_owned(), files: Vec::new(), tensors: HashMap::new() };
        for file in files {
            set.add(file)?;
        }
        let mut missing: Vec<_> = index
            .tensors()
            .filter(|(name, shard)| set.tensors.get(*name).map(|at| at.0) != Some(*shard))
            .collect();
        // The first of them, whatever the order of the map.
        missing.sort_unstable();
        match missing.first() {
            Some((name, shard)) => {
                let file = &index.shards()[*shard];
                Err(refused(Problem::Shards(format!("has tensor {name} in {file}, where it is not"))))
            }
            None => Ok(set),
        }
    }

    fn add(&mut self, file: Arc<MappedFile>) -> Result<(), SafeTensorsError> {
        let number = self.files.len();
        for tensor in SafeTensors::parse(file.bytes(), file.name())?.tensors {
            let offset = tensor.range.start as u64;
            if let Some((_, twice)) = self.tensors.insert(tensor.name.clone(), (number, tensor)) {
                let problem = Problem::Duplicate { tensor: twice.name.into() };
                return Err(SafeTensorsError { file: file.name().to_owned(), offset, problem });
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// The file that lists the tensors: the only one, or the index.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files, in the order of the index.
    pub fn files(&self) -> &[Arc<MappedFile>] {
        &self.files
    }

    /// The tensor called `name` and the file that holds it, if there is one.
    pub fn tensor(&self, name: &str) -> Option<(&Arc<MappedFile>, &TensorInfo)> {
        let (file, tensor) = self.tensors.get(name)?;
        Some((self.files.get(*file)?, tensor))
    }

    /// All tensors, in no particular order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values().map(|(_, tensor)| tensor)
    }
}
