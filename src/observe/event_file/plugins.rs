//! Messages of TensorBoard's plugins: the layout of its custom scalars, and what its table of runs shows. From layout.proto
//! and the plugin_data.proto and api.proto of hparams, the parts that are needed here.

use std::collections::BTreeMap;

use prost::Message;

use super::message::Value;

/// Charts with several curves each, in categories: a chart's title, and expressions that match the tags of its curves.
pub type Layout = Vec<(String, Vec<(String, Vec<String>)>)>;

/// A setting of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Number(f64),
    Switch(bool),
    Text(String),
}

/// The layout of the custom scalars.
pub fn layout(categories: Layout) -> Value {
    let chart = |(title, tags): (String, Vec<String>)| Chart { title, multiline: Some(Multiline { tags }) };
    let categories = categories
        .into_iter()
        .map(|(title, charts)| Category { title, charts: charts.into_iter().map(chart).collect() });
    let layout = LayoutMessage { categories: categories.collect() };
    Value::tensor("custom_scalars__config__", "custom_scalars", layout.encode_to_vec())
}

/// What the table of runs shows: the settings of this run, and the tags whose newest values stand beside them. `name` is the
/// run's, `began` in seconds since 1970.
pub fn hparams(
    name: &str,
    began: f64,
    settings: Vec<(String, Setting)>,
    metrics: &[(&'static str, &'static str)],
) -> Vec<Value> {
    let infos =
        settings.iter().map(|(name, setting)| Info { name: name.clone(), kind: setting.kind() }).collect();
    let metric = |&(tag, title): &(&str, &str)| Metric {
        name: Some(MetricName { group: String::new(), tag: tag.to_owned() }),
        title: title.to_owned(),
    };
    let experiment = Experiment { infos, metrics: metrics.iter().map(metric).collect() };
    let settings = settings.into_iter().map(|(name, setting)| (name, setting.value())).collect();
    let start = Start { settings, group: name.to_owned(), began };
    let data = |what| PluginData { version: 0, what: Some(what) }.encode_to_vec();
    vec![
        Value::plugin("_hparams_/experiment", "hparams", data(Told::Experiment(experiment))),
        Value::plugin("_hparams_/session_start_info", "hparams", data(Told::Start(start))),
    ]
}

impl Setting {
    /// `DATA_TYPE_STRING`, `DATA_TYPE_BOOL`, `DATA_TYPE_FLOAT64`.
    fn kind(&self) -> i32 {
        match self {
            Self::Text(_) => 1,
            Self::Switch(_) => 2,
            Self::Number(_) => 3,
        }
    }

    fn value(self) -> JsonValue {
        JsonValue {
            kind: Some(match self {
                Self::Number(number) => JsonKind::Number(number),
                Self::Text(text) => JsonKind::Text(text),
                Self::Switch(switch) => JsonKind::Switch(switch),
            }),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct LayoutMessage {
    #[prost(message, repeated, tag = "2")]
    categories: Vec<Category>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Category {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, repeated, tag = "2")]
    charts: Vec<Chart>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Chart {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, optional, tag = "2")]
    multiline: Option<Multiline>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Multiline {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PluginData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(oneof = "Told", tags = "2, 3")]
    what: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(message, tag = "2")]
    Experiment(Experiment),
    #[prost(message, tag = "3")]
    Start(Start),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Experiment {
    #[prost(message, repeated, tag = "4")]
    infos: Vec<Info>,
    #[prost(message, repeated, tag = "5")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "4")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, optional, tag = "1")]
    name: Option<MetricName>,
    #[prost(string, tag = "3")]
    title: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricName {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    tag: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Start {
    #[prost(btree_map = "string, message", tag = "1")]
    settings: BTreeMap<String, JsonValue>,
    #[prost(string, tag = "4")]
    group: String,
    #[prost(double, tag = "5")]
    began: f64,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
struct JsonValue {
    #[prost(oneof = "JsonKind", tags = "2, 3, 4")]
    kind: Option<JsonKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum JsonKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Switch(bool),
}
