//! A test case: a small tape with values, and the tensors to compare.

use crate::tape::{DType, Gradients, Tape, TensorId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The bound of cases with f16 tensors. A number stored in f16 is off by at most 2⁻¹⁰ of itself, however the device
/// rounds; operands start as f16 and lose nothing. Up to three such roundings affect a compared tensor: its own
/// and those of two intermediates, each times a factor near one. In long sums they average out; in short sums all terms
/// may err in the same direction.
pub const HALF_BOUND: f64 = 4.0 / 1024.0;

/// A tape with values; see the module's documentation.
pub struct Case {
    /// The stem of the op under test.
    pub stem: &'static str,
    /// Shapes and switches in readable form.
    pub label: String,
    pub tape: Tape,
    /// Nodes of the forward pass; the adjoint's nodes follow them.
    pub forward_nodes: usize,
    /// The values that the host sets before the run.
    pub values: Vec<(TensorId, Vec<f32>)>,
    /// The compared tensors: outputs, and every gradient.
    pub compared: Vec<TensorId>,
    /// Differentiable leaves and their gradients.
    pub leaves: Vec<(TensorId, TensorId)>,
    /// The scalar that the gradients belong to.
    pub target: Target,
    /// The largest error allowed, relative to the largest magnitude in the tensor.
    pub bound: f64,
}

impl Case {
    /// Whether the case needs a device with 16-bit floats.
    pub fn needs_f16(&self) -> bool {
        self.tape.tensors().iter().any(|info| info.dtype == DType::F16)
    }
}

/// Values rounded to f16.
fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect()
}

/// The scalar that a case differentiates.
#[derive(Clone, Debug)]
pub enum Target {
    /// Σ ⟨output, gradient⟩ over outputs, each with a random incoming gradient.
    Seeds(Vec<(TensorId, TensorId)>),
    /// A loss: the sum of its elements.
    Loss(TensorId),
}

/// The distribution of random values.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// N(0, s²).
    Normal(f64),
    /// N(mean, s²).
    Around(f64, f64),
}

/// Builds a case.
pub struct CaseBuilder {
    pub tape: Tape,
    pub random: ChaCha8Rng,
    stem: &'static str,
    label: String,
    values: Vec<(TensorId, Vec<f32>)>,
    leaves: Vec<TensorId>,
    observed: Vec<TensorId>,
}

impl CaseBuilder {
    /// An empty case. Equal seeds draw equal values.
    pub fn new(stem: &'static str, label: impl Into<String>, seed: u64) -> Self {
        Self {
            tape: Tape::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            stem,
            label: label.into(),
            values: Vec::new(),
            leaves: Vec::new(),
            observed: Vec::new(),
        }
    }

    /// A differentiable input that is not a parameter: its gradient is an intermediate.
    pub fn input(&mut self, name: &str, shape: &[usize], fill: Fill) -> TensorId {
        self.input_of(name, shape, DType::F32, fill)
    }

    /// The same with an element type. The values of an f16 tensor are representable in f16, so they are not rounded.
    pub fn input_of(&mut self, name: &str, shape: &[usize], dtype: DType, fill: Fill) -> TensorId {
        let id = self.tape.tracked_input(name, shape, dtype);
        self.leaves.push(id);
        self.fill(id, fill)
    }

    /// A parameter: its gradient accumulates.
    pub fn parameter(&mut self, name: &str, shape: &[usize], fill: Fill) -> TensorId {
        let id = self.tape.parameter(name, shape);
        self.leaves.push(id);
        self.fill(id, fill)
    }

    /// A parameter as products read it: the parameter itself, or with `half` its f16 copy, which has the same values.
    pub fn matrix(&mut self, name: &str, shape: &[usize], half: bool, fill: Fill) -> TensorId {
        let id = self.parameter(name, shape, fill);
        if !half {
            return id;
        }
        let values = rounded(self.values(id));
        self.set(id, values);
        self.tape.half_copy(id)
    }

    /// An input without a gradient, with the given values (for a u32 tensor, their bits).
    pub fn constant(&mut self, name: &str, shape: &[usize], dtype: DType, values: Vec<f32>) -> TensorId {
        let id = self.tape.input(name, shape, dtype);
        self.set(id, values);
        id
    }

    /// An input of whole numbers.
    pub fn indices(&mut self, name: &str, shape: &[usize], values: &[u32]) -> TensorId {
        let bits = values.iter().map(|&v| f32::from_bits(v)).collect();
        self.constant(name, shape, DType::U32, bits)
    }

    /// A compared observation whose elements all start at `start`.
    pub fn observation(&mut self, name: &str, shape: &[usize], start: f32) -> TensorId {
        self.observation_of(name, shape, DType::F32, start)
    }

    /// The same with an element type.
    pub fn observation_of(&mut self, name: &str, shape: &[usize], dtype: DType, start: f32) -> TensorId {
        let id = self.tape.observation_of(name, shape, dtype);
        let elements = self.tape.shape(id).elements();
        self.values.push((id, vec![start; elements]));
        self.observed.push(id);
        id
    }

    /// Replaces a tensor's values.
    pub fn set(&mut self, id: TensorId, values: Vec<f32>) {
        assert_eq!(values.len(), self.tape.shape(id).elements());
        let values = if self.tape.info(id).dtype == DType::F16 { rounded(&values) } else { values };
        self.values.retain(|(other, _)| *other != id);
        self.values.push((id, values));
    }

    /// The values set so far for a tensor.
    pub fn values(&self, id: TensorId) -> &[f32] {
        let found = self.values.iter().find(|(other, _)| *other == id);
        &found.expect("the tensor was given values").1
    }

    fn fill(&mut self, id: TensorId, fill: Fill) -> TensorId {
        let elements = self.tape.shape(id).elements();
        let values = (0..elements).map(|_| self.draw(fill)).collect();
        self.set(id, values);
        id
    }

    /// One random value.
    pub fn draw(&mut self, fill: Fill) -> f32 {
        let mut normal = || -> f64 { StandardNormal.sample(&mut self.random) };
        match fill {
            Fill::Normal(s) => (s * normal()) as f32,
            Fill::Around(mean, s) => (mean + s * normal()) as f32,
        }
    }

    /// Finishes the case. The adjoint starts from a random gradient at each of `seeded`; `watched` outputs are compared
    /// too, but have no gradient. Parameter gradients start at random values, which exposes a kernel that overwrites
    /// instead of adding.
    pub fn finish(mut self, seeded: &[TensorId], watched: &[TensorId], bound: f64) -> Case {
        let forward_nodes = self.tape.nodes().len();
        let mut seeds = Vec::new();
        for &output in seeded {
            let dims = self.tape.shape(output).dims().to_vec();
            let name = format!("seed {}", seeds.len());
            let seed = self.tape.input(&name, &dims, self.tape.info(output).gradient);
            self.fill(seed, Fill::Normal(1.0));
            seeds.push((output, seed));
        }
        let leaves = match seeds.is_empty() {
            true => Vec::new(),
            false => {
                let gradients = self.tape.backward_from(&seeds);
                self.gradients_of_leaves(&gradients)
            }
        };
        let compared = [seeded, watched].concat();
        self.close(forward_nodes, compared, leaves, Target::Seeds(seeds), bound)
    }

    /// Finishes a case whose last op computes a loss; the adjoint starts there with one.
    pub fn finish_loss(mut self, loss: TensorId, bound: f64) -> Case {
        let forward_nodes = self.tape.nodes().len();
        let gradients = self.tape.backward(loss);
        let leaves = self.gradients_of_leaves(&gradients);
        self.close(forward_nodes, Vec::new(), leaves, Target::Loss(loss), bound)
    }

    /// Each leaf with its gradient. Parameter gradients get random initial values.
    fn gradients_of_leaves(&mut self, gradients: &Gradients) -> Vec<(TensorId, TensorId)> {
        let mut leaves = Vec::new();
        for leaf in self.leaves.clone() {
            let known = self.tape.known_gradient(leaf);
            let gradient = known.or_else(|| gradients.of(leaf));
            let gradient =
                gradient.unwrap_or_else(|| panic!("{} has no gradient", self.tape.info(leaf).name));
            leaves.push((leaf, gradient));
            if known.is_some() {
                self.fill(gradient, Fill::Normal(1.0));
            }
        }
        leaves
    }

    fn close(
        self,
        forward_nodes: usize,
        mut compared: Vec<TensorId>,
        leaves: Vec<(TensorId, TensorId)>,
        target: Target,
        bound: f64,
    ) -> Case {
        compared.extend(&self.observed);
        compared.extend(leaves.iter().map(|&(_, gradient)| gradient));
        Case {
            stem: self.stem,
            label: self.label,
            tape: self.tape,
            forward_nodes,
            values: self.values,
            compared,
            leaves,
            target,
            bound,
        }
    }
}
