//! The log of a run: written records are read back, cut ones are left out, damaged ones are named.

use normfree::fault::Kind;
use normfree::observe::quantities::*;
use normfree::observe::record::{Eval, Measured, Record, Values};
use normfree::report::run::RunData;

use super::folder;

const LINE: &str = "{\"kind\":\"eval\",\"step\":1,\"loss\":2,\"ppl\":7.4}\n";

#[test]
fn records_keep_every_float() {
    let measured = |kind, values| Record::Measured { kind, step: 3, values };
    let records = [
        measured(
            &STEP,
            Measured::from([
                (&LOSS, Values::Step(0.1 + 0.2)),
                (&ENTROPY_PENALTY, Values::Step(f64::INFINITY)),
                (&LEARNING_RATE, Values::Step(1e-7)),
                (&GRAD_NORM, Values::Step(f64::INFINITY)),
                (&TOKENS, Values::Step(9.0)),
                (&TOKENS_PER_S, Values::Step(5e3)),
                (&LOSS_SCALE, Values::Step(65536.0)),
                (&OVERFLOW, Values::Step(1.0)),
            ]),
        ),
        measured(
            &ATTENTION,
            Measured::from([
                (&HEAD_ENTROPY, Values::Heads(vec![vec![0.1, f32::NEG_INFINITY], vec![1.0, 3.4028235e38]])),
                (&LAYER_ENTROPY, Values::Layers(vec![f32::MIN_POSITIVE, 2.5])),
                (&NONFINITE_ATTENTION, Values::Counts(vec![0, 7])),
            ]),
        ),
        measured(&ACTIVATION_SLOPES, Measured::from([(&SLOPES, Values::Layers(vec![0.01, -0.0]))])),
        Eval { step: 3, loss: 12.0, ppl: f64::NEG_INFINITY }.record(),
    ];
    for record in &records {
        let line = serde_json::to_string(record).unwrap();
        assert_eq!(&serde_json::from_str::<Record>(&line).unwrap(), record, "{line}");
        let kind = serde_json::from_str::<serde_json::Value>(&line).unwrap()["kind"].clone();
        assert!(Record::knows(kind.as_str().unwrap()));
    }
    let line = serde_json::to_string(&records[0]).unwrap();
    assert_eq!(
        line,
        r#"{"kind":"step","step":3,"loss":0.30000000000000004,"entropy_penalty":"inf","lr":1e-7,"grad_norm":"inf","tokens":9,"tokens_per_s":5000.0,"loss_scale":65536.0,"overflow":true}"#
    );
    let line = serde_json::to_string(&records[1]).unwrap();
    assert!(line.contains("[0.1,\"-inf\"]"), "f32 is not written short: {line}");
    let nan = Eval { step: 1, loss: f64::NAN, ppl: f64::NAN }.record();
    let line = serde_json::to_string(&nan).unwrap();
    assert_eq!(line, r#"{"kind":"eval","step":1,"loss":"nan","ppl":"nan"}"#);
    let Record::Measured { values, .. } = serde_json::from_str(&line).unwrap() else { panic!("not an eval") };
    assert!(values.number(&EVAL_LOSS).unwrap().is_nan());
    assert!(serde_json::from_str::<Record>(r#"{"kind":"eval","step":1,"loss":"NaN?","ppl":1}"#).is_err());
}

#[test]
fn a_cut_last_line_is_left_out_and_a_broken_one_is_named() {
    let whole = LINE.replace("\"step\":1", "\"step\":2");
    for cut in 1..whole.len() - 2 {
        let dir = folder("", [LINE, &whole[..cut]].concat().as_bytes());
        assert_eq!(RunData::load(dir.path()).unwrap().log.steps(&EVAL).len(), 1, "cut after {cut} bytes");
    }
    // Complete except for its line end: nothing is lost.
    let dir = folder("", [LINE, whole.trim_end()].concat().as_bytes());
    assert_eq!(RunData::load(dir.path()).unwrap().log.steps(&EVAL).len(), 2);
    // A kind of a later version, an empty line, a step that a resumed run wrote again.
    let later = "{\"kind\":\"sparsity\",\"share\":[0.5]}\n\n";
    let dir = folder("", [LINE, later, &whole, LINE].concat().as_bytes());
    assert_eq!(RunData::load(dir.path()).unwrap().log.steps(&EVAL), [1]);

    for broken in ["{\"kind\":\"eval\",\"step\":2,\"lo\n", "{\"kind\":\"eval\",\"step\":2}\n", "\u{0}\u{0}\n"]
    {
        for tail in ["", LINE] {
            let dir = folder("", [LINE, LINE, broken, tail].concat().as_bytes());
            let fault = RunData::load(dir.path()).unwrap_err();
            assert_eq!(fault.kind, Kind::RunFolder);
            let text = fault.to_string();
            assert!(text.contains("metrics.jsonl, line 3, column "), "{text}");
            assert!(!text.contains("at line 1"), "{text}");
        }
    }
    let dir = folder("[model]\nnorm = \"none\n", LINE.as_bytes());
    let fault = RunData::load(dir.path()).unwrap_err();
    assert_eq!(fault.kind, Kind::Config);
    assert!(fault.to_string().contains("config.toml, line 2"), "{fault}");

    let empty = tempfile::tempdir().unwrap();
    for missing in [empty.path().to_path_buf(), empty.path().join("nothing")] {
        assert_eq!(RunData::load(&missing).unwrap_err().kind, Kind::RunFolder);
    }
}

#[test]
fn a_list_that_is_not_of_every_layer_or_head_is_named() {
    let attention = |step, heads: &str, layers: &str, counts: &str| {
        format!(
            "{{\"kind\":\"attention\",\"step\":{step},\"head_entropy\":{heads},\"layer_entropy\":{layers},\
             \"nonfinite\":{counts}}}\n"
        )
    };
    let whole = attention(0, "[[1,2],[3,4]]", "[1.5,3.5]", "[0,0]");
    let layers = "{\"kind\":\"layers\",\"step\":1,\"grad_norm\":[1,1],\"zeros\":[],\"dead\":[],\
                  \"residual_max\":[1,1],\"residual_median\":[1,1]}\n";
    let sizes = "[model]\nn_layer = 2\nn_head = 2\n";
    // A fused network has no shares of zeros.
    let run = RunData::load(folder(sizes, [&whole, layers].concat().as_bytes()).path()).unwrap();
    assert_eq!((run.log.steps(&ATTENTION).len(), run.log.steps(&LAYERS).len()), (1, 1));
    let cases = [
        (attention(1, "[[1,2],[3,4]]", "[1.5]", "[0,0]"), "layer_entropy for 1 of 2 layers"),
        (attention(1, "[[1,2],[3,4]]", "[1.5,3.5]", "[0]"), "nonfinite for 1 of 2 layers"),
        (attention(1, "[[1,2]]", "[1.5]", "[0]"), "head_entropy for 1 of 2 layers"),
        (attention(1, "[[1,2],[34]]", "[1.5,3.5]", "[0,0]"), "head_entropy for 1 of 2 heads in layer 1"),
        (layers.replace("\"dead\":[]", "\"dead\":[0]"), "dead for 1 of 2 layers"),
        (layers.replace("max\":[1,1]", "max\":[11]"), "residual_max for 1 of 2 layers"),
    ];
    for (damaged, found) in &cases {
        // The configuration decides; without one, the first record.
        for (config, log, line) in [(sizes, [damaged, ""], 1), ("", [&whole, damaged], 2)] {
            let fault = RunData::load(folder(config, log.concat().as_bytes()).path()).unwrap_err();
            assert_eq!(fault.kind, Kind::RunFolder);
            let text = fault.to_string();
            assert!(
                text.contains(&format!("metrics.jsonl, line {line}: ")) && text.contains(found),
                "{text}"
            );
        }
    }
}
