// The global gradient norm, the factor that clips the gradients, and the gate that keeps a broken gradient from the
// parameters. In `squares` each team sums the squares of one stretch; `close` adds the stretches up.
//# flags images: gradients are read as an image
//# flags scaled: gradients carry a loss scale
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team
//# import shared/finite
//# import shared/scaling

override VECTORS: u32;  // vec4 elements of this window of the gradients
override EACH: u32;     // vectors per stretch
override PARTIAL: u32;  // where this window's partial sums start
override PARTIALS: u32; // partial sums in all
override LANES: u32;    // lanes per workgroup: one team, or teams of one lane each
//# if scaled
override GROW_EVERY: f32; // good steps after which the loss scale doubles
override LARGEST: f32;    // the largest loss scale
//# end

struct Verdict {
    norm: f32,
    clip: f32,   // factor for every gradient; also divides it by the loss scale
    open: f32,   // 1: the update may happen, 0: it may not
    halted: f32, // 1: an earlier step of this run was not finite, and the host has not answered yet
}

struct Policy {
    max_norm: f32, // 0: do not clip
    record: f32,   // 1: update even with broken numbers, as the original does
}

//# import shared/operand with name = gradients, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]; an image has 16 a row
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;     // [PARTIALS]
@group(0) @binding(2) var<storage, read> partial_sums: array<f32>;       // [PARTIALS]
@group(0) @binding(3) var<storage, read> loss: array<f32>;               // [1]
@group(0) @binding(4) var<storage, read> policy: array<Policy>;          // [1]
@group(0) @binding(5) var<storage, read_write> verdict: array<Verdict>;  // [1]
//# if scaled
@group(0) @binding(6) var<storage, read_write> scaling: array<Scaling>;  // [1]
//# end

fn gradient_at(i: u32) -> vec4<f32> {
    //# if images
    return textureLoad(gradients, vec2(i % 16u, i / 16u));
    //# else
    return gradients[i];
    //# end
}

@compute @workgroup_size(LANES)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let stretch = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = stretch * EACH;
    let end = min(first + EACH, VECTORS);
    var sum = vec4(0.0);
    for (var i = first + member; i < end; i += TEAM) {
        let g = gradient_at(i);
        sum += g * g;
    }
    let total = team_sum((sum.x + sum.y) + (sum.z + sum.w), lane);
    if member == 0u && first < VECTORS {
        partials[PARTIAL + stretch] = total;
    }
}

@compute @workgroup_size(TEAM)
fn close(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < PARTIALS; i += TEAM) {
        sum += partial_sums[i];
    }
    let total = team_sum(sum, lane);
    if lane == 0u {
        //# if scaled
        let loss_scale = scaling[0].scale;
        let norm = sqrt(total) / loss_scale;
        //# else
        let norm = sqrt(total);
        //# end
        var clip = 1.0;
        if policy[0].max_norm > 0.0 {
            // NaN stays NaN, as in PyTorch; drivers differ in what `min` makes of it.
            clip = policy[0].max_norm / (norm + 1e-6);
            if is_finite(clip) {
                clip = min(clip, 1.0);
            }
        }
        let sound = is_finite(total) && is_finite(loss[0]);
        var halted = verdict[0].halted;
        if !sound {
            halted = 1.0;
        }
        let record = policy[0].record != 0.0;
        if record {
            halted = 0.0;
        }
        //# if scaled
        clip /= loss_scale;
        scaling[0].used = loss_scale;
        scaling[0].overflowed = 0.0;
        if is_finite(loss[0]) && !is_finite(total) && loss_scale > 1.0 && verdict[0].halted == 0.0 {
            // Only the scale was too large, so this update is left out and the run goes on.
            scaling[0] = Scaling(loss_scale * 0.5, 0.0, loss_scale, 1.0);
            verdict[0] = Verdict(norm, clip, 0.0, 0.0);
            return;
        }
        if sound && halted == 0.0 {
            let good = scaling[0].good + 1.0;
            let grows = good >= GROW_EVERY;
            scaling[0].good = select(good, 0.0, grows);
            scaling[0].scale = select(loss_scale, min(loss_scale * 2.0, LARGEST), grows);
        }
        //# end
        verdict[0] = Verdict(norm, clip, select(0.0, 1.0, record || halted == 0.0), halted);
    }
}
