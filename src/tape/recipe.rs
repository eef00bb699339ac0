//! How an op describes its work to a device, as plain data: kernels, bindings by name, grids.

use super::DType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a recipe may depend on. Measured once per adapter; never a wgpu type.
#[derive(Clone, Debug, PartialEq)]
pub struct Traits {
    /// Lanes of a subgroup as a shader observes them; 0 if subgroups cannot be used.
    pub lanes: u32,
    /// Whether the driver runs on the CPU, where workgroup memory and barriers are slow, registers and shuffles fast.
    pub software: bool,
    /// Whether the CPU itself is the device: ops run on it without recipes.
    pub host: bool,
    /// Most invocations in one workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Bytes of one storage binding.
    pub max_binding: u64,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Side of the square f16 fragments that the device's matrix units multiply with f32 sums; 0 if it has none.
    pub cooperative: u32,
    /// Whether attention may use the matrix units too; ignored if there are none.
    pub attention_units: bool,
    /// The device's vendor.
    pub vendor: Vendor,
    /// The variants chosen by measurements on this device.
    pub choices: Choices,
}

/// The vendor of a device, which determines the variants a search starts with. A variant's text never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Amd,
    Apple,
    Intel,
    Other,
}

/// The variants of ops at shapes for which a device has several: [`Tuning::key`] → one of [`Tuning::variants`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choices(BTreeMap<String, String>);

impl Choices {
    /// The variant chosen for a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn set(&mut self, key: String, variant: String) {
        self.0.insert(key, variant);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The choices whose keys `wanted` accepts.
    pub fn filtered(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(key, _)| wanted(key));
        Self(kept.map(|(key, variant)| (key.clone(), variant.clone())).collect())
    }
}

/// The variants in which a device can compute an op at a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Op and shape, in readable form.
    pub key: String,
    /// Names of the variants; the first is the default.
    pub variants: Vec<String>,
}

impl Tuning {
    /// A choice among `variants`; the first is the default.
    pub fn of<T: ToString>(key: String, variants: &[T]) -> Self {
        Self { key, variants: variants.iter().map(T::to_string).collect() }
    }

    /// The variant chosen for `key` if it is one of `variants`; otherwise the first.
    pub fn chosen<T: Clone + ToString>(key: &str, variants: &[T], device: &Traits) -> T {
        let named = device
            .choices
            .get(key)
            .and_then(|name| variants.iter().find(|variant| variant.to_string() == name));
        named.unwrap_or(&variants[0]).clone()
    }
}

impl Traits {
    /// What WebGPU guarantees everywhere: no subgroups, 256 invocations, 16 KiB of workgroup memory, no f16.
    pub fn floor() -> Self {
        Self {
            lanes: 0,
            software: false,
            host: false,
            max_invocations: 256,
            workgroup_memory: 16 << 10,
            max_binding: 128 << 20,
            choices: Choices::default(),
            f16: false,
            cooperative: 0,
            attention_units: true,
            vendor: Vendor::Other,
        }
    }

    /// The CPU itself, whose memory is not divided into bindings. Pieces of the vocabulary still pass through its caches
    /// one at a time.
    pub fn host() -> Self {
        Self { software: true, host: true, max_binding: 64 << 20, ..Self::floor() }
    }

    /// Bytes of logits that the loss of several pieces may keep rather than compute twice. On the CPU that saves a tenth of
    /// GPT-2's step for a fifth of a gibibyte; a GPU has better use for its memory.
    pub fn kept_logits(&self) -> u64 {
        if self.host { 256 << 20 } else { 0 }
    }

    /// The same device without subgroups: every kernel's plain variant.
    pub fn without_subgroups(&self) -> Self {
        Self { lanes: 0, cooperative: 0, ..self.clone() }
    }
}

/// One compute pipeline: text, entry point, and every override constant by name.
///
/// Equal kernels share one pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// The complete WGSL text.
    pub text: Arc<str>,
    pub entry: &'static str,
    /// Values of the text's override constants: all that the entry point uses, since none has a default.
    pub constants: Vec<(&'static str, f64)>,
}

impl Kernel {
    pub fn new(text: impl Into<Arc<str>>, entry: &'static str, constants: &[(&'static str, f64)]) -> Self {
        Self { text: text.into(), entry, constants: constants.to_vec() }
    }
}

/// Parses a WGSL text as a module. Every text goes through here: WGSL requires `enable subgroups;` for subgroup
/// operations and builtins; naga accepts those without the directive and rejects the directive.
///
/// # Errors
/// naga's message, with the lines it refers to.
pub fn parse(text: &str) -> Result<naga::Module, String> {
    // An empty line replaces it, so that later lines keep their numbers.
    let text = text.replace("enable subgroups;", "");
    naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))
}

/// Whether a matrix can be an [`Operand::InputImage`]: each row is a multiple of 256 bytes, and no side is longer than
/// the image size that WebGPU guarantees.
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
    /// texels: `texture_storage_2d<rgba32float, read>`, or `rgba16float` for an f16 tensor. C is a multiple of 64,
    /// or 128, which gives rows the 256-byte pitch that copies from buffers require.
    InputImage(usize),
    /// The node's `i`-th output.
    Output(usize),
    /// Memory that lives only while this node runs; see [`Recipe::scratch`].
    Scratch(usize),
    /// Elements `offset .. offset + length` of an input too large for one binding.
    InputWindow { input: usize, offset: usize, length: usize },
    /// The same for an output.
    OutputWindow { output: usize, offset: usize, length: usize },
    /// A copy of elements `offset .. offset + length` of an input, made for this dispatch alone, as an image of
    /// [`WINDOW_TEXELS`] texels by length / 64 rows. Both numbers are multiples of 64, and the length is at most
    /// [`WINDOW_ELEMENTS`].
    InputWindowImage { input: usize, offset: usize, length: usize },
    /// The same for an output's contents before this dispatch.
    OutputWindowImage { output: usize, offset: usize, length: usize },
}

/// Texels of four elements in a row of a window's image: the 256 bytes that copies from buffers require.
pub const WINDOW_TEXELS: usize = 16;

/// The most elements of a window read as an image: as many rows as WebGPU guarantees.
pub const WINDOW_ELEMENTS: usize = 8192 * 4 * WINDOW_TEXELS;

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

/// All of a node's work on a device.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    pub dispatches: Vec<Dispatch>,
    /// Sizes of the scratch tensors in elements of four bytes.
    pub scratch: Vec<usize>,
    /// The most iterations one invocation makes, over all of its loops, if that grows with a size of the model
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

    /// The same, with the number of iterations an invocation may make.
    pub fn with_iterations(self, iterations: usize) -> Self {
        Self { iterations, ..self }
    }
}

/// The most workgroups along one axis of a dispatch (WebGPU's floor).
pub const MAX_GROUPS: usize = 65_535;

/// A grid of at least `groups` workgroups over x and y. The kernel computes its index as
/// `group.x + group.y * groups.x` and returns if that is past the end.
pub fn grid(groups: usize) -> [u32; 3] {
    let y = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(y), y, 1].map(axis)
}

/// Workgroups along one axis. The plan refuses more than a dispatch can hold before it runs.
pub fn axis(groups: usize) -> u32 {
    u32::try_from(groups).unwrap_or(u32::MAX)
}
