// A team of TEAM lanes combines one value each. Here a team is a subgroup, and a workgroup holds one team.

enable subgroups;

override TEAM: u32;

fn team_sum(value: f32, lane: u32) -> f32 {
    return subgroupAdd(value);
}

fn team_max(value: f32, lane: u32) -> f32 {
    return subgroupMax(value);
}
