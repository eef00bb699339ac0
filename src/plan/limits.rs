//! Checks a tape against a device's limits before anything is allocated: no binding, dispatch or loop may be larger
//! than the device supports. Pure arithmetic.

use super::memory::{bytes_of, padded_bytes};
use crate::fault::{Fault, Kind, Result};
use crate::gpu::mebibytes;
use crate::ops::{Dispatch, MAX_GROUPS, MAX_ITERATIONS, Operand, Recipe, Traits};
use crate::tape::{DType, Node, Role, Tape, TensorId};

/// Checks a tape's recipes against the limits of a device.
///
/// # Errors
/// [`Kind::Memory`], naming the tensor or the op, what is needed, and the configuration keys that would change it;
/// [`Kind::Device`] if the tape has f16 tensors and the device does not support f16.
pub fn check_limits(tape: &Tape, recipes: &[Recipe], device: &Traits) -> Result<()> {
    let half = tape.tensors().iter().any(|info| info.dtype == DType::F16);
    if half && device.host {
        let what = "the CPU computes in f32, not in mixed precision";
        return Err(Fault::new(Kind::Device, what)
            .remedy("set train.precision = \"f32\", or choose another --device"));
    }
    if half && !device.f16 {
        return Err(Fault::new(
            Kind::Device,
            "mixed precision needs 16-bit floats in shaders (SHADER_F16), which this device does not have",
        )
        .remedy(
            "choose another --device (`normfree devices` lists them), or set train.precision = \"f32\"",
        ));
    }
    for (node, recipe) in tape.nodes().iter().zip(recipes) {
        for dispatch in &recipe.dispatches {
            check_bindings(tape, node, recipe, dispatch, device)?;
            let groups = dispatch.groups.into_iter().max().unwrap_or(0);
            if groups as usize > MAX_GROUPS {
                return Err(too_much(node, "workgroups in a row", groups as usize, MAX_GROUPS));
            }
        }
        if device.software && recipe.iterations > MAX_ITERATIONS {
            return Err(too_much(node, "turns of a loop", recipe.iterations, MAX_ITERATIONS));
        }
    }
    Ok(())
}

/// Whatever is bound whole must fit one binding; parameters that are read in windows may be larger.
fn check_bindings(
    tape: &Tape,
    node: &Node,
    recipe: &Recipe,
    dispatch: &Dispatch,
    device: &Traits,
) -> Result<()> {
    let whole = |tensor: TensorId| (Some(tensor), bytes_of(tape, tensor));
    let window = |tensor: TensorId, length| (None, padded_bytes(length, tape.info(tensor).dtype));
    for &(_, operand) in &dispatch.bindings {
        let (tensor, bytes) = match operand {
            Operand::Input(i) => whole(node.inputs[i]),
            Operand::Output(i) => whole(node.outputs[i]),
            Operand::Scratch(i) => (None, padded_bytes(recipe.scratch[i], DType::F32)),
            Operand::InputWindow { input, length, .. } => window(node.inputs[input], length),
            Operand::OutputWindow { output, length, .. } => window(node.outputs[output], length),
            // Images have limits of their own; the ops respect them.
            Operand::InputImage(_) | Operand::InputWindowImage { .. } | Operand::OutputWindowImage { .. } => {
                continue;
            }
        };
        if bytes <= device.max_binding {
            continue;
        }
        let Some(info) = tensor.map(|tensor| tape.info(tensor)) else {
            let most = device.max_binding as usize;
            return Err(too_much(node, "bytes of working memory", bytes as usize, most));
        };
        let weights = matches!(info.role, Role::Parameter | Role::ParameterGradient);
        return Err(Fault::new(
            Kind::Memory,
            format!("the tensor `{}` is too large for one binding of this device", info.name),
        )
        .found(format!(
            "{} of shape {}, {} allowed",
            mebibytes(bytes),
            info.shape,
            mebibytes(device.max_binding)
        ))
        .remedy(if weights { SMALLER_MODEL } else { SMALLER_BATCH }));
    }
    Ok(())
}

const SMALLER_MODEL: &str = "lower model.n_embd or model.n_inner, or choose another --device";
const SMALLER_BATCH: &str = "lower train.batch_size and raise train.gradient_accumulation_steps by the same factor, or lower \
     train.sequence_length";

fn too_much(node: &Node, unit: &str, needed: usize, most: usize) -> Fault {
    Fault::new(Kind::Memory, format!("a micro-batch is too large for `{}` on this device", node.op.name()))
        .found(format!("{needed} {unit} needed, {most} allowed"))
        .remedy(format!("{SMALLER_BATCH}, or use a smaller model"))
}
