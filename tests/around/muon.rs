//! Muon, NorMuon and SGD.

use super::NO_NORM;
use crate::support::seed;
use crate::training::within_f32;
use normfree::ops::case::{CaseBuilder, Fill};
use normfree::ops::muon::{QUINTIC, STEPS, Scale};
use normfree::reference::Memory;

#[test]
fn optimizers_agree_with_f64() {
    within_f32(&["train.optimizer=sgd", "train.learning_rate=0.1"]);
    within_f32(&["train.optimizer=muon", NO_NORM]);
    within_f32(&["train.optimizer=muon", "train.muon_scale=original", "train.muon_learning_rate=0.02"]);
    within_f32(&["train.optimizer=normuon", "model.bias=all", "model.attention_gate=head"]);
    within_f32(&["train.optimizer=muon", "model.family=gpt_neox", "train.weight_decay=0"]);
    within_f32(&["train.adaptive_clipping=0.05", "train.optimizer=adamw"]);
    within_f32(&["train.project_weights=true", "train.optimizer=muon", "train.adaptive_clipping=0.5"]);
}

/// One-sided Jacobi: the columns of `a` [rows][columns] become U·Σ; returns V, and the columns' norms.
pub fn jacobi(a: &mut [Vec<f64>]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let columns = a[0].len();
    let mut v: Vec<Vec<f64>> =
        (0..columns).map(|i| (0..columns).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..60 {
        let mut off = 0.0_f64;
        for p in 0..columns {
            for q in p + 1..columns {
                let dot = |x: usize, y: usize| a.iter().map(|row| row[x] * row[y]).sum::<f64>();
                let (pp, qq, pq) = (dot(p, p), dot(q, q), dot(p, q));
                if pq == 0.0 {
                    continue;
                }
                off = off.max(pq.abs() / (pp * qq).sqrt());
                let zeta = (qq - pp) / (2.0 * pq);
                let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let (c, s) = (1.0 / (1.0 + t * t).sqrt(), t / (1.0 + t * t).sqrt());
                for row in a.iter_mut().chain(&mut v) {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
            }
        }
        if off < 1e-15 {
            break;
        }
    }
    let norms = (0..columns).map(|c| a.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt()).collect();
    (v, norms)
}

/// What the steps of Newton and Schulz make of a singular value.
fn moved(sigma: f64) -> f64 {
    let [a, b, c] = QUINTIC;
    (0..STEPS).fold(sigma, |s, _| s * (a + b * s * s + c * s.powi(4)))
}

/// The steps keep the singular vectors of an SVD in f64, and move the singular values as the polynomial says: into
/// [0.68, 1.14] unless they were tiny, so that the result is near the orthogonal factor U·Vᵀ.
#[test]
fn the_orthogonal_factor_is_that_of_an_svd() {
    let seed = seed();
    for (rows, columns) in [(24, 24), (40, 16), (16, 40), (1, 8)] {
        let mut case = CaseBuilder::new("muon", "svd", seed);
        let x = case.input("x", &[rows, columns], Fill::Normal(1.0));
        let values: Vec<f64> = case.values(x).iter().map(|&v| f64::from(v)).collect();
        let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let unit: Vec<f64> = values.iter().map(|v| v / norm).collect();
        let found = case.tape.orthogonal(x);
        let mut memory = Memory::new(&case.tape);
        memory.set(&case.tape, x, &unit);
        memory.run(&case.tape);
        let found = memory.get(&case.tape, found).to_vec();
        // Of the tall side, of which every column has a singular value.
        let tall = rows >= columns;
        let (long, short) = (rows.max(columns), rows.min(columns));
        let at = |i: usize, j: usize| if tall { i * columns + j } else { j * columns + i };
        let mut a: Vec<Vec<f64>> = (0..long).map(|i| (0..short).map(|j| unit[at(i, j)]).collect()).collect();
        let (v, sigma) = jacobi(&mut a);
        let (mut off, mut from_factor) = (0.0_f64, 0.0_f64);
        for i in 0..long {
            for j in 0..short {
                let sum = |f: &dyn Fn(usize) -> f64| {
                    (0..short).map(|k| a[i][k] / sigma[k] * f(k) * v[j][k]).sum::<f64>()
                };
                off = off.max((found[at(i, j)] - sum(&|k| moved(sigma[k]))).abs());
                from_factor += (found[at(i, j)] - sum(&|_| 1.0)).powi(2);
            }
        }
        println!("{rows}x{columns}: {off:e} off; {:.3} from U·Vᵀ", (from_factor / short as f64).sqrt());
        // A rounding error of 1e-16 grows by up to 3.4 in each of five steps.
        assert!(off < 1e-12, "{rows}x{columns}: {off:e}");
        let within = sigma.iter().filter(|&&sigma| sigma > 0.01);
        for sigma in within {
            assert!((0.68..1.14).contains(&moved(*sigma)), "σ = {sigma} becomes {}", moved(*sigma));
        }
        assert!((from_factor / short as f64).sqrt() < 0.35, "far from U·Vᵀ");
    }
}

#[test]
fn both_scales_are_those_of_their_papers() {
    // 0.2·√max: the root mean square of an orthogonal 64×256 matrix is 1/√256.
    assert_eq!(Scale::MatchRms.of(64, 256), 0.2 * 16.0);
    assert_eq!(Scale::MatchRms.of(256, 64), 0.2 * 16.0);
    assert_eq!(Scale::Original.of(64, 256), 2.0);
    assert_eq!(Scale::Original.of(256, 64), 1.0);
}
