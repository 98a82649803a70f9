#!/usr/bin/env python3
"""Writes an IDX data set of noisy, shifted seven-segment digits, 28 x 28: make_digits.py FOLDER COUNT SEED"""
import random, struct, sys
from pathlib import Path

SEGMENTS = ["abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg"]
# Each segment as (row, column, height, width) in a 16 x 10 box.
PLACES = {"a": (0, 1, 2, 8), "b": (1, 8, 7, 2), "c": (8, 8, 7, 2), "d": (14, 1, 2, 8), "e": (8, 0, 7, 2),
          "f": (1, 0, 7, 2), "g": (7, 1, 2, 8)}


def draw(rng, digit):
    pixels = bytearray(rng.randrange(40) for _ in range(28 * 28))
    top, left = rng.randrange(2, 11), rng.randrange(2, 17)
    ink = rng.randrange(120, 256)
    for segment in SEGMENTS[digit]:
        row, column, height, width = PLACES[segment]
        for y in range(row, row + height):
            for x in range(column, column + width):
                if rng.random() < 0.9:
                    pixels[(top + y) * 28 + left + x] = max(0, ink - rng.randrange(60))
    return pixels


def main():
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    labels = [rng.randrange(10) for _ in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images-idx3-ubyte").write_bytes(
        struct.pack(">IIII", 0x803, count, 28, 28) + b"".join(draw(rng, digit) for digit in labels))
    (folder / "labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + bytes(labels))


main()
