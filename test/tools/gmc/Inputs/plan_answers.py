"""plan_answers.py MODEL WORKDIR: asks `gmc plan` for a ladder of budgets and holds the answers against each other.

Half of the unconstrained arena costs less than 15 % in time; a larger budget is never slower; the floor fits and a byte less does
not; the frontier and the answer do not depend on the budget asked for or on whether a CUDA toolkit is there. Leaves the plans of
the whole and of half the arena as WORKDIR/whole.json and WORKDIR/half.json.
"""
import json, os, subprocess, sys
from pathlib import Path

model, work = sys.argv[1], Path(sys.argv[2])
work.mkdir(parents=True, exist_ok=True)


def plan(name, *options, code=0, environment=None):
    out = work / f"{name}.json"
    command = ["gmc", "plan", model, "--target=cuda", "--batch=8", "--micro-batch=8", "--frontier", f"--json={out}", *options]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode != code:
        sys.exit(f"{' '.join(command)}: exit {run.returncode}, expected {code}\n{run.stdout}{run.stderr}")
    return json.loads(out.read_text())


whole = plan("whole")
half = plan("half", f"--vram={whole['reserve_bytes'] + whole['arena_bytes'] // 2}")
assert half["points"] == whole["points"], "the frontier depends on the budget"
assert half["floor_bytes"] == whole["floor_bytes"] and half["bound_bytes"] == whole["bound_bytes"]
slower = half["predicted_step_ms"] / whole["predicted_step_ms"] - 1
assert 0 < slower < 0.15, f"half of the arena costs {100 * slower:.1f} %"
assert any(s["stage"] == "recompute" for s in half["steps"])
floor, top = whole["floor_bytes"], whole["budget_bytes"]
assert plan("top", f"--vram={top}")["predicted_step_ms"] == whole["predicted_step_ms"]
last = float("inf")
for k in range(4):
    at = plan("rung", f"--vram={floor + (top - floor) * k // 3}")
    assert at["arena_bytes"] + at["reserve_bytes"] <= at["budget_bytes"]
    assert at["predicted_step_ms"] <= last, "a larger budget is slower"
    last = at["predicted_step_ms"]
none = plan("none", f"--vram={floor - 1}", code=3)
assert none["bound_bytes"] <= none["floor_bytes"] == floor
assert any(lever["saved_bytes"] > 0 for lever in none["levers"]), "nothing would help"
bare = {k: v for k, v in os.environ.items() if not k.startswith("CUDA")}
assert plan("bare", environment={**bare, "CUDA_HOME": str(work)}) == plan("bare", environment=bare) == whole
print(f"half of the arena: {100 * slower:.1f} % slower")
