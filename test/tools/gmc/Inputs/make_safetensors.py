"""make_safetensors.py OUT [--meta KEY=VALUE]... NAME:SHAPE:VALUES...: writes float32 tensors; SHAPE is like 2x3, VALUES like 1,2."""
import json
import struct
import sys

header, data, metadata = {}, b"", {}
arguments = iter(sys.argv[2:])
for argument in arguments:
    if argument == "--meta":
        key, value = next(arguments).split("=", 1)
        metadata[key] = value
        continue
    name, shape, values = argument.split(":")
    numbers = [float(v) for v in values.split(",")]
    header[name] = {"dtype": "F32", "shape": [int(d) for d in shape.split("x")],
                    "data_offsets": [len(data), len(data) + 4 * len(numbers)]}
    data += struct.pack(f"<{len(numbers)}f", *numbers)
if metadata:
    header["__metadata__"] = metadata
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
