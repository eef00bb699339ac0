// A matrix that is read: an image, or a buffer of vec4s if rows are whole vec4s, else of elements.
//# flags image whole
//# numbers slot
//# texts x: its name
//# texts element: how it is stored
//# texts texel: the format of an image of it
//# if image
@group(0) @binding($slot) var $x: texture_storage_2d<$texel, read>; // [rows, columns / 4]
//# else
//# if whole
@group(0) @binding($slot) var<storage, read> $x: array<vec4<$element>>; // [rows, columns / 4]
//# else
@group(0) @binding($slot) var<storage, read> $x: array<$element>; // [rows, columns]
//# end
//# end
