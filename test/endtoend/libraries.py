#!/usr/bin/env python3
"""A trainer that calls oneDNN, with the library and with one hidden: libraries.py GMC MODEL WORKDIR INPUT:CLASSES:C,H,W [all OP...]

What runs which steps is said by the plan, by --info and on stderr; two runs give the same bits, with and without the library; both
train alike; memory stays within the budget and does not rise after the second step. With `all`, every computation that the library
has is its: each OP named is, in the plan. Skipped where oneDNN is not installed."""
import ctypes, hashlib, json, os, subprocess, sys
from pathlib import Path

gmc, model, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
try:
    ctypes.CDLL("libdnnl.so.2")
except OSError as error:
    print(f"skipped: oneDNN is not installed (package libdnnl2): {error}")
    sys.exit(77)
if not model.exists():
    print(f"skipped: {model} is not there")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
name, classes, shape = sys.argv[4].split(":")
use, wanted = (sys.argv[5], sys.argv[6:]) if len(sys.argv) > 5 else ("auto", [])
subprocess.run([sys.executable, str(Path(__file__).with_name("random_npy.py")), str(work / "data"), "128", classes,
                *shape.split(",")], check=True)
# A broken file of that name in front of the real one: the loader refuses it.
hidden = work / "hidden"
hidden.mkdir(exist_ok=True)
(hidden / "libdnnl.so.2").write_bytes(b"")
failures = []


def expect(condition, message):
    if not condition:
        failures.append(message)


def run(command, code=0, **extra):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**os.environ, **extra})
    expect(result.returncode == code, f"{command}: exit {result.returncode}\n{result.stdout[-500:]}{result.stderr[-1000:]}")
    return result


def compile(out, *more):
    return run([gmc, "compile", model, "--target=host", "--batch=32", "--vram=200MB", "-o", work / out, *more])


def train(out, steps=8, **extra):
    weights, log = work / "weights.safetensors", work / "log.jsonl"
    log.unlink(missing_ok=True)
    result = run([work / out, f"--data={name}={work}/data/x.npy,label={work}/data/y.npy", f"--steps={steps}", "--lr=1e-3",
                  f"--save={weights}", f"--log={log}"], **extra)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    memory = next(e for e in events if e["event"] == "memory")
    expect(memory["used"] <= memory["promised"], f"{memory}")
    losses = [e["loss"] for e in events if e["event"] == "step"]
    return result.stderr, hashlib.sha256(weights.read_bytes()).hexdigest(), losses, memory["used"]


plan = compile("with", f"--libraries={use}").stdout
expect("note: oneDNN" in plan, f"the plan does not say what the library computes:\n{plan}")
run([gmc, "compile", model, "--target=host", "--batch=32", "--vram=200MB", f"--libraries={use}", "--compile-to=plan", "-o",
     work / "plan.mlir"])
launches = [line for line in (work / "plan.mlir").read_text().splitlines() if "plan.launch" in line]
for op in wanted:
    of = [line for line in launches if f'"{op}"' in line]
    expect(of and all("library(onednn" in line for line in of), f"{op}: not all of {len(of)} launches are library calls")
compile("without", "--libraries=none")
hide = {"LD_LIBRARY_PATH": str(hidden)}
info, blind = run([work / "with", "--info"]).stdout, run([work / "with", "--info"], **hide).stdout
expect("library calls: " in info and "missing here: nothing" in info, info)
expect("is not to be had" in blind and "libdnnl2" in blind, blind)
expect("library calls" not in run([work / "without", "--info"]).stdout, "--libraries=none calls a library")

said, weights, losses, used = train("with")
again = train("with")
expect(said == "", f"said without need: {said}")
expect(again[1] == weights, "two runs with the library differ")
said, standIn, standInLosses, _ = train("with", **hide)
expect(said.count("is not to be had") == 1, f"the missing library is to be said once: {said}")
expect(train("with", **hide)[1] == standIn, "two runs without the library differ")
_, portable, _, _ = train("without")
expect(portable == standIn, "the launches that stand in are not the portable kernels")
expect(len(losses) == len(standInLosses) > 0 and all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(losses, standInLosses)),
       f"losses differ: {losses} {standInLosses}")
more = train("with", steps=24)[3]
# Pages of 4 KiB come and go with what the data loader reads ahead; a call that kept anything would show a hundredfold.
expect(more <= used + (256 << 10), f"memory rose from {used} to {more}")
print("\n".join(failures) or f"ok: losses {losses[0]:.6f} .. {losses[-1]:.6f} with, .. {standInLosses[-1]:.6f} without; {used} bytes")
sys.exit(bool(failures))
