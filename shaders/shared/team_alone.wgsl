// A team of TEAM lanes combines one value each. Here TEAM is one: every lane works alone.

override TEAM: u32;

fn team_sum(value: f32, lane: u32) -> f32 {
    return value;
}

fn team_max(value: f32, lane: u32) -> f32 {
    return value;
}
