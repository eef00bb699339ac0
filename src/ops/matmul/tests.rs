//! Checks that naga accepts the generated WGSL for every layout, flag, variant and alignment.

use super::{Layout, MatMul, Sizes, Variant};
use crate::ops::{Operand, Traits, Vendor, parse};
use crate::tape::{DType, Tape};
use std::collections::BTreeSet;

fn variants() -> Vec<Variant> {
    let units = |side, lanes, depth| Variant::Cooperative {
        side,
        lanes,
        high: 2,
        wide: 4,
        down: 2,
        across: 1,
        depth,
        turned: false,
    };
    let mut all = vec![
        units(16, 32, 32),
        units(8, 64, 16),
        units(16, 32, 32).turned(),
        Variant::Tiled { high: 1, wide: 1, down: 16, across: 16, depth: 32, split: 1 },
        Variant::Tiled { high: 2, wide: 2, down: 16, across: 16, depth: 16, split: 1 },
        Variant::Tiled { high: 1, wide: 1, down: 16, across: 16, depth: 32, split: 3 },
        Variant::Rows { lanes: 8, rows: 8, vectors: 2, shuffle: false, images: false },
    ];
    all.extend([4, 8, 16, 32, 64].map(|lanes| Variant::Rows {
        lanes,
        rows: 8,
        vectors: 2,
        shuffle: true,
        images: lanes != 16,
    }));
    all
}

fn sizes(layout: Layout, m: usize, n: usize, k: usize) -> Sizes {
    let (a_rows, a_columns) = if layout == Layout::TN { (k, m) } else { (m, k) };
    let (b_rows, b_columns) = if layout == Layout::NT { (n, k) } else { (k, n) };
    let (operands, result) = (DType::F32, DType::F32);
    Sizes { m, n, k, a_rows, a_columns, b_rows, b_columns, bias_columns: n, operands, result }
}

#[test]
fn every_kernel_is_valid_and_binds_what_it_names() {
    for layout in [Layout::NN, Layout::NT, Layout::TN] {
        for flags in 0..8 {
            let op = MatMul { layout, bias: flags & 1 > 0, addend: flags & 2 > 0, accumulate: flags & 4 > 0 };
            for variant in variants() {
                for (m, n, k) in [(64, 64, 64), (64, 64, 63), (63, 63, 64), (63, 63, 63), (128, 128, 128)] {
                    let f32s = sizes(layout, m, n, k);
                    for (operands, result) in
                        [(DType::F32, DType::F32), (DType::F16, DType::F32), (DType::F16, DType::F16)]
                    {
                        // Matrix units take only f16 operands.
                        if operands == DType::F16 || !matches!(variant, Variant::Cooperative { .. }) {
                            check(&op, variant, Sizes { operands, result, ..f32s });
                        }
                    }
                }
            }
        }
    }
}

fn check(op: &MatMul, variant: Variant, sizes: Sizes) {
    let what = format!("{op:?} {variant:?} {sizes:?}");
    let recipe = op.recipe_of(&sizes, variant);
    let dispatch = &recipe.dispatches[0];
    assert_eq!(recipe.dispatches.len(), if variant.split() > 1 { 2 } else { 1 }, "{what}");
    let text = &dispatch.kernel.text;
    let images = |i: usize| matches!(dispatch.bindings[i].1, Operand::InputImage(_));
    let half = sizes.result == DType::F16 || sizes.operands == DType::F16 && !(images(0) && images(1));
    assert_eq!(text.starts_with("enable f16;"), half, "{what}");
    assert_eq!(text.contains("enable f16"), half, "{what}");
    let units = matches!(variant, Variant::Cooperative { .. });
    assert_eq!(text.contains("enable wgpu_cooperative_matrix;"), units, "{what}");
    let module = parse(text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{what}: {error:?}\n{text}"));
    let mut variables: Vec<&str> = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.binding.is_some())
        .filter_map(|(_, variable)| variable.name.as_deref())
        .collect();
    let bindings = recipe.dispatches.iter().flat_map(|dispatch| &dispatch.bindings);
    let bound: BTreeSet<&str> = bindings.map(|(name, _)| *name).collect();
    variables.sort_unstable();
    assert_eq!(variables, Vec::from_iter(bound), "{what}");
    let mut overrides: Vec<&str> = module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
    let constants = recipe.dispatches.iter().flat_map(|dispatch| &dispatch.kernel.constants);
    let given: BTreeSet<&str> = constants.map(|(name, _)| *name).collect();
    overrides.sort_unstable();
    assert_eq!(overrides, Vec::from_iter(given), "{what}");
    let (rows, columns) = variant.tile();
    assert!(dispatch.groups[0] * rows >= sizes.m as u32 && dispatch.groups[1] * columns >= sizes.n as u32);
}

fn first(sizes: &Sizes, device: &Traits) -> Variant {
    MatMul::new(Layout::NN).variants(sizes, device)[0]
}

/// A choice applies if the device has that variant; any other name is ignored.
#[test]
fn a_choice_is_followed() {
    let sizes = sizes(Layout::NN, 1024, 512, 128);
    let mut device = Traits { software: true, lanes: 8, ..Traits::floor() };
    let op = MatMul::new(Layout::NN);
    let all = op.variants(&sizes, &device);
    let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), all.len(), "two variants of one name");
    for &variant in &all {
        device.choices.set(op.key(&sizes), variant.to_string());
        assert_eq!(op.variant(&sizes, &device), variant);
    }
    device.choices.set(op.key(&sizes), "rows of another device".to_owned());
    assert_eq!(op.variant(&sizes, &device), all[0]);
}

#[test]
fn the_addend_comes_after_the_bias() {
    let op = MatMul { bias: true, addend: true, ..MatMul::new(Layout::NN) };
    let sizes = sizes(Layout::NN, 4, 4, 4);
    let recipe = op.recipe_of(&sizes, op.variants(&sizes, &Traits::floor())[0]);
    assert!(recipe.dispatches[0].bindings.contains(&("addend", Operand::Input(3))));
}

#[test]
fn variants_follow_the_device_and_the_size() {
    let floor = Traits::floor();
    let software = Traits { software: true, lanes: 8, ..Traits::floor() };
    let big = sizes(Layout::NN, 1024, 768, 768);
    let small = sizes(Layout::NN, 1, 64, 64);
    assert!(matches!(first(&big, &floor), Variant::Tiled { .. }));
    assert!(matches!(first(&big, &software), Variant::Rows { shuffle: true, lanes: 8, .. }));
    let plain = first(&big, &software.without_subgroups());
    assert!(matches!(plain, Variant::Rows { shuffle: false, .. }));
    assert!(first(&small, &software).tile() < first(&big, &software).tile());
    assert!(first(&small, &floor).tile() < first(&sizes(Layout::NN, 4096, 4096, 64), &floor).tile());
}

/// The vendor of a device determines which variant is the default, never which variants exist.
#[test]
fn a_vendor_only_orders_the_variants() {
    let gpu =
        Traits { lanes: 32, max_invocations: 1024, workgroup_memory: 32 << 10, f16: true, ..Traits::floor() };
    let f32 = sizes(Layout::NN, 4096, 3072, 768);
    let f16 = Sizes { operands: DType::F16, ..f32 };
    let of = |sizes: &Sizes, vendor, cooperative| {
        MatMul::new(Layout::NN).variants(sizes, &Traits { vendor, cooperative, ..gpu.clone() })
    };
    let names = |variants: &[Variant]| variants.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    for vendor in [Vendor::Amd, Vendor::Apple, Vendor::Intel] {
        for (sizes, cooperative) in [(&f32, 0), (&f32, 16), (&f16, 16)] {
            let (own, others) = (of(sizes, vendor, cooperative), of(sizes, Vendor::Other, cooperative));
            assert_eq!(names(&own), names(&others), "{vendor:?}");
        }
    }
    let tile = |sizes, vendor, cooperative| of(sizes, vendor, cooperative)[0].tile();
    assert_eq!(tile(&f32, Vendor::Other, 0), (128, 128));
    assert_eq!(tile(&f32, Vendor::Amd, 16), (128, 128));
    for vendor in [Vendor::Amd, Vendor::Apple, Vendor::Intel] {
        assert_eq!(tile(&f32, vendor, 0), (64, 64), "{vendor:?}");
    }
    let invocations = |vendor| match of(&f16, vendor, 16)[0] {
        Variant::Cooperative { lanes, down, across, .. } => lanes * down * across,
        other => panic!("{other}"),
    };
    assert_eq!([invocations(Vendor::Amd), invocations(Vendor::Other)], [256, 128]);
}

#[test]
fn tells_how_long_its_loop_is() {
    let sizes = sizes(Layout::NN, 4, 4, 4 * 65_535);
    let op = MatMul::new(Layout::NN);
    let recipe = op.recipe_of(&sizes, op.variants(&sizes, &Traits::floor())[0]);
    assert!(recipe.iterations > crate::ops::MAX_ITERATIONS);
}

#[test]
fn images_stand_in_where_rows_fit_a_copy() {
    let software = Traits { software: true, lanes: 8, ..Traits::floor() };
    let operands = |sizes: Sizes, device: &Traits| {
        let recipe = MatMul::new(Layout::NN).recipe_of(&sizes, first(&sizes, device));
        let bindings = &recipe.dispatches[0].bindings;
        [bindings[0].1, bindings[1].1]
    };
    let both = sizes(Layout::NN, 100, 128, 64);
    assert_eq!(operands(both, &software), [Operand::InputImage(0), Operand::InputImage(1)]);
    assert_eq!(operands(both, &Traits::floor()), [Operand::Input(0), Operand::Input(1)]);
    let narrow = sizes(Layout::NN, 100, 128, 60);
    assert_eq!(operands(narrow, &software), [Operand::Input(0), Operand::InputImage(1)]);
    let tall = sizes(Layout::NN, 8193, 128, 64);
    assert_eq!(operands(tall, &software), [Operand::Input(0), Operand::InputImage(1)]);
}

/// A tape on which two products read x in f16, the type of their matrices.
fn read_twice(widened: bool) -> Tape {
    let mut tape = Tape::new();
    let x = tape.tracked_input("x", &[4, 8], DType::F16);
    if widened {
        tape.widen_gradient(x);
    }
    let seeds = ["a", "b"].map(|name| {
        let matrix = tape.input(name, &[8, 8], DType::F16);
        let product = tape.linear(x, matrix, None);
        (product, tape.input("gradient", &[4, 8], tape.info(product).gradient))
    });
    tape.backward_from(&seeds);
    tape
}

#[test]
#[should_panic(expected = "two gradients meet, which are added in f32")]
fn gradients_in_f16_are_not_added() {
    read_twice(false);
}

#[test]
fn gradients_in_f32_of_an_f16_tensor_are_added() {
    let added = read_twice(true).nodes().iter().filter(|node| node.inputs.len() == 3).count();
    assert_eq!(added, 1, "one product adds what the other made");
}

#[test]
#[should_panic(expected = "matmul reads its input 2 in f32")]
fn an_addend_in_f16_is_refused() {
    let mut tape = Tape::new();
    let [x, matrix, addend] = ["x", "matrix", "addend"].map(|name| tape.input(name, &[8, 8], DType::F16));
    tape.linear_onto(addend, x, matrix, None);
    let node = &tape.nodes()[0];
    node.op.recipe(&crate::tape::shapes(&tape, node), &Traits::floor());
}
