"""Prints, as one JSON object, everything that TensorBoard reads from a run's folder or one event file."""

import io
import json
import struct
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

everything = {"scalars": 0, "images": 0, "tensors": 0}
run = EventAccumulator(sys.argv[1], size_guidance=everything)
run.Reload()
tags = run.Tags()


def bits(number):
    """JSON has no NaN: the bits of the f32."""
    return struct.unpack("<I", struct.pack("<f", number))[0]


def pixels(image):
    decoded = Image.open(io.BytesIO(image.encoded_image_string))
    assert decoded.size == (image.width, image.height) and decoded.mode == "RGB"
    return {"width": image.width, "height": image.height, "rgb": decoded.tobytes().hex()}


print(
    json.dumps(
        {
            "scalars": {tag: [[e.step, bits(e.value)] for e in run.Scalars(tag)] for tag in tags["scalars"]},
            "images": {tag: [[e.step, pixels(e)] for e in run.Images(tag)] for tag in tags["images"]},
            "texts": {
                tag: [[e.step, e.tensor_proto.string_val[0].decode()] for e in run.Tensors(tag)]
                for tag in tags["tensors"]
                if run.SummaryMetadata(tag).plugin_data.plugin_name == "text"
            },
            "files": run.file_version,
        }
    )
)
