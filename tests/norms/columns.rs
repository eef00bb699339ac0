//! PowerNorm and Unified Normalization over several micro-batches, compared with their authors' algorithms written out here: values
//! and gradients through z, where the ops go through sums of products.

use crate::support::seed;
use crate::training::{agrees, config};
use normfree::ops::column_norm::{Rule, State};
use normfree::reference::Memory;
use normfree::tape::{DType, Tape, TensorId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROWS: usize = 6;
const WIDTH: usize = 5;
const EPSILON: f64 = 1e-5;

/// A norm of one column, with the buffers of the authors' code.
struct Column {
    running: f64,
    drift: f64,
    squares: [f64; 4],
    products: [f64; 4],
}

/// What a micro-batch gives for one column.
struct Step {
    y: Vec<f64>,
    dx: Vec<f64>,
    d_gamma: f64,
    d_beta: f64,
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

impl Column {
    /// Micro-batch `at`, counted from 1, of PowerNorm.
    fn power(&mut self, at: u64, warmup: u64, (x, dy): (&[f64], &[f64]), (gamma, beta): (f64, f64)) -> Step {
        let v = mean(x.iter().map(|x| x * x));
        let by = if at <= warmup { v } else { self.running };
        let z: Vec<f64> = x.iter().map(|x| x / (by + EPSILON).sqrt()).collect();
        if at < warmup {
            self.running = self.running * (at - 1) as f64 / at as f64 + v / at as f64;
        }
        self.running = 0.9 * self.running + 0.1 * v;
        let approximate: Vec<f64> =
            dy.iter().zip(&z).map(|(dy, z)| dy * gamma - 0.1 * self.drift * z).collect();
        self.drift += mean(approximate.iter().zip(&z).map(|(g, z)| g * z));
        Step {
            y: z.iter().map(|z| gamma * z + beta).collect(),
            dx: approximate.iter().map(|g| g / (v + EPSILON).sqrt()).collect(),
            d_gamma: dy.iter().zip(&z).map(|(dy, z)| dy * z).sum(),
            d_beta: dy.iter().sum(),
        }
    }

    /// The same of Unified Normalization.
    fn unified(
        &mut self,
        at: u64,
        warmup: u64,
        (x, dy): (&[f64], &[f64]),
        (gamma, beta): (f64, f64),
    ) -> Step {
        let slot = (at % 4) as usize;
        let v = mean(x.iter().map(|x| x * x));
        self.squares[slot] = v;
        let early = at <= warmup.max(4);
        let by = if early { v } else { mean(self.squares.iter().map(|v| v.ln())).exp() };
        let ratio = ((by + EPSILON).sqrt() / (self.running + EPSILON).sqrt()).clamp(0.2, 5.0);
        let r = if at <= warmup.max(1000) { 1.0 } else { ratio };
        let z: Vec<f64> = x.iter().map(|x| x / (by + EPSILON).sqrt()).collect();
        self.running = 0.9 * self.running + 0.1 * by;
        let g: Vec<f64> = dy.iter().map(|dy| dy * gamma * r).collect();
        self.products[slot] = mean(g.iter().zip(&z).map(|(g, z)| g * z));
        let product = if early { self.products[slot] } else { mean(self.products.iter().copied()) };
        self.drift = 0.9 * self.drift + 0.1 * product;
        Step {
            y: z.iter().map(|z| gamma * z + beta).collect(),
            dx: g.iter().zip(&z).map(|(g, z)| (g - self.drift * z) / (by + EPSILON).sqrt()).collect(),
            d_gamma: dy.iter().zip(&z).map(|(dy, z)| dy * r * z).sum(),
            d_beta: dy.iter().sum(),
        }
    }
}

#[test]
fn norms_of_columns_follow_their_authors() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    for (rule, warmup) in [(Rule::Power, 6), (Rule::Unified, 2), (Rule::Unified, 0)] {
        let mut tape = Tape::new();
        let x = tape.tracked_input("x", &[ROWS, WIDTH], DType::F32);
        let [gamma, beta] = ["gamma", "beta"].map(|name| tape.parameter(name, &[WIDTH]));
        let schedule = tape.input("schedule", &[4], DType::F32);
        let mut vector = |name: &str, dims: &[usize]| tape.observation(name, dims);
        let (running, drift) = (vector("running", &[WIDTH]), vector("drift", &[WIDTH]));
        let windows =
            (rule == Rule::Unified).then(|| ["squares", "products"].map(|name| vector(name, &[4, WIDTH])));
        let state = State { running, drift, windows };
        let y =
            tape.column_norm(x, (gamma, beta), (rule, &state), Some(schedule), EPSILON as f32, DType::F32);
        let dy = tape.input("dy", &[ROWS, WIDTH], DType::F32);
        let gradients = tape.backward_from(&[(y, dy)]);
        let d_x = gradients.of(x).unwrap();
        let [d_gamma, d_beta] = [gamma, beta].map(|of| tape.known_gradient(of).unwrap());
        let mut memory = Memory::new(&tape);
        memory.set(&tape, running, &[1.0; WIDTH]);
        let mut columns: Vec<Column> = (0..WIDTH)
            .map(|_| Column { running: 1.0, drift: 0.0, squares: [0.0; 4], products: [0.0; 4] })
            .collect();
        let keys = format!("train.norm_warmup={warmup}");
        let train = config(&[&keys, "train.gradient_accumulation_steps=1"]).train;
        // Far enough for the ratio to be used.
        let steps = (0..9_u64).chain(1000..1004);
        for step in steps {
            let mut draw = |count: usize, spread: f64| -> Vec<f64> {
                (0..count).map(|_| random.random_range(-spread..spread)).collect()
            };
            let (rows, seeds) = (draw(ROWS * WIDTH, 3.0), draw(ROWS * WIDTH, 1.0));
            let (gains, biases) = (draw(WIDTH, 2.0), draw(WIDTH, 1.0));
            let set = |memory: &mut Memory, of: TensorId, values: &[f64]| memory.set(&tape, of, values);
            for (of, values) in [(x, &rows), (dy, &seeds), (gamma, &gains), (beta, &biases)] {
                set(&mut memory, of, values);
            }
            set(&mut memory, schedule, &train.statistics_at(step, 0).map(f64::from));
            [d_gamma, d_beta].iter().for_each(|&of| memory.clear(&tape, of));
            memory.run(&tape);
            let near = |of: TensorId, at: usize, wanted: f64| {
                let found = memory.get(&tape, of)[at];
                // ε and the schedule are f32.
                let bound = 1e-6 * wanted.abs().max(1.0);
                assert!((found - wanted).abs() < bound, "{rule:?} {step} {at}: {found} {wanted}");
            };
            for (c, column) in columns.iter_mut().enumerate() {
                let of = |values: &[f64]| values.iter().skip(c).step_by(WIDTH).copied().collect::<Vec<_>>();
                let (own, seeds) = (of(&rows), of(&seeds));
                let learned = (gains[c], biases[c]);
                let wanted = match rule {
                    Rule::Power => column.power(step + 1, warmup, (&own, &seeds), learned),
                    Rule::Unified => column.unified(step + 1, warmup, (&own, &seeds), learned),
                };
                for row in 0..ROWS {
                    near(y, row * WIDTH + c, wanted.y[row]);
                    near(d_x, row * WIDTH + c, wanted.dx[row]);
                }
                near(d_gamma, c, wanted.d_gamma);
                near(d_beta, c, wanted.d_beta);
                near(running, c, column.running);
                near(drift, c, column.drift);
            }
        }
    }
}

/// Ten steps of a model past the warm-up, on the device and in f64.
#[test]
fn norms_of_columns_agree_with_f64_after_their_warm_up() {
    for norm in ["power_norm", "unified_norm"] {
        let norm = format!("model.norm={norm}");
        agrees(&[&norm, "train.norm_warmup=4", "model.activation_function=gelu"]);
        agrees(&[&norm, "train.norm_warmup=4", "model.family=gpt_neox"]);
    }
}
