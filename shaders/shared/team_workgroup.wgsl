// A team of TEAM lanes combines one value each. Here a team is a workgroup; TEAM is a power of two.

override TEAM: u32;

var<workgroup> team_values: array<f32, TEAM>;

fn team_sum(value: f32, lane: u32) -> f32 {
    team_values[lane] = value;
    workgroupBarrier();
    for (var half = TEAM / 2u; half > 0u; half >>= 1u) {
        if lane < half {
            team_values[lane] += team_values[lane + half];
        }
        workgroupBarrier();
    }
    let sum = team_values[0];
    // The next sum of this team writes the same memory.
    workgroupBarrier();
    return sum;
}

fn team_max(value: f32, lane: u32) -> f32 {
    team_values[lane] = value;
    workgroupBarrier();
    for (var half = TEAM / 2u; half > 0u; half >>= 1u) {
        if lane < half {
            team_values[lane] = max(team_values[lane], team_values[lane + half]);
        }
        workgroupBarrier();
    }
    let largest = team_values[0];
    workgroupBarrier();
    return largest;
}
