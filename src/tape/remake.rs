//! Recomputation: the backward pass computes results again instead of keeping them from the forward pass, which trades
//! time for memory (Chen et al. 2016).

use super::{Node, Phase, Tape, TensorId};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

impl Tape {
    /// Records a region with `record`. [`Tape::backward`] does not keep its inner results, those that nothing outside of it
    /// reads. It records again only those that adjoints need, before the first adjoint that needs them. They are the same
    /// ops on the same inputs, so the bits are the same. Regions do not nest.
    ///
    /// # Panics
    /// In the backward pass, if an adjoint needs a result that is added to rather than overwritten. If later nodes of the
    /// region change a result in place, all of them run again.
    pub fn remade<T>(&mut self, record: impl FnOnce(&mut Self) -> T) -> T {
        let first = self.nodes.len();
        let result = record(self);
        assert!(self.regions.last().is_none_or(|region| region.end <= first), "a region within a region");
        self.regions.push(first..self.nodes.len());
        result
    }

    /// A tensor like one of the forward pass, for the recomputed values.
    fn again(&mut self, tensor: TensorId) -> TensorId {
        let info = self.info(tensor).clone();
        let again =
            self.declare(format!("{} again", info.name), info.shape.dims(), info.dtype, info.role, None);
        self.tensors[again.index()].gradient = info.gradient;
        again
    }
}

/// Which tensors are not kept, and their recomputed substitutes.
pub(super) struct Remake {
    /// The makers of results that are not kept: for each, the node that writes it, then those that change it in place.
    makers: HashMap<TensorId, Vec<Node>>,
    substitutes: HashMap<TensorId, TensorId>,
}

impl Remake {
    /// Collects them from the nodes of a forward pass and its regions. What is `lasting` outlives a replay: it is changed, and
    /// never made again.
    pub fn new(nodes: &[Node], regions: &[Range<usize>], lasting: impl Fn(TensorId) -> bool) -> Self {
        let mut makers: HashMap<TensorId, Vec<Node>> = HashMap::new();
        for region in regions {
            let outside = nodes[..region.start].iter().chain(&nodes[region.end..]);
            let kept: HashSet<TensorId> = outside.flat_map(|node| &node.inputs).copied().collect();
            for node in &nodes[region.clone()] {
                let made = |output: &&TensorId| !kept.contains(*output) && !lasting(**output);
                for &output in node.outputs.iter().filter(made) {
                    makers.entry(output).or_default().push(node.clone());
                }
            }
        }
        Self { makers, substitutes: HashMap::new() }
    }

    /// The tensor with the values of `tensor` in the backward pass; records its maker again if needed.
    pub fn value(&mut self, tape: &mut Tape, tensor: TensorId) -> TensorId {
        if let Some(&known) = self.substitutes.get(&tensor) {
            return known;
        }
        let Some(makers) = self.makers.get(&tensor) else { return tensor };
        let maker = makers[0].clone();
        let added_to = (0..maker.outputs.len()).any(|i| maker.op.accumulates(i));
        assert!(!added_to, "`{}` adds to its outputs and cannot be recorded again", maker.op.name());
        self.record(tape, maker.clone());
        for output in &maker.outputs {
            let changes = self.makers.get(output).map_or(&[][..], |makers| &makers[1..]).to_vec();
            for change in changes {
                self.record(tape, change);
            }
        }
        self.substitutes[&tensor]
    }

    /// Records a node again; outputs without a substitute get one.
    fn record(&mut self, tape: &mut Tape, node: Node) {
        let inputs = node.inputs.iter().map(|&input| self.value(tape, input)).collect();
        let again =
            |&output: &TensorId| *self.substitutes.entry(output).or_insert_with(|| tape.again(output));
        let outputs = node.outputs.iter().map(again).collect();
        tape.nodes.push(Node { inputs, outputs, phase: Phase::Backward, ..node });
    }
}
