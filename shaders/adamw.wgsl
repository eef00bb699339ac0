// One AdamW step over a window of the flat parameter arena. Parameters before DECAYED are decayed.
//# flags images: what is read comes as images, copies made just before, which software drivers read many times faster
//# flags half: some parameters have copies in f16
//# numbers lanes each: as in shared/walk.wgsl
//# import shared/narrow

override VECTORS: u32;     // vec4 elements of this window
override DECAYED: u32;     // how many of them, from the first on, decay
//# if half
override COPIED: u32;      // how many of them, from the first on, have an f16 copy
//# end
override DECAY_FIRST: bool; // PyTorch's order: decay, then move; transformers moves, then decays

struct Hyper {
    step: f32,         // learning rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ)
    epsilon: f32,
    decay: f32,        // learning rate · weight decay
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32, // computed by the host in f64: 1 − 0.999 in f32 is off by 2e-5
    one_minus_beta2: f32,
    unused: f32,
}

struct Verdict {
    norm: f32,
    clip: f32, // also undoes the loss scale
    open: f32,
    halted: f32,
}

//# import shared/operand with name = gradients, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS], 16 in a row of an image
//# if images
@group(0) @binding(6) var old_parameters: texture_storage_2d<rgba32float, read>; // the same
@group(0) @binding(7) var old_first: texture_storage_2d<rgba32float, read>;      // the same
@group(0) @binding(8) var old_second: texture_storage_2d<rgba32float, read>;     // the same
//# end
@group(0) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(2) var<storage, read_write> first: array<vec4<f32>>;     // [VECTORS], moment m
@group(0) @binding(3) var<storage, read_write> second: array<vec4<f32>>;    // [VECTORS], moment v
@group(0) @binding(4) var<storage, read> hyper: array<Hyper>;               // [1]
@group(0) @binding(5) var<storage, read> verdict: array<Verdict>;           // [1]
//# if half
@group(0) @binding(9) var<storage, read_write> copies: array<vec4<f16>>;     // [COPIED]
//# end

//# import shared/walk

@compute @workgroup_size(LANES)
fn adamw(
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
            //# if images
            let place = vec2(i % 16u, i / 16u);
            let g = textureLoad(gradients, place) * judged.clip;
            let p = textureLoad(old_parameters, place);
            let m = h.beta1 * textureLoad(old_first, place) + h.one_minus_beta1 * g;
            let v = h.beta2 * textureLoad(old_second, place) + h.one_minus_beta2 * g * g;
            //# else
            let g = gradients[i] * judged.clip;
            let p = parameters[i];
            let m = h.beta1 * first[i] + h.one_minus_beta1 * g;
            let v = h.beta2 * second[i] + h.one_minus_beta2 * g * g;
            //# end
            first[i] = m;
            second[i] = v;
            let decay = select(0.0, h.decay, i < DECAYED);
            let move_by = h.step * m / (sqrt(v) + h.epsilon);
            var next = p - p * decay - move_by;
            if !DECAY_FIRST {
                let moved = p - move_by;
                next = moved - moved * decay;
            }
            parameters[i] = next;
            //# if half
            if i < COPIED {
                copies[i] = narrow4(next);
            }
            //# end
        }
    }
}
