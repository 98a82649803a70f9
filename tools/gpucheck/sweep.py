"""Models to kernels to what ptxas says of them, with a memory across runs (tools/ptx-sweep)."""
import hashlib, json, re, signal, subprocess, threading, time
from . import ptx


class Skip(Exception):
    """Something that no model can do without is not there."""


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()[:20]


def same_code(archs, precision):
    """Architectures that one call of gmc can compile for: `auto` is one precision for all that are named."""
    early = [arch for arch in archs if int(arch[3:]) < 80] if precision == "auto" else []
    return [group for group in (early, [arch for arch in archs if arch not in early]) if group]


class Sweep:
    """`kernels` holds a result of ptx.assemble for each key, which stands for architecture, text and ptxas; `models` what a model's
    kernels are, by everything that says so: {"count", "kernels": {key: name}, "bound": [...], for one architecture}, or {"error",
    "host"}: whether the host has the model."""

    def __init__(self, arguments, ptxas, work, archs):
        self.gmc, self.options, self.dim = arguments.gmc, arguments.options.split(), arguments.dim
        self.ptxas, self.work, self.archs = ptxas, work, archs
        self.kernels, self.models, self.lock, self.cache = {}, {}, threading.Lock(), None
        if arguments.cache:
            self.read(arguments.cache)
            self.cache = arguments.cache.open("a")
        self.compiler = digest(self.gmc.read_bytes(), *self.options, self.dim)
        self.assembler = digest(subprocess.run([ptxas, "--version"], capture_output=True, text=True).stdout)

    def read(self, path):
        whole = path.read_text() if path.exists() else ""
        if whole and not whole.endswith("\n"):  # written when the last run was interrupted
            whole = whole[:whole.rfind("\n") + 1]
            path.write_text(whole)
        for line in whole.splitlines():
            kind, key, value = json.loads(line)
            (self.kernels if kind == "kernel" else self.models)[key] = value

    def keep(self, kind, key, value):
        with self.lock:
            (self.kernels if kind == "kernel" else self.models)[key] = value
            if self.cache:
                self.cache.write(json.dumps([kind, key, value]) + "\n")
                self.cache.flush()

    def model(self, task):
        """({architecture: what self.models has of it}, or its error; a note) of a model in a precision."""
        model, precision = task
        content, result, notes = digest(model.read_bytes()), {}, []
        keys = {arch: digest(self.compiler, content, precision, arch, self.assembler) for arch in self.archs}
        for group in same_code(self.archs, precision):
            missing = [arch for arch in group if keys[arch] not in self.models or
                       arch == self.archs[0] and self.models[keys[arch]].get("bound", []) is None]
            if missing:
                notes.append(self.find(model, precision, missing, keys))
            for arch in group:
                result[arch] = self.models[keys[arch]]
                if "error" in result[arch]:
                    return result[arch], result[arch]["error"]
        return result, "; ".join(notes) or "known"

    def compile(self, model, output, *options):
        """The finished gmc: what a model leaves open is answered as its messages ask for. Dimensions get the largest of --dim, its
        half and so on that the model takes: tables of positions end."""
        command = [self.gmc, "compile", model, "-o", output, "--vram=1TB", *options, *self.options]
        dims, loss, size, losses = [], [], self.dim, ["cross-entropy", "mse"]
        while True:
            more = [f"--dim={name}={size}" for name in dims] + loss
            done = subprocess.run([str(word) for word in command + more], capture_output=True, text=True)
            if done.returncode in (1, 2) and not dims and (dims := re.findall(r"--dim (\S+)=VALUE", done.stderr)):
                continue
            elif done.returncode in (1, 2) and "--loss" in done.stderr and losses:
                loss = [f"--loss={losses.pop(0)}"]
            elif done.returncode in (1, 2) and dims and size > 1:
                size //= 2
            else:
                return done

    def find(self, model, precision, archs, keys):
        """Compiles and assembles for `archs`, and keeps what it finds; returns a note."""
        start = time.monotonic()
        output = self.work / f"{digest(model, precision, archs)}.ptx"
        done = self.compile(model, output, "--target=cuda", "--emit=ptx", f"--arch={','.join(archs)}", f"--precision={precision}")
        if done.returncode in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL):
            raise Skip(f"gmc was ended while it compiled {model}")
        if done.returncode:
            text = done.stderr.strip() or done.stdout.strip()
            if "libdevice" in text:
                raise Skip(text)
            host = self.compile(model, output, "--target=host", "--emit=obj", "--libraries=none").returncode == 0
            output.unlink(missing_ok=True)
            text = next((line for line in text.splitlines() if "error:" in line), text or f"exit {done.returncode}")
            text = text.replace(str(model), model.name)
            for arch in archs:
                self.keep("model", keys[arch], {"error": text[:300], "host": host})
            return text
        modules = ptx.modules(output.read_text())
        output.unlink()
        compiled, count, new = time.monotonic(), 0, 0
        for arch in archs:
            header, kernels = modules[arch]
            texts = {digest(self.assembler, header, kernel.hash()): kernel for kernel in kernels}
            unknown = {key: kernel for key, kernel in texts.items() if key not in self.kernels}
            for key, result in ptx.assemble(header, unknown, arch, self.ptxas, output):
                self.keep("kernel", key, result)
            bound = None if arch != self.archs[0] else [
                {"name": kernel.name, "kind": kernel.kind, "bytes": kernel.bytes(), "wide": ptx.wide_share(kernel)}
                for kernel in texts.values() if kernel.kind not in ("matmul", "conv")]
            self.keep("model", keys[arch], {"count": len(kernels), "kernels": {key: kernel.name for key, kernel in texts.items()},
                                            "bound": bound})
            count, new = len(kernels), new + len(unknown)
        return (f"{count} kernels for {', '.join(archs)}, {compiled - start:.0f} s; {new} assembled, "
                f"{time.monotonic() - compiled:.0f} s")
