#!/usr/bin/env python3
"""Ten budgets from unconstrained to the floor: memory within the budget, weights identical bit for bit.

ladder.py GMC MODEL WORKDIR --data=SPEC|--random=INPUT:CLASSES:C,H,W --micro-batch=N [--batch=N] [--steps=N] [--share=X] [gmc options...]
Every rung is planned (and judged by ../shared/referee/plan.py where it is), compiled, trained for --steps, and compared: VmHWM as the
trainer reports it must be at most the budget, the saved weights must equal those of the unconstrained plan. The floor
itself must compile and run. With --share, a budget of reserve + share * unconstrained arena must fit unless the bound forbids it. Exit 1 on any failure."""
import hashlib, importlib.util, json, subprocess, sys
from pathlib import Path

gmc, model, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
known = {"--data": None, "--random": None, "--steps": "50", "--share": None}
options = []
for word in sys.argv[4:]:
    name, _, value = word.partition("=")
    if name in known:
        known[name] = value
    else:
        options.append(word)
if not model.exists():
    print(f"skipped: {model} is not there")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
if known["--random"]:
    name, classes, shape = known["--random"].split(":")
    subprocess.run([sys.executable, str(Path(__file__).with_name("random_npy.py")), str(work / "data"), "128", classes,
                    *shape.split(",")], check=True)
    known["--data"] = f"{name}={work}/data/x.npy,label={work}/data/y.npy"
shared = Path(__file__).resolve().parents[3] / "shared" / "referee" / "plan.py"
referee = None
if shared.exists():
    spec = importlib.util.spec_from_file_location("referee", shared)
    referee = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(referee)
options += ["--target=host", "--numerics=pinned"]
failures = []


def plan(budget=None):
    out = work / "plan.json"
    command = [gmc, "plan", str(model), f"--json={out}", *options] + ([f"--vram={budget}"] if budget else [])
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{' '.join(command)}: exit {run.returncode}\n{run.stderr}")
    result = json.loads(out.read_text())
    if referee:
        bad, _ = referee.check(result)
        failures.extend(f"budget {budget}: {b}" for b in bad[:5])
    return result


free = plan()
top, floor, reserve = free["arena_bytes"] + free["reserve_bytes"], free["floor_bytes"], free["reserve_bytes"]
budgets = sorted({floor + (top - floor) * k // 9 for k in range(10)}, reverse=True)
print(f"{model.name}: unconstrained {top}, floor {floor}, reserve {reserve}, bound {free['bound_bytes']}")
if known["--share"]:
    share = int(reserve + float(known["--share"]) * free["arena_bytes"])
    if share < free["bound_bytes"]:
        print(f"  {share} bytes ({known['--share']} of the arena) is below the proved bound")
    elif share < floor:
        failures.append(f"{share} bytes ({known['--share']} of the arena) is below the floor {floor}")
reference = None
for budget in budgets:
    result = plan(budget)
    trainer, weights, log = work / "trainer", work / "weights.safetensors", work / "log.jsonl"
    log.unlink(missing_ok=True)
    for command in ([gmc, "compile", str(model), f"--vram={budget}", "-o", str(trainer), *options],
                    [str(trainer), f"--data={known['--data']}", f"--steps={known['--steps']}", "--lr=1e-3",
                     f"--save={weights}", f"--log={log}"]):
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            failures.append(f"{' '.join(command)}: exit {run.returncode}\n{run.stdout[-500:]}{run.stderr[-1500:]}")
            break
    else:
        events = [json.loads(line) for line in log.read_text().splitlines()]
        used = next(e["used"] for e in events if e["event"] == "memory")
        loss = [e["loss"] for e in events if e["event"] == "step"][-1]
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        reference = reference or digest
        recomputed = sum(s["stage"] == "recompute" for s in result["steps"])
        print(f"  budget {budget:>12}  used {used:>12}  arena {result['arena_bytes']:>12}  predicted "
              f"{result['predicted_step_ms']:9.3f} ms  recomputations {recomputed:>4}  loss {loss:.6f}  weights {digest}")
        if used > budget:
            failures.append(f"budget {budget}: used {used}")
        if digest != reference:
            failures.append(f"budget {budget}: weights differ from those of the unconstrained plan")
        if result["numerics"] != free["numerics"]:
            failures.append(f"budget {budget}: other numerics under --numerics=pinned")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
