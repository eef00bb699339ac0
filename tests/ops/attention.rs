use super::check::{
    applies, check_adjoint, check_as_gpu, check_case, check_made, check_op, check_variants, check_with,
    each_device,
};
use crate::support::{open, seed};
use normfree::device::Device;
use normfree::gpu::OpenOptions;
use normfree::ops::{Traits, Vendor};
use normfree::tape::{DType, TensorId};
use normfree::verify::{Case, CaseBuilder, Fill, HALF_BOUND, Target, on_device};
use rand::Rng;

#[test]
fn device_agrees_with_reference() {
    check_op("attention");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("attention");
}

#[test]
fn intels_defaults_agree_with_reference() {
    let intel = |traits: &mut Traits| (traits.software, traits.vendor) = (false, Vendor::Intel);
    check_with("attention", intel, |_| true);
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("attention");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("attention");
}

/// One head of the given width.
pub fn of_width(seed: u64, dtype: DType, width: usize, sequence: usize, guided: bool) -> Case {
    let label = format!("{dtype:?} T={sequence} d={width} guided {guided}");
    let mut case = CaseBuilder::new("attention", label, seed);
    let qkv = case.input_of("qkv", &[sequence, 3 * width], dtype, Fill::Normal(1.0));
    let attended = case.tape.attention(qkv, 1, sequence, true);
    let entropy = attended.entropy.unwrap();
    let losses = [attended.output, entropy];
    let (losses, watched) = if guided { (&losses[..], vec![]) } else { (&losses[..1], vec![entropy]) };
    // As in the op's cases: f32 rounds by 6e-8, in sums of up to 192 columns or 77 rows.
    let bound = if dtype == DType::F16 { HALF_BOUND } else { 4e-6 };
    case.finish(losses, &[&watched[..], &[attended.lse]].concat(), bound)
}

/// In f16, with gradients that are made small: the output's gradient is around 1e-6, where f16 values are 6e-8 apart, and
/// gradients of scores are smaller still. The keys are so large that the queries' gradients are not small, and the queries so
/// small that scores are as usual.
pub fn of_made_gradients(seed: u64) -> Case {
    let (sequence, width, factor) = (70, 16, 64.0);
    let mut case = CaseBuilder::new("attention", "f16, small gradients", seed);
    let qkv = case.input_of("qkv", &[sequence, 3 * width], DType::F16, Fill::Normal(1.0));
    let mut values = case.values(qkv).to_vec();
    for row in values.chunks_mut(3 * width) {
        row[..width].iter_mut().for_each(|q| *q /= factor);
        row[width..2 * width].iter_mut().for_each(|k| *k *= factor);
    }
    case.set(qkv, values);
    let attended = case.tape.attention(qkv, 1, sequence, false);
    // In addition to the roundings of other cases, half a step of the smallest f16: the largest gradient is above 6e-5.
    let mut case = case.finish(&[attended.output], &[attended.lse], HALF_BOUND + 3e-8 / 6e-5);
    let Target::Seeds(seeds) = &case.target else { unreachable!("it was given seeds") };
    let (_, values) = (case.values.iter_mut().find(|(id, _)| *id == seeds[0].1)).expect("a seed has values");
    values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value * 1e-6).to_f32());
    case
}

#[test]
fn small_gradients_are_not_lost_in_f16() {
    check_made(of_made_gradients);
}

/// Heads of all widths on a GPU: with lanes without a column, several sections of columns, chunks that are not full, and rows
/// of a few blocks, the last not full.
#[test]
fn blocks_of_every_width_agree_with_reference() {
    let seed = seed();
    let mut gpu = open(&OpenOptions::default());
    gpu.pretend(|traits| traits.software = false);
    for (width, sequence, dtype, guided) in [
        (36, 77, DType::F32, true),
        (80, 67, DType::F16, true),
        (112, 35, DType::F32, false),
        (160, 37, DType::F16, false),
        (192, 35, DType::F32, true),
    ] {
        let case = of_width(seed, dtype, width, sequence, guided);
        if applies(&gpu, &case) {
            check_case(&gpu, &case);
        }
    }
}

/// Columns of a head; the scores' factor 1/4 is exact.
const WIDTH: usize = 16;

/// Attention of made-up values, with everything that is checked: output, lse, entropy, and head_entropy's two sums.
struct Made {
    case: Case,
    output: TensorId,
    lse: TensorId,
    entropy: TensorId,
    mean: TensorId,
    nonfinite: TensorId,
}

#[derive(Clone, Copy, Debug)]
struct Extents {
    batch: usize,
    heads: usize,
    sequence: usize,
}

impl Extents {
    /// Where the columns of part 0 (q), 1 (k) or 2 (v) of a row start in the packed rows.
    fn packed(self, b: usize, h: usize, t: usize, part: usize) -> usize {
        (((b * self.sequence + t) * 3 + part) * self.heads + h) * WIDTH
    }

    /// The index of a row in lse and entropy.
    fn line(self, b: usize, h: usize, t: usize) -> usize {
        (b * self.heads + h) * self.sequence + t
    }

    /// Every row: batch element, head, position.
    fn rows(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Extents { batch, heads, sequence } = self;
        (0..batch).flat_map(move |b| (0..heads).flat_map(move |h| (0..sequence).map(move |t| (b, h, t))))
    }

    /// Random packed rows of these extents, after `change`.
    fn made(self, seed: u64, bound: f64, change: impl FnOnce(&mut CaseBuilder, &mut [f32])) -> Made {
        let mut case = CaseBuilder::new("attention", format!("{self:?}"), seed);
        let shape = [self.batch * self.sequence, 3 * self.heads * WIDTH];
        let qkv = case.input("qkv", &shape, Fill::Normal(1.0));
        let mut values = case.values(qkv).to_vec();
        change(&mut case, &mut values);
        case.set(qkv, values);
        let attended = case.tape.attention(qkv, self.heads, self.sequence, true);
        let entropy = attended.entropy.unwrap();
        let mean = case.observation("mean", &[self.heads], 0.0);
        let nonfinite = case.observation("nonfinite", &[self.heads], 0.0);
        case.tape.head_entropy(entropy, mean, nonfinite, 1.0);
        let (output, lse) = (attended.output, attended.lse);
        let case = case.finish(&[], &[output, lse, entropy], bound);
        Made { case, output, lse, entropy, mean, nonfinite }
    }
}

impl Made {
    /// The device's results: output, lse, entropy, mean, nonfinite.
    fn run(&self, gpu: &Device) -> [Vec<f32>; 5] {
        let mut got = on_device(gpu, &self.case).unwrap();
        [self.output, self.lse, self.entropy, self.mean, self.nonfinite].map(|id| got.remove(&id).unwrap())
    }
}

/// The entropy of row `t` if everything it sees has the same weight.
fn uniform(t: usize) -> f64 {
    ((t + 1) as f64).ln()
}

#[track_caller]
fn near(got: f32, want: f64, bound: f64, what: &str, gpu: &Device) {
    let off = (f64::from(got) - want).abs();
    assert!(off <= bound, "{what}: {got} against {want}, on {:?}", gpu.traits());
}

#[test]
fn equal_scores_give_the_causal_ceiling() {
    let extents = Extents { batch: 2, heads: 3, sequence: 128 };
    let ceiling = (0..128).map(uniform).sum::<f64>() / 128.0;
    // Either the query is zero, or all keys are the same, and each row's score is one number.
    for zeros in [true, false] {
        let made = extents.made(seed(), 2e-6, |_, qkv| {
            for (b, h, t) in extents.rows() {
                match zeros {
                    true => qkv[extents.packed(b, h, t, 0)..][..WIDTH].fill(0.0),
                    false => {
                        let first = extents.packed(b, h, 0, 1);
                        qkv.copy_within(first..first + WIDTH, extents.packed(b, h, t, 1));
                    }
                }
            }
        });
        each_device(|gpu| {
            let [_, _, entropy, mean, nonfinite] = made.run(gpu);
            for h in 0..extents.heads {
                near(mean[h], ceiling, 1e-5, &format!("head {h}"), gpu);
                assert_eq!(nonfinite[h], 0.0);
            }
            for (b, h, t) in extents.rows() {
                near(entropy[extents.line(b, h, t)], uniform(t), 1e-5, &format!("row {t}"), gpu);
            }
            check_case(gpu, &made.case);
        });
    }
}

/// Makes the score of each key, in every row, the number that `score` returns for it: q = 4 e, k = score e, and 1/√16 · 4 = 1,
/// all exact.
fn set_scores(extents: Extents, qkv: &mut [f32], mut score: impl FnMut(usize) -> f32) {
    for (b, h, t) in extents.rows() {
        let (q, k) = (extents.packed(b, h, t, 0), extents.packed(b, h, t, 1));
        qkv[q..q + WIDTH].fill(0.0);
        qkv[k..k + WIDTH].fill(0.0);
        qkv[q] = 4.0;
        qkv[k] = score(t);
    }
}

#[test]
fn one_score_far_above_the_others_leaves_no_entropy() {
    let extents = Extents { batch: 1, heads: 2, sequence: 70 };
    for hot in [0, 5, 64] {
        let made = extents.made(seed(), 2e-6, |_, qkv| {
            set_scores(extents, qkv, |t| if t == hot { 80.0 } else { 0.0 });
        });
        each_device(|gpu| {
            let [_, lse, entropy, _, nonfinite] = made.run(gpu);
            for (b, h, t) in extents.rows() {
                let at = extents.line(b, h, t);
                let (want, bound) = if t < hot { (uniform(t), 1e-5) } else { (0.0, 1e-6) };
                near(entropy[at], want, bound, &format!("row {t}, hot {hot}"), gpu);
                let want = if t < hot { uniform(t) } else { 80.0 };
                near(lse[at], want, 1e-5, &format!("lse of row {t}, hot {hot}"), gpu);
            }
            assert!(nonfinite.iter().all(|&n| n == 0.0));
            check_case(gpu, &made.case);
        });
    }
}

#[test]
fn large_scores_agree_with_reference() {
    let extents = Extents { batch: 2, heads: 1, sequence: 70 };
    for steps in [1, 160] {
        // ±80 alone, then every half between them.
        let made = extents.made(seed(), 2e-6, |case, qkv| {
            set_scores(extents, qkv, |_| {
                case.random.random_range(0..=steps) as f32 * (160.0 / steps as f32) - 80.0
            });
        });
        each_device(|gpu| check_case(gpu, &made.case));
    }
}

#[test]
fn entropy_is_that_of_the_probabilities() {
    let extents = Extents { batch: 2, heads: 3, sequence: 70 };
    let mut values = Vec::new();
    let made = extents.made(seed(), 2e-6, |_, qkv| values = qkv.to_vec());
    let entropy_of = |b, h, t| {
        let part = |t, part| {
            let start = extents.packed(b, h, t, part);
            values[start..start + WIDTH].iter().map(|&v| f64::from(v))
        };
        let weights: Vec<f64> = (0..=t)
            .map(|j| (part(t, 0).zip(part(j, 1)).map(|(q, k)| q * k).sum::<f64>() / 4.0).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| -(w / sum) * (w / sum).ln()).sum::<f64>()
    };
    each_device(|gpu| {
        let [_, _, entropy, mean, _] = made.run(gpu);
        let mut sums = vec![0.0; extents.heads];
        for (b, h, t) in extents.rows() {
            let want = entropy_of(b, h, t);
            near(entropy[extents.line(b, h, t)], want, 1e-5, &format!("row {t} of head {h}"), gpu);
            sums[h] += want / (extents.batch * extents.sequence) as f64;
        }
        for (h, want) in sums.into_iter().enumerate() {
            near(mean[h], want, 1e-5, &format!("head {h}"), gpu);
        }
    });
}

/// A row that is not finite affects exactly the rows that see it; all others keep their bits.
#[test]
fn values_that_are_not_finite_stay_in_place() {
    let extents = Extents { batch: 2, heads: 2, sequence: 70 };
    let (seed, row) = (seed(), 33);
    let sound = extents.made(seed, 2e-6, |_, _| ());
    for part in [0, 1] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let made = extents.made(seed, 2e-6, |_, qkv| qkv[extents.packed(1, 0, row, part) + 3] = value);
            each_device(|gpu| {
                let what = format!("{value} in {} on {:?}", ["q", "k"][part], gpu.traits());
                let [output, lse, entropy, _, nonfinite] = made.run(gpu);
                let [sound_output, sound_lse, sound_entropy, ..] = sound.run(gpu);
                let mut broken = 0;
                for (b, h, t) in extents.rows() {
                    let sees = (b, h) == (1, 0) && if part == 0 { t == row } else { t >= row };
                    let at = extents.line(b, h, t);
                    assert_eq!(!lse[at].is_finite(), sees, "{what}: lse of {b}, {h}, {t}: {}", lse[at]);
                    assert_eq!(!entropy[at].is_finite(), sees, "{what}: row {b}, {h}, {t}: {}", entropy[at]);
                    broken += usize::from(sees);
                    if !sees {
                        assert_eq!(lse[at].to_bits(), sound_lse[at].to_bits(), "{what}: {b}, {h}, {t}");
                        assert_eq!(
                            entropy[at].to_bits(),
                            sound_entropy[at].to_bits(),
                            "{what}: {b}, {h}, {t}"
                        );
                        let out = ((b * extents.sequence + t) * extents.heads + h) * WIDTH;
                        assert_eq!(output[out..out + WIDTH], sound_output[out..out + WIDTH], "{what}");
                    }
                }
                assert_eq!(nonfinite, [broken as f32, 0.0], "{what}");
            });
        }
    }
}
