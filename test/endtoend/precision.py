#!/usr/bin/env python3
"""Mixed precision from the command line: precision.py GMC SHARED WORKDIR
bf16 and fp16 train as fp32 does, with gradients that differ by rounding; plans with low-precision copies pass the referee; fp16's loss scale goes through its states,
with steps that change nothing and a continuation from a checkpoint bit for bit. Exit 1 on any failure, 77 without SHARED."""
import importlib.util, json, struct, subprocess, sys, zipfile
from pathlib import Path

gmc, shared, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
models, mnist = shared / "data/onnx/reference", f"{shared}/data/mnist"
if not models.exists():
    print(f"skipped: {models} is not there")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
spec = importlib.util.spec_from_file_location("referee", shared / "referee/plan.py")
referee = importlib.util.module_from_spec(spec)
spec.loader.exec_module(referee)
failures = []


def expect(ok, what):
    print(("ok      " if ok else "FAILED  ") + what, flush=True)
    if not ok:
        failures.append(what)


def call(*command, code=0):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != code:
        expect(False, f"{' '.join(map(str, command))}: exit {done.returncode}, not {code}\n{done.stdout[-300:]}{done.stderr[-600:]}")
    return done


def build(model, precision, *options):
    trainer = work / f"{model}-{precision}"
    call(gmc, "compile", models / f"{model}.onnx", "--target=host", "--vram=2GB", f"--precision={precision}", "-o", trainer, *options)
    return trainer


def train(trainer, data, *options, code=0):
    log, weights = work / "log.jsonl", work / "weights.safetensors"
    log.unlink(missing_ok=True)
    call(trainer, f"--data={data}", f"--log={log}", f"--save={weights}", *options, code=code)
    return [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "step"]


def tensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    return {name: raw[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]]
            for name, e in header.items() if name != "__metadata__"}


# Losses.
text = f"text:{shared}/data/text/tinyshakespeare.txt"
for model, data, options, steps in (("lenet5", f"{mnist}[0:2000]", ["--batch=64"], 60),
                                    ("gpt2_tiny", text, ["--batch=16"], 30)):
    last = {}
    for precision in ("fp32", "bf16", "fp16"):
        events = train(build(model, precision, *options), data, f"--steps={steps}", "--lr=1e-3")
        last[precision] = sum(e["loss"] for e in events[-5:]) / 5
    for precision in ("bf16", "fp16"):
        apart = abs(last[precision] / last["fp32"] - 1)
        expect(apart < 0.02, f"{model}: loss {last[precision]:.5f} in {precision}, {last['fp32']:.5f} in fp32, "
                             f"{100 * apart:.2f} % apart")

# Gradients of one step: those of fp32, but for rounding. A network without ReLU, whose sign rounding may turn over.
with zipfile.ZipFile(models / "gpt2_tiny.npz") as stored:
    given = next(name for name in stored.namelist() if name.startswith("in_"))
    for name in (given, "y.npy"):
        stored.extract(name, work)
found = {}
for precision in ("fp32", "bf16", "fp16"):
    out = work / f"{precision}-gradients.safetensors"
    call(gmc, "grad", models / "gpt2_tiny.onnx", "--input", f"{given[3:-4]}={work / given}", "--label", work / "y.npy",
         f"--precision={precision}", "-o", out)
    found[precision] = [x for _, raw in sorted(tensors(out).items()) for x in struct.unpack(f"<{len(raw) // 4}f", raw)]
norm = sum(x * x for x in found["fp32"]) ** 0.5
for precision, near in (("bf16", 0.03), ("fp16", 0.005)):
    apart = sum((a - b) ** 2 for a, b in zip(found[precision], found["fp32"])) ** 0.5 / norm
    expect(0 < apart < near, f"gpt2_tiny: gradients in {precision} are {100 * apart:.2f} % from fp32's")

# Plans: what the referee says, and that low-precision copies are counted.
for model in ("mlp_mnist", "lenet5", "resnet8_cifar", "unet_tiny", "gpt2_tiny"):
    for options in (["--target=host", "--precision=bf16"], ["--target=cuda", "--precision=fp16", "--micro-batch=8"],
                    ["--target=sim", "--remat=all"]):
        out = work / "plan.json"
        loss = ["--loss=cross-entropy"] if model == "unet_tiny" else []
        call(gmc, "plan", models / f"{model}.onnx", "--batch=32", f"--json={out}", *options, *loss)
        plan = json.loads(out.read_text())
        bad, facts = referee.check(plan)
        wanted = "fp16" if "--precision=fp16" in options else "bf16"
        expect(not bad and plan["precision"] == wanted and facts["kinds"].get("cast", 0) > 0,
               f"plan of {model} {' '.join(options)}: {plan['precision']}, {facts['kinds'].get('cast', 0)} bytes of copies {bad[:3]}")
out = work / "plan.json"
call(gmc, "plan", models / "lenet5.onnx", "--target=host", f"--json={out}")
expect(json.loads(out.read_text())["precision"] == "fp32", "auto is fp32 on the host")
for archs, wanted in (("sm_90,sm_80", "bf16"), ("sm_75", "fp16"), ("sm_90,sm_75", "fp16")):
    done = call(gmc, "plan", models / "lenet5.onnx", "--target=cuda", f"--arch={archs}")
    expect(f"auto is {wanted}" in done.stdout, f"auto for {archs} is {wanted}, and says so")

# The loss scale.
for options in ([], ["--accumulate=4"]):
    trainer = build("mlp_mnist", "fp16", "--batch=32", "--optimizer=adamw", *options)
    start = tensors(Path(f"{trainer}.safetensors"))
    data = f"{mnist}[0:640]"
    events = train(trainer, data, "--steps=1", "--loss-scale=16777216")
    after = tensors(work / "weights.safetensors")
    expect(events[0]["skipped"] and events[0]["loss_scale"] == 2**23, f"{options} an overflow halves the scale and skips the step")
    expect(all(after[name] == start[name] for name in after), f"{options} a skipped step changes no weight")
    events = train(trainer, data, "--steps=8", "--loss-scale=16777216")
    scale, states = 2.0**24, True
    for e in events:
        scale = scale / 2 if e["skipped"] else scale
        states &= e["loss_scale"] == scale
    expect(states and events[0]["skipped"] and not events[-1]["skipped"], f"{options} the scale falls until nothing overflows")
    expect(events[-1]["loss"] < events[0]["loss"], f"{options} training goes on after skipped steps")
    events = train(trainer, data, "--steps=11", "--loss-scale-interval=5")
    expect([e["loss_scale"] for e in events] == [2.0**16] * 4 + [2.0**17] * 5 + [2.0**18] * 2, f"{options} the scale doubles")
    train(trainer, data, "--steps=12", "--loss-scale=16777216", "--loss-scale-interval=3")
    whole = tensors(work / "weights.safetensors")
    folder = work / "checkpoints"
    for old in folder.glob("*"):
        old.unlink()
    common = ["--loss-scale=16777216", "--loss-scale-interval=3", f"--checkpoint={folder}"]
    train(trainer, data, "--steps=7", "--save-every=7", *common)
    train(trainer, data, "--steps=12", "--resume", *common)
    expect(tensors(work / "weights.safetensors") == whole, f"{options} a resumed run continues bit for bit, the scale included")
events = train(trainer, data, "--steps=2001")
skipped = [e["step"] for e in events if e["skipped"]]
expect(not skipped and events[1998]["loss_scale"] == 2.0**16 and events[1999]["loss_scale"] == 2.0**17,
       f"the scale doubles after 2000 clean steps (skipped: {skipped[:5]})")
events = train(trainer, data, "--steps=100", "--lr=1e6", code=5)
expect(events[-1]["loss_scale"] >= 1 and any(e["skipped"] for e in events), "overflow at every scale stops with exit code 5")
done = subprocess.run([str(work / "lenet5-bf16"), f"--data={data}", "--loss-scale=2"], capture_output=True, text=True)
expect(done.returncode == 1 and "compile with --precision=fp16" in done.stderr, "a scale is refused where none is compiled in")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
