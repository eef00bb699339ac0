//! Initial values of parameters.

use super::parameter::Parameter;
use crate::tape::Start;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// The initial values of a parameter. Each parameter has its own random stream, derived from its name: with one
/// seed, models with and without LayerNorm, or with other activations, start from the same matrices.
pub fn initial_values(seed: u64, parameter: &Parameter) -> Vec<f32> {
    let elements = parameter.elements();
    let spread = match parameter.declared.start {
        Start::Constant(value) => return vec![value as f32; elements],
        Start::Listed(values) => return values.iter().map(|&value| value as f32).collect(),
        Start::Normal { spread } => spread,
    };
    let normal = Normal::new(0.0, spread).expect("the configuration allows finite, positive spreads alone");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream(&parameter.name));
    (0..elements).map(|_| normal.sample(&mut random) as f32).collect()
}

/// The number of a name's random stream: its 64-bit FNV-1a hash (Fowler, Noll and Vo; draft-eastlake-fnv).
fn stream(name: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    name.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_published_hashes() {
        assert_eq!(stream(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stream("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(stream("foobar"), 0x8594_4171_f739_67e8);
    }
}
