//! Fresh weights: N(0, σ²) for matrices and embeddings, LayerNorm 1 and 0, biases 0, slopes as configured.

use super::Parameter;
use crate::config::ModelConfig;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// The starting values of the `index`-th parameter. Each parameter has a random stream of its own, so that
/// one more or less in the model leaves the others' values alone.
pub fn initial_values(config: &ModelConfig, seed: u64, index: usize, parameter: &Parameter) -> Vec<f32> {
    let elements = parameter.elements();
    let name = parameter.name.as_str();
    if name.ends_with(".slopes") {
        return vec![config.slope_init as f32; elements];
    }
    if name.ends_with(".bias") {
        return vec![0.0; elements];
    }
    if parameter.shape.len() == 1 {
        return vec![1.0; elements];
    }
    let residual = name.ends_with(".c_proj.weight") && config.scale_residual_projections;
    let scale = if residual { (2.0 * config.n_layer as f64).sqrt() } else { 1.0 };
    let spread = config.initializer_range / scale;
    let normal = Normal::new(0.0, spread).expect("the configuration allows finite, positive spreads alone");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(index as u64);
    (0..elements).map(|_| normal.sample(&mut random) as f32).collect()
}
