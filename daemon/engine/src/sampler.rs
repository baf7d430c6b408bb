//! Choosing the next id.

use crate::error::EngineError;

/// The id of the largest logit; the first of equals, never a NaN.
///
/// # Errors
/// [`EngineError::NoNumber`] if there is no logit that is a number.
pub fn greedy(logits: &[f32]) -> Result<u32, EngineError> {
    let mut best: Option<(usize, f32)> = None;
    for (id, &logit) in logits.iter().enumerate() {
        if best.map_or(!logit.is_nan(), |(_, most)| logit > most) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id as u32).ok_or(EngineError::NoNumber(logits.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_wins_and_nan_never_does() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0, 2.0]).unwrap(), 1);
        assert_eq!(greedy(&[f32::NAN, -1.0, f32::NAN, -0.5]).unwrap(), 3);
        assert_eq!(greedy(&[f32::NEG_INFINITY, f32::NEG_INFINITY]).unwrap(), 0);
    }

    #[test]
    fn no_number_is_an_error() {
        assert!(matches!(greedy(&[f32::NAN; 3]), Err(EngineError::NoNumber(3))));
        assert!(matches!(greedy(&[]), Err(EngineError::NoNumber(0))));
    }
}
