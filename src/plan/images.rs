//! Copies of tensors as images. Software drivers read a texel without a branch and a buffer element lane by
//! lane, so that some kernels take an operand as an image (`Operand::InputImage`). This plans which image holds
//! which tensor when, and where it must be copied anew. Pure arithmetic.

use super::memory::owner;
use crate::ops::{Operand, Recipe};
use crate::tape::{Tape, TensorId};
use std::collections::HashMap;

/// Width in texels of four f32, and height in rows.
pub type Extent = (u32, u32);

/// One image operand of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The node's input.
    pub input: usize,
    /// Which image.
    pub image: usize,
    /// Whether the tensor must be copied into it before the node runs.
    pub copy: bool,
}

/// The images of a plan.
#[derive(Debug, Default)]
pub struct ImagePlan {
    /// For each node, its image operands, each input once.
    pub uses: Vec<Vec<Use>>,
}

/// A copy outlives its use where the next one is at most so many nodes away; farther, its memory is worth more
/// than the copy.
const PATIENCE: usize = 8;

impl ImagePlan {
    /// Plans the images that `recipes` ask for, into `pool`, of which none is in use.
    pub(super) fn new(tape: &Tape, recipes: &[Recipe], pool: &mut Vec<Extent>) -> Self {
        let wanted: Vec<Vec<(usize, TensorId)>> = tape
            .nodes()
            .iter()
            .zip(recipes)
            .map(|(node, recipe)| inputs_of(recipe).into_iter().map(|i| (i, node.inputs[i])).collect())
            .collect();
        let mut plan = Self::default();
        let mut free: HashMap<Extent, Vec<usize>> = HashMap::new();
        for (image, &extent) in pool.iter().enumerate() {
            free.entry(extent).or_default().push(image);
        }
        let mut current: HashMap<TensorId, usize> = HashMap::new();
        for (i, node) in tape.nodes().iter().enumerate() {
            let mut uses = Vec::new();
            for &(input, tensor) in &wanted[i] {
                let (image, copy) = match current.get(&tensor) {
                    Some(&image) => (image, false),
                    None => {
                        let image = take(pool, &mut free, extent(tape, tensor));
                        current.insert(tensor, image);
                        (image, true)
                    }
                };
                uses.push(Use { input, image, copy });
            }
            plan.uses.push(uses);
            let rewritten =
                |tensor: TensorId| node.outputs.iter().any(|&o| owner(tape, o) == owner(tape, tensor));
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

/// A free image of that extent, else a new one.
fn take(pool: &mut Vec<Extent>, free: &mut HashMap<Extent, Vec<usize>>, extent: Extent) -> usize {
    free.get_mut(&extent).and_then(Vec::pop).unwrap_or_else(|| {
        pool.push(extent);
        pool.len() - 1
    })
}

/// Bytes of an image.
pub fn image_bytes((width, height): Extent) -> u64 {
    u64::from(width) * u64::from(height) * 16
}

/// The inputs a recipe reads as images, each once.
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
    let (rows, columns) = tape.shape(tensor).as_matrix();
    assert!(columns.is_multiple_of(64), "an image has rows of whole 256 bytes, not of {columns} elements");
    (columns as u32 / 4, rows as u32)
}
