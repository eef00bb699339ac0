//! What the models made of a text at their evaluations.

use super::html::escape;
use crate::draw::axes::tick_text;
use crate::observe::record::Sample;
use crate::report::comparison::Comparison;

/// The most texts of a run on a page, spread evenly over its training.
const MOST: usize = 24;

/// The section about texts; empty if no run has any.
pub fn samples(comparison: &Comparison) -> String {
    let spoken = comparison.runs.iter().zip(&comparison.names).filter(|(run, _)| !run.samples.is_empty());
    let runs: String = spoken.map(|(run, name)| of_run(name, &run.samples)).collect();
    if runs.is_empty() {
        return runs;
    }
    format!(
        "<section id=\"texts\" aria-labelledby=\"texts-title\">\n<h2 id=\"texts-title\">Texts</h2>\n\
         <p>What each run made of its <code>observe.sample_prompt</code> at evaluations. The prompt is bold; what follows \
         depends only on weights, seed and step.</p>\n{runs}</section>\n"
    )
}

/// The last text of a run, and the earlier ones to open.
fn of_run(name: &str, samples: &[Sample]) -> String {
    let Some((last, earlier)) = samples.split_last() else { return String::new() };
    let every = earlier.len().div_ceil(MOST).max(1);
    let earlier: String = earlier.iter().step_by(every).map(of_step).collect();
    let earlier = match earlier.as_str() {
        "" => String::new(),
        all => format!("<details><summary>Earlier texts</summary>\n{all}</details>\n"),
    };
    format!("<h3>{}</h3>\n{}{earlier}", escape(name), of_step(last))
}

fn of_step(sample: &Sample) -> String {
    format!(
        "<figure class=\"text\"><figcaption>Step {}</figcaption><pre tabindex=\"0\"><b>{}</b>{}</pre></figure>\n",
        tick_text(sample.step as f64, 1.0),
        escape(&sample.prompt),
        escape(&sample.text)
    )
}
