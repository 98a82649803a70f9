"""What the end-to-end tests share: models written as text, runs of gmc and of trainers, what they must say and leave behind."""
import json, os, shutil, struct, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
SKIPPED = 77


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


class Failure(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Result:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def __str__(self):
        return f"{' '.join(map(str, self.command))}\nexit {self.code}\n{self.out[-2000:]}{self.err[-4000:]}"

    def must(self, code, *texts):
        """The exit code, and words that stdout or stderr must hold."""
        expect(self.code == code, f"exit {code} is expected:\n{self}")
        for text in texts:
            expect(text in self.out + self.err, f"'{text}' is missing:\n{self}")
        return self


def run(*command, cwd=None, timeout=600, **more):
    command = [str(c) for c in command]
    done = subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True, errors="replace", **more)
    return Result(command, done.returncode, done.stdout, done.stderr)


def files(folder):
    """Every file below a folder, with size and time of change: what a failed command must leave as it was."""
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
            for p in sorted(Path(folder).rglob("*")) if p.is_file()}


class Untouched:
    """with Untouched(folder): nothing in it appears, changes or goes."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.before = files(self.folder)

    def __exit__(self, kind, *rest):
        after = files(self.folder)
        if kind is None:
            expect(after == self.before, f"{self.folder} changed: {set(after.items()) ^ set(self.before.items())}")


def encode(text, path):
    """An ONNX model from its text form."""
    done = subprocess.run(["protoc", "--encode=onnx.ModelProto", "--proto_path=/usr/include", "/usr/include/onnx/onnx.proto"],
                          input=text.encode(), capture_output=True)
    expect(done.returncode == 0, f"protoc: {done.stderr.decode()}")
    Path(path).write_bytes(done.stdout)
    return Path(path)


def decode(path):
    done = subprocess.run(["protoc", "--decode=onnx.ModelProto", "--proto_path=/usr/include", "/usr/include/onnx/onnx.proto"],
                          input=Path(path).read_bytes(), capture_output=True)
    expect(done.returncode == 0, f"protoc: {done.stderr.decode()}")
    return done.stdout.decode()


def value(name, *dims, kind=1):
    shape = " ".join(f'dim {{ dim_param: "{d}" }}' if isinstance(d, str) else f"dim {{ dim_value: {d} }}" for d in dims)
    return f'{{ name: "{name}" type {{ tensor_type {{ elem_type: {kind} shape {{ {shape} }} }} }} }}\n'


def model(nodes, initializers, inputs, outputs):
    """nodes: (op, name, inputs, outputs[, attributes as text]); initializers: their text, without the outer braces."""
    text = 'ir_version: 8 opset_import { version: 17 }\ngraph { name: "g"\n'
    for op, name, ins, outs, *attributes in nodes:
        text += "node { " + "".join(f'input: "{i}" ' for i in ins) + "".join(f'output: "{o}" ' for o in outs)
        text += f'name: "{name}" op_type: "{op}" {" ".join(attributes)} }}\n'
    text += "".join(f"initializer {{ {i} }}\n" for i in initializers)
    return text + "".join("input " + i for i in inputs) + "".join("output " + o for o in outputs) + "}\n"


def weight(name, *dims):
    """A float initializer with small, unequal values."""
    count = 1
    for d in dims:
        count *= d
    data = "".join(f"\\{b:03o}" for b in struct.pack(f"<{count}f", *((i * 7919 % 201 - 100) / 400 for i in range(count))))
    return f'name: "{name}" data_type: 1 {" ".join(f"dims: {d}" for d in dims)} raw_data: "{data}"'


def mlp(batch="batch"):
    """Two layers on 12 inputs, 3 classes."""
    return model([("Gemm", "fc1", ["x", "w1", "b1"], ["h"]), ("Relu", "relu1", ["h"], ["r"]),
                  ("Gemm", "fc2", ["r", "w2", "b2"], ["logits"])],
                 [weight("w1", 12, 16), weight("b1", 16), weight("w2", 16, 3), weight("b2", 3)],
                 [value("x", batch, 12)], [value("logits", batch, 3)])


def npy(path, kind, shape, data):
    """Writes an .npy file; data is bytes."""
    shape = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)
    return Path(path)


def samples(folder, count=96, features=12, classes=3):
    """x.npy and y.npy that an mlp can learn: the class is where the largest of three sums lies."""
    x, y = [], []
    for i in range(count):
        row = [((i * 31 + j * 17 + i * j * 7) % 97) / 97 - 0.5 for j in range(features)]
        sums = [sum(row[c::classes]) for c in range(classes)]
        x += row
        y.append(sums.index(max(sums)))
    folder.mkdir(parents=True, exist_ok=True)
    npy(folder / "x.npy", "<f4", (count, features), struct.pack(f"<{len(x)}f", *x))
    npy(folder / "y.npy", "<i8", (count,), struct.pack(f"<{count}q", *y))
    return f"x={folder}/x.npy,label={folder}/y.npy"


def events(log):
    return [json.loads(line) for line in Path(log).read_text().splitlines()]


def safetensors(path):
    """name -> (dtype, shape, bytes)"""
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    return {name: (t["dtype"], tuple(t["shape"]), body[slice(*t["data_offsets"])])
            for name, t in header.items() if name != "__metadata__"}


def main(cases, usage):
    """Runs one case: SCRIPT GMC WORK CASE; --list prints the names, which CMake registers as tests."""
    if sys.argv[1:] == ["--list"]:
        print(";".join(cases), end="")
        return
    if len(sys.argv) != 4 or sys.argv[3] not in cases:
        sys.exit(usage)
    gmc, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve() / sys.argv[3]
    if not any(os.path.ismount(p) for p in work.glob("*")):  # see full_disk
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)  # a reproducer of an internal error lands here
    try:
        cases[sys.argv[3]](gmc, work)
    except Failure as failure:
        sys.exit(f"{sys.argv[3]}: {failure}")
    print(f"{sys.argv[3]}: ok")
