#!/usr/bin/env python3
"""Writes a float32 image set and int64 labels as .npy: random_npy.py FOLDER COUNT CLASSES SHAPE... (labels follow the mean)"""
import array, random, struct, sys
from pathlib import Path


def save(path, kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values.tobytes())


folder, count, classes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
shape = [int(d) for d in sys.argv[4:]]
size = 1
for d in shape:
    size *= d
rng = random.Random(7)
folder.mkdir(parents=True, exist_ok=True)
labels = [rng.randrange(classes) for _ in range(count)]
pixels = array.array("f")
for label in labels:
    center = label / classes - 0.5
    pixels.extend(center + rng.random() for _ in range(size))
save(folder / "x.npy", "<f4", [count] + shape, pixels)
save(folder / "y.npy", "<i8", [count], array.array("q", labels))
