//! Eigenvalues of a symmetric matrix in f64: Householder's reduction to three diagonals, then QR steps with implicit shifts.
//! (Golub and Van Loan, Matrix Computations, sections 8.3.1 and 8.3.3.)

/// The most QR steps for one eigenvalue. Two or three are usual.
const MOST_STEPS: usize = 60;

/// The eigenvalues of a symmetric matrix, `[n, n]` row by row, in descending order; its lower triangle counts. `None` if an
/// element is not finite.
///
/// # Panics
/// If the slice does not hold n·n elements.
pub fn eigenvalues(mut matrix: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    assert_eq!(matrix.len(), n * n, "a square matrix");
    if matrix.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let (mut diagonal, mut beside) = tridiagonal(&mut matrix, n);
    solve(&mut diagonal, &mut beside)?;
    diagonal.sort_by(|a, b| b.total_cmp(a));
    Some(diagonal)
}

/// The diagonal `[n]` and the one beside it `[n]`, with a zero at its end, of a matrix with three diagonals and the same
/// eigenvalues. Row by row from the last, a reflection clears what is left of the diagonal's neighbour.
fn tridiagonal(matrix: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut beside = vec![0.0; n];
    let mut reflection = vec![0.0; n];
    let mut image = vec![0.0; n];
    for row in (1..n).rev() {
        // The part of the row that the reflection maps to a multiple of its last element.
        let vector = &mut reflection[..row];
        vector.copy_from_slice(&matrix[row * n..][..row]);
        let scale = vector.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        if scale == 0.0 {
            continue;
        }
        vector.iter_mut().for_each(|v| *v /= scale);
        let squares: f64 = vector.iter().map(|v| v * v).sum();
        let last = vector[row - 1];
        let length = if last > 0.0 { -squares.sqrt() } else { squares.sqrt() };
        beside[row - 1] = scale * length;
        vector[row - 1] = last - length;
        // H = 1 − v·vᵀ/half, where half = |v|²/2.
        let half = squares - last * length;
        if half == 0.0 {
            continue;
        }
        // A·v by the lower triangle, each row of it read once.
        let image = &mut image[..row];
        image.fill(0.0);
        for i in 0..row {
            let line = &matrix[i * n..][..i];
            let own = vector[i];
            let mut sum = matrix[i * n + i] * own;
            for ((&a, &v), image) in line.iter().zip(&*vector).zip(image.iter_mut()) {
                sum += a * v;
                *image += a * own;
            }
            image[i] += sum;
        }
        image.iter_mut().for_each(|value| *value /= half);
        let along: f64 = image.iter().zip(&*vector).map(|(p, v)| p * v).sum::<f64>() / (2.0 * half);
        for (p, v) in image.iter_mut().zip(&*vector) {
            *p -= along * v;
        }
        // A − v·qᵀ − q·vᵀ
        for i in 0..row {
            let (v_i, q_i) = (vector[i], image[i]);
            let line = &mut matrix[i * n..][..=i];
            for ((a, &v), &q) in line.iter_mut().zip(&*vector).zip(&*image) {
                *a -= v_i * q + q_i * v;
            }
        }
    }
    ((0..n).map(|i| matrix[i * n + i]).collect(), beside)
}

/// Turns the diagonal into the eigenvalues. `None` if they do not converge.
fn solve(diagonal: &mut [f64], beside: &mut [f64]) -> Option<()> {
    let n = diagonal.len();
    for first in 0..n {
        for step in 0.. {
            // The block from `first` to the next negligible neighbour.
            let last = (first..n - 1)
                .find(|&i| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs()))
                .unwrap_or(n - 1);
            if last == first {
                break;
            }
            if step == MOST_STEPS {
                return None;
            }
            chase(&mut diagonal[first..=last], &mut beside[first..=last]);
        }
    }
    Some(())
}

/// One QR step with Wilkinson's shift on a block with three diagonals, from its end to its start.
fn chase(diagonal: &mut [f64], beside: &mut [f64]) {
    let end = diagonal.len() - 1;
    let slope = (diagonal[1] - diagonal[0]) / (2.0 * beside[0]);
    let root = slope.hypot(1.0);
    let shift = diagonal[0] - beside[0] / (slope + root.copysign(slope));
    let mut above = diagonal[end] - shift;
    let (mut sine, mut cosine, mut moved) = (1.0, 1.0, 0.0);
    for i in (0..end).rev() {
        let (f, b) = (sine * beside[i], cosine * beside[i]);
        let radius = f.hypot(above);
        beside[i + 1] = radius;
        if radius == 0.0 {
            // The block falls apart here.
            diagonal[i + 1] -= moved;
            beside[end] = 0.0;
            return;
        }
        (sine, cosine) = (f / radius, above / radius);
        let behind = diagonal[i + 1] - moved;
        let turned = (diagonal[i] - behind) * sine + 2.0 * cosine * b;
        moved = sine * turned;
        diagonal[i + 1] = behind + moved;
        above = cosine * turned - b;
    }
    diagonal[0] -= moved;
    beside[0] = above;
    beside[end] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn a_matrix_with_known_eigenvalues() {
        // The second difference: 2 on the diagonal and −1 beside it.
        for n in [1, 2, 3, 50, 201] {
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                matrix[i * n + i] = 2.0;
                if i > 0 {
                    matrix[i * n + i - 1] = -1.0;
                    matrix[(i - 1) * n + i] = -1.0;
                }
            }
            let found = eigenvalues(matrix, n).unwrap();
            for (k, found) in found.iter().rev().enumerate() {
                let want = 2.0 - 2.0 * ((k + 1) as f64 * PI / (n + 1) as f64).cos();
                assert!((found - want).abs() < 1e-13, "{n}: {found}, not {want}");
            }
        }
    }

    #[test]
    fn reflections_keep_eigenvalues() {
        // D = diag(values), reflected by 1 − 2vvᵀ for several v.
        let n = 40;
        let values: Vec<f64> =
            (0..n).map(|i| if i < 5 { 0.0 } else { 1.7_f64.powi(i as i32 - 20) }).collect();
        let mut matrix = vec![0.0; n * n];
        (0..n).for_each(|i| matrix[i * n + i] = values[i]);
        for turn in 0..4 {
            let v: Vec<f64> = (0..n).map(|i| ((i * (3 + 2 * turn) + turn) as f64).sin()).collect();
            let squares: f64 = v.iter().map(|v| v * v).sum();
            let reflect = |a: &[f64]| -> Vec<f64> {
                let mut out = a.to_vec();
                for column in 0..n {
                    let along: f64 = (0..n).map(|i| v[i] * a[i * n + column]).sum();
                    (0..n).for_each(|i| out[i * n + column] -= 2.0 * along / squares * v[i]);
                }
                out
            };
            let transposed = |a: &[f64]| -> Vec<f64> { (0..n * n).map(|i| a[i % n * n + i / n]).collect() };
            matrix = reflect(&transposed(&reflect(&matrix)));
        }
        let found = eigenvalues(matrix, n).unwrap();
        let largest = found[0];
        for (found, want) in found.iter().zip(values.iter().rev()) {
            assert!((found - want).abs() < 1e-13 * largest, "{found}, not {want}");
        }
    }

    #[test]
    fn special_matrices_are_solved() {
        assert_eq!(eigenvalues(vec![], 0), Some(vec![]));
        assert_eq!(eigenvalues(vec![0.0; 9], 3), Some(vec![0.0; 3]));
        assert_eq!(eigenvalues(vec![3.0, 0.0, 0.0, -5.0], 2), Some(vec![3.0, -5.0]));
        assert_eq!(eigenvalues(vec![1.0, 0.0, f64::NAN, 1.0], 2), None);
    }
}
