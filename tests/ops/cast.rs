use super::check::{applies, check_adjoint, check_as_gpu, check_op, each_device};
use normfree::tape::DType;
use normfree::verify::{CaseBuilder, on_device};

#[test]
fn device_agrees_with_reference() {
    check_op("cast");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("cast");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("cast");
}

/// Values that f16 cannot hold become infinite, and no others do, whichever way the device rounds; NaN stays NaN.
#[test]
fn values_that_are_too_large_become_infinite() {
    let fits = [0.0, 1.0, -65_504.0, 65_504.0, 65_519.0, 1e-8];
    let beyond = [65_520.0, -65_520.0, 1e5, -1e30, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let mut case = CaseBuilder::new("cast", "around the largest f16", 1);
    let values = [&fits[..], &beyond].concat();
    let x = case.constant("x", &[values.len()], DType::F32, values.clone());
    let y = case.tape.half(x);
    let case = case.finish(&[], &[y], 0.0);
    each_device(|gpu| {
        if !applies(gpu, &case) {
            return;
        }
        let got = &on_device(gpu, &case).unwrap()[&y];
        for (from, to) in values.iter().zip(got) {
            let finite = fits.contains(from);
            assert_eq!(to.is_finite(), finite, "{from} became {to} on {:?}", gpu.traits());
            assert!(from.is_nan() == to.is_nan() && (to.is_nan() || from * to >= 0.0), "{from} became {to}");
        }
    });
}
