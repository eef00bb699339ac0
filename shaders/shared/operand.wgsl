// A tensor that is only read: a buffer, or an image of texels of four elements, which a software driver reads many times faster.
//# flags images: it is an image
//# numbers slot
//# texts name
//# texts of: an element of the buffer
//# texts texel: the format of the image
//# if images
@group(0) @binding($slot) var $name: texture_storage_2d<$texel, read>;
//# else
@group(0) @binding($slot) var<storage, read> $name: array<$of>;
//# end
