//! Whether numbers are finite.

/// The first element that is not finite, and its value.
pub(super) fn first_broken(values: &[f32]) -> Option<(u64, f64)> {
    let index = values.iter().position(|value| !value.is_finite())?;
    Some((index as u64, f64::from(values[index])))
}
