// A matrix whose rows or columns are multiplied by learned numbers, and its adjoint: dw (+)= SCALE s dscaled, and ds (+)= SCALE times the
// sum of w dscaled over each row or column.
//# flags half: the scaled matrix is f16
//# flags rows: rows are multiplied, not columns
//# numbers lanes each: as in shared/walk.wgsl
//# texts team: alone, subgroup or workgroup
//# texts element: how the scaled matrix is stored
//# texts narrow: from f32 to that
//# import shared/narrow
//# import shared/team_$team

override ELEMENTS: u32; // of w
override COLUMNS: u32; // of w
override SCALE: f32;
override UNITS: u32; // rows or columns
override LENGTH: u32; // elements of one
override UNIT_STEP: u32; // elements from one to the next
override STEP: u32; // elements from one element of a row or column to the next
override TEAM_LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override ACCUMULATE: bool;

@group(0) @binding(0) var<storage, read> w: array<f32>; // [ELEMENTS]
@group(0) @binding(1) var<storage, read> s: array<f32>; // [UNITS]
@group(0) @binding(2) var<storage, read_write> scaled: array<$element>; // [ELEMENTS]
@group(0) @binding(3) var<storage, read> gradient: array<f32>; // [ELEMENTS], of scaled
@group(0) @binding(4) var<storage, read_write> dw: array<f32>; // [ELEMENTS]
@group(0) @binding(5) var<storage, read_write> ds: array<f32>; // [UNITS]

//# import shared/walk

// The factor of an element.
fn factor(i: u32) -> f32 {
    //# if rows
    return SCALE * s[i / COLUMNS];
    //# else
    return SCALE * s[i % COLUMNS];
    //# end
}

@compute @workgroup_size(LANES)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ELEMENTS {
            scaled[i] = ${narrow}(factor(i) * w[i]);
        }
    }
}

@compute @workgroup_size(LANES)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ELEMENTS {
            var own = factor(i) * gradient[i];
            if ACCUMULATE {
                own += dw[i];
            }
            dw[i] = own;
        }
    }
}

// A team takes one row or column.
@compute @workgroup_size(TEAM_LANES)
fn sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last one repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = min(place, UNITS - 1u) * UNIT_STEP;
    var sum = 0.0;
    for (var k = member; k < LENGTH; k += TEAM) {
        sum += w[first + k * STEP] * gradient[first + k * STEP];
    }
    var whole = SCALE * team_sum(sum, lane);
    if member != 0u || place >= UNITS {
        return;
    }
    if ACCUMULATE {
        whole += ds[place];
    }
    ds[place] = whole;
}
