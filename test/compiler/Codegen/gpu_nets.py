#!/usr/bin/env python3
"""Whole nets on the GPU's kernels without a GPU: gpu_nets.py GMC REFERENCE_FOLDER WORKDIR [NET...]

Each reference net is compiled for the host and for sim, and trained for five steps from its own weights on its own batch: the losses
must agree to 1e-4, and they must move. Their PTX is what tools/ptx-sweep looks at. Exit 77 where the reference nets are not
there."""
import json, subprocess, sys, zipfile
from pathlib import Path

gmc, reference, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
nets = sys.argv[4:] or ["mlp_mnist", "lenet5", "resnet8_cifar", "unet_tiny", "gpt2_tiny"]
if not (reference / f"{nets[0]}.onnx").exists():
    print(f"skipped: {reference}/{nets[0]}.onnx is not there")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
failures = []


def check(condition, text):
    print(("ok: " if condition else "FAILED: ") + text, flush=True)
    if not condition:
        failures.append(text)


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-800:]}{done.stderr[-2000:]}")


def losses(net, target, data, options):
    trainer = work / f"{net}-{target}"
    log = work / f"{net}-{target}.jsonl"
    log.unlink(missing_ok=True)
    run(gmc, "compile", reference / f"{net}.onnx", f"--target={target}", "-o", trainer, "--vram=1GB", *options)
    run(trainer, f"--data={data}", "--steps=5", "--lr=0.05", f"--log={log}")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [event["loss"] for event in events if event["event"] == "step"]


for net in nets:
    names = []
    with zipfile.ZipFile(reference / f"{net}.npz") as archive:
        for name in archive.namelist():
            if name == "y.npy" or name.startswith("in_"):
                file = work / f"{net}-{name}"
                file.write_bytes(archive.read(name))
                names.append(f"{'label' if name == 'y.npy' else name[3:-4]}={file}")
    options = ["--batch=4", "--optimizer=sgd", "--threads=2", "--loss=cross-entropy", "--precision=fp32"]
    host, sim = (losses(net, target, ",".join(names), options) for target in ("host", "sim"))
    worst = max(abs(a - b) / max(1e-6, abs(a)) for a, b in zip(host, sim))
    check(len(host) == len(sim) == 5 and host[0] != host[4] and worst <= 1e-4,
          f"{net}: losses {host[0]:.5f} to {host[4]:.5f} on the host, sim differs by {worst:.1e} at most")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
