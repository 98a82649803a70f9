"""What both halves of tools/gpu-check use: files in the formats of the trainers, read and written without numpy."""
import array, ast, json, lzma, random, struct, subprocess, sys, zipfile, zlib

TYPES = {"F32": ("f", 4), "F64": ("d", 8), "I64": ("q", 8), "I32": ("i", 4), "U8": ("B", 1), "I8": ("b", 1), "BOOL": ("B", 1)}
NPY = {"<f4": "f", "<f8": "d", "<i8": "q", "<i4": "i", "|u1": "B", "<u2": "H"}


def run(command, seconds=None, check=True, environment=None, input=None):
    """The finished process; exit code 124 when it ran into `seconds`."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment,
                              input=input)
    except subprocess.TimeoutExpired as late:
        text = lambda data: data.decode(errors="replace") if isinstance(data, bytes) else data or ""
        done = subprocess.CompletedProcess(words, 124, text(late.stdout), text(late.stderr) + f"stopped after {seconds:.0f} s")
    if check and done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-800:]}{done.stderr[-2000:]}")
    return done


#===- .npy, .npz -----------------------------------------------------------------------------------------===#

def write_npy(path, shape, kind, values):
    """`values`: an array.array or bytes of the type `kind`."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(values))


def read_npy(data):
    """(shape, array.array) of a .npy file's bytes."""
    size = struct.unpack_from("<H", data, 8)[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    if header["fortran_order"] and len(header["shape"]) > 1:
        raise ValueError("a .npy file in Fortran order")
    values = array.array(NPY[header["descr"]])
    values.frombytes(data[10 + size:])
    return header["shape"], values


class Npz:
    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)
        self.names = [name.removesuffix(".npy") for name in self.zip.namelist()]

    def raw(self, name):
        return self.zip.read(name + ".npy")

    def values(self, name):
        return read_npy(self.raw(name))[1]

    def under(self, prefix):
        return {name[len(prefix):]: name for name in self.names if name.startswith(prefix)}


#===- safetensors ----------------------------------------------------------------------------------------===#

def read_header(path):
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return json.loads(file.read(size)), 8 + size


def read_tensors(path):
    """{name: array.array} of a whole file."""
    header, start = read_header(path)
    data, found = path.read_bytes(), {}
    for name, entry in header.items():
        if name != "__metadata__":
            values = array.array(TYPES[entry["dtype"]][0])
            values.frombytes(data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
            found[name] = values
    return found


def write_constants(path, target):
    """What the compiler computed of a weights file, which a trainer looks for beside itself; nothing where there is none."""
    header, start = read_header(path)
    names = [name for name in header if name.startswith("constant/")]
    if not names:
        return
    kept, data, whole = {"__metadata__": header["__metadata__"]}, b"", path.read_bytes()
    for name in names:
        begin, end = header[name]["data_offsets"]
        kept[name] = header[name] | {"data_offsets": [len(data), len(data) + end - begin]}
        data += whole[start + begin:start + end]
    write_safetensors_head(target, kept, lambda file: file.write(data))


def write_safetensors_head(path, header, body):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        body(file)


def write_shell(path, shell):
    """A weights file without what can be made again: the header, small and repetitive tensors as they are, of other float tensors
    only the spread. What refill() makes of it has the same names, shapes and model hash."""
    header, start = read_header(path)
    tensors = {}
    with path.open("rb") as file:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            head = file.read(min(end - begin, 1 << 16))
            sample = array.array("f", head) if entry["dtype"] == "F32" else []
            finite = all(abs(x) < 1e6 for x in sample)
            if entry["dtype"] == "F32" and end - begin > 1 << 16 and finite and len(zlib.compress(head, 1)) > len(head) // 2:
                tensors[name] = (sum(x * x for x in sample) / len(sample)) ** 0.5
            else:
                tensors[name] = (head + file.read(end - begin - len(head))).hex()
    with lzma.open(shell, "wt") as out:
        json.dump({"header": header, "tensors": tensors}, out)


def refill(shell, path):
    """Writes the weights file that `shell` stands for; random values are a function of the tensor's name."""
    with lzma.open(shell, "rt") as file:
        content = json.load(file)
    generator = random.Random(1)
    normal = array.array("f", (generator.gauss(0, 1) for _ in range(1 << 16)))
    entries = {name: entry for name, entry in content["header"].items() if name != "__metadata__"}

    def body(file):
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"][0]):
            value, size = content["tensors"][name], entry["data_offsets"][1] - entry["data_offsets"][0]
            if isinstance(value, str):
                file.write(bytes.fromhex(value))
                continue
            turn = zlib.crc32(name.encode()) % len(normal)
            block = array.array("f", (value * x for x in normal[turn:] + normal[:turn])).tobytes()
            while size > 0:
                file.write(block[:size])
                size -= len(block)

    write_safetensors_head(path, content["header"], body)


#===- data -----------------------------------------------------------------------------------------------===#

def make_data(spec, folder, archives):
    """Writes the data of `spec` into `folder`, once; returns the trainer's --data. The same on every machine."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(1)
    if spec["kind"] == "npz":
        parts = []
        npz = Npz(archives / spec["npz"])
        for name in npz.names:
            if name.startswith("in_") or name == "y":
                target = folder / f"{spec['npz']}.{name}.npy"
                target.write_bytes(npz.raw(name))
                parts.append(f"{'label' if name == 'y' else name[3:]}={target}")
        return "--data=" + ",".join(parts)
    if spec["kind"] == "tokens":
        target = folder / f"tokens-{spec['vocabulary']}-{spec['count']}.bin"
        if not target.exists():
            # A sequence with something to learn in it: mostly the successor of the token before.
            tokens, token = array.array("H"), 0
            for _ in range(spec["count"]):
                token = (token + 1) % spec["vocabulary"] if generator.random() < 0.8 else generator.randrange(spec["vocabulary"])
                tokens.append(token)
            target.write_bytes(tokens.tobytes())
        return f"--data={target}"
    shape, classes, count = spec["shape"], spec["classes"], spec["count"]
    dense = spec.get("dense", False)  # a label for each pixel
    name = f"images-{'x'.join(map(str, shape))}-{classes}-{count}{'-dense' if dense else ''}"
    pixels, labels = folder / f"{name}.npy", folder / f"{name}.labels.npy"
    if not pixels.exists():
        plane, each = shape[1] * shape[2], bytearray()
        noise = generator.randbytes(1 << 20)
        chosen = [generator.randrange(classes) for _ in range(count)]
        for label in chosen:
            for channel in range(shape[0]):  # the class decides the mean colour
                middle = 24 + (label * (7 + 4 * channel)) % 10 * 20
                low = bytes(min(255, middle + (value >> 3)) for value in range(256))
                at = generator.randrange(len(noise) - 4096)
                each += (noise[at:at + 4096] * (plane // 4096 + 1))[:plane].translate(low)
        write_npy(pixels, [count, *shape], "|u1", each)
        chosen = [label for label in chosen for _ in range(plane if dense else 1)]
        write_npy(labels, [count, *shape[1:]] if dense else [count], "<i8", array.array("q", chosen))
    return f"--data={spec['input']}={pixels},label={labels}"


def events(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def losses(found):
    return [event["loss"] for event in found if event["event"] == "step"]


def relative(a, b, floor=0.0):
    """Distance of two sequences relative to the second's norm."""
    square = lambda values: sum(float(value) * float(value) for value in values) ** 0.5
    if len(a) != len(b):
        return float("inf")
    return square(x - y for x, y in zip(a, b)) / max(square(b), floor, 1e-30)
