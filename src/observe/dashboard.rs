//! What TensorBoard shows besides the scalars of a run: charts with several curves, and the run's row in the table of runs.

use super::event_file::{Layout, Setting, Value, hparams, layout};
use super::quantities::{ALL, EVAL_LOSS, EVAL_PPL, Extent, LOSS, Quantity};

/// The charts and the row of a run with `layers` layers. `settings` is its configuration, `began` the time in seconds since
/// 1970.
pub fn dashboard(name: &str, layers: usize, settings: &toml::Table, began: f64) -> Vec<Value> {
    let metrics: Vec<(&'static str, &'static str)> =
        [(&EVAL_LOSS, "held-out loss"), (&EVAL_PPL, "held-out perplexity"), (&LOSS, "training loss")]
            .into_iter()
            .filter_map(|(quantity, title): (&'static Quantity, _)| Some((quantity.tag?, title)))
            .collect();
    let mut values = vec![layout(charts(layers))];
    values.extend(hparams(name, began, flat(settings), &metrics));
    values
}

/// The loss first, training and held-out in one chart; then every quantity of layers; then each layer's heads in one chart.
fn charts(layers: usize) -> Layout {
    let exact = |quantity: &'static Quantity| Some(format!("^{}$", quantity.tag?));
    let loss = [&LOSS, &EVAL_LOSS].into_iter().filter_map(exact).collect();
    let of = |extent: Extent| ALL.iter().filter(move |row| row.extent == extent).filter_map(|row| row.tag);
    let each = of(Extent::Layer).map(|tag| (title(tag), vec![format!("^{tag}/[0-9]+$")])).collect();
    let mut categories = vec![
        ("Loss".to_owned(), vec![("training and held-out".to_owned(), loss)]),
        ("Layers".to_owned(), each),
    ];
    for tag in of(Extent::Head) {
        let chart = |layer: usize| (format!("layer {layer}"), vec![format!("^{tag}/{layer:02}\\.[0-9]+$")]);
        categories.push((format!("Heads: {}", title(tag)), (0..layers).map(chart).collect()));
    }
    categories
}

/// A tag as a title.
fn title(tag: &str) -> String {
    tag.replace(['_', '/'], " ")
}

/// Every key under its dotted name.
fn flat(settings: &toml::Table) -> Vec<(String, Setting)> {
    let mut out = Vec::new();
    for (table, keys) in settings {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let setting = match value {
                toml::Value::Integer(number) => Setting::Number(*number as f64),
                toml::Value::Float(number) => Setting::Number(*number),
                toml::Value::Boolean(switch) => Setting::Switch(*switch),
                toml::Value::String(text) => Setting::Text(text.clone()),
                other => Setting::Text(other.to_string()),
            };
            out.push((format!("{table}.{key}"), setting));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_of_a_layer_or_head_is_in_one_chart() {
        let categories = charts(2);
        assert_eq!(categories[0].1[0].1, ["^Loss/train$", "^Loss/held_out$"]);
        let expressions: Vec<&String> =
            categories.iter().flat_map(|(_, charts)| charts).flat_map(|(_, tags)| tags).collect();
        assert!(expressions.contains(&&"^head_entropy/01\\.[0-9]+$".to_owned()));
        assert!(expressions.contains(&&"^layer_entropy/[0-9]+$".to_owned()));
        let mut once = expressions.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), expressions.len());
    }

    /// TensorBoard sorts tags by their characters, so the only group with a capital letter stands first among the scalars.
    #[test]
    fn losses_are_the_first_scalars() {
        let tags: Vec<&str> = ALL.iter().filter_map(|row| row.tag).collect();
        let (losses, others): (Vec<&str>, Vec<&str>) = tags.iter().partition(|tag| tag.starts_with("Loss/"));
        assert_eq!(losses, ["Loss/train", "Loss/held_out", "Loss/perplexity"]);
        assert!(others.iter().all(|tag| tag.starts_with(|c: char| c.is_ascii_lowercase())), "{others:?}");
    }

    #[test]
    fn settings_keep_their_kinds() {
        let table =
            "[train]\nsteps = 3\nlearning_rate = 0.5\n[model]\ntied = true\nnorm = \"none\"\nlayers = [1, 2]"
                .parse()
                .unwrap();
        let found = flat(&table);
        assert!(found.contains(&("train.steps".to_owned(), Setting::Number(3.0))));
        assert!(found.contains(&("model.tied".to_owned(), Setting::Switch(true))));
        assert!(found.contains(&("model.norm".to_owned(), Setting::Text("none".to_owned()))));
        assert!(found.contains(&("model.layers".to_owned(), Setting::Text("[1, 2]".to_owned()))));
    }
}
