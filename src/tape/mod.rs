//! The tape: a model's work as plain data, with three readers (the GPU plan, the CPU, and the f64 reference).
//!
//! A tape is a list of [`Node`]s over typed tensors. It holds no values except constants, no threads and no GPU handles.
//! Recording functions (`tape.matmul(..)`, `tape.attention(..)`) live beside their ops in `ops/`;
//! [`Tape::backward`] appends the adjoint of every node that leads to the loss.

mod add;
mod backward;
mod op;
mod parameter;
pub mod recipe;
mod remake;
mod share;
mod tensor;

pub use add::{Add, AddInto};
pub use backward::{Adjoint, Gradients};
pub use op::{Io, Op, Shapes, shapes};
pub use parameter::{Decays, Declaration, Filed, Start, Watched};
pub use tensor::{DType, Role, Shape, TensorId, TensorInfo};

use crate::observe::quantities::Quantity;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// The prefix that turns a parameter's name into that of its f16 copy.
pub const HALF: &str = "half ";

/// One operation on the tape.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Arc<dyn Op>,
    pub inputs: Vec<TensorId>,
    pub outputs: Vec<TensorId>,
    /// The place in the model that recorded it, e.g. `h.3.attn`.
    pub scope: Rc<str>,
    pub phase: Phase,
    /// Whether the node is an observer: only the host reads its results, and the rest of the tape runs without it.
    pub observing: bool,
}

/// Whether a node was recorded by the model or appended by [`Tape::backward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Forward,
    Backward,
}

/// A program over tensors; see the module's documentation.
#[derive(Debug)]
pub struct Tape {
    nodes: Vec<Node>,
    tensors: Vec<TensorInfo>,
    scope: Rc<str>,
    phase: Phase,
    observing: bool,
    /// Parameter → the tensor that accumulates its gradient.
    gradients: HashMap<TensorId, TensorId>,
    /// Whether the first contribution to a parameter's gradient may overwrite the old contents.
    overwrites: bool,
    /// Parameter gradients that have a contribution.
    begun: HashSet<TensorId>,
    /// See [`Tape::fix_parameters`].
    fixed: bool,
    /// Regions of nodes whose inner results a backward pass recomputes: see [`Tape::remade`].
    regions: Vec<Range<usize>>,
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            tensors: Vec::new(),
            scope: "".into(),
            phase: Phase::Forward,
            observing: false,
            gradients: HashMap::new(),
            overwrites: false,
            begun: HashSet::new(),
            fixed: false,
            regions: Vec::new(),
        }
    }

    /// The nodes in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every tensor, indexed by [`TensorId::index`].
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor whose memory a slice shares; for other tensors, the tensor itself.
    pub fn owner(&self, tensor: TensorId) -> TensorId {
        self.info(tensor).parent.map_or(tensor, |(parent, _)| parent)
    }

    /// The description of one tensor.
    pub fn info(&self, tensor: TensorId) -> &TensorInfo {
        &self.tensors[tensor.index()]
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: TensorId) -> &Shape {
        &self.info(tensor).shape
    }

    /// The tensor with that full name, if there is one.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|info| info.name == name).map(TensorId::new)
    }

    /// All parameters, in declaration order.
    pub fn parameters(&self) -> Vec<TensorId> {
        self.ids()
            .filter(|&id| self.info(id).role == Role::Parameter && self.info(id).parent.is_none())
            .filter(|&id| self.info(id).copy_of.is_none())
            .collect()
    }

    /// The f16 copy of a parameter, if one was declared.
    pub fn known_half(&self, parameter: TensorId) -> Option<TensorId> {
        self.ids().find(|&id| self.info(id).copy_of == Some(parameter))
    }

    /// The ids of all tensors, in declaration order.
    pub fn ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        (0..self.tensors.len()).map(TensorId::new)
    }

    /// Names the place in the model that the following nodes belong to.
    pub fn enter(&mut self, scope: &str) {
        self.scope = scope.into();
    }

    /// Declares that parameter gradients are all zero before each replay, so that the first contribution to
    /// one may overwrite it: for steps of a single micro-batch.
    pub fn overwrite_gradients(&mut self) {
        self.overwrites = true;
    }

    /// Whether [`Tape::overwrite_gradients`] was called.
    pub fn overwrites_gradients(&self) -> bool {
        self.overwrites
    }

    /// Declares that the parameters do not change while a plan of this tape lives, so that devices which copy them to
    /// images need to do so only once.
    pub fn fix_parameters(&mut self) {
        self.fixed = true;
    }

    /// Whether a tensor is such a fixed parameter, or a slice of one.
    pub(crate) fn is_fixed(&self, tensor: TensorId) -> bool {
        self.fixed && self.info(tensor).role == Role::Parameter
    }

    /// Records a contribution to a parameter's gradient. Returns whether it must be added to the current contents.
    fn begin(&mut self, gradient: TensorId) -> bool {
        let owner = self.info(gradient).parent.map_or(gradient, |(owner, _)| owner);
        let overlaps = |&begun: &TensorId| {
            begun == owner
                || begun == gradient
                || self.info(begun).parent.is_some_and(|(of, _)| of == gradient)
        };
        let adds = !self.overwrites || self.begun.iter().any(overlaps);
        self.begun.insert(gradient);
        adds
    }

    /// Declares a tensor that the host fills before each replay.
    pub fn input(&mut self, name: &str, shape: &[usize], dtype: DType) -> TensorId {
        self.declare(name.to_owned(), shape, dtype, Role::Input, None)
    }

    /// Declares an input whose gradient is wanted; [`Gradients::of`] gives it after a backward pass.
    pub fn tracked_input(&mut self, name: &str, shape: &[usize], dtype: DType) -> TensorId {
        let id = self.input(name, shape, dtype);
        self.tensors[id.index()].tracked = true;
        id
    }

    /// An f32 input whose values belong to the tape and are the same in every replay. Whoever allocates the tape's memory
    /// writes them once. Equal names, on one tape or on the tapes of a run, mean equal values: a name is declared once.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> TensorId {
        if let Some(known) = self.find(name) {
            assert_eq!(self.info(known).constant.as_deref(), Some(&values[..]), "values of {name}");
            return known;
        }
        let id = self.input(name, shape, DType::F32);
        assert_eq!(values.len(), self.shape(id).elements(), "values of {name}");
        self.tensors[id.index()].constant = Some(values.into());
        id
    }

    /// All tensors whose values belong to the tape, with these values.
    pub fn constants(&self) -> impl Iterator<Item = (TensorId, &[f32])> {
        self.ids().filter_map(|id| Some((id, self.info(id).constant.as_deref()?)))
    }

    /// Declares a trained tensor with a name and a shape and no other properties.
    pub fn parameter(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.declare_parameter(name, shape, Declaration::new(Start::Constant(0.0)))
    }

    /// Declares a trained tensor.
    pub fn declare_parameter(&mut self, name: &str, shape: &[usize], declaration: Declaration) -> TensorId {
        let id = self.declare(name.to_owned(), shape, DType::F32, Role::Parameter, None);
        self.tensors[id.index()].declaration = Some(declaration.into());
        id
    }

    /// Declares the f16 copy of a parameter. Whoever writes the parameter also writes the copy. The copy's gradient is the
    /// parameter's, in f32.
    pub fn half_copy(&mut self, parameter: TensorId) -> TensorId {
        let info = self.info(parameter).clone();
        assert!(info.role == Role::Parameter && info.parent.is_none(), "an f16 copy of {}", info.name);
        let name = format!("{HALF}{}", info.name);
        let id = self.declare(name, info.shape.dims(), DType::F16, Role::Parameter, None);
        self.tensors[id.index()].copy_of = Some(parameter);
        id
    }

    /// Declares a tensor that outlives a replay and is read back: the loss, head entropies.
    pub fn observation(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.observation_of(name, shape, DType::F32)
    }

    /// Declares that these `entries` of an observation are the numbers of a quantity in `layer`. The host reads them after
    /// each step, or, if nodes of [`Tape::observing`] make them, after the steps that are observed.
    pub fn watch(
        &mut self,
        observation: TensorId,
        quantity: &'static Quantity,
        layer: usize,
        entries: Range<usize>,
    ) {
        self.watch_as(observation, Watched::of(quantity, layer, entries));
    }

    /// The same for the L2 norm of so many `elements`, if the quantity is their root mean square.
    pub fn watch_norm(
        &mut self,
        observation: TensorId,
        quantity: &'static Quantity,
        layer: usize,
        (entry, elements): (usize, usize),
    ) {
        let watched = Watched::of(quantity, layer, entry..entry + 1);
        self.watch_as(observation, Watched { norm_of: Some(elements), ..watched });
    }

    /// The same for numbers that grow with the loss scale of mixed precision, as a gradient does.
    pub fn watch_gradient(
        &mut self,
        observation: TensorId,
        quantity: &'static Quantity,
        layer: usize,
        entries: Range<usize>,
    ) {
        self.watch_as(observation, Watched { of_gradient: true, ..Watched::of(quantity, layer, entries) });
    }

    /// The same for the first element, if the quantity is its ratio to that of the observation `over`.
    pub fn watch_ratio(
        &mut self,
        observation: TensorId,
        quantity: &'static Quantity,
        layer: usize,
        over: TensorId,
    ) {
        let over = Some(self.info(over).name.clone());
        self.watch_as(observation, Watched { over, ..Watched::of(quantity, layer, 0..1) });
    }

    fn watch_as(&mut self, observation: TensorId, watched: Watched) {
        self.tensors[observation.index()].watched.push(watched);
    }

    /// The same with an element type.
    pub fn observation_of(&mut self, name: &str, shape: &[usize], dtype: DType) -> TensorId {
        self.declare(name.to_owned(), shape, dtype, Role::Observation, None)
    }

    /// Declares an intermediate result; its full name is the scope, a dot, and `name`.
    pub fn intermediate(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.intermediate_of(name, shape, DType::F32)
    }

    /// The same with an element type.
    pub fn intermediate_of(&mut self, name: &str, shape: &[usize], dtype: DType) -> TensorId {
        let role = if self.phase == Phase::Forward { Role::Intermediate } else { Role::Gradient };
        let full = if self.scope.is_empty() { name.to_owned() } else { format!("{}.{name}", self.scope) };
        self.declare(full, shape, dtype, role, None)
    }

    /// Makes the gradient of an f16 tensor f32, for tensors of the residual stream.
    pub(crate) fn widen_gradient(&mut self, tensor: TensorId) {
        self.tensors[tensor.index()].gradient = DType::F32;
    }

    /// Appends one node.
    pub fn record(&mut self, op: impl Op + 'static, inputs: &[TensorId], outputs: &[TensorId]) {
        self.record_shared(Arc::new(op), inputs, outputs);
    }

    /// Appends one node whose op is shared with another tape.
    pub(crate) fn record_shared(&mut self, op: Arc<dyn Op>, inputs: &[TensorId], outputs: &[TensorId]) {
        self.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            scope: self.scope.clone(),
            phase: self.phase,
            observing: self.observing,
        });
    }

    /// Records observers: nodes whose results only the host reads. Replays that nobody looks at skip them. No other node
    /// may read their results: observations, and intermediate results on the way to them.
    pub fn observing(&mut self, record: impl FnOnce(&mut Self)) {
        self.observing = true;
        record(self);
        self.observing = false;
    }

    /// The nodes that are not observers.
    pub fn acting(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.observing)
    }

    /// Names and sizes of the observers' results, in order.
    pub fn observed(&self) -> Vec<&TensorInfo> {
        let outputs = self.nodes.iter().filter(|node| node.observing).flat_map(|node| &node.outputs);
        outputs.map(|&output| self.info(output)).filter(|info| info.role == Role::Observation).collect()
    }

    /// The f32 tensor that accumulates the gradient of a parameter, of its f16 copy, or of a slice of either;
    /// declared on first use.
    pub fn gradient_of(&mut self, parameter: TensorId) -> TensorId {
        if let Some(&known) = self.gradients.get(&parameter) {
            return known;
        }
        let info = self.info(parameter).clone();
        assert_eq!(info.role, Role::Parameter, "{} is not a parameter", info.name);
        let gradient = match (info.copy_of, info.parent) {
            (Some(master), _) => self.gradient_of(master),
            (None, None) => self.declare(
                format!("grad {}", info.name),
                info.shape.dims(),
                DType::F32,
                Role::ParameterGradient,
                None,
            ),
            (None, Some((parent, offset))) => {
                let dims = info.shape.dims();
                let rows_of_parent = self.shape(parent).dims()[1..] == dims[1..];
                let whole = self.gradient_of(parent);
                if rows_of_parent {
                    self.slice_rows(whole, offset / dims[1..].iter().product::<usize>(), dims[0])
                } else {
                    self.view(whole, offset, dims)
                }
            }
        };
        self.gradients.insert(parameter, gradient);
        gradient
    }

    /// The gradient tensor of a parameter, if the tape has one.
    pub fn known_gradient(&self, parameter: TensorId) -> Option<TensorId> {
        self.gradients.get(&parameter).copied()
    }

    fn declare(
        &mut self,
        name: String,
        shape: &[usize],
        dtype: DType,
        role: Role,
        parent: Option<(TensorId, usize)>,
    ) -> TensorId {
        assert!(!shape.is_empty() && shape.iter().all(|&d| d > 0), "tensor {name} has shape {shape:?}");
        let id = TensorId::new(self.tensors.len());
        let gradient = if dtype == DType::F16 && role != Role::Parameter { DType::F16 } else { DType::F32 };
        self.tensors.push(TensorInfo {
            name,
            shape: Shape::new(shape),
            dtype,
            role,
            parent,
            tracked: false,
            copy_of: None,
            gradient,
            constant: None,
            declaration: None,
            watched: Vec::new(),
        });
        id
    }
}
