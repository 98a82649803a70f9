#!/usr/bin/env python3
"""Whole nets on the GPU's kernels without a GPU: gpu_nets.py GMC REFERENCE_FOLDER WORKDIR [NET...]

Each reference net is compiled for the host and for sim, and trained for five steps from its own weights on its own batch: the losses
must agree to 1e-4, and they must move. Its PTX must use shared memory and 16-byte accesses and, where ptxas is, assemble for
sm_75 and sm_120 without spilling a register. Exit 77 where the reference nets are not there."""
import json, os, re, shutil, subprocess, sys, zipfile
from pathlib import Path

gmc, reference, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
nets = sys.argv[4:] or ["mlp_mnist", "lenet5", "resnet8_cifar", "unet_tiny", "gpt2_tiny"]
if not (reference / f"{nets[0]}.onnx").exists():
    print(f"skipped: {reference}/{nets[0]}.onnx is not there")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
toolkit = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
ptxas = next((f"{root}/bin/ptxas" for root in toolkit if root and os.access(f"{root}/bin/ptxas", os.X_OK)), shutil.which("ptxas"))
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


def ptx(net, options):
    path = work / f"{net}.ptx"
    command = [gmc, "compile", reference / f"{net}.onnx", "--target=cuda", "--emit=ptx", "--arch=sm_75", "--vram=1GB", "-o", path, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode == 1 and "libdevice" in done.stderr:
        print("skipped: " + done.stderr.strip())
        return
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    text = path.read_text()
    wide = len(re.findall(r"ld\.global(?:\.nc)?\.v4", text))
    check(".shared .align 16" in text and "bar.sync" in text and "ld.shared.v4" in text and wide,
          f"{net}: {text.count('.visible .entry')} kernels, {text.count('.shared .align')} shared buffers, "
          f"{wide} loads of 16 bytes")
    for arch in ("sm_75", "sm_120") if ptxas else ():
        done = subprocess.run([ptxas, f"-arch={arch}", "-v", "-o", str(work / f"{net}.cubin"), str(path)], capture_output=True, text=True)
        spills = [int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr)]
        check(done.returncode == 0 and spills and max(spills) == 0,
              f"{net}: ptxas for {arch}: {len(spills) // 2} kernels without spills" if done.returncode == 0 else done.stderr[-800:])


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
    ptx(net, options)
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
