//! Copies of tensors as images. Software drivers read a texel without a branch, but a buffer element lane by
//! lane, so some kernels take an operand as an image (`Operand::InputImage`). This module plans which image
//! holds which tensor at what time, and when it must be copied again. Pure arithmetic.

use crate::ops::{Dispatch, Operand, Recipe, WINDOW_TEXELS, fits_image};
use crate::tape::{DType, Tape, TensorId};
use std::collections::HashMap;

/// Width in texels of four elements, height in rows, and the element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    pub width: u32,
    pub height: u32,
    pub dtype: DType,
}

impl Extent {
    /// Bytes per row.
    pub fn pitch(self) -> u32 {
        self.width * 4 * self.dtype.bytes() as u32
    }
}

/// One image operand of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The node's input.
    pub input: usize,
    /// Which image.
    pub image: usize,
    /// Whether the tensor must be copied into it before the node runs.
    pub copy: bool,
    /// Whether one copy serves every replay: see [`Tape::fix_parameters`].
    pub fixed: bool,
}

/// The images of a plan.
#[derive(Debug, Default)]
pub struct ImagePlan {
    /// The image operands of each node; each input appears once.
    pub uses: Vec<Vec<Use>>,
    /// The windows that each dispatch of each node reads as images, in the order of its bindings. They are copied
    /// before the dispatch and free after it.
    pub windows: Vec<Vec<Vec<(Operand, usize)>>>,
}

/// A copy outlives its use if the next use is at most this many nodes away. Beyond that, its memory is worth more
/// than the time of another copy.
const PATIENCE: usize = 8;

impl ImagePlan {
    /// Plans the images that `recipes` need. Every image in `pool` is free except those in `fixed`, which maps tensor
    /// names to images.
    pub(super) fn new(
        tape: &Tape,
        recipes: &[Recipe],
        pool: &mut Vec<Extent>,
        fixed: &mut HashMap<String, usize>,
    ) -> Self {
        let wanted: Vec<Vec<(usize, TensorId)>> = tape
            .nodes()
            .iter()
            .zip(recipes)
            .map(|(node, recipe)| inputs_of(recipe).into_iter().map(|i| (i, node.inputs[i])).collect())
            .collect();
        let mut plan = Self::default();
        let mut free: HashMap<Extent, Vec<usize>> = HashMap::new();
        for (image, &extent) in
            pool.iter().enumerate().filter(|(image, _)| !fixed.values().any(|f| f == image))
        {
            free.entry(extent).or_default().push(image);
        }
        let mut current: HashMap<TensorId, usize> = HashMap::new();
        for (i, node) in tape.nodes().iter().enumerate() {
            let mut uses = Vec::new();
            let mut own = Vec::new();
            for &(input, tensor) in &wanted[i] {
                if tape.is_fixed(tensor) {
                    let made = fixed.get(&tape.info(tensor).name).copied();
                    let image = made.unwrap_or_else(|| {
                        pool.push(extent(tape, tensor));
                        fixed.insert(tape.info(tensor).name.clone(), pool.len() - 1);
                        pool.len() - 1
                    });
                    uses.push(Use { input, image, copy: made.is_none(), fixed: true });
                    continue;
                }
                let (image, copy) = match current.get(&tensor) {
                    Some(&image) => (image, false),
                    None => {
                        let image = take(pool, &mut free, extent(tape, tensor));
                        // Replays without observers do not make this copy, so later nodes cannot rely on it.
                        if node.observing {
                            own.push((extent(tape, tensor), image));
                        } else {
                            current.insert(tensor, image);
                        }
                        (image, true)
                    }
                };
                uses.push(Use { input, image, copy, fixed: false });
            }
            plan.uses.push(uses);
            let dispatches = recipes[i].dispatches.iter();
            plan.windows.push(dispatches.map(|dispatch| windows_of(dispatch, pool, &mut free)).collect());
            for (extent, image) in own {
                free.entry(extent).or_default().push(image);
            }
            let rewritten =
                |tensor: TensorId| node.outputs.iter().any(|&o| tape.owner(o) == tape.owner(tensor));
            let soon = &wanted[i + 1..wanted.len().min(i + 1 + PATIENCE)];
            current.retain(|&tensor, &mut image| {
                let keep = !rewritten(tensor) && soon.iter().flatten().any(|&(_, next)| next == tensor);
                if !keep {
                    free.entry(extent(tape, tensor)).or_default().push(image);
                }
                keep
            });
        }
        plan
    }
}

/// A free image of that extent, or a new one.
fn take(pool: &mut Vec<Extent>, free: &mut HashMap<Extent, Vec<usize>>, extent: Extent) -> usize {
    free.get_mut(&extent).and_then(Vec::pop).unwrap_or_else(|| {
        pool.push(extent);
        pool.len() - 1
    })
}

/// Images for the windows of one dispatch; all are free again after it.
fn windows_of(
    dispatch: &Dispatch,
    pool: &mut Vec<Extent>,
    free: &mut HashMap<Extent, Vec<usize>>,
) -> Vec<(Operand, usize)> {
    let mut taken = Vec::new();
    for &(_, operand) in &dispatch.bindings {
        if let Operand::InputWindowImage { length, .. } | Operand::OutputWindowImage { length, .. } = operand
        {
            let height = (length / (4 * WINDOW_TEXELS)) as u32;
            let extent = Extent { width: WINDOW_TEXELS as u32, height, dtype: DType::F32 };
            taken.push((extent, (operand, take(pool, free, extent))));
        }
    }
    for &(extent, (_, image)) in &taken {
        free.entry(extent).or_default().push(image);
    }
    taken.into_iter().map(|(_, window)| window).collect()
}

/// Bytes of an image.
pub fn image_bytes(extent: Extent) -> u64 {
    u64::from(extent.pitch()) * u64::from(extent.height)
}

/// The inputs that a recipe reads as images, without duplicates.
fn inputs_of(recipe: &Recipe) -> Vec<usize> {
    let mut inputs: Vec<usize> = recipe
        .dispatches
        .iter()
        .flat_map(|dispatch| &dispatch.bindings)
        .filter_map(|&(_, operand)| if let Operand::InputImage(i) = operand { Some(i) } else { None })
        .collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

/// The extent of the image of a tensor seen as a matrix.
fn extent(tape: &Tape, tensor: TensorId) -> Extent {
    let ((rows, columns), dtype) = (tape.shape(tensor).as_matrix(), tape.info(tensor).dtype);
    assert!(fits_image(rows, columns, dtype), "{rows} rows of {columns} {dtype:?} are no image");
    Extent { width: columns as u32 / 4, height: rows as u32, dtype }
}
