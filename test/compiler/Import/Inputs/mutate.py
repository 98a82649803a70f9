"""mutate.py COUNT MODEL...: truncates and flips bits of each model COUNT times (seeded) and imports the result.

gmc must exit with 0, 1 or 2, say something on stderr unless it is 0, take at most 4 GB of address space and 20 seconds.
"""
import os
import random
import resource
import subprocess
import sys
import tempfile


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def check(path, what):
    for command in (["gmc", "compile", path, "--compile-to=import", "--batch=2"], ["gmc", "info", path, "--json"]):
        try:
            run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20, preexec_fn=limit)
        except subprocess.TimeoutExpired:
            return f"{what}: {command[1]} took more than 20 s"
        if run.returncode not in (0, 1, 2) or (run.returncode and not run.stderr):
            return f"{what}: {command[1]} exits with {run.returncode}: {run.stderr[-300:]!r}"
    return None


def mutations(data, count, generator):
    for i in range(count):
        kind = i % 4
        if kind == 0:
            size = generator.randrange(len(data))
            yield f"truncated to {size}", data[:size]
        else:
            # Structure is at the start and the end of an exported file; weights in between say little.
            changed = bytearray(data)
            flips = generator.choice([1, 1, 1, 4, 16])
            places = []
            for _ in range(flips):
                span = len(data) if kind == 1 else min(len(data), 4096)
                at = generator.randrange(span)
                at = at if kind < 3 else len(data) - 1 - at
                bit = generator.randrange(8)
                changed[at] ^= 1 << bit
                places.append((at, bit))
            yield f"bits flipped at {places}", bytes(changed)


failures = []
count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)  # a reproducer of an internal error lands here
    for model in sys.argv[2:]:
        with open(model, "rb") as file:
            original = file.read()
        for what, data in mutations(original, count, random.Random(model.rsplit("/", 1)[-1])):
            path = os.path.join(folder, "mutated.onnx")
            with open(path, "wb") as file:
                file.write(data)
            problem = check(path, f"{os.path.basename(model)} {what}")
            if problem:
                failures.append(problem)
print("\n".join(failures))
print(f"{len(failures)} failures")
sys.exit(1 if failures else 0)
