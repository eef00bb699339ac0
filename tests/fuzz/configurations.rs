//! Configurations: files and `--set`.

use crate::runner::{corpus, run};
use normfree::config::Config;
use normfree::fault::Kind;

#[test]
fn configurations() {
    run("configurations", &corpus("config"), |input| {
        let text = String::from_utf8_lossy(input);
        // Lines of the file also serve as arguments of --set.
        let sets: Vec<String> = text.lines().filter(|line| line.contains('=')).map(str::to_owned).collect();
        for overrides in [&[][..], &sets[..sets.len().min(1)]] {
            match Config::parse(&text, "a file", overrides) {
                Err(fault) if fault.kind != Kind::Config => return Err(format!("{:?}: {fault}", fault.kind)),
                Err(_) => {}
                Ok(config) => {
                    config.validate().map_err(|fault| format!("what was parsed is not valid: {fault}"))?;
                    let again = Config::parse(&config.to_toml(), "itself", &[]);
                    if again.as_ref() != Ok(&config) {
                        return Err(format!("it does not come back: {again:?}"));
                    }
                }
            }
        }
        Ok(())
    });
}
