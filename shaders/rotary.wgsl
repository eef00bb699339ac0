// Rotary position embedding in place. It rotates the first columns of every query and key head in pairs: each column of
// their first half with the corresponding one of their second half. A lane rotates some vectors of pairs.
//# flags half: qkv is f16
//# numbers vector: elements of a Vector, 4 or 1
//# numbers lanes each: as in shared/walk.wgsl
//# texts stored: a Vector of qkv
//# texts narrow: the function that makes it of a Vector
//# import shared/narrow
//# import shared/vector$vector

override COUNT: u32; // vectors of pairs: rows · HEADS · PAIRS
override PAIRS: u32; // vectors of the first half of the rotated columns
override HEADS: u32; // query heads, and key heads after them
override HEAD: u32; // vectors of a head
override ROW: u32; // vectors of a row of qkv
override SEQUENCE: u32; // positions of one sequence
override SIDE: f32; // 1, or -1 to rotate back

@group(0) @binding(0) var<storage, read> turns: array<Vector>; // [SEQUENCE, 2, PAIRS], cosines and sines
@group(0) @binding(1) var<storage, read_write> qkv: array<${stored}>; // [rows, ROW]

//# import shared/walk

@compute @workgroup_size(LANES)
fn rotary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = start + n * LANES;
        if i < COUNT {
            let pair = i % PAIRS;
            let head = i / PAIRS % HEADS;
            let row = i / (PAIRS * HEADS);
            let turn = row % SEQUENCE * 2u * PAIRS + pair;
            let c = turns[turn];
            let s = SIDE * turns[turn + PAIRS];
            let at = row * ROW + head * HEAD + pair;
            let a = Vector(qkv[at]);
            let b = Vector(qkv[at + PAIRS]);
            qkv[at] = ${narrow}(a * c - b * s);
            qkv[at + PAIRS] = ${narrow}(b * c + a * s);
        }
    }
}
