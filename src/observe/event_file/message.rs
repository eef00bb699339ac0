//! The messages of an event file: the parts of TensorFlow's event.proto, summary.proto and tensor.proto that are needed
//! here, with their field numbers.

/// An event with its time.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum What {
    /// The first event of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(SessionLog),
}

impl What {
    /// A session begins.
    pub fn start() -> Self {
        Self::Session(SessionLog { status: SessionLog::START })
    }

    pub fn summary(values: Vec<Value>) -> Self {
        Self::Summary(Summary { values })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl SessionLog {
    const START: i32 = 1;
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// One value to show, under its tag; slashes in a tag make groups.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
    #[prost(oneof = "Shown", tags = "2, 4, 8")]
    shown: Option<Shown>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Shown {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// Channels: 3 for red, green, blue.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// An image file; PNG here.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    strings: Vec<Vec<u8>>,
}

/// `DT_STRING`.
const STRING: i32 = 7;

/// A shape without dimensions: a single element.
#[derive(Clone, PartialEq, prost::Message)]
struct Shape {}

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
}

/// Which part of TensorBoard shows a tensor.
#[derive(Clone, PartialEq, prost::Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
    /// A message of its own.
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

impl Value {
    /// Any number, including NaN and the infinities.
    pub fn scalar(tag: impl Into<String>, number: f32) -> Self {
        Self { tag: tag.into(), metadata: None, shown: Some(Shown::Scalar(number)) }
    }

    /// An image, `width` by `height` pixels, as a PNG of three channels.
    pub fn png(tag: impl Into<String>, (width, height): (u32, u32), png: Vec<u8>) -> Self {
        let (width, height) = (width.cast_signed(), height.cast_signed());
        let image = Image { height, width, colorspace: 3, encoded: png };
        Self { tag: tag.into(), metadata: None, shown: Some(Shown::Image(image)) }
    }

    /// Text; TensorBoard renders it as Markdown.
    pub fn text(tag: impl Into<String>, text: &str) -> Self {
        Self::tensor(tag, "text", text.as_bytes().to_vec())
    }

    /// A tensor of one string for a plugin.
    pub fn tensor(tag: impl Into<String>, plugin: &str, string: Vec<u8>) -> Self {
        let tensor = Tensor { dtype: STRING, shape: Some(Shape {}), strings: vec![string] };
        Self { shown: Some(Shown::Tensor(tensor)), ..Self::plugin(tag, plugin, Vec::new()) }
    }

    /// A message for a plugin, without a value.
    pub fn plugin(tag: impl Into<String>, plugin: &str, content: Vec<u8>) -> Self {
        let plugin = Plugin { name: plugin.to_owned(), content };
        Self { tag: tag.into(), metadata: Some(Metadata { plugin: Some(plugin) }), shown: None }
    }
}
