"""trainable.py DATA: the initializers that gmc calls trainable are those that the references hold a gradient of.

The references (DATA/modern, DATA/reference) were computed by another framework from the modules' parameters.
"""
import glob
import json
import os
import subprocess
import sys
import zipfile

failures, models = [], 0
for npz in sorted(glob.glob(sys.argv[1] + "/modern/*.npz") + glob.glob(sys.argv[1] + "/reference/*.npz")):
    model = npz[:-4] + ".onnx"
    if not os.path.exists(model):
        continue
    run = subprocess.run(["gmc", "info", model, "--json", "--loss=mse"], capture_output=True, text=True, check=True)
    answer = json.loads(run.stdout)
    if not answer["importable"]:
        continue
    models += 1
    with zipfile.ZipFile(npz) as archive:
        names = [name[: -len(".npy")] for name in archive.namelist()]
    want = {name.split("/", 1)[1] for name in names if name.startswith("gnorm_f64/")}
    got = {i["name"] for i in answer["initializers"] if i["trainable"]}
    if want != got:
        failures.append(f"{model}: only gmc: {sorted(got - want)}; only the reference: {sorted(want - got)}")
print("\n".join(failures))
print(f"{models} models, {len(failures)} failures")
sys.exit(1 if failures or models < 15 else 0)
