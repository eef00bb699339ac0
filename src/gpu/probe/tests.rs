//! Answers that no correct driver gives, and kernels that every driver must accept.

use super::*;
use crate::ops::Traits;
use crate::ops::matmul::Sizes;

fn units(side: u32) -> Vec<UnitProbe> {
    unit_probes(side, &device(32))
}

fn device(lanes: u32) -> Traits {
    Traits { lanes, f16: true, workgroup_memory: 32 << 10, max_invocations: 1024, ..Traits::floor() }
}

/// C as computed by a driver that reads each fragment of A from the row that `place` gives instead of its own. Rows are
/// counted in fragments.
fn computed(probe: &UnitProbe, side: usize, place: impl Fn(usize) -> usize) -> Vec<f32> {
    let (a, b) = matrices(probe);
    let Sizes { m, n, k, .. } = probe.sizes;
    // The same element of a fragment that begins elsewhere.
    let moved = |at: usize| place(at / side) * side + at % side;
    let a = |row: usize, at: usize| {
        let row = moved(row);
        if row >= m {
            0.0
        } else if probe.layout == Layout::TN {
            a[at * m + row].to_f32()
        } else {
            a[row * k + at].to_f32()
        }
    };
    let b = |at: usize, column: usize| {
        if probe.layout == Layout::NT { b[column * k + at].to_f32() } else { b[at * n + column].to_f32() }
    };
    (0..m * n).map(|i| (0..k).map(|at| a(i / n, at) * b(at, i % n)).sum()).collect()
}

#[test]
fn a_right_product_is_accepted_and_a_misplaced_tile_is_not() {
    for side in [8, 16] {
        let probes = units(side);
        assert_eq!(probes.len(), 6, "two workgroups in three layouts");
        for probe in &probes {
            let side = side as usize;
            let right = computed(probe, side, |fragment| fragment);
            assert_eq!(check_product(probe, &right), Ok(()));
            // One known driver returns the tile at offset 0 for every offset.
            assert!(check_product(probe, &computed(probe, side, |_| 0)).is_err());
            // The first of every two fragments twice; and the last row of fragments from the one before.
            assert!(check_product(probe, &computed(probe, side, |fragment| fragment / 2 * 2)).is_err());
            let last = probe.sizes.m.div_ceil(side) - 1;
            let but_last = |fragment: usize| if fragment == last { fragment - 1 } else { fragment };
            assert!(check_product(probe, &computed(probe, side, but_last)).is_err());
            // One element that was not written, and one that is slightly off.
            for wrong in [f32::NAN, right[7] + 0.1] {
                let mut product = right.clone();
                product[7] = wrong;
                let why = check_product(probe, &product).unwrap_err();
                assert!(why.starts_with("element 0, 7 of a product"), "{why}");
            }
        }
    }
}

#[test]
fn a_product_at_another_width_is_not_accepted() {
    assert_eq!(check_widths(&[32; 256], 32), Ok(()));
    let mut widths = [32; 256];
    widths[255] = 16;
    assert_eq!(
        check_widths(&widths, 32).unwrap_err(),
        "subgroups of 32 lanes have 16 lanes in a kernel for them"
    );
    assert!(check_widths(&[u32::MAX; 4], 32).is_err(), "nobody wrote it");
}

#[test]
fn a_width_that_differs_between_kernels_or_lanes_is_none() {
    let lane = |size, lane| Lane { size, lane, ones: size, checksum: 0 };
    let even: Vec<Lane> = (0..128).map(|i| lane(32, i % 32)).collect();
    assert_eq!(width_of(&even), Ok(32));
    let mut mixed = even.clone();
    mixed[100].size = 16;
    assert!(width_of(&mixed).unwrap_err().contains("subgroups of 32 lanes and subgroups of 16"));
    assert!(width_of(&vec![lane(2, 0); 128]).is_err());

    // Lanes in a different order from invocations.
    let places: Vec<u32> = (0..8).map(|i| i ^ 3).collect();
    let right: Vec<Lane> = (0..8_u32)
        .map(|at| Lane { size: 8, lane: at ^ 3, ones: 8, checksum: checksum(at, &places) })
        .collect();
    assert_eq!(check_lanes(&right, 8, true), Ok(()));
    let wrong = |change: fn(&mut Lane)| {
        let mut seen = right.clone();
        change(&mut seen[5]);
        check_lanes(&seen, 8, true).unwrap_err()
    };
    assert_eq!(wrong(|lane| lane.size = 16), "a subgroup has 8 lanes in one kernel and 16 in another");
    assert_eq!(wrong(|lane| lane.lane = 0), "two lanes of a subgroup have the same number");
    assert!(wrong(|lane| lane.lane = 9).contains("the same number"));
    for why in [wrong(|lane| lane.ones = 4), wrong(|lane| lane.checksum ^= 1)] {
        assert!(why.contains("do not exchange their values"), "{why}");
    }
}

#[test]
fn every_probe_is_valid() {
    for (side, lanes) in [(8, 8), (8, 16), (8, 32), (16, 32), (16, 64)] {
        for kernel in probes(side, &device(lanes)) {
            let module = crate::ops::parse(&kernel.text).unwrap_or_else(|error| panic!("{error}"));
            let all = naga::valid::Capabilities::all();
            let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), all);
            validator
                .validate(&module)
                .unwrap_or_else(|error| panic!("{}", error.emit_to_string(&kernel.text)));
            let given: Vec<&str> = kernel.constants.iter().map(|(name, _)| *name).collect();
            for (_, constant) in module.overrides.iter() {
                let name = constant.name.as_deref().unwrap();
                assert!(given.contains(&name), "{name} is not given");
            }
        }
    }
}
