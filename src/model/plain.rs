//! A model whose matrices nothing scales any more, for programs that know plain matrices alone.

use super::config::{ModelConfig, WeightNorm};
use super::fold::Values;
use super::gains::factor;
use super::parameter::parameters;
use super::pass::Precision;
use super::weight_norm::gain_of;

/// The values of a model as those of the same model whose matrices nothing scales, and whose scale nothing holds: γ/σ·W in place of
/// W, rows or columns times their gains, and no state of a loss. Sums are of f64, and each number is rounded once.
///
/// # Panics
/// If `values` are not those of the model.
pub fn unscaled(config: &ModelConfig, mut values: Values) -> (ModelConfig, Values) {
    for vector in parameters(config, false, Precision::F32) {
        let Some(matrix) = &vector.declared.singular_of else { continue };
        let name = matrix.strip_suffix(".weight").expect("a matrix is a weight");
        let mut take = |name: &str| values.remove(name).expect("every parameter has values");
        let (u, gamma) = (take(&vector.name), take(&gain_of(name)));
        let w = values.get_mut(matrix).expect("the matrix is there");
        let [parts, rows] = vector.shape[..] else { unreachable!("a vector for each matrix") };
        let columns = w.len() / rows;
        let mut sums = vec![0.0_f64; columns];
        for (row, weights) in w.chunks_exact(columns).enumerate() {
            for (column, (sum, &weight)) in sums.iter_mut().zip(weights).enumerate() {
                *sum += f64::from(u[column * parts / columns * rows + row]) * f64::from(weight);
            }
        }
        let scale = |(sums, &gamma): (&[f64], &f32)| {
            f64::from(gamma) / sums.iter().map(|t| t * t).sum::<f64>().sqrt()
        };
        let scales: Vec<f64> = sums.chunks_exact(columns / parts).zip(&gamma).map(scale).collect();
        for weights in w.chunks_exact_mut(columns) {
            for (weights, scale) in weights.chunks_exact_mut(columns / parts).zip(&scales) {
                weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
            }
        }
    }
    for gains in parameters(config, false, Precision::F32) {
        let Some(matrix) = &gains.declared.gains_of else { continue };
        let own = values.remove(&gains.name).expect("every parameter has values");
        let w = values.get_mut(matrix).expect("the matrix is there");
        // Of a table, the head, rows have gains; of a matrix [in, out], columns.
        let by_rows = *matrix == config.head_name();
        let (columns, scale) = (w.len() / own.len(), factor(config.n_embd));
        for (i, weight) in w.iter_mut().enumerate() {
            let gain = own[if by_rows { i / columns } else { i % own.len() }];
            *weight = (f64::from(*weight) * f64::from(gain) * scale) as f32;
        }
    }
    values.remove(&config.anchor());
    let plain =
        ModelConfig { weight_norm: WeightNorm::None, ffn_gains: false, head_gains: false, ..config.clone() };
    (ModelConfig { scale_loss: 0.0, ..plain }, values)
}
