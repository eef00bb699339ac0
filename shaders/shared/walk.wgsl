// A workgroup of LANES lanes takes LANES * EACH vectors: a lane has EACH of them, LANES apart, so that neighbouring lanes
// read neighbouring vectors.
//# numbers lanes each
const LANES = ${lanes}u;
const EACH = ${each}u;
