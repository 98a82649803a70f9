"""The half of tools/gpu-check that needs gmc and no GPU: a kit of trainers, weights and expectations in one compressed file."""
import datetime, importlib.util, json, os, re, shutil, sys, tarfile, time
from pathlib import Path

from .common import events, losses, make_data, read_header, run, write_constants, write_shell

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "onnx"
CARRY = 60 * 2**20
RESERVE = 1500 * 1000 * 1000  # generous, so that a context of unknown size stops only the parts that measure memory and speed

NETWORKS = {  # name: file, and the --loss that the file does not say
    "mlp_mnist": ("reference", None), "lenet5": ("reference", None), "resnet8_cifar": ("reference", None),
    "unet_tiny": ("reference", "cross-entropy"), "gpt2_tiny": ("reference", None)}
MODERN = {  # further kernels, for the comparison step by step: loss, and what integers stay below
    "resnet_tiny": (None, 2), "mobilenetv3_tiny_bn": (None, 2), "convnext_tiny": (None, 2), "vit_tiny": (None, 2),
    "unet_bilinear_tiny": ("cross-entropy", 2), "lstm_cls_tiny": (None, 4), "bert_cls_tiny": (None, 2),
    "audio1d_tiny": (None, 2), "dcgan_tiny": ("mse", 2), "whisper_encoder_tiny": ("mse", 2)}
OPTIMIZERS = {  # the stored trajectories: flags of gmc compile, of the trainer
    "sgd": (["--optimizer=sgd"], ["--lr=0.05", "--weight-decay=0"]),
    "sgdm": (["--optimizer=momentum"], ["--lr=0.05", "--momentum=0.9", "--weight-decay=1e-4"]),
    "adamw": (["--optimizer=adamw"], ["--lr=1e-3", "--weight-decay=0.01"])}
LADDER = {
    "unet_tiny": {"kind": "images", "input": "x", "shape": [1, 32, 32], "classes": 2, "count": 256, "dense": True},
    "resnet8_cifar": {"kind": "images", "input": "x", "shape": [3, 32, 32], "classes": 10, "count": 256},
    "gpt2_tiny": {"kind": "tokens", "vocabulary": 512, "count": 16385}}
SPEED = {  # file, batch, data
    "lenet5": ("zoo/lenet5", 256, {"kind": "images", "input": "x", "shape": [1, 28, 28], "classes": 10, "count": 2048}),
    "resnet18": ("zoo/resnet18", 64, {"kind": "images", "input": "x", "shape": [3, 224, 224], "classes": 1000, "count": 256}),
    "gpt2_tiny": ("zoo/gpt2_tiny", 32, {"kind": "tokens", "vocabulary": 512, "count": 131073}),
    "gpt2_124m": ("zoo/gpt2_124m", 4, {"kind": "tokens", "vocabulary": 50257, "count": 65537}),
    "resnet50": ("zoo/resnet50", 64, {"kind": "images", "input": "x", "shape": [3, 224, 224], "classes": 1000, "count": 256})}


def conformance_cases():
    """(name, folder) of the ONNX backend test cases, and what is expected of each."""
    spec = importlib.util.spec_from_file_location("conformance", ROOT / "test" / "conformance" / "run.py")
    conformance = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conformance)
    work = ROOT / "build" / "test" / "conformance" / "cases"
    work.mkdir(parents=True, exist_ok=True)
    conformance.unpack(SHARED / "conformance", work)
    return conformance.find_cases(str(work)), conformance.read_expected(ROOT / "test" / "conformance" / "expected.tsv")


class Kit:
    def __init__(self, work, arch, simulate):
        self.work, self.arch, self.simulate = work, arch, simulate
        self.folder, self.scratch = work / "kit", work / "scratch"
        self.gmc = ROOT / "build" / "bin" / "gmc"
        self.cxx = os.environ.get("CXX") or shutil.which("clang++-22") or shutil.which("clang++") or "c++"
        if not self.gmc.exists():
            sys.exit("build/bin/gmc is missing: run tools/build first")
        if not SHARED.exists():
            sys.exit(f"{SHARED} is missing: it holds the networks and their references")
        shutil.rmtree(work, ignore_errors=True)
        for part in ("bin", "weights", "npz"):
            (self.folder / part).mkdir(parents=True)
        self.scratch.mkdir()
        self.manifest = {"arch": arch, "date": datetime.date.today().isoformat(), "simulated": simulate, "reserve": RESERVE,
                         "commit": run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=False).stdout.strip(),
                         "ops": None, "lockstep": [], "reference": [], "ladder": [], "speed": []}

    def compile(self, onnx, out, target, options, check=True):
        arch = [] if target == "host" else [f"--arch={self.arch}"]
        return run([self.gmc, "compile", onnx, f"--target={target}", "-o", out, *arch, *options], check=check)

    def weights(self, onnx, name, options):
        """The weights file of a network; one for all its trainers."""
        target = self.folder / "weights" / f"{name}.safetensors"
        if not target.exists():
            self.compile(onnx, self.scratch / name, "host", [*options, "--vram=16GB"])
            (self.scratch / f"{name}.safetensors").rename(target)
        return target

    def kernels(self, onnx, name, options):
        """For the simulated driver: the kernels of the trainer `name` as a library."""
        if self.simulate:
            self.compile(onnx, self.scratch / "sim.o", "sim", [*options, "--emit=obj"])
            run([self.cxx, "-shared", "-o", self.folder / "bin" / f"{name}.so", self.scratch / "sim.o",
                 ROOT / "build" / "lib" / "libgmc_rt.a", "-lpthread"])

    def trainer(self, onnx, name, options):
        out = self.scratch / name
        self.compile(onnx, out, "cuda", options)
        run(["strip", "-o", self.folder / "bin" / name, out])
        out.unlink()
        write_constants(self.scratch / f"{name}.safetensors", self.folder / "bin" / f"{name}.safetensors")
        (self.scratch / f"{name}.safetensors").unlink()
        self.kernels(onnx, name, options)
        return name

    def lockstep(self, onnx, name, options, ids):
        """The comparison step by step, in f32 and in the precision that the architecture gets."""
        weights = self.weights(onnx, name, options)
        for precision in ("fp32", "auto"):
            objects, chosen = [], [*options, f"--precision={precision}"]
            for target in ("cuda", "sim"):
                objects.append(self.scratch / f"{name}.{target}.o")
                self.compile(onnx, objects[-1], target, [*chosen, "--emit=obj"])
            binary = self.link_both("lockstep", f"{name}-{precision}-lockstep", *objects)
            if any(key.startswith("constant/") for key in read_header(weights)[0]):  # another plan folds others
                self.compile(onnx, self.scratch / name, "cuda", chosen)
                write_constants(self.scratch / f"{name}.safetensors", self.folder / "bin" / f"{binary.name}.safetensors")
            self.kernels(onnx, binary.name, chosen)
            self.manifest["lockstep"].append({"name": name, "precision": precision, "file": binary.name, "ids": ids})

    def link_both(self, main, name, cuda, sim):
        """A program of the kit that holds both builds of a model, and the `main` of test/gpu that compares them."""
        run(["llvm-objcopy-22" if shutil.which("llvm-objcopy-22") else "objcopy", "--redefine-sym", "gmc_model=gmc_model_sim", sim])
        out, binary = self.scratch / name, self.folder / "bin" / name
        library = ROOT / "build" / "lib"
        run([self.cxx, "-o", out, library / f"libgmc_{main}.a", cuda, sim, library / "libgmc_rt.a", *self.images(),
             "-static-libstdc++", "-static-libgcc", "-Wl,--gc-sections", "-lpthread", "-ldl", "-lm"])
        run(["strip", "-o", binary, out])
        return binary

    @staticmethod
    def images():
        """The static libraries that the runtime decodes pictures with."""
        found = []
        for name in ("turbojpeg", "png16", "z"):
            path = run(["cc", f"-print-file-name=lib{name}.a"]).stdout.strip()
            found.append(path)
        return found

    def host_run(self, onnx, name, options, flags):
        """Losses of a host trainer."""
        trainer, log = self.scratch / f"{name}-host", self.scratch / f"{name}.jsonl"
        self.compile(onnx, trainer, "host", [*options, "--vram=16GB"])
        log.unlink(missing_ok=True)
        run([trainer, *flags, f"--log={log}"])
        trainer.unlink()
        return losses(events(log))

    #===- parts ------------------------------------------------------------------------------------------===#

    def add_ops(self, pattern):
        """The ONNX backend test cases that pass on the host, and their derivatives, as one program each."""
        cases, expected = conformance_cases()
        wanted = [folder for name, folder in cases if expected.get(name) == "pass" and re.search(pattern, name)]
        done = run([ROOT / "build" / "test" / "gmc-conformance", f"--device-cases={self.scratch}", f"--archs={self.arch}"],
                   input="".join(f"{folder}\n" for folder in wanted))
        bad = [line for line in done.stdout.splitlines() if not line.startswith("pass")]
        if bad:
            sys.exit(f"{len(bad)} cases cannot be built, the first: {bad[0]}")
        cuda, sim = self.scratch / "opcases.cuda.o", self.scratch / "opcases.sim.o"
        if self.simulate:
            run([self.cxx, "-shared", "-o", self.folder / "bin" / "opcases.so", sim, ROOT / "build" / "lib" / "libgmc_rt.a", "-lpthread"])
        self.link_both("opcases", "opcases", cuda, sim)
        shutil.copy(self.scratch / "opcases.bin", self.folder / "bin")
        self.manifest["ops"] = {"file": "opcases", "data": "opcases.bin", "cases": len(wanted)}

    def add_lockstep(self, models):
        for name, (folder, loss) in NETWORKS.items():
            if name in models:
                onnx = SHARED / folder / f"{name}.onnx"
                options = ["--batch=4", "--dropout=off", "--vram=16GB", f"--reserve={RESERVE}"] + ([f"--loss={loss}"] if loss else [])
                self.lockstep(onnx, name, options, ids=2)
        for name, (loss, ids) in MODERN.items():
            if name in models:
                onnx = SHARED / "modern" / f"{name}.onnx"
                sizes = {"unet_bilinear_tiny": {"height": 44, "width": 36}, "lstm_cls_tiny": {"seq": 17}, "bert_cls_tiny": {"seq": 20}}
                options = ["--batch=2", "--vram=16GB", f"--reserve={RESERVE}"] + ([f"--loss={loss}"] if loss else [])
                options += [word for dim, size in sizes.get(name, {}).items() for word in ("--dim", f"{dim}={size}")]
                self.lockstep(onnx, name, options, ids)

    def add_reference(self, models):
        for name, (folder, loss) in NETWORKS.items():
            if name not in models:
                continue
            onnx, npz = SHARED / folder / f"{name}.onnx", SHARED / folder / f"{name}.npz"
            shutil.copy(npz, self.folder / "npz")
            spec = {"kind": "npz", "npz": npz.name}
            data = make_data(spec, self.scratch, self.folder / "npz")
            entry = {"name": name, "npz": npz.name, "data": spec, "trajectories": {}}
            common = ["--batch=4", "--precision=fp32", "--dropout=off", f"--reserve={RESERVE}"] + ([f"--loss={loss}"] if loss else [])
            weights = self.weights(onnx, name, common)
            for key, (compiled, flags) in OPTIMIZERS.items():
                options = [*common, *compiled]
                file = self.trainer(onnx, f"{name}-{key}", [*options, "--vram=16GB"])
                host = self.host_run(onnx, name, options, [data, *flags, "--steps=5", f"--weights={weights}"])
                entry["trajectories"][key] = {"file": file, "flags": flags, "host": host}
            self.manifest["reference"].append(entry)

    def add_ladder(self, models, rungs):
        for name, spec in LADDER.items():
            if name not in models:
                continue
            onnx = SHARED / "reference" / f"{name}.onnx"
            loss = NETWORKS[name][1]
            options = ["--batch=32", "--optimizer=sgd", "--precision=fp32", "--numerics=pinned", "--dropout=off"] + ([f"--loss={loss}"] if loss else [])
            weights = self.weights(onnx, name, options)
            plan_file = self.scratch / "plan.json"
            run([self.gmc, "plan", onnx, f"--json={plan_file}", "--target=cuda", f"--arch={self.arch}", *options])
            plan = json.loads(plan_file.read_text())
            top, floor = plan["arena_bytes"] + plan["reserve_bytes"], plan["floor_bytes"]
            budgets = sorted({floor + (top - floor) * k // (rungs - 1) for k in range(rungs)}, reverse=True)
            entry = {"name": name, "data": spec, "trainers": [], "flags": [f"--steps={4 if self.simulate else 20}", "--lr=0.02", "--seed=1"]}
            for i, budget in enumerate(budgets):
                file = self.trainer(onnx, f"{name}-rung{i}", [*options, f"--vram={budget}"])
                entry["trainers"].append({"file": file, "budget": budget})
            data = make_data(spec, self.scratch, self.folder / "npz")
            entry["host"] = self.host_run(onnx, name, options, [data, *entry["flags"], f"--weights={weights}"])
            self.manifest["ladder"].append(entry)

    def add_speed(self, models):
        for name, (file, batch, spec) in SPEED.items():
            if name not in models:
                continue
            onnx, begin = SHARED / f"{file}.onnx", time.monotonic()
            for precision in ("fp32", "bf16"):
                options = [f"--batch={batch}", f"--micro-batch={batch}", "--init=kaiming", "--optimizer=sgd", "--workers-max=4", "--vram=70GB",
                           f"--precision={precision}"]
                tag = f"{name}-{precision}"
                out = self.scratch / tag
                done = self.compile(onnx, out, "cuda", options, check=precision == "fp32")
                if done.returncode:
                    print(f"{tag}: {done.stderr.strip().splitlines()[-1]}")
                    continue
                seconds = time.monotonic() - begin
                shell = self.folder / "weights" / f"{tag}.shell.xz"
                write_shell(self.scratch / f"{tag}.safetensors", shell)
                (self.scratch / f"{tag}.safetensors").unlink()
                size = out.stat().st_size
                run(["strip", "-o", self.folder / "bin" / tag, out])
                out.unlink()
                self.kernels(onnx, tag, options)
                self.manifest["speed"].append({"name": name, "precision": precision, "file": tag, "shell": shell.name, "batch": batch,
                                               "data": spec, "compile_seconds": round(seconds, 1), "trainer_bytes": size})
                print(f"{tag}: compiled in {seconds:.0f} s, trainer {size / 2**20:.1f} MiB, "
                      f"shell of the weights {shell.stat().st_size / 1024:.0f} KiB", flush=True)
                begin = time.monotonic()

    def pack(self):
        if self.simulate:
            shutil.copytree(ROOT / "build" / "test" / "simulated-driver", self.folder / "driver", symlinks=True)
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest, indent=1))
        archive = self.work / "kit.tar.xz"
        with tarfile.open(archive, "w:xz", preset=6) as tar:
            tar.add(self.folder, "kit")
        shutil.rmtree(self.folder)
        shutil.rmtree(self.scratch)
        size = archive.stat().st_size
        counts = ", ".join(f"{len(self.manifest[part])} {part}" for part in ("lockstep", "reference", "ladder", "speed"))
        print(f"{archive}: {size / 2**20:.1f} MiB for {self.arch}: {counts}")
        if size > CARRY:
            sys.exit(f"{archive} is larger than can be carried")


def build(arguments):
    kit = Kit(arguments.work, arguments.arch, arguments.simulate)
    everything = {*NETWORKS, *MODERN, *LADDER, *SPEED}
    models = set(arguments.models.split(",")) if arguments.models else everything
    if unknown := models - everything:
        sys.exit(f"--models: {', '.join(sorted(unknown))}: one of {', '.join(sorted(everything))} is expected")
    parts = arguments.parts.split(",")
    for name, add in (("ops", lambda: kit.add_ops(arguments.cases)), ("kernels", lambda: kit.add_lockstep(models)), ("reference", lambda: kit.add_reference(models)),
                      ("ladder", lambda: kit.add_ladder(models, arguments.rungs)), ("speed", lambda: kit.add_speed(models))):
        if name in parts:
            begin = time.monotonic()
            add()
            print(f"{name}: built in {time.monotonic() - begin:.0f} s", flush=True)
    kit.pack()
    return 0
