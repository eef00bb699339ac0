// One step of SGD with momentum over a window of the flat parameter arena. Parameters before DECAYED are decayed.
//# flags half: some parameters have copies in f16
//# numbers lanes each: as in shared/walk.wgsl
//# import shared/narrow

override VECTORS: u32; // vec4 elements of this window
override DECAYED: u32; // how many of them, from the first on, decay
override MOMENTUM: f32;
//# if half
override COPIED: u32; // how many of them, from the first on, have an f16 copy
//# end

struct Hyper {
    unused: vec2<f32>,
    decay: f32, // learning rate · weight decay
    unused_too: f32,
    rest: vec3<f32>,
    rate: f32, // learning rate
}

struct Verdict {
    norm: f32,
    clip: f32, // also undoes the loss scale
    open: f32,
    halted: f32,
}

@group(0) @binding(0) var<storage, read> gradients: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(2) var<storage, read_write> first: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(4) var<storage, read> hyper: array<Hyper>; // [1]
@group(0) @binding(5) var<storage, read> verdict: array<Verdict>; // [1]
//# if half
@group(0) @binding(6) var<storage, read_write> copies: array<vec4<f16>>; // [COPIED]
//# end

//# import shared/walk

@compute @workgroup_size(LANES)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let h = hyper[0];
    let judged = verdict[0];
    if judged.open == 0.0 {
        return;
    }
    let start = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = start + n * LANES;
        if i < VECTORS {
            let p = parameters[i];
            let m = MOMENTUM * first[i] + judged.clip * gradients[i];
            first[i] = m;
            let next = p - p * select(0.0, h.decay, i < DECAYED) - h.rate * m;
            parameters[i] = next;
            //# if half
            if i < COPIED {
                copies[i] = narrow4(next);
            }
            //# end
        }
    }
}
