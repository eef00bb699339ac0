//! The live view's curves.

use super::board::Board;
use super::colours::{Depth, in_colour};
use super::tabs::quiet;
use crate::draw::axes::tick_text;
use crate::draw::colormap::OKABE_ITO;
use crate::numbers::thousands;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};

/// Smoothed training loss and held-out loss over the steps.
pub(super) fn curves(frame: &mut Frame, area: Rect, board: &Board, depth: Depth) {
    let smooth = board.curve.points();
    let held_out: Vec<(f64, f64)> = board
        .held_out
        .iter()
        .filter(|(_, loss, _)| loss.is_finite())
        .map(|&(step, loss, _)| (step as f64, loss))
        .collect();
    let block = Block::bordered().border_style(quiet()).title(" loss, nats per token ");
    let all = || smooth.iter().chain(&held_out);
    let ends = |of: fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let (from, to) = ends(|point| point.0);
    let (low, high) = ends(|point| point.1);
    if from > to {
        frame.render_widget(block, area);
        return;
    }
    let to = to.max(from + 1.0);
    let margin = ((high - low) * 0.05).max(1e-3);
    let (low, high) = (low - margin, high + margin);
    let middle = (low + high) / 2.0;
    let inner = usize::from(block.inner(area).width);
    // The chart cuts labels that are wider than a third of it. Enough decimals to tell them apart, or none.
    let decimals = ((high - low) / 20.0).max(1e-4);
    let labels = |step: f64| [low, middle, high].map(|value| tick_text(value, step)).to_vec();
    let fits = |labels: &Vec<String>| labels.iter().all(|label| label.chars().count() <= inner / 3);
    let heights = [labels(decimals), labels(1.0)].into_iter().find(fits).unwrap_or_default();
    let left = heights.iter().map(|label| label.chars().count()).max().unwrap_or(0) + 1;
    let x = Axis::default()
        .style(quiet())
        .bounds([from, to])
        .labels(steps((from, to), inner.saturating_sub(left)))
        .labels_alignment(Alignment::Right);
    let y = Axis::default().style(quiet()).bounds([low, high]).labels(heights);
    let mut sets = vec![
        Dataset::default()
            .name("training, smoothed")
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(in_colour(depth, OKABE_ITO[4]))
            .data(smooth),
    ];
    if !held_out.is_empty() {
        sets.push(
            Dataset::default()
                .name("● held out")
                .marker(Marker::Custom('●'))
                .graph_type(GraphType::Scatter)
                .style(in_colour(depth, OKABE_ITO[5]))
                .data(&held_out),
        );
    }
    // A loss falls, so there is room above its end.
    let room = (Constraint::Percentage(60), Constraint::Percentage(60));
    let chart = Chart::new(sets).block(block).x_axis(x).y_axis(y).hidden_legend_constraints(room);
    frame.render_widget(chart, area);
}

/// The labels of an axis of steps in `room` columns, of which each label has the same share: as many as have room for their
/// numbers, and the last one says what they are if it can.
fn steps((from, to): (f64, f64), room: usize) -> Vec<String> {
    let step = |value: f64| thousands(value.round() as u64);
    let (first, middle, last) = (step(from), step((from + to) / 2.0), step(to));
    let named = format!("step {last}");
    let fit = |labels: &[&str]| {
        let widest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        // A blank stands between two.
        widest < room / labels.len()
    };
    for labels in [&[&first, &middle, &named][..], &[&first, &named], &[&first, &last]] {
        if fit(&labels.iter().map(|label| label.as_str()).collect::<Vec<_>>()) {
            return labels.iter().map(|label| (*label).clone()).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn an_axis_has_the_labels_that_fit() {
        let labels = |to, room| steps((0.0, to), room).join("|");
        assert_eq!(labels(2600.0, 60), "0|1,300|step 2,600");
        assert_eq!(labels(2600.0, 30), "0|step 2,600");
        assert_eq!(labels(2600.0, 15), "0|2,600");
        assert_eq!(labels(2600.0, 9), "");
    }
}
