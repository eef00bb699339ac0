//! Activation functions under the words of `transformers`.

use crate::model::ModelConfig;
use crate::ops::activation::Activation;

/// The slope of a stock leaky ReLU, which no key of `config.json` changes.
const LEAKY_SLOPE: f64 = 0.01;

/// This program's word and the library's; of several for one function, the first is written.
const WORDS: [(&str, &str); 10] = [
    ("gelu", "gelu"),
    ("gelu", "gelu_python"),
    ("gelu_new", "gelu_new"),
    ("gelu_new", "gelu_pytorch_tanh"),
    ("relu", "relu"),
    ("leaky_relu", "leaky_relu"),
    ("silu", "silu"),
    ("silu", "swish"),
    ("relu2", "relu2"),
    ("none", "linear"),
];

/// The library's word for a model's activation; `None` if it has none.
pub(super) fn word_of(model: &ModelConfig) -> Option<&'static str> {
    let own = model.activation_function;
    let fits = own.word != "leaky_relu" || model.leaky_slope == LEAKY_SLOPE;
    WORDS.iter().find(|(word, _)| fits && *word == own.word).map(|(_, theirs)| *theirs)
}

/// The activation with the library's word `theirs`.
pub(super) fn find(theirs: &str) -> Option<Activation> {
    WORDS.iter().find(|(_, word)| *word == theirs).and_then(|(own, _)| Activation::find(own))
}

/// The library's words, for a message.
pub(super) fn words() -> String {
    WORDS.map(|(_, word)| word).join(", ")
}
