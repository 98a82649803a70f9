"""What the PTX of a kernel says: where its bytes go, and whether it assembles."""
import hashlib, re, subprocess

ENTRY = re.compile(r"^\.visible \.entry ([\w$]+)\((.*?)\)(.*?)^\}", re.M | re.S)
ITEM = re.compile(r"^(?:\.visible |\.weak )?\.(?:func|global|const|shared)\b.*?(?:^\}|;$)", re.M | re.S)
ACCESS = re.compile(r"(ld|st)(?:\.(?:volatile|relaxed|weak|gpu|cta|sys))*(?:\.global)?((?:\.[\w:]+)*?)(?:\.v([248]))?\.([busf])(8|16|32|64|128)$")
MOVES = re.compile(r"^// moves ([\w$]+) (\w+)((?: \w+:\d+)*)$", re.M)


class Kernel:
    """An entry: its text, the bytes that it says it must move by (argument, "r" or "w"), the class of its op."""

    def __init__(self, name, body, around, moves):
        self.name, self.body, self.around = name, body, around
        self.kind, self.moves = moves

    def bytes(self):
        return sum(self.moves.values())

    def text(self, name):
        return re.sub(rf"\b{re.escape(self.name)}(?=\b|_)", name, self.body)

    def hash(self):
        return hashlib.sha256((self.text("kernel") + "".join(self.around)).encode()).hexdigest()[:16]


def modules(text):
    """{architecture: (header, kernels)} of a file as `gmc compile --emit=ptx` writes it: a module for each, then what it says of all."""
    parts = re.split(r"^(?=\.version )", text, flags=re.M)
    stated = "\n".join(match.group(0) for match in MOVES.finditer(parts[-1]))
    return {re.search(r"^\.target (sm_\d+)", part, re.M).group(1): kernels(part + "\n" + stated) for part in parts[1:]}


def kernels(text):
    """(header, kernels) of a PTX module and what is said of its kernels."""
    header = "".join(f"{line}\n" for line in text.splitlines() if re.match(r"\.(version|target|address_size)\b", line))
    stated = {}
    for name, kind, list in MOVES.findall(text):
        stated[name] = kind, {(int(a[1:]), a[0]): int(n) for a, n in (entry.split(":") for entry in list.split())}
    items = [item.group(0) for item in ITEM.finditer(text)]
    found = []
    for entry in ENTRY.finditer(text):
        name, body = entry.group(1), entry.group(0)
        # What the kernel calls or reads of the rest of the file, in the file's order.
        used, more = set(), body
        while more:
            new = [i for i, item in enumerate(items) if i not in used and (n := item_name(item)) and re.search(rf"\b{re.escape(n)}\b", more)]
            used.update(new)
            more = "\n".join(items[i] for i in new)
        found.append(Kernel(name, body, tuple(items[i] for i in sorted(used)), stated.get(name, ("unknown", {}))))
    return header, found


def item_name(item):
    head = item.split("{", 1)[0].split("=", 1)[0]
    names = re.findall(r"([A-Za-z_$][\w$]*)\s*(?:\(|\[|;|$)", re.sub(r"\.param[^,)]*", "", head))
    return names[-1] if names else None


#===- Where the bytes go -------------------------------------------------------------------------------------===#

def blocks(kernel):
    """Basic blocks: [(instructions, successors)], an instruction being (opcode, operands)."""
    lines = kernel.body[kernel.body.index("{") + 1:].splitlines()
    parts, labels = [[]], {}
    for line in lines:
        line = line.split("//")[0].strip()
        if match := re.match(r"(\$[\w$]+):", line):
            parts.append([])
            labels[match.group(1)] = len(parts) - 1
        elif line and not line.startswith((".", "}", "{")):
            match = re.match(r"(?:@(!?%p\d+)\s+)?(\S+)\s*(.*?);?$", line)
            parts[-1].append((match.group(2), match.group(3), match.group(1)))
            if match.group(2).split(".")[0] in ("bra", "ret", "exit", "trap"):
                parts.append([])
    result = []
    for i, part in enumerate(parts):
        next = [i + 1] if i + 1 < len(parts) else []
        if part and part[-1][0].startswith("bra"):
            next = [labels[part[-1][1].strip()]] + (next if part[-1][2] else [])
        elif part and part[-1][0].split(".")[0] in ("ret", "exit", "trap") and not part[-1][2]:
            next = []
        result.append((part, next))
    return result


def pointers(graph, name):
    """Which argument each 64-bit register points into, by following what it was computed from."""
    source = {}
    changed = True
    while changed:
        changed = False
        for part, _ in graph:
            for opcode, operands, _ in part:
                if match := re.match(rf"(%rd\d+), \[{re.escape(name)}_param_(\d+)\]", operands):
                    new, into = {int(match.group(2))}, match.group(1)
                elif opcode.startswith(("ld", "st", "setp", "bra")) or not (match := re.match(r"(%rd\d+), (.*)", operands)):
                    continue
                else:
                    into, new = match.group(1), set()
                    for register in re.findall(r"%rd\d+", match.group(2)):
                        new |= source.get(register, set())
                if not new <= source.get(into, set()):
                    source[into] = source.get(into, set()) | new
                    changed = True
    return source


def accesses(kernel):
    """The accesses of memory by block, [[(argument, "r" or "w", bytes)]], and the blocks' successors."""
    graph = blocks(kernel)
    source = pointers(graph, kernel.name)
    found = []
    for part, _ in graph:
        found.append([])
        for opcode, operands, _ in part:
            match = ACCESS.match(opcode)
            address = re.search(r"\[(%rd\d+)(?:\+-?\d+)?\]", operands)
            if not match or not address:
                continue
            width = int(match.group(3) or 1) * int(match.group(5)) // 8
            for argument in source.get(address.group(1), ()):
                found[-1].append((argument, "r" if match.group(1) == "ld" else "w", width))
    return found, [next for _, next in graph]


def main_path(found, next):
    """The accesses along the way through the kernel that moves most bytes, every loop on it taken once; of ways that move as many, the
    one with more of them in 16 bytes. That leaves out what a last thread does with a remainder, which is less than one vector."""
    order, state, back = [], {}, set()
    stack = [(0, iter(next[0]))]
    state[0] = 1
    while stack:
        at, rest = stack[-1]
        for to in rest:
            if state.get(to) == 1:
                back.add((at, to))
            elif to not in state:
                state[to] = 1
                stack.append((to, iter(next[to])))
                break
        else:
            state[at] = 2
            order.append(at)
            stack.pop()
    # A loop that is left at its head goes on from its end as from there.
    forward = {at: [to for to in next[at] if (at, to) not in back] for at in order}
    for at, head in back:
        forward[at] = forward[at] + [to for to in forward[head] if order.index(to) < order.index(at)]
    best = {}
    for at in order:
        tails = [best[to] for to in forward[at] if to in best]
        tail = max(tails, key=lambda path: path[0], default=((0, 0), []))
        widths = [width for _, _, width in found[at]]
        best[at] = ((tail[0][0] + sum(widths), tail[0][1] + sum(w for w in widths if w >= 16)), found[at] + tail[1])
    return best[0][1]


def wide_share(kernel):
    """The share of the bytes the kernel must move that go in accesses of 16 bytes."""
    found, next = accesses(kernel)
    path, everything = main_path(found, next), [access for part in found for access in part]
    wide = total = 0
    for (argument, direction), count in kernel.moves.items():
        for list in (path, everything):
            mine = [width for a, d, width in list if (a, d) == (argument, direction)]
            if mine:
                break
        total += count
        wide += count * sum(width for width in mine if width >= 16) / sum(mine) if mine else 0
    return wide / total if total else 1.0


#===- Assembling ---------------------------------------------------------------------------------------------===#

FIELDS = {"stack": r"(\d+) bytes stack frame", "stores": r"(\d+) bytes spill stores", "loads": r"(\d+) bytes spill loads",
          "registers": r"Used (\d+) registers", "shared": r"(\d+) bytes smem"}


def figures(log):
    """What `ptxas -v` says of each function: {name: {field: number}}."""
    found, current = {}, None
    for line in log.splitlines():
        if match := re.search(r"(?:Compiling entry function '|Function properties for )([\w$]+)", line):
            current = found.setdefault(match.group(1), {})
        elif current is not None:
            for field, pattern in FIELDS.items():
                if match := re.search(pattern, line):
                    current[field] = int(match.group(1))
    return found


def assemble(header, kernels, arch, ptxas, path, batch=64):
    """Assembles kernels {key: Kernel}, `batch` a call of ptxas: yields (key, result), where the result is {"registers", "stack",
    "spills", "shared"} or {"error"}. Functions that a kernel calls count as its own."""
    keys = sorted(kernels)
    for start in range(0, len(keys), batch):
        part = {key: kernels[key] for key in keys[start:start + batch]}
        # Functions and tables of libdevice are written once a module: they are the same under the same name.
        around = dict.fromkeys(item for kernel in part.values() for item in kernel.around)
        path.write_text(header + "\n".join(around) + "\n" + "\n".join(k.text(f"k_{key}") for key, k in part.items()) + "\n")
        done = subprocess.run([ptxas, f"-arch={arch}", "-v", "-o", "/dev/null", str(path)], capture_output=True, text=True)
        path.unlink()
        if done.returncode and len(part) > 1:  # which of them?
            yield from assemble(header, part, arch, ptxas, path, 1)
            continue
        found = figures(done.stderr + done.stdout)
        for key, kernel in part.items():
            mine = [found[name] for name in [f"k_{key}", *map(item_name, kernel.around)] if name in found]
            if done.returncode or not mine or "registers" not in mine[0]:
                yield key, {"error": (done.stderr or done.stdout).strip()[-1000:] or "ptxas says nothing of the kernel"}
                continue
            total = lambda *fields: sum(entry.get(field, 0) for entry in mine for field in fields)
            yield key, {"registers": mine[0]["registers"], "stack": total("stack"), "spills": total("stores", "loads"),
                        "shared": mine[0].get("shared", 0)}
