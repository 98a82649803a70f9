#!/usr/bin/env python3
"""tools/gpu-check without a GPU: gpu_check.py REPOSITORY WORKDIR

A kit of two networks, run on the simulated driver: no failure, every part in the JSON. Then a weight of the kit is changed: the gradients
and trajectories must be found wrong, by exit code and by name. Exit 77 without ../shared or a CUDA toolkit."""
import json, shutil, struct, subprocess, sys
from pathlib import Path

repository, work = Path(sys.argv[1]), Path(sys.argv[2])
tool = repository / "tools" / "gpu-check"
shutil.rmtree(work, ignore_errors=True)
failures = []


def check(condition, text):
    print(("ok: " if condition else "FAILED: ") + text)
    if not condition:
        failures.append(text)


def gpu_check(*arguments):
    done = subprocess.run([sys.executable, str(tool), f"--work={work / 'kit'}", *arguments], capture_output=True, text=True)
    print(done.stdout + done.stderr)
    return done


def on_device(out, parts):
    done = gpu_check("--on-device", "--target=sim", "--seconds=3000", f"--out={work / out}", f"--parts={parts}")
    results = list((work / out).glob("gpu-simulated-*.json"))
    check(len(results) == 1, f"{out}: one file of results")
    return done.returncode, json.loads(results[0].read_text())


built = gpu_check("--simulate", "--models=lenet5,gpt2_tiny", "--rungs=2", "--cases=1.22.0.*(relu|softmax_axis_0|conv_with_strides|gather|maxpool)",
                  "--parts=ops,kernels,reference,ladder")
if built.returncode and ("is missing" in built.stderr or "libdevice" in built.stderr):
    print("skipped")
    sys.exit(77)
check(built.returncode == 0, "the kit is built")
code, report = on_device("right", "ops,kernels,reference,ladder,sanitizer")
check(code == 0 and not report["failures"], f"exit {code}, failures: {report['failures']}")
parts = report["parts"]
check(parts["ops"]["sums"]["cases"] > 30 and "nn.softmax_grad" in parts["ops"]["sums"]["ops"], "ops: cases and derivatives compared")
check(all(parts["kernels"][f"{model} {precision}"]["sums"]["steps"] > 20 for model in ("lenet5", "gpt2_tiny") for precision in ("fp32", "auto")),
      "kernels: steps compared")
check(len(parts["kernels"]["ops"]) > 15, f"kernels: {len(parts['kernels']['ops'])} ops")
check(all(parts["reference"][model]["gradients"]["compared"] > 5 for model in ("lenet5", "gpt2_tiny")), "reference: gradients compared")
check(len(parts["ladder"]["gpt2_tiny"]["rungs"]) == 2, "ladder: two budgets")
check(set(parts["ladder"]["reserve"]) == {"context", "code", "local", "graphs"}, "ladder: the reserve by part")
check("skipped" in parts["sanitizer"], "sanitizer: skipped, and said so")

page = work / "page.md"
done = gpu_check("--page", str(page), *(str(path) for path in (work / "right").glob("*.json")))
text = page.read_text() if done.returncode == 0 else ""
check("6 trajectories of five steps" in text and "| GPT-2 tiny |" in text and "at all budgets for 1 of 1 networks" in text, "the page of the results")

weights = work / "kit" / "run" / "kit" / "weights" / "lenet5.safetensors"
data = bytearray(weights.read_bytes())
size = struct.unpack_from("<Q", data)[0]
begin = json.loads(data[8:8 + size])["c1.weight"]["data_offsets"][0] + 8 + size
struct.pack_into("<f", data, begin, struct.unpack_from("<f", data, begin)[0] + 0.5)
weights.write_bytes(data)
code, report = on_device("wrong", "reference")
check(code == 1, f"with a wrong weight: exit {code}")
check(any("lenet5" in f and "gradients" in f for f in report["failures"]), "the wrong gradients are named")
check(any("lenet5 sgd" in f for f in report["failures"]), "the wrong trajectory is named")
check(not any("gpt2_tiny" in f for f in report["failures"]), "the other network is right")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
