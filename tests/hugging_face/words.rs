//! The Python files know every word and key that the tables have: a new mechanism cannot be forgotten there.

use normfree::config::{
    Activation, AttentionGate, Bias, EntropyPenalty, Family, FeedForward, Norm, NormFunction, NormPosition,
    QkNorm, Residual, SlopeScope, keys_of,
};
use normfree::hub::CODE;
use normfree::words::Word;
use std::collections::BTreeSet;

/// The text of a dictionary `NAME = {…}` of one of the files.
fn dictionary(name: &str) -> &'static str {
    let start = format!("\n{name} = {{\n");
    let found: Vec<&str> =
        CODE.iter().filter_map(|(_, text)| text.split_once(&start)).map(|(_, rest)| rest).collect();
    let [rest] = found[..] else { panic!("{name} stands in {} files", found.len()) };
    rest.split_once("\n}\n").expect("a dictionary ends").0
}

/// The keys of a dictionary, which stand first on their lines.
fn keys(name: &str) -> BTreeSet<String> {
    let key = |line: &'static str| Some(line.strip_prefix("    \"")?.split_once("\":")?.0.to_owned());
    dictionary(name).lines().filter_map(key).collect()
}

fn words(words: &[Word]) -> BTreeSet<String> {
    words.iter().map(|word| word.word.to_owned()).collect()
}

#[test]
fn every_word_of_a_table_has_its_function() {
    assert_eq!(keys("NORMS"), words(Norm::WORDS));
    assert_eq!(keys("FUNCTIONS"), words(NormFunction::WORDS));
    assert_eq!(keys("ACTIVATIONS"), words(Activation::WORDS));
    assert_eq!(keys("NETWORKS"), words(FeedForward::WORDS));
    assert_eq!(keys("JOINS"), words(Residual::WORDS));
    assert_eq!(keys("NAMES"), words(Family::WORDS));
}

#[test]
fn every_word_of_a_choice_is_known() {
    let choices = [
        ("family", words(Family::WORDS)),
        ("slope_scope", words(SlopeScope::WORDS)),
        ("bias", words(Bias::WORDS)),
        ("entropy_penalty", words(EntropyPenalty::WORDS)),
        ("attention_gate", words(AttentionGate::WORDS)),
        ("qk_norm", words(QkNorm::WORDS)),
        ("norm_position", words(NormPosition::WORDS)),
        // The exporter writes matrices as what σReparam makes of them.
        ("weight_norm", BTreeSet::from(["none".to_owned()])),
    ];
    assert_eq!(keys("CHOICES").len(), choices.len());
    for (key, wanted) in choices {
        let start = format!("    \"{key}\": (");
        let line =
            dictionary("CHOICES").lines().find_map(|line| line.strip_prefix(&start)).expect("its line");
        let found: BTreeSet<String> = line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(found, wanted, "{key}");
    }
}

#[test]
fn every_key_of_the_model_is_known() {
    let wanted: BTreeSet<String> = keys_of("model").map(str::to_owned).collect();
    assert_eq!(keys("KEYS"), wanted);
}

/// What norms and activations learn has the same names in Python.
#[test]
fn learned_tensors_have_their_names() {
    let text = CODE.iter().map(|(_, text)| *text).collect::<String>();
    for norm in Norm::all() {
        for learned in norm.parameters {
            assert!(text.contains(&format!("\"{}\"", learned.name)), "{norm}: {}", learned.name);
        }
    }
    let own = Activation::all().filter(|activation| activation.own.is_some());
    assert_eq!(keys("OWN"), own.map(|activation| activation.word.to_owned()).collect());
    let learns: Vec<&str> = Activation::all()
        .filter(|activation| activation.learns())
        .map(|activation| activation.word)
        .collect();
    let line = text.lines().find_map(|line| line.strip_prefix("LEARNS_P = (")).expect("its line");
    assert_eq!(line.split('"').skip(1).step_by(2).collect::<Vec<_>>(), learns);
}
