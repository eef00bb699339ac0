//! How an op describes its work to a device, as plain data: kernels, bindings by name, grids.

use crate::tape::DType;
use std::sync::Arc;

/// What a recipe may depend on; measured once per adapter, never a wgpu type.
#[derive(Clone, Debug, PartialEq)]
pub struct Traits {
    /// Lanes of a subgroup as a shader really sees them; 0 where subgroups cannot be used.
    pub lanes: u32,
    /// A driver that runs on the CPU: workgroup memory and barriers are slow there, registers and shuffles fast.
    pub software: bool,
    /// Invocations of one workgroup, at most.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Bytes of one storage binding.
    pub max_binding: u64,
    /// 16-bit floats in shaders.
    pub f16: bool,
}

impl Traits {
    /// What WebGPU promises everywhere: no subgroups, 256 invocations, 16 KiB of workgroup memory, no f16.
    pub fn floor() -> Self {
        Self {
            lanes: 0,
            software: false,
            max_invocations: 256,
            workgroup_memory: 16 << 10,
            max_binding: 128 << 20,
            f16: false,
        }
    }

    /// The same device without subgroups: every kernel's plain variant.
    pub fn without_subgroups(&self) -> Self {
        Self { lanes: 0, ..self.clone() }
    }
}

/// One compute pipeline: text, entry point, and every override constant by name.
///
/// Two kernels that are equal share one pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Whole WGSL text, shared fragments included.
    pub text: Arc<str>,
    pub entry: &'static str,
    /// Values of override constants of the text: of all that the entry point uses, since none has a default.
    pub constants: Vec<(&'static str, f64)>,
}

impl Kernel {
    /// A kernel from a file of `shaders/`, with the shared fragments it uses put before it. Their `enable` directives
    /// stand first, as WGSL wants it.
    pub fn new(
        fragments: &[&str],
        text: &str,
        entry: &'static str,
        constants: &[(&'static str, f64)],
    ) -> Self {
        let parts = || fragments.iter().chain([&text]).flat_map(|part| part.lines().chain([""]));
        let directive = |line: &&str| line.starts_with("enable ");
        let mut whole = String::new();
        for line in parts().filter(directive).chain(parts().filter(|line| !directive(line))) {
            whole.push_str(line);
            whole.push('\n');
        }
        Self { text: whole.into(), entry, constants: constants.to_vec() }
    }
}

/// Whether a matrix can be an [`Operand::InputImage`]: whole 256 bytes a row, and no side longer than WebGPU
/// promises of an image.
pub fn fits_image(rows: usize, columns: usize, dtype: DType) -> bool {
    const MAX_SIDE: usize = 8192;
    (columns * dtype.bytes()).is_multiple_of(256) && columns / 4 <= MAX_SIDE && rows <= MAX_SIDE
}

/// What is bound to one WGSL variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The node's `i`-th input.
    Input(usize),
    /// A copy of the node's `i`-th input, seen as a matrix of C columns, as a two-dimensional image of C / 4 by rows
    /// texels: `texture_storage_2d<rgba32float, read>`, or `rgba16float` for a tensor of f16. C is a multiple of 64,
    /// or 128, which makes the rows' pitch the 256 bytes that copies from buffers ask for.
    InputImage(usize),
    /// The node's `i`-th output.
    Output(usize),
    /// Memory that lives only while this node runs; see [`Recipe::scratch`].
    Scratch(usize),
    /// Elements `offset .. offset + length` of an input too large for one binding.
    InputWindow { input: usize, offset: usize, length: usize },
    /// The same of an output.
    OutputWindow { output: usize, offset: usize, length: usize },
}

/// A WGSL variable's name and what is bound to it.
pub type Binding = (&'static str, Operand);

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub kernel: Kernel,
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y, z; each at most 65,535.
    pub groups: [u32; 3],
}

/// All that a node does on a device.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    pub dispatches: Vec<Dispatch>,
    /// Sizes of the scratch tensors in elements of four bytes.
    pub scratch: Vec<usize>,
    /// The most iterations one invocation makes, over all of its loops, where that grows with a size of the model
    /// or the batch. Some CPU drivers silently leave a loop after [`MAX_ITERATIONS`].
    pub iterations: usize,
}

/// See [`Recipe::iterations`].
pub const MAX_ITERATIONS: usize = 65_535;

impl Recipe {
    /// A recipe of one dispatch.
    pub fn one(kernel: Kernel, bindings: &[Binding], groups: [u32; 3]) -> Self {
        Self { dispatches: vec![Dispatch { kernel, bindings: bindings.to_vec(), groups }], ..Self::default() }
    }

    /// The same, saying that an invocation may make so many iterations.
    pub fn with_iterations(self, iterations: usize) -> Self {
        Self { iterations, ..self }
    }
}

/// The most workgroups along one axis of a dispatch (WebGPU's floor).
pub const MAX_GROUPS: usize = 65_535;

/// A grid of at least `groups` workgroups over x and y. The kernel reads its place as
/// `group.x + group.y * groups.x` and leaves where that is past the end.
pub fn grid(groups: usize) -> [u32; 3] {
    let y = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(y), y, 1].map(axis)
}

/// Workgroups along one axis. What is more than a dispatch can hold, the plan refuses before it runs.
pub fn axis(groups: usize) -> u32 {
    u32::try_from(groups).unwrap_or(u32::MAX)
}
