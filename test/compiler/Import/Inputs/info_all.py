"""info_all.py FOLDER: runs `gmc info --json` on every ONNX file under FOLDER; each must exit 0 with a complete answer."""
import json
import os
import subprocess
import sys

failures, models = [], 0
for folder, _, files in os.walk(sys.argv[1]):
    for name in sorted(files):
        path = os.path.join(folder, name)
        if not name.endswith(".onnx") or name.startswith("LICENSE"):
            continue
        models += 1
        run = subprocess.run(["gmc", "info", path, "--json"], capture_output=True, text=True)
        if run.returncode != 0:
            failures.append(f"{path}: exit {run.returncode}: {run.stderr.strip()}")
            continue
        answer = json.loads(run.stdout)
        if not answer["importable"] and not answer["unsupported"] and not answer["problems"]:
            failures.append(f"{path}: not importable without a reason")
        if not answer["ops"] or any("reason" not in i for i in answer["initializers"]):
            failures.append(f"{path}: incomplete answer")
if models == 0:
    failures.append("no models found")
print("\n".join(failures))
print(f"{models} models, {len(failures)} failures")
sys.exit(1 if failures else 0)
