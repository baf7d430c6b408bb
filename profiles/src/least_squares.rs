//! Ordinary least squares with several regressors: coefficients, their covariance, and how well the regressors can be told
//! apart.
//!
//! The columns are scaled to length 1, and the normal matrix of the scaled columns is taken apart into its eigenvalues
//! (Jacobi's method). The square root of the largest divided by the smallest is the condition number of Belsley, Kuh and
//! Welsch, *Regression Diagnostics*, 1980, section 3.2: from about 30 on, columns depend on each other so much that their
//! coefficients mean nothing.

use crate::compare::student_quantile;

/// From this condition number on, coefficients are not to be believed (Belsley, Kuh and Welsch 1980).
pub const MAX_CONDITION: f64 = 30.0;

/// A fit of `y ≈ Σ coefficient · column`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// One for each column.
    pub coefficients: Vec<f64>,
    /// Variances and covariances of the coefficients.
    covariance: Vec<Vec<f64>>,
    /// Variance of what is left.
    pub residual_variance: f64,
    /// Rows less columns.
    pub freedom: f64,
    /// Of the scaled columns; 1 is best.
    pub condition: f64,
}

/// Why there is no fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFit {
    /// There are not more rows than columns.
    #[error("{rows} rows cannot determine {columns} figures and how sure they are")]
    FewRows {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// Columns are zero, or the same but for a factor.
    #[error("the regressors depend on each other")]
    Dependent,
}

/// Fits `y` by the columns of `rows`, which all have the same length.
///
/// # Errors
/// If there are too few rows, or columns depend on each other exactly.
pub fn fit(rows: &[Vec<f64>], y: &[f64]) -> Result<Fit, NoFit> {
    let columns = rows.first().map_or(0, Vec::len);
    if rows.len() <= columns || columns == 0 || y.len() != rows.len() {
        return Err(NoFit::FewRows { rows: rows.len(), columns });
    }
    let length = |at: usize| rows.iter().map(|row| row[at] * row[at]).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..columns).map(length).collect();
    if lengths.iter().any(|length| !(length.is_finite() && *length > 0.0)) {
        return Err(NoFit::Dependent);
    }
    let scaled = |row: &Vec<f64>, at: usize| row[at] / lengths[at];
    let normal: Vec<Vec<f64>> = (0..columns)
        .map(|a| (0..columns).map(|b| rows.iter().map(|row| scaled(row, a) * scaled(row, b)).sum()).collect())
        .collect();
    let right: Vec<f64> =
        (0..columns).map(|at| rows.iter().zip(y).map(|(row, y)| scaled(row, at) * y).sum()).collect();
    let (values, vectors) = eigen(normal);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    let is_independent = smallest > largest * 1e-14;
    if !is_independent {
        return Err(NoFit::Dependent);
    }
    let inverse = |a: usize, b: usize| -> f64 {
        values.iter().enumerate().map(|(at, value)| vectors[a][at] * vectors[b][at] / value).sum()
    };
    let coefficients: Vec<f64> = (0..columns)
        .map(|a| (0..columns).map(|b| inverse(a, b) * right[b]).sum::<f64>() / lengths[a])
        .collect();
    let residual = |(row, y): (&Vec<f64>, &f64)| y - dot(row, &coefficients);
    let squares: f64 = rows.iter().zip(y).map(residual).map(|left| left * left).sum();
    let freedom = (rows.len() - columns) as f64;
    let residual_variance = squares / freedom;
    let covariance = (0..columns)
        .map(|a| {
            let of = |b: usize| inverse(a, b) / (lengths[a] * lengths[b]) * residual_variance;
            (0..columns).map(of).collect()
        })
        .collect();
    let condition = (largest / smallest).sqrt();
    Ok(Fit { coefficients, covariance, residual_variance, freedom, condition })
}

impl Fit {
    /// Half the width of the interval of a coefficient at `level` (0 to 1).
    pub fn half_width(&self, column: usize, level: f64) -> f64 {
        let variance = self.covariance.get(column).and_then(|row| row.get(column)).copied().unwrap_or(0.0);
        student_quantile(f64::midpoint(level, 1.0), self.freedom) * variance.max(0.0).sqrt()
    }

    /// What the fit says at `row`.
    pub fn at(&self, row: &[f64]) -> f64 {
        dot(row, &self.coefficients)
    }

    /// Half the width of the band in which a new value at `row` lies with probability `level` (0 to 1).
    pub fn band(&self, row: &[f64], level: f64) -> f64 {
        let of_fit: f64 =
            self.covariance.iter().zip(row).map(|(covariances, own)| own * dot(covariances, row)).sum();
        let variance = of_fit.max(0.0) + self.residual_variance;
        student_quantile(f64::midpoint(level, 1.0), self.freedom) * variance.sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations.
fn eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|a| (0..size).map(|b| if a == b { 1.0 } else { 0.0 }).collect()).collect();
    for _ in 0..60 {
        let off: f64 =
            (0..size).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| matrix[a][b].powi(2)).sum();
        if off < 1e-30 {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    ((0..size).map(|at| matrix[at][at]).collect(), vectors)
}

/// Makes the element at `p`, `q` zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    let (upper, lower) = matrix.split_at_mut(q);
    for (x, y) in upper[p].iter_mut().zip(&mut lower[0]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
    for row in vectors.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_line_is_found() {
        let rows: Vec<Vec<f64>> = (0..10).map(|at| vec![1.0, f64::from(at)]).collect();
        let y: Vec<f64> = (0..10).map(|at| 3.0 + 2.0 * f64::from(at)).collect();
        let fit = fit(&rows, &y).unwrap();
        assert!((fit.coefficients[0] - 3.0).abs() < 1e-9 && (fit.coefficients[1] - 2.0).abs() < 1e-9);
        assert!((fit.at(&[1.0, 20.0]) - 43.0).abs() < 1e-9 && fit.band(&[1.0, 20.0], 0.95) < 1e-6);
    }

    /// The textbook example of Draper and Smith, *Applied Regression Analysis*, 3rd ed. 1998, in small: five points.
    #[test]
    fn intervals_of_a_line_are_those_of_the_formulas() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let y = [2.0, 4.0, 5.0, 4.0, 5.0];
        let rows: Vec<Vec<f64>> = x.iter().map(|&x| vec![1.0, x]).collect();
        let fit = fit(&rows, &y).unwrap();
        assert!((fit.coefficients[0] - 2.2).abs() < 1e-9 && (fit.coefficients[1] - 0.6).abs() < 1e-9);
        // s² = 2.4 / 3, Sxx = 10, t(0.975, 3) = 3.1824.
        assert!((fit.residual_variance - 0.8).abs() < 1e-9);
        assert!((fit.half_width(1, 0.95) - 3.1824 * (0.8_f64 / 10.0).sqrt()).abs() < 1e-3);
        let band = 3.1824 * (0.8_f64 * (1.0 + 0.2 + 9.0 / 10.0)).sqrt();
        assert!((fit.band(&[1.0, 6.0], 0.95) - band).abs() < 1e-3);
    }

    #[test]
    fn dependent_columns_and_too_few_rows_have_no_fit() {
        let twice: Vec<Vec<f64>> = (1..9).map(|at| vec![f64::from(at), 2.0 * f64::from(at)]).collect();
        let y = vec![1.0; 8];
        assert_eq!(fit(&twice, &y), Err(NoFit::Dependent));
        assert_eq!(fit(&[vec![1.0, 0.0], vec![1.0, 0.0], vec![2.0, 0.0]], &[1.0; 3]), Err(NoFit::Dependent));
        assert!(matches!(fit(&twice[..2], &y[..2]), Err(NoFit::FewRows { rows: 2, columns: 2 })));
        assert!(matches!(fit(&[], &[]), Err(NoFit::FewRows { .. })));
        let near: Vec<Vec<f64>> =
            (1..9).map(|at| vec![f64::from(at), f64::from(at) + 0.01 * f64::from(at % 2)]).collect();
        assert!(fit(&near, &y).unwrap().condition > MAX_CONDITION);
    }
}
