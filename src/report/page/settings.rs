//! How the runs were configured and what they ran on, without private details of the machine.

use serde_json::Value;

use super::html::{escape, table};
use crate::draw::axes::tick_text;
use crate::observe::quantities::TOKENS;
use crate::report::comparison::{Comparison, Group};
use crate::report::run::RunData;
use crate::report::table::Table;

/// The keys in which the configurations differ, side by side, and each complete configuration.
pub fn configurations(comparison: &Comparison) -> String {
    let measured = |group: &&Group| !comparison.runs[group.runs[0]].settings.is_empty();
    let groups: Vec<_> = comparison.groups.iter().filter(measured).collect();
    let settings: Vec<Vec<(String, String)>> =
        groups.iter().map(|group| flat(&comparison.runs[group.runs[0]].settings)).collect();
    if groups.is_empty() {
        return "<p>No run here has a configuration.</p>".to_owned();
    }
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in settings.iter().flatten() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let value = |own: &[(String, String)], key: &str| {
        own.iter().find(|(of, _)| of == key).map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let differs = |key: &&String| {
        key.as_str() != "train.seed" && settings.iter().any(|own| value(own, key) != value(&settings[0], key))
    };
    keys.retain(differs);
    let mut out = String::new();
    if !keys.is_empty() {
        let header = std::iter::once("configuration".to_owned()).chain(keys.iter().map(|&key| key.clone()));
        let row = |(group, own): (&&Group, &Vec<(String, String)>)| -> Vec<String> {
            std::iter::once(group.name.clone()).chain(keys.iter().map(|key| value(own, key))).collect()
        };
        let rows = groups.iter().zip(&settings).map(row).collect();
        out.push_str("<h3>Where they differ</h3>\n");
        out.push_str(&table(&Table { header: header.collect(), rows, notes: Vec::new() }, &[]));
    }
    for (group, own) in groups.iter().zip(&settings) {
        let seeds: Vec<String> =
            comparison.of(group).filter_map(|run| run.seed).map(|seed| seed.to_string()).collect();
        let lines: String = own
            .iter()
            .filter(|(key, _)| key != "train.seed")
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        out.push_str(&format!(
            "<details><summary>{}: every key</summary><pre tabindex=\"0\">{}train.seed = {}\n</pre></details>\n",
            escape(&group.name),
            escape(&lines),
            escape(&seeds.join(", "))
        ));
    }
    out
}

/// The system and device that each run used.
pub fn environment(comparison: &Comparison) -> String {
    let header = ["run", "steps", "tokens", "normfree", "system", "adapter", "driver", "command"];
    let row = |(run, name): (&RunData, &String)| {
        let text = |path: &[&str]| {
            let value = path.iter().try_fold(&run.environment, |value, key| value.get(key));
            value.and_then(Value::as_str).map_or_else(|| "–".to_owned(), publishable)
        };
        let command = run.environment.get("command").and_then(Value::as_array).map(|words| {
            let words: Vec<String> = words.iter().filter_map(Value::as_str).map(publishable).collect();
            words.join(" ")
        });
        vec![
            name.clone(),
            tick_text(run.steps_done() as f64, 1.0),
            run.log.numbers(&TOKENS).last().map_or_else(|| "–".to_owned(), |step| tick_text(step.1, 1.0)),
            text(&["version"]),
            text(&["system"]),
            text(&["adapter", "name"]),
            text(&["adapter", "driver"]),
            command.unwrap_or_else(|| "–".to_owned()),
        ]
    };
    let measured = comparison.runs.iter().zip(&comparison.names).filter(|(run, _)| run.published.is_none());
    let made = Table {
        header: header.map(String::from).into(),
        rows: measured.map(row).collect(),
        notes: vec!["Of absolute paths only the last part is shown.".to_owned()],
    };
    table(&made, &[])
}

/// Every key of a configuration under its dotted name.
fn flat(settings: &toml::Table) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (section, value) in settings {
        match value.as_table() {
            Some(table) => {
                out.extend(table.iter().map(|(key, value)| (format!("{section}.{key}"), shown(value))));
            }
            None => out.push((section.clone(), shown(value))),
        }
    }
    out
}

fn shown(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), publishable)
}

/// A word without the machine's folders: an absolute path keeps only its last part, also after `key=`.
pub fn publishable(word: &str) -> String {
    if let Some((key, value)) = word.split_once('=') {
        return format!("{key}={}", publishable(value));
    }
    let drive = word.get(1..3).is_some_and(|after| after == ":\\" || after == ":/");
    if !(word.starts_with(['/', '~', '\\']) || drive) {
        return word.to_owned();
    }
    let last = word.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    format!("…/{last}")
}

#[cfg(test)]
mod tests {
    use super::publishable;

    #[test]
    fn folders_of_the_machine_are_not_revealed() {
        for (word, shown) in [
            ("/home/ada/data/code", "…/code"),
            ("data.path=/home/ada/my data/", "data.path=…/my data"),
            ("~/x/normfree", "…/normfree"),
            ("C:\\Users\\ada\\runs", "…/runs"),
            ("configs/small/sm_r.toml", "configs/small/sm_r.toml"),
            ("train.learning_rate=1e-3", "train.learning_rate=1e-3"),
            ("é:", "é:"),
        ] {
            assert_eq!(publishable(word), shown);
        }
    }
}
