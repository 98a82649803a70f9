#!/usr/bin/env python3
"""What tools/ptx-sweep stands on: ptx_sweep.py GMC REPOSITORY WORKDIR

Of three PTX kernels one is fine, one spills and one does not assemble: each must be told apart in one call of ptxas, with the module's
other kernels. Then a model is swept with --cache: a second sweep compiles and assembles nothing and prints the same tables, also when the
first one was interrupted while it wrote. Rows of 30522 halves, more than a block's registers hold in f32, must not spill; the gradient
of their bias, sums over rows that begin inside of 16 bytes, and its update, a vector that ends there, must move all but a tenth in 16
bytes; and so must sums over rows of 100. Exit 77 where there is no ptxas or no model to sweep."""
import re, shutil, subprocess, sys, os
from pathlib import Path

gmc, repository, work = sys.argv[1], *map(Path, sys.argv[2:4])
sys.path.insert(0, str(repository / "tools"))
from gpucheck import ptx

toolkit = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
ptxas = next((f"{root}/bin/ptxas" for root in toolkit if root and os.access(f"{root}/bin/ptxas", os.X_OK)), shutil.which("ptxas"))
model = repository / ".." / "shared" / "data" / "onnx" / "reference" / "mlp_mnist.onnx"
if not ptxas or not model.exists():
    print(f"skipped: ptxas: {ptxas}, {model}: {model.exists()}")
    sys.exit(77)
work.mkdir(parents=True, exist_ok=True)
failures = []


def check(condition, text):
    print(("ok: " if condition else "FAILED: ") + text, flush=True)
    if not condition:
        failures.append(text)


def kernel(name, values, directive="", extra=""):
    """Loads `values` numbers, then adds them up from the last one on, so that all are in registers at once."""
    lines = [f"  ld.volatile.global.f32 %f{i}, [%rd1+{4 * i}];" for i in range(values)]
    lines += [f"  add.rn.f32 %f{i}, %f{i}, %f{i + 1};" for i in reversed(range(values - 1))]
    return (f".visible .entry {name}(\n  .param .u64 {name}_param_0\n)\n{directive}{{\n  .reg .f32 %f<{values}>;\n  .reg .b64 %rd<2>;\n"
            f"  ld.param.u64 %rd1, [{name}_param_0];\n" + "\n".join(lines) + f"\n{extra}  st.volatile.global.f32 [%rd1], %f0;\n  ret;\n}}\n")


text = "".join(f".version 7.0\n.target {arch}\n.address_size 64\n" + kernel("fine", 8) + kernel("greedy", 64, ".maxnreg 24\n") +
               kernel("broken", 8, extra="  no.such.instruction;\n") for arch in ("sm_75", "sm_80"))
modules = ptx.modules(text + "// moves fine reduction r0:32 w0:4\n")
check(list(modules) == ["sm_75", "sm_80"] and all([k.name for k in kernels] == ["fine", "greedy", "broken"] for _, kernels in modules.values()),
      "a module for each architecture, three kernels in each")
header, kernels = modules["sm_80"]
check(kernels[0].kind == "reduction" and kernels[0].moves == {(0, "r"): 32, (0, "w"): 4}, "what is said of a kernel is known of every module's")
found = dict(ptx.assemble(header, {k.hash(): k for k in kernels}, "sm_80", ptxas, work / "three.ptx"))
fine, greedy, broken = (found[k.hash()] for k in kernels)
check(fine.get("spills") == 0 and fine.get("registers", 0) >= 8, f"fine: {fine}")
check(greedy.get("spills", 0) > 0 and greedy.get("registers", 0) <= 24, f"greedy: {greedy}")
check("error" in broken and "no" in broken["error"], f"broken: {broken}")

cache = work / "cache.jsonl"
cache.unlink(missing_ok=True)


def sweep(*options):
    done = subprocess.run([sys.executable, repository / "tools" / "ptx-sweep", f"--gmc={gmc}", "--jobs=1", *options], capture_output=True,
                          text=True)
    if done.returncode:
        sys.exit(f"ptx-sweep: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    note, tables = done.stdout.split("\n", 1)
    return note, tables


remembered = (model, "--arch=sm_75,sm_120", "--precision=fp32", f"--cache={cache}")
first, tables = sweep(*remembered)
count = re.search(r"(\d+) kernels for sm_75, sm_120, .*; (\d+) assembled", first)
check(count and int(count.group(2)) > int(count.group(1)) > 10, f"first sweep: {first}")
second, again = sweep(*remembered)
check("known" in second and again == tables, f"second sweep: {second}")
lines = cache.read_text().splitlines(keepends=True)
cache.write_text("".join(lines[:len(lines) // 2]) + lines[len(lines) // 2][:20])  # cut short in the middle of a line
third, again = sweep(*remembered)
fewer = re.search(r"; (\d+) assembled", third)
check(fewer and 0 < int(fewer.group(1)) < int(count.group(2)) and again == tables, f"after an interrupted one: {third}")


def head(name, classes, *between):
    """A linear layer with a bias, from 8 numbers to `classes`."""
    def tensor(name, last):
        dims = "".join(f"dim {{ dim_value: {d} }} " for d in (*between, last))
        return f'name: "{name}" type {{ tensor_type {{ elem_type: 1 shape {{ dim {{ dim_param: "batch" }} {dims} }} }} }}'

    external = 'data_location: EXTERNAL external_data { key: "location" value: "none" }'
    (work / name).write_bytes(subprocess.run(
        ["protoc", "--encode=onnx.ModelProto", "-I/usr/include/onnx", "onnx.proto"], stdout=subprocess.PIPE, check=True,
        input=f"""ir_version: 8 opset_import {{ version: 17 }} graph {{ name: "head"
        node {{ op_type: "MatMul" name: "head" input: "x" input: "w" output: "z" }}
        node {{ op_type: "Add" name: "shifted" input: "z" input: "b" output: "y" }}
        initializer {{ name: "w" data_type: 1 dims: 8 dims: {classes} {external} }}
        initializer {{ name: "b" data_type: 1 dims: {classes} {external} }}
        input {{ {tensor("x", 8)} }} output {{ {tensor("y", classes)} }} }}""".encode()).stdout)
    return work / name


for name, classes, *between in (("words.onnx", 30522), ("letters.onnx", 100, 64)):
    note, tables = sweep(head(name, classes, *between), "--arch=sm_90", "--precision=bf16,fp32")
    check(tables.endswith("ok\n"), f"a loss over {classes} classes: {note}")
print("\n".join(failures) or "ok")
sys.exit(bool(failures))
