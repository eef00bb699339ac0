//! Reverse-mode differentiation: appends the adjoint of every node that leads to the loss.

use super::remake::Remake;
use super::{DType, Node, Phase, Role, Tape, TensorId};
use std::collections::{HashMap, HashSet};

/// What an op sees while it appends its own adjoint.
pub struct Adjoint<'a> {
    pub tape: &'a mut Tape,
    node: &'a Node,
    gradients: &'a mut HashMap<TensorId, TensorId>,
    wanted: &'a HashSet<TensorId>,
    remake: &'a mut Remake,
}

impl Adjoint<'_> {
    /// The node's `i`-th input, for its values. Records it again if the forward pass did not keep it.
    pub fn input(&mut self, i: usize) -> TensorId {
        self.remake.value(self.tape, self.node.inputs[i])
    }

    /// How many inputs the node has.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// The node's `i`-th output, for its values; see [`Adjoint::input`].
    pub fn output(&mut self, i: usize) -> TensorId {
        self.remake.value(self.tape, self.node.outputs[i])
    }

    /// The gradient of the loss with respect to output `i`; `None` if nothing downstream used it, and for
    /// the loss itself, whose gradient is one.
    pub fn gradient(&self, i: usize) -> Option<TensorId> {
        self.gradients.get(&self.node.outputs[i]).copied()
    }

    /// The same gradient, to be changed in place by an op that changed its output in place. It then is the gradient with
    /// respect to the output's earlier value.
    ///
    /// # Panics
    /// If the tensor is also another tensor's gradient.
    pub fn own_gradient(&self, i: usize) -> Option<TensorId> {
        let gradient = self.gradient(i)?;
        let owners = self.gradients.values().filter(|&&known| known == gradient).count();
        let name = &self.tape.info(gradient).name;
        assert!(
            owners == 1,
            "`{}` would change {name}, the gradient of {owners} tensors",
            self.node.op.name()
        );
        Some(gradient)
    }

    /// A new tensor for the gradient with respect to what output `i` held before an op that changed it in place. That op
    /// writes it, from the gradient so far, which may be another tensor's too.
    pub fn replace_gradient(&mut self, i: usize) -> TensorId {
        let output = self.node.outputs[i];
        let info = self.tape.info(output).clone();
        self.tape.phase = Phase::Backward;
        let name = format!("d {} before", info.name);
        let gradient = self.tape.declare(name, info.shape.dims(), info.gradient, Role::Gradient, None);
        self.gradients.insert(output, gradient);
        gradient
    }

    /// Whether the gradient with respect to input `i` leads to a parameter.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.contains(&self.node.inputs[i])
    }

    /// The tensor to which contributions to the gradient of parameter input `i` must be ADDED.
    pub fn parameter_gradient(&mut self, i: usize) -> TensorId {
        self.begin_gradient(i).0
    }

    /// The gradient of parameter input `i`, and whether a contribution must be ADDED to it. If not, this contribution is
    /// the first and must overwrite every element.
    pub fn begin_gradient(&mut self, i: usize) -> (TensorId, bool) {
        self.begin(self.node.inputs[i])
    }

    /// The same for a parameter, or a slice of one, by name.
    pub fn begin(&mut self, parameter: TensorId) -> (TensorId, bool) {
        let gradient = self.tape.gradient_of(parameter);
        (gradient, self.tape.begin(gradient))
    }

    /// Whether input `i` is a parameter (its gradient accumulates in place) or an intermediate.
    pub fn is_parameter(&self, i: usize) -> bool {
        self.tape.info(self.node.inputs[i]).role == Role::Parameter
    }

    /// A new gradient tensor with the shape of input `i` and the element type of its gradients.
    pub fn fresh_like(&mut self, i: usize) -> TensorId {
        let info = self.tape.info(self.node.inputs[i]).clone();
        self.tape.phase = Phase::Backward;
        self.tape.declare(format!("d {}", info.name), info.shape.dims(), info.gradient, Role::Gradient, None)
    }

    /// Adds a contribution to the gradient of input `i`; several contributions are summed.
    pub fn contribute(&mut self, i: usize, gradient: TensorId) {
        let input = self.node.inputs[i];
        match self.gradients.get(&input).copied() {
            _ if self.is_parameter(i) => {
                let total = self.parameter_gradient(i);
                self.tape.add_into(gradient, total);
            }
            None => {
                self.gradients.insert(input, gradient);
            }
            Some(earlier) => {
                let sum = self.tape.onto(earlier, gradient);
                self.gradients.insert(input, sum);
            }
        }
    }
}

/// The gradients of all intermediates and tracked inputs that a backward pass reached.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, TensorId>);

impl Gradients {
    /// The gradient with respect to `tensor`.
    pub fn of(&self, tensor: TensorId) -> Option<TensorId> {
        self.0.get(&tensor).copied()
    }
}

impl Tape {
    /// Appends the gradient of `loss` with respect to every parameter, node by node, last node first. The op
    /// that made `loss` takes its own gradient to be one.
    ///
    /// Parameter gradients accumulate in the tensors that [`Tape::gradient_of`] names. The caller clears them at
    /// the start of an optimizer step.
    pub fn backward(&mut self, loss: TensorId) -> Gradients {
        self.backward_of(&[loss])
    }

    /// The same for the sum of all elements of several losses.
    pub fn backward_of(&mut self, losses: &[TensorId]) -> Gradients {
        self.differentiate(losses, HashMap::new())
    }

    /// The same for Σ ⟨output, seed⟩ over pairs of an output and its incoming gradient.
    pub fn backward_from(&mut self, seeds: &[(TensorId, TensorId)]) -> Gradients {
        let roots: Vec<TensorId> = seeds.iter().map(|&(output, _)| output).collect();
        self.differentiate(&roots, seeds.iter().copied().collect())
    }

    /// `earlier + gradient`. The op that made `gradient` adds `earlier` to its output if it can, if `earlier` existed
    /// before it, and if no node has read `gradient` yet; otherwise this records an addition.
    ///
    /// # Panics
    /// If one of the two is f16: they are added in f32.
    fn onto(&mut self, earlier: TensorId, gradient: TensorId) -> TensorId {
        for part in [earlier, gradient] {
            let info = self.info(part);
            let tells = "two gradients meet, which are added in f32: Tape::widen_gradient keeps them so";
            assert_eq!(info.dtype, DType::F32, "{}: {tells}", info.name);
        }
        let made = |tensor| self.nodes.iter().rposition(|node: &Node| node.outputs.contains(&tensor));
        if let Some(at) = made(gradient)
            && made(earlier).is_none_or(|before| before < at)
            && self.nodes[at].outputs == [gradient]
            && self.nodes[at + 1..].iter().all(|node| !node.inputs.contains(&gradient))
            && let Some(op) = self.nodes[at].op.with_addend()
        {
            self.nodes[at].op = op;
            self.nodes[at].inputs.push(earlier);
            return gradient;
        }
        self.add(earlier, gradient)
    }

    fn differentiate(&mut self, roots: &[TensorId], mut gradients: HashMap<TensorId, TensorId>) -> Gradients {
        let forward = self.nodes.clone();
        let wanted = self.wanted(&forward);
        let needed = needed(&forward, roots);
        let mut remake =
            Remake::new(&forward, &self.regions, |tensor| self.info(tensor).role == Role::Parameter);
        self.phase = Phase::Backward;
        for (i, node) in forward.iter().enumerate().rev() {
            let reached = node.outputs.iter().any(|o| roots.contains(o) || gradients.contains_key(o));
            if !reached || !needed[i] || !reads(node).any(|t| wanted.contains(&t)) {
                continue;
            }
            self.scope = node.scope.clone();
            node.op.adjoint(&mut Adjoint {
                tape: self,
                node,
                gradients: &mut gradients,
                wanted: &wanted,
                remake: &mut remake,
            });
        }
        self.phase = Phase::Forward;
        self.scope = "".into();
        Gradients(gradients)
    }

    /// Tensors through which a parameter or a tracked input reaches a result.
    fn wanted(&self, nodes: &[Node]) -> HashSet<TensorId> {
        let source = |id: &TensorId| self.info(*id).role == Role::Parameter || self.info(*id).tracked;
        let mut wanted: HashSet<TensorId> = self.ids().filter(source).collect();
        for node in nodes {
            if node.inputs.iter().any(|t| wanted.contains(t)) {
                wanted.extend(node.outputs.iter().copied());
            }
        }
        wanted
    }
}

/// What a node's results depend on: its inputs, and the earlier contents of outputs that it adds to.
fn reads(node: &Node) -> impl Iterator<Item = TensorId> {
    let before = (0..node.outputs.len()).filter(|&i| node.op.accumulates(i)).map(|i| node.outputs[i]);
    node.inputs.iter().copied().chain(before)
}

/// For each node, whether a root depends on it.
fn needed(nodes: &[Node], roots: &[TensorId]) -> Vec<bool> {
    let mut live: HashSet<TensorId> = roots.iter().copied().collect();
    let mut needed = vec![false; nodes.len()];
    for (i, node) in nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|o| live.contains(o)) {
            needed[i] = true;
            live.extend(node.inputs.iter().copied());
        }
    }
    needed
}
