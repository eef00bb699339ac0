//! The range of values that an axis has to show, so that runs that learn stay readable beside runs that do not.

use super::run::RunData;

/// Losses above this many times the lowest initial loss are beyond the frame: spikes, and runs that get worse.
const FAR: f64 = 1.5;
/// A settled loss axis ignores this first fraction of the steps, where the loss falls from ln V.
const TRANSIENT: f64 = 0.1;
/// Values are clamped to this magnitude, so that a range can be computed with.
const HUGE: f64 = 1e30;

/// The smallest and the largest value.
pub type Reach = (f64, f64);

/// One run's values over the steps done.
#[derive(Clone, Debug, Default)]
pub struct Track {
    pub points: Vec<(f64, f64)>,
    /// The step at which the run diverged.
    pub diverged: Option<u64>,
}

impl Track {
    /// Finite values of a run that still learns.
    fn learnt(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|&(step, value)| {
            value.is_finite() && RunData::learns_at(self.diverged, step.clamp(0.0, 1e18) as u64)
        })
    }
}

/// The values of the tracks while they learn; if there are none, all finite values.
pub fn of_values(tracks: &[Track]) -> Option<Reach> {
    let learnt = join(tracks.iter().flat_map(Track::learnt).map(|point| point.1));
    let finite = || tracks.iter().flat_map(|track| &track.points).map(|point| point.1);
    learnt.or_else(|| join(finite()))
}

/// The range of losses, in nats, that are within reach of the runs' initial losses. With `settled`, the top is the largest
/// loss after the steep first part.
pub fn of_losses(tracks: &[Track], settled: bool) -> Option<Reach> {
    let far = far(tracks);
    // A cross-entropy is not negative.
    let near = |point: &(f64, f64)| (0.0..=far).contains(&point.1);
    let last = tracks.iter().flat_map(|track| &track.points).map(|point| point.0).fold(0.0, f64::max);
    let all = || tracks.iter().flat_map(Track::learnt).filter(near);
    let (low, high) = match join(all().map(|point| point.1)) {
        Some(reach) => reach,
        None => return of_values(tracks),
    };
    let behind = join(all().filter(|point| settled && point.0 >= last * TRANSIENT).map(|point| point.1));
    Some((low, behind.map_or(high, |reach| reach.1)))
}

/// The loss above which values are out of reach of the runs' initial losses.
pub fn far(tracks: &[Track]) -> f64 {
    let begins = |track: &Track| track.points.iter().map(|point| point.1).find(|loss| loss.is_finite());
    let least = tracks.iter().filter_map(begins).fold(f64::INFINITY, f64::min);
    (least * FAR).max(least + 1.0)
}

/// The smallest and the largest of the finite values.
fn join(values: impl Iterator<Item = f64>) -> Option<Reach> {
    let finite = values.filter(|value| value.is_finite()).map(|value| value.clamp(-HUGE, HUGE));
    finite.fold(None, |reach, value| {
        let (low, high) = reach.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(losses: &[f64], diverged: Option<u64>) -> Track {
        Track { points: losses.iter().zip(1..).map(|(&y, x)| (f64::from(x), y)).collect(), diverged }
    }

    #[test]
    fn diverged_runs_and_spikes_do_not_stretch_the_range() {
        let falls = track(&[6.0, 5.0, 4.5, 4.2], None);
        let (spike, lost) =
            (track(&[6.0, 1e5, 5.5, 5.2], None), track(&[6.0, 12e3, 12e3, f64::NAN], Some(2)));
        let all = [falls, spike.clone(), lost.clone()];
        assert_eq!(of_losses(&all, true), Some((4.2, 6.0)));
        assert_eq!(of_values(&all), Some((4.2, 1e5)));
        assert_eq!(of_losses(&[spike], false), Some((5.2, 6.0)));
        // A diverged run alone shows the values while it learned; without any, its finite values.
        assert_eq!(of_losses(std::slice::from_ref(&lost), true), Some((6.0, 6.0)));
        assert_eq!(of_losses(&[track(&[1e300, -1e300], Some(1))], true), Some((-1e30, 1e30)));
        assert_eq!(of_losses(&[track(&[f64::NAN], Some(1))], true), None);
        assert_eq!(of_losses(&[], true), None);
    }
}
