//! The value that a run has for a quantity of a claim, at its end or at its best checkpoint.

use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::causal_ceiling;
use crate::observe::quantities::{EVAL_LOSS, HEAD_ENTROPY, Quantity as Measured, SINK_MASS, TOKENS_PER_S};
use crate::report::run::RunData;
use crate::study::Quantity;

/// When a run is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// After its last step.
    End,
    /// At the evaluation with the lowest held-out loss.
    Best,
}

impl Reading {
    pub const BOTH: [Self; 2] = [Self::End, Self::Best];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Best => "best checkpoint",
        }
    }
}

/// A head this close to the ceiling is at it.
const AT_CEILING: f64 = 0.95;
/// An overloaded head has at least this share of the ceiling.
const OVERLOADED: f64 = 0.75;
/// The first part of a run's speeds, which hold compilation and warm-up.
const SETTLING: usize = 10;

/// The value of `quantity` in a run that did not diverge.
///
/// # Errors
/// `RunFolder` if its log lacks what the quantity is made of.
pub fn value(run: &RunData, quantity: Quantity, reading: Reading) -> Result<f64> {
    let lacks = |what: &str| {
        Fault::new(Kind::RunFolder, format!("the run has no {what}, which the claim compares"))
            .at(run.dir.display())
            .remedy("train it again with the study of the claim")
    };
    let evaluations = run.log.numbers(&EVAL_LOSS);
    let mut finite = evaluations.iter().filter(|eval| eval.1.is_finite());
    let chosen = match reading {
        Reading::End => finite.next_back(),
        Reading::Best => finite.min_by(|a, b| a.1.total_cmp(&b.1)),
    };
    let &(step, loss) = chosen.ok_or_else(|| lacks("evaluation"))?;
    let heads = |quantity: &'static Measured| {
        let records = run.log.heads(quantity);
        // The newest record that is not later; the first, if the best evaluation is before all of them.
        let at = records.iter().rev().find(|record| record.0 <= step).or(records.first());
        let grid = &at.ok_or_else(|| lacks(quantity.name))?.1;
        Ok::<_, Fault>(grid.iter().flatten().map(|&of| f64::from(of)).collect::<Vec<_>>())
    };
    let mean = |heads: Vec<f64>| heads.iter().sum::<f64>() / heads.len() as f64;
    let ceiling = || Ok::<_, Fault>(causal_ceiling(run.context.ok_or_else(|| lacks("context length"))?));
    let share = |above: f64| {
        let (heads, ceiling) = (heads(&HEAD_ENTROPY)?, ceiling()?);
        Ok(heads.iter().filter(|&&entropy| entropy >= above * ceiling).count() as f64 / heads.len() as f64)
    };
    match quantity {
        Quantity::Loss => Ok(loss),
        Quantity::Overload => share(OVERLOADED),
        Quantity::AtCeiling => share(AT_CEILING),
        Quantity::Entropy => Ok(mean(heads(&HEAD_ENTROPY)?) / ceiling()?),
        Quantity::Sink => Ok(mean(heads(&SINK_MASS)?)),
        Quantity::Speed => {
            let mut speeds: Vec<f64> =
                run.log.numbers(&TOKENS_PER_S).iter().skip(SETTLING).map(|record| record.1).collect();
            speeds.sort_by(f64::total_cmp);
            let middle = speeds.get(speeds.len() / 2).ok_or_else(|| lacks("speed"))?;
            Ok(middle.ln())
        }
        Quantity::Trained => Ok(1.0),
    }
}
