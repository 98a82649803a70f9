#!/usr/bin/env python3
"""The targets cuda and sim without a GPU: gpu_targets.py GMC REPOSITORY WORKDIR SIMULATED_DRIVER RUNTIME_ARCHIVE CXX

The digits network of examples/ is compiled for the host, for sim and for cuda. sim must lose what the host loses, step by step, to
1e-4 (in bf16 and fp16 as closely as sums in another order round); the PTX must define all it calls and assemble for sm_75 and
sm_120 where ptxas is; the cuda trainer must say what this machine lacks, end with exit code 1 when asked to train without a
driver, and on the simulated driver of test/runtime/cuda, which runs sim's kernels, train exactly what sim trains. Exit 77
where no toolkit has libdevice, after the part about sim."""
import json, os, re, shutil, subprocess, sys
from pathlib import Path

gmc, repository, work, driver, archive, cxx = sys.argv[1], *map(Path, sys.argv[2:5]), *sys.argv[5:]
work.mkdir(parents=True, exist_ok=True)
model, data = work / "digits.onnx", work / "data"
failures = []


def run(command, code=0, **environment):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=os.environ | environment)
    if done.returncode != code:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}, {code} expected\n{done.stdout[-800:]}{done.stderr[-2000:]}")
    return done


def check(condition, text):
    print(("ok: " if condition else "FAILED: ") + text)
    if not condition:
        failures.append(text)


run([sys.executable, repository / "examples" / "make_digits.py", data, "320", "1"])
text = (repository / "examples" / "digits.textproto").read_bytes()
model.write_bytes(subprocess.run(["protoc", "--encode=onnx.ModelProto", "-I/usr/include/onnx", "onnx.proto"], input=text,
                                 stdout=subprocess.PIPE, check=True).stdout)
common = ["--batch=32", "--micro-batch=16", "--init=kaiming", "--optimizer=adamw", "--threads=2"]


def compile(target, output, *options, code=0):
    return run([gmc, "compile", model, f"--target={target}", "-o", work / output, *common, *options], code)


def losses(trainer, **environment):
    log = work / f"{trainer}.jsonl"
    log.unlink(missing_ok=True)
    run([work / trainer, f"--data={data}", "--steps=10", "--lr=3e-3", f"--val={data}[0:64]", f"--log={log}",
         f"--weights={work / 'host'}.safetensors", f"--save={work / trainer}-trained.safetensors"], **environment)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [e["loss"] for e in events if e["event"] in ("step", "eval")]


for precision, tolerance in (("bf16", 2e-2), ("fp16", 4e-3), ("fp32", 1e-4)):
    compile("host", "host", "--vram=1GB", f"--precision={precision}")
    compile("sim", "sim", "--vram=1GB", f"--precision={precision}")
    host, sim = losses("host"), losses("sim")
    check(len(host) == 11 and host[9] < host[0], f"{precision}: the host's loss falls from {host[0]:.4f} to {host[9]:.4f}")
    worst = max(abs(a - b) / max(1e-6, abs(a)) for a, b in zip(host, sim))
    check(len(sim) == len(host) and worst <= tolerance,
          f"{precision}: sim's losses are the host's, largest relative difference {worst:.1e}")

ptx = subprocess.run([gmc, "compile", str(model), "--target=cuda", "--vram=1GB", "--arch=sm_75", "--emit=ptx", "-o",
                      str(work / "digits.ptx"), *common], capture_output=True, text=True)
if ptx.returncode == 1 and "libdevice" in ptx.stderr:
    print("skipped: " + ptx.stderr.strip())
    sys.exit(1 if failures else 77)
if ptx.returncode:
    sys.exit(f"PTX for sm_75: exit {ptx.returncode}\n{ptx.stderr[-2000:]}")
text = (work / "digits.ptx").read_text()
check(".visible .entry" in text and ".extern .func" not in text, f"{text.count('.visible .entry')} kernels, no undefined function")
labels = {match.group(1): match.start() for match in re.finditer(r"^(\$[\w$]+):", text, re.M)}
loops = [text[labels[match.group(1)]:match.start()] for match in re.finditer(r"\bbra(?:\.uni)?\s+(\$[\w$]+);", text)
         if labels[match.group(1)] < match.start()]
waiting = [loop for loop in loops if "bar.sync" in loop]
check(waiting and all('.pragma "nounroll"' in loop for loop in waiting), f"{len(waiting)} of {len(loops)} loops have barriers, and stay loops")
compile("cuda", "cuda", "--vram=1GB", "--arch=sm_75,sm_120", "--precision=fp32")
toolkit = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
ptxas = next((f"{root}/bin/ptxas" for root in toolkit if root and os.access(f"{root}/bin/ptxas", os.X_OK)), shutil.which("ptxas"))
image = (work / "cuda").read_bytes()
at = image.find(b"GMCI\x01\0\0\0")
count = int.from_bytes(image[at + 8:at + 12], "little") if at >= 0 else 0
kinds = [(int.from_bytes(image[p:p + 4], "little"), int.from_bytes(image[p + 4:p + 8], "little"))
         for p in range(at + 16, at + 16 + 24 * count, 24)]
want = [(75, 1), (75, 2), (120, 1)] if ptxas else [(75, 2)]
check(kinds == want, f"the trainer holds {kinds} (1 is a cubin, 2 PTX), ptxas: {ptxas}")
info = run([work / "cuda", "--info"]).stdout
check("target: cuda" in info and "archs: sm_75 sm_120" in info, "--info names target and architectures")
if "missing here: libcuda.so.1: not found" in info:
    message = run([work / "cuda", f"--data={data}", "--steps=1"], code=1).stderr
    check("libcuda.so.1" in message and "--target=host" in message, "without a driver: " + message.strip())
else:
    print("skipped: this machine has a driver:\n" + info)
compile("sim", "kernels.o", "--vram=1GB", "--emit=obj", "--precision=fp32")
run([cxx, "-shared", "-o", work / "kernels.so", work / "kernels.o", archive, "-lpthread"])
simulated = losses("cuda", LD_LIBRARY_PATH=str(driver), SIMCUDA_KERNELS=str(work / "kernels.so"))
same = [(work / f"{trainer}-trained.safetensors").read_bytes() for trainer in ("cuda", "sim")]
check(simulated == sim and same[0] == same[1], "on the simulated driver the cuda trainer trains what sim's does, bit for bit")
message = compile("cuda", "wrong", "--vram=1GB", "--arch=sm_52", code=1).stderr
check("sm_75" in message and not (work / "wrong").exists(), "an unknown architecture is refused")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
