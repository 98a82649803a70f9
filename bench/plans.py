#!/usr/bin/env python3
"""Plans of real networks: memory, time, and how long planning takes; every plan judged by the shared referee.

bench/plans.py GMC [SHARED] [NAME...] [--OPTION=VALUE...]

Runs `gmc plan --frontier` on the networks of SHARED/data/onnx (zoo, modern/full, modern, reference; those whose path holds a NAME, if any is
given) and on two deep ones that bench/deep_model.py makes, with the options given, by default --target=cuda. Columns: kernels of the
step; MB of arena without a budget; arena over most bytes live; floor over unconstrained; floor over the proved bound (arenas);
time above unconstrained at half of the arena, and the micro-batch that it takes; points; processor seconds of planning. Exits 1 where the
referee finds a problem, 77 (skipped) where SHARED is not there.
"""
import importlib.util, json, os, re, subprocess, sys, tempfile, time
from pathlib import Path

here = Path(__file__).resolve().parent
gmc = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
words = sys.argv[2:]
shared = Path(words.pop(0)) if words and Path(words[0]).is_dir() else here.parent.parent / "shared"
names = [w for w in words if not w.startswith("--")]
options = [w for w in words if w.startswith("--")]
if not any(w.startswith("--target") for w in options):
    options.append("--target=cuda")
if not (shared / "referee" / "plan.py").exists():
    print(f"skipped: {shared} is not there")
    sys.exit(77)
spec = importlib.util.spec_from_file_location("referee", shared / "referee" / "plan.py")
referee = importlib.util.module_from_spec(spec)
spec.loader.exec_module(referee)
failures = []


def plan(model, work):
    """The plan, and the seconds it took; dims that the model leaves open are 64 for pictures and 128 for texts."""
    out, extra = f"{work}/plan.json", []
    for attempt in range(3):
        before = os.times()
        run = subprocess.run([gmc, "plan", str(model), "--frontier", f"--json={out}", *options, *extra], capture_output=True, text=True)
        after = os.times()
        seconds = after.children_user - before.children_user + after.children_system - before.children_system
        if run.returncode == 0:
            return json.loads(Path(out).read_text()), seconds
        open_dims = set(re.findall(r"--dim[ =]'?([A-Za-z_0-9]+)=", run.stderr))
        if open_dims and not extra:
            extra = [f"--dim={d}={64 if 'height' in d or 'width' in d else 128}" for d in open_dims]
        elif "--loss=auto" in run.stderr and "--loss=mse" not in extra:
            extra = [*extra, "--loss=mse"]
        else:
            break
    return run.stderr.strip().splitlines()[0][-160:], 0


def show(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


with tempfile.TemporaryDirectory() as work:
    models = [p for folder in ("zoo", "modern/full", "modern", "reference") for p in sorted((shared / "data/onnx" / folder).glob("*.onnx"))]
    for kind, layers in (("resnet", 120), ("gpt", 100)):
        text = subprocess.run([sys.executable, here / "deep_model.py", kind, str(layers)], capture_output=True, check=True).stdout
        made = Path(work) / f"deep_{kind}{layers}.onnx"
        made.write_bytes(subprocess.run(["protoc", "--encode=onnx.ModelProto", "-I/usr/include/onnx", "onnx.proto"], input=text,
                                        capture_output=True, check=True).stdout)
        models.append(made)
    show("network", "kernels", "arena MB", "arena/live", "floor/arena", "floor/bound", "half", "micro-batch", "points", "seconds")
    show(*["---"] * 10)
    for model in models:
        name = f"{model.parent.name}/{model.stem}" if model.parent != Path(work) else model.stem
        if names and not any(n in name for n in names):
            continue
        result, seconds = plan(model, work)
        if isinstance(result, str):
            show(name, result, *[""] * 8)
            continue
        bad, facts = referee.check(result)
        failures += [f"{name}: {b}" for b in bad[:5]]
        arena, points = result["arena_bytes"], result["points"]
        floor = points[-1]["arena_bytes"]
        bound = result["bound_bytes"] - (points[-1]["budget_bytes"] - floor)  # the reserve of the smallest plan
        half = min((p for p in points if p["arena_bytes"] <= arena / 2), key=lambda p: p["step_ms"], default=None)
        slower = f"+{100 * (half['step_ms'] / points[0]['step_ms'] - 1):.1f} %" if half else "-"
        show(name, facts["steps"], f"{arena / 1e6:.1f}", f"{facts['packing']:.4f}", f"{floor / arena:.2f}", f"{floor / bound:.2f}",
             slower, half["micro_batch"] if half else "", len(points), f"{seconds:.1f}")
print("\n" + ("\n".join(failures) or "0 problems"))
sys.exit(bool(failures))
