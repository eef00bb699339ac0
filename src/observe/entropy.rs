//! Arithmetic of attention entropies: the ceiling of a causal mask, the largest entropy observed, shares of heads by
//! quarters of a reference M.

/// Mean entropy in nats of uniform attention over the visible positions: (1/T) Σ_{i=1..T} ln i, which is ln(T!)/T.
pub fn causal_ceiling(context: usize) -> f64 {
    // By a formula, not a loop: a file may name any length.
    libm::lgamma(context as f64 + 1.0) / context.max(1) as f64
}

/// The largest finite entropy of all grids `[layer][head]`, 0 if there is none.
pub fn observed_max<'a>(grids: impl IntoIterator<Item = &'a [Vec<f64>]>) -> f64 {
    let finite = grids.into_iter().flatten().flatten().copied().filter(|entropy| entropy.is_finite());
    finite.fold(0.0, f64::max)
}

/// Share of the heads of a grid `[layer][head]` in [0, M/4), [M/4, M/2), [M/2, 3M/4) and [3M/4, M], of all heads.
///
/// The last bin also takes values that rounding put above M. A non-finite entropy is in no bin, so the shares then sum to
/// less than 1. With M = 0 every head counts as collapsed.
pub fn bins(entropies: &[Vec<f64>], reference: f64) -> [f64; 4] {
    let mut counts = [0usize; 4];
    let mut heads = 0usize;
    for &entropy in entropies.iter().flatten() {
        heads += 1;
        if entropy.is_finite() {
            let quarter = if reference > 0.0 { entropy / reference * 4.0 } else { 0.0 };
            counts[(quarter.max(0.0) as usize).min(3)] += 1;
        }
    }
    counts.map(|count| count as f64 / heads.max(1) as f64)
}
