//! Finds where a non-finite number began: replays the broken step node by node on the same weights and data, and checks
//! every result as soon as it exists. It costs nothing until it is needed.

use super::engine::Engine;
use super::finite::first_broken;
use crate::data::Batch;
use crate::fault::Result;
use crate::observe::record::Nonfinite;
use crate::tape::{DType, Phase};

/// The phase if the origin is a weight itself.
pub const PARAMETERS: &str = "parameters";
/// The op if the origin is not in a tensor: the gradient's norm.
pub const NORM: &str = "gradient_norm";

/// The origin if all tensors of a step are finite and only the sum of squares overflowed.
pub fn overflowing_norm(step: u64, norm: f64) -> Nonfinite {
    Nonfinite {
        step,
        micro_batch: 0,
        phase: "update".to_owned(),
        scope: String::new(),
        op: NORM.to_owned(),
        tensor: "norm of the gradient".to_owned(),
        index: 0,
        value: norm,
    }
}

/// The first non-finite number of a step, in execution order. `None` if every tensor is finite and only the sum of squares
/// overflowed.
///
/// # Errors
/// Those of [`Device::check`](crate::device::Device::check).
pub fn origin(engine: &Engine, step: u64, batches: &[Batch]) -> Result<Option<Nonfinite>> {
    if let Some(found) = broken_parameter(engine, step)? {
        return Ok(Some(found));
    }
    let tape = &engine.blueprint.micro.tape;
    for micro_batch in 0..batches.len() {
        engine.stage(step, micro_batch, batches);
        for (i, node) in tape.nodes().iter().enumerate().filter(|(_, node)| !node.observing) {
            engine.micro.run_node(&engine.device, i)?;
            for &output in node.outputs.iter().filter(|&&o| tape.info(o).dtype != DType::U32) {
                let values = engine.micro.read(&engine.device, tape, &engine.store, output)?;
                let Some((index, value)) = first_broken(&values) else { continue };
                return Ok(Some(Nonfinite {
                    step,
                    micro_batch,
                    phase: if node.phase == Phase::Forward { "forward" } else { "backward" }.to_owned(),
                    scope: node.scope.to_string(),
                    op: node.op.name().to_owned(),
                    tensor: tape.info(output).name.clone(),
                    index,
                    value,
                }));
            }
        }
    }
    Ok(None)
}

fn broken_parameter(engine: &Engine, step: u64) -> Result<Option<Nonfinite>> {
    for parameter in engine.blueprint.arenas.parameters() {
        let values = engine.store.read(&engine.device, &parameter.name, parameter.elements())?;
        if let Some((index, value)) = first_broken(&values) {
            return Ok(Some(Nonfinite {
                step,
                micro_batch: 0,
                phase: PARAMETERS.to_owned(),
                scope: String::new(),
                op: String::new(),
                tensor: parameter.name.clone(),
                index,
                value,
            }));
        }
    }
    Ok(None)
}
