//! Files with documents, in every form that `prepare` reads.

use crate::runner::{corpus, run};
use normfree::data::{PrepareOptions, prepare};
use normfree::fault::Kind;
use std::fs;

#[test]
fn documents() {
    let folder = tempfile::tempdir().unwrap();
    // A damaged file keeps its bytes' form, not its name: each input is tried as text without a name's help, and as a table.
    let inputs = corpus("documents");
    run("documents", &inputs, |input| {
        for name in ["input", "input.csv", "input.json", "input.jsonl"] {
            let source = folder.path().join(name);
            fs::write(&source, input).unwrap();
            let mut options =
                PrepareOptions::new(vec![source.display().to_string()], folder.path().join("out"));
            (options.vocab_size, options.chunk, options.replace) = (260, 4, true);
            if let Err(fault) = prepare(&options, &mut |_| {})
                && !matches!(fault.kind, Kind::Data | Kind::Memory)
            {
                return Err(format!("{name}: {:?}: {fault}", fault.kind));
            }
        }
        Ok(())
    });
}
