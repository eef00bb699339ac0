// Column c of row j of the tile, as every lane gets it.
//# flags shuffle: as in attention.wgsl
//# numbers j c
//# texts side: left or right, the tensor
//# if shuffle
let a_$j = subgroupShuffle(${side}_$c, ${j}u);
//# else
let a_$j = $side[(sub + ${j}u) * COLUMNS + ${c}u];
//# end
