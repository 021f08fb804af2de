//! Vectors of length one: checked once, at the door.

use std::fmt;

use super::{error::VectorError, limits::DIMENSION_MAX};

/// A finite vector of Euclidean length one, so that a dot product is a cosine.
///
/// It is made from a text or a patient's note, and can give much of it away: it has no `Debug` of its coordinates.
#[derive(Clone, PartialEq)]
pub struct UnitVector(Box<[f32]>);

impl UnitVector {
    /// Checks and normalises what an encoder gave: 1 to [`DIMENSION_MAX`] finite coordinates, not all zero.
    ///
    /// # Errors
    /// Which of these does not hold.
    pub fn parse(coordinates: &[f32]) -> Result<Self, VectorError> {
        let found = coordinates.len();
        if found == 0 || found > DIMENSION_MAX {
            return Err(VectorError::DimensionOutOfRange { found });
        }
        if let Some(at) = coordinates.iter().position(|x| !x.is_finite()) {
            return Err(VectorError::NotFinite { at });
        }
        // In f64 the squares of the largest and the smallest f32 neither overflow nor vanish.
        let squares: f64 = coordinates.iter().map(|x| f64::from(*x).powi(2)).sum();
        if squares == 0.0 {
            return Err(VectorError::Zero);
        }
        let length = squares.sqrt();
        let unit = coordinates
            .iter()
            .map(|x| (f64::from(*x) / length) as f32)
            .collect();
        Ok(Self(unit))
    }

    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn coordinates(&self) -> &[f32] {
        &self.0
    }
}

impl fmt::Debug for UnitVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitVector({} coordinates)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_normalised_at_the_door() {
        let unit = UnitVector::parse(&[3.0, 0.0, -4.0]).unwrap();
        assert_eq!(unit.coordinates(), &[0.6, 0.0, -0.8]);
        let huge = UnitVector::parse(&[f32::MAX, f32::MAX]).unwrap();
        let small = UnitVector::parse(&[f32::MIN_POSITIVE, f32::MIN_POSITIVE]).unwrap();
        assert_eq!(huge, small);
    }

    #[test]
    fn what_has_no_direction_is_refused() {
        let refused = |coordinates: &[f32]| UnitVector::parse(coordinates).unwrap_err();
        assert!(matches!(refused(&[0.0, -0.0]), VectorError::Zero));
        assert!(matches!(
            refused(&[1.0, f32::NAN]),
            VectorError::NotFinite { at: 1 }
        ));
        assert!(matches!(
            refused(&[f32::INFINITY]),
            VectorError::NotFinite { at: 0 }
        ));
        assert!(matches!(
            refused(&[]),
            VectorError::DimensionOutOfRange { found: 0 }
        ));
        let wide = vec![1.0; DIMENSION_MAX + 1];
        assert!(matches!(
            refused(&wide),
            VectorError::DimensionOutOfRange { .. }
        ));
    }

    #[test]
    fn a_vector_does_not_show_itself() {
        let unit = UnitVector::parse(&[0.6, 0.8]).unwrap();
        assert_eq!(format!("{unit:?}"), "UnitVector(2 coordinates)");
    }
}
