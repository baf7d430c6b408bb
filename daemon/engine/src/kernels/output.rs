//! A matrix of results that several threads write, each its own columns.

use std::marker::PhantomData;
use std::ops::Range;

/// Rows of f32 results that are written by columns.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    first: *mut f32,
    rows: usize,
    stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
// SAFETY: it stands for an exclusive borrow of plain numbers; `Output::columns` puts the duty to keep
// accesses apart on its caller.
unsafe impl Send for Output<'_> {}
#[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// `values` as rows of `stride` elements.
    ///
    /// # Panics
    /// If they are no whole number of rows.
    pub fn new(values: &'a mut [f32], stride: usize) -> Self {
        assert!(stride > 0 && values.len().is_multiple_of(stride), "whole rows");
        Self { first: values.as_mut_ptr(), rows: values.len() / stride, stride, values: PhantomData }
    }

    /// The columns in `range`, to be written.
    ///
    /// # Panics
    /// If rows are shorter than that.
    ///
    /// # Safety
    /// While the result is alive, no other code reads or writes these columns.
    #[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
    pub unsafe fn columns(self, range: Range<usize>) -> Columns<'a> {
        assert!(range.start <= range.end && range.end <= self.stride, "columns of a row");
        Columns { output: self, range }
    }
}

/// Some columns of an [`Output`].
#[derive(Debug)]
pub struct Columns<'a> {
    output: Output<'a>,
    range: Range<usize>,
}

impl<'a> Columns<'a> {
    /// All columns of `values`, rows of `stride` elements.
    ///
    /// # Panics
    /// If they are no whole number of rows.
    pub fn all(values: &'a mut [f32], stride: usize) -> Self {
        Self { output: Output::new(values, stride), range: 0..stride }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.output.rows
    }

    /// How many columns these are.
    pub fn width(&self) -> usize {
        self.range.len()
    }

    /// These columns of `row`.
    ///
    /// # Panics
    /// If there is no such row.
    #[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.output.rows, "a row of the output");
        // SAFETY: the row is inside the borrowed values and the range inside the row; nobody else touches
        // these columns while `self` lives, and `self` is borrowed for as long as the slice.
        unsafe {
            let start = self.output.first.add(row * self.output.stride + self.range.start);
            std::slice::from_raw_parts_mut(start, self.range.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "what is tested")]
    fn columns_are_written_side_by_side() {
        let mut values = [0.0; 6];
        let output = Output::new(&mut values, 3);
        // SAFETY: the ranges are disjoint.
        let (mut left, mut right) = unsafe { (output.columns(0..1), output.columns(1..3)) };
        for row in 0..2 {
            left.row_mut(row).fill(1.0);
            right.row_mut(row).fill(2.0 + row as f32);
        }
        assert_eq!(values.map(|value| value as i32), [1, 2, 2, 1, 3, 3]);
    }
}
