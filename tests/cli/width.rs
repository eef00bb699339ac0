//! The width at which Mesa's software driver computes is measured once and kept, and never overrides the user's own setting.

use super::Place;
use serde_json::Value;
use std::fs;

#[test]
fn the_width_of_lanes_is_measured_once_and_kept() {
    let place = Place::new().on_driver();
    let devices = |width: Option<&str>| {
        let mut command = place.command(&["devices", "--json"]);
        match width {
            Some(width) => command.env("LP_NATIVE_VECTOR_WIDTH", width),
            None => command.env_remove("LP_NATIVE_VECTOR_WIDTH"),
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", super::shown(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let kept = place.path("cache").join("vector-widths.json");
    let own = devices(Some("256"));
    assert!(!kept.exists(), "the user's own setting was measured against");
    let first = devices(None);
    #[cfg(target_arch = "x86_64")]
    let wide = std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    let wide = false;
    let hardware = ["discrete", "integrated"].iter().any(|kind| own.contains(kind));
    if !wide || !own.contains("llvmpipe") || hardware {
        println!("nothing to choose here: {first}");
        assert!(!kept.exists(), "a choice was kept where there is none");
        return;
    }
    let text = fs::read_to_string(&kept).unwrap();
    let mut known: Value = serde_json::from_str(&text).unwrap();
    let (driver, width) = known.as_object().unwrap().iter().next().unwrap();
    let (driver, width) = (driver.clone(), width.as_u64().unwrap());
    println!("{text}");
    assert!(driver.contains("Mesa") && first.contains(&format!("{width} bits")), "{text}: {first}");
    // The stored width is used, whatever it is, and stays.
    let other = 256 + 512 - width;
    known[&driver] = other.into();
    fs::write(&kept, known.to_string()).unwrap();
    let second = devices(None);
    assert!(second.contains(&format!("{other} bits")), "{second}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), known.to_string());
    // A damaged file is measured anew.
    fs::write(&kept, "{").unwrap();
    let third = devices(None);
    assert!(third.contains(&format!("{width} bits")), "{third}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), text);
}
