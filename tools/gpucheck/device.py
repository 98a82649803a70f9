"""The half of tools/gpu-check that runs on the machine with the GPU: Python and the kit, neither gmc nor MLIR. What a part finds is on
disk as soon as it is known, so that a time limit loses nothing."""
import datetime, hashlib, json, os, platform, re, shutil, sys, tarfile, time

from . import peers

from .common import Npz, events, losses, make_data, read_tensors, refill, relative, run

# Seconds that each part may take of a call, in the order in which they run.
PARTS = {"ops": 60, "kernels": 120, "reference": 100, "ladder": 120, "speed": 300, "sanitizer": 90}
TOLERANCES = {
    "lockstep": 1e-4,        # a kernel against sim's, relative to the step's root mean square
    "gradient_norm": 1e-3,   # of a parameter's gradient, w0 - w1 of one step with rate 1: w carries 24 bits
    "gradient_floor": 1e-5,  # below this share of the largest gradient's norm a gradient is mathematically zero
    "trajectory": 1e-4,      # losses against the stored ones, as test/reference has it
    "host": 1e-4,            # losses against the host trainer's over a trajectory
    "training": 2e-2}        # the last loss after a ladder's steps against the host's: differences grow


class Session:
    def __init__(self, arguments):
        self.work, self.simulated = arguments.work, arguments.target == "sim"
        self.peers = not self.simulated and not arguments.no_peers
        self.kit, self.scratch = self.work / "run" / "kit", self.work / "run" / "scratch"
        if not (self.kit / "manifest.json").exists():
            (self.work / "run").mkdir(parents=True, exist_ok=True)
            with tarfile.open(self.work / "kit.tar.xz") as tar:
                tar.extractall(self.work / "run", filter="tar")
        self.scratch.mkdir(exist_ok=True)
        self.manifest = json.loads((self.kit / "manifest.json").read_text())
        if self.simulated and not self.manifest["simulated"]:
            sys.exit("--target=sim needs a kit that was built with --simulate")
        self.end = time.monotonic() + arguments.seconds
        self.part_end = self.end
        self.patience = 10 if self.simulated else 1  # a CPU that computes what a GPU would
        self.failures = []
        name = self.device_name()
        self.report = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "device": name,
                       "driver": self.smi("driver_version"), "memory": self.smi("memory.total"), "host": platform.processor(),
                       "commit": self.manifest["commit"], "arch": self.manifest["arch"], "tolerances": TOLERANCES, "parts": {},
                       "failures": self.failures}
        folder = arguments.out
        folder.mkdir(parents=True, exist_ok=True)
        short = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self.path = folder / f"gpu-{short}-{self.report['date'][:10]}.json"
        if arguments.join and self.path.exists():  # a second call adds its parts
            earlier = json.loads(self.path.read_text())
            self.report["parts"] = earlier["parts"]
            self.failures += [f for f in earlier["failures"] if f.split(":")[0] not in arguments.parts.split(",")]

    def smi(self, field):
        if self.simulated or not shutil.which("nvidia-smi"):
            return ""
        return run(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"], seconds=30, check=False).stdout.strip()

    def device_name(self):
        return "simulated" if self.simulated else self.smi("name").splitlines()[0] if self.smi("name") else "unknown"

    def save(self):
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.report, indent=1))
        temporary.replace(self.path)

    def check(self, part, condition, text):
        print(("ok: " if condition else "FAILED: ") + text, flush=True)
        if not condition:
            self.failures.append(f"{part}: {text}")
        self.save()
        return condition

    def left(self):
        return min(self.part_end, self.end) - time.monotonic()

    def binary(self, name, arguments, prefix=(), seconds=None):
        """A program of the kit; on the simulated driver where there is no GPU."""
        environment = dict(os.environ)
        if self.simulated:
            environment |= {"LD_LIBRARY_PATH": str(self.kit / "driver"), "SIMCUDA_KERNELS": str(self.kit / "bin" / f"{name}.so"),
                            "SIMCUDA_SM": self.manifest["arch"].split(",")[0].removeprefix("sm_"), "SIMCUDA_TOTAL": str(80 * 10**9)}
        limit = max(5.0, min(self.left(), seconds or 1e9))
        return run([*prefix, self.kit / "bin" / name, *arguments], seconds=limit, check=False, environment=environment)

    def data(self, spec):
        return make_data(spec, self.scratch, self.kit / "npz")

    def weights(self, name):
        return self.kit / "weights" / f"{name}.safetensors"

    def train(self, name, arguments, seconds=None):
        """What a trainer logged and, where it ran to the end, the weights that it saved."""
        log, saved = self.scratch / f"{name}.jsonl", self.scratch / f"{name}.safetensors"
        for path in (log, saved):
            path.unlink(missing_ok=True)
        done = self.binary(name, [*arguments, f"--log={log}", f"--save={saved}"], seconds=seconds)
        found = events(log)
        result = {"exit": done.returncode, "losses": losses(found)}
        if done.returncode:
            result["stderr"] = done.stderr[-1500:]
        for event in found:
            if event["event"] == "memory":
                result["memory"] = event
        info = self.binary(name, ["--info"]).stdout
        number = lambda pattern: sum(float(value) for value in re.findall(pattern, info, re.M))
        result["planned"] = int(number(r"^arena bytes: (\d+)") + number(r"^reserve [\w ]+: (\d+)"))
        result["predicted_ms"] = number(r"^predicted step: ([\d.e+-]+) ms")
        if "memory" in result:
            result["planned_of_used"] = result["planned"] / result["memory"]["used"]
        times = sorted(event["step_ms"] for event in found[2:] if event["event"] == "step")
        if times:
            result["step_ms"] = times[len(times) // 2]
        return result, saved

    #===- parts ------------------------------------------------------------------------------------------===#

    def ops(self, report):
        entry = self.manifest["ops"]
        if not entry:
            report["skipped"] = "the kit has no cases"
            return
        done = self.binary(entry["file"], [self.kit / "bin" / entry["data"], f"--threads={os.cpu_count() or 1}"])
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        sums = lines.pop() if lines and "failed" in lines[-1] else None
        report |= {"exit": done.returncode, "sums": sums, "bad": lines[:50], "stderr": done.stderr[-800:]}
        for line in lines[:5]:
            print(f"   {line['case']}: {line['apart']:.1e}")
        text = f"{sums['failed']} of {sums['cases']} cases differ, {sums['kernels']} kernels, worst {sums['worst_f32']:.1e}" if sums \
            else f"exit {done.returncode} {done.stderr.strip()[-300:]}"
        self.check("ops", done.returncode == 0 and bool(sums), f"ONNX backend cases and their derivatives: {text}")

    def kernels(self, report):
        ops = set()
        for entry in self.manifest["lockstep"]:
            name = f"{entry['name']} {entry['precision']}"
            if self.left() < 5:
                report.setdefault("not_run", []).append(name)
                continue
            constants = self.kit / "bin" / f"{entry['file']}.safetensors"
            done = self.binary(entry["file"], [self.weights(entry["name"]), f"--ids={entry['ids']}",
                                               f"--tolerance={TOLERANCES['lockstep']}", f"--threads={os.cpu_count() or 1}",
                                               *([f"--constants={constants}"] if constants.exists() else [])])
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            sums = lines.pop() if lines and "failed" in lines[-1] else None
            result = report[name] = {"exit": done.returncode, "sums": sums, "stderr": done.stderr[-800:],
                                    "bad": [line for line in lines if not line["ok"]][:20],
                                    "slowest": sorted(lines, key=lambda line: -line["us"])[:5]}
            for line in result["bad"][:3]:
                print(f"   {line['op']} of '{line['node']}' {line['kernels']}: {line['worst']:.1e}, {line['other']} other words")
            if sums:
                ops |= set(sums["ops"])
            text = f"{sums['kernels']} kernels, worst {sums['worst']:.1e}, {sums['rounded']} halves rounded the other way, {sums['failed']} of {sums['steps']} steps differ" if sums \
                else f"exit {done.returncode} {done.stderr.strip()[-300:]}"
            self.check("kernels", done.returncode == 0 and bool(sums), f"{name} step by step: {text}")
        report["ops"] = sorted(ops)

    def reference(self, report):
        for entry in self.manifest["reference"]:
            npz, data, weights = Npz(self.kit / "npz" / entry["npz"]), self.data(entry["data"]), self.weights(entry["name"])
            result = report[entry["name"]] = {"trajectories": {}}
            if self.left() < 5:
                result["not_run"] = True
                continue
            for key, run_ in entry["trajectories"].items():
                got, _ = self.train(run_["file"], [data, *run_["flags"], "--steps=5", f"--weights={weights}"])
                stored = list(npz.values(f"traj_{key}_f64"))
                apart = lambda a, b: max((abs(x - y) / max(1.0, abs(y)) for x, y in zip(a, b)), default=float("inf"))
                got |= {"stored": stored, "from_stored": apart(got["losses"], stored), "from_host": apart(got["losses"], run_["host"])}
                result["trajectories"][key] = got
                self.check("reference", got["exit"] == 0 and len(got["losses"]) == 5 and got["from_stored"] <= TOLERANCES["trajectory"]
                           and got["from_host"] <= TOLERANCES["host"],
                           f"{entry['name']} {key}: five losses, {got['from_stored']:.1e} from the stored ones, "
                           f"{got['from_host']:.1e} from the host's" + (f"; {got['stderr'][-300:]}" if got["exit"] else ""))
            if "sgd" in entry["trajectories"]:
                got, saved = self.train(entry["trajectories"]["sgd"]["file"],
                                        [data, "--lr=1", "--weight-decay=0", "--steps=1", f"--weights={weights}"])
                if self.check("reference", got["exit"] == 0, f"{entry['name']}: one step with rate 1 {got.get('stderr', '')[-300:]}"):
                    result["gradients"] = self.gradients(entry["name"], npz, read_tensors(weights), read_tensors(saved))

    def gradients(self, name, npz, before, after):
        norms = {key: npz.values(entry)[0] for key, entry in npz.under("gnorm_f64/").items()}
        floor = TOLERANCES["gradient_floor"] * max(norms.values())
        worst, compared, missing = (0.0, ""), 0, []
        for key, entry in npz.under("grad_f64/").items():
            if key not in before or key not in after:
                missing.append(key)
                continue
            gradient = [a - b for a, b in zip(before[key], after[key])]
            compared += 1
            worst = max(worst, (relative(gradient, npz.values(entry), floor), key))
        self.check("reference", compared > 0 and not missing and worst[0] <= TOLERANCES["gradient_norm"],
                   f"{name}: {compared} gradients, worst {worst[0]:.1e} of '{worst[1]}'" + (f", missing {missing}" if missing else ""))
        return {"compared": compared, "worst": worst[0], "parameter": worst[1], "missing": missing}

    def ladder(self, report):
        for entry in self.manifest["ladder"]:
            data, weights = self.data(entry["data"]), self.weights(entry["name"])
            result = report[entry["name"]] = {"rungs": []}
            flags = [data, *entry["flags"], f"--weights={weights}"]
            for trainer in entry["trainers"]:
                if self.left() < 5:
                    result["not_run"] = True
                    break
                got, saved = self.train(trainer["file"], flags)
                got["budget"] = trainer["budget"]
                result["rungs"].append(got)
                if not self.check("ladder", got["exit"] == 0 and "memory" in got,
                                  f"{entry['name']} at {trainer['budget']}: exit {got['exit']} {got.get('stderr', '')[-300:]}"):
                    continue
                got["weights"] = hashlib.sha256(b"".join(values.tobytes() for values in read_tensors(saved).values())).hexdigest()
                used, source = got["memory"]["used"], got["memory"]["source"]
                self.check("ladder", used <= trainer["budget"], f"{entry['name']}: {used} of {trainer['budget']} bytes used ({source}), "
                           f"planned {got['planned'] / used:.3f} of it")
            hashes = {rung.get("weights") for rung in result["rungs"]}
            if result["rungs"]:
                self.check("ladder", len(hashes) == 1 and None not in hashes,
                           f"{entry['name']}: equal weights at {len(result['rungs'])} budgets")
                first = result["rungs"][0]["losses"]
                apart = abs(first[-1] - entry["host"][-1]) / abs(entry["host"][-1]) if len(first) == len(entry["host"]) else float("inf")
                self.check("ladder", apart <= TOLERANCES["training"], f"{entry['name']}: the last loss is {apart:.1e} from the host's")
        parts = [rung["memory"].get("parts") for result in report.values() for rung in result["rungs"] if "memory" in rung]
        if parts and parts[0]:
            report["reserve"] = {name: max(p[name] for p in parts) for name in parts[0] if name != "arena"}
            print(f"   the reserve's parts at most: {report['reserve']}")
        self.save()

    def speed(self, report):
        for entry in sorted(self.manifest["speed"], key=lambda entry: -entry["compile_seconds"]):  # the greatest first: time may run out
            tag = entry["file"]
            result = report[tag] = {"batch": entry["batch"], "compile_seconds": entry["compile_seconds"]}
            if self.left() < 15:
                result["not_run"] = True
                continue
            weights = self.kit / "bin" / f"{tag}.safetensors"
            refill(self.kit / "weights" / entry["shell"], weights)
            trace = self.scratch / f"{tag}.trace.json"
            common = [self.data(entry["data"]), "--lr=1e-3", "--workers=4"]
            got, _ = self.train(tag, [*common, "--steps=24"], seconds=self.left() / 2)
            result |= got
            self.check("speed", got["exit"] == 0 or bool(got["losses"]),
                       f"{tag}: {got.get('step_ms', 0):.2f} ms a step of {entry['batch']} {got.get('stderr', '')[-300:]}")
            if got["exit"] == 0 and self.left() > 10:
                traced, _ = self.train(tag, [*common, "--steps=1", f"--profile={trace}"], seconds=self.left() / 2)
                if traced["exit"] == 0:
                    result["top"], result["slowest"] = top_list(trace), slowest(trace)
                    for line in result["top"][:5]:
                        print(f"   {line['share']:5.1%}  {line['ms']:9.3f} ms  {line['count']:4} x {line['op']}")
            weights.unlink()
            if self.peers:
                for mode in ("eager", "compiled"):
                    if self.left() > 15:
                        result[f"torch_{mode}_ms"] = peers.measure(entry["name"], entry["precision"], mode, entry["batch"], self.left() / 2)
                        print(f"   torch {mode} {entry['precision']}: {result[f'torch_{mode}_ms']} ms", flush=True)
            self.save()

    def sanitizer(self, report):
        tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
        if self.simulated or not tool:
            report["skipped"] = "the simulated driver runs no device code" if self.simulated else "compute-sanitizer is not installed"
            return
        for entry in self.manifest["reference"]:
            for check in ("memcheck", "racecheck", "synccheck"):
                if self.left() < 10:
                    report.setdefault("not_run", []).append(f"{entry['name']} {check}")
                    continue
                done = self.binary(entry["trajectories"]["adamw"]["file"],
                                   [self.data(entry["data"]), "--steps=1", f"--weights={self.weights(entry['name'])}"],
                                   prefix=[tool, "--tool", check, "--error-exitcode=99"], seconds=45)
                report[f"{entry['name']} {check}"] = {"exit": done.returncode, "output": (done.stdout + done.stderr)[-1200:]}
                if done.returncode == 124:
                    report.setdefault("not_run", []).append(f"{entry['name']} {check}")
                    continue
                self.check("sanitizer", done.returncode == 0, f"{entry['name']}: compute-sanitizer {check}, one step, exit {done.returncode}")


def top_list(trace):
    """The ops that take the time of a traced step, the greediest first."""
    totals = {}
    for event in json.loads(trace.read_text())["traceEvents"]:
        key = (event["cat"], event["name"])
        count, micros = totals.get(key, (0, 0.0))
        totals[key] = (count + 1, micros + event["dur"])
    whole = sum(micros for _, micros in totals.values()) or 1
    return [{"op": f"{name} ({stage})", "count": count, "ms": micros / 1e3, "share": micros / whole}
            for (stage, name), (count, micros) in sorted(totals.items(), key=lambda item: -item[1][1])[:20]]


def slowest(trace):
    """The single steps that take longest, with what the plan predicted of them."""
    steps = sorted(json.loads(trace.read_text())["traceEvents"], key=lambda event: -event["dur"])
    return [{"op": event["name"], "stage": event["cat"], "node": event["args"]["detail"], "us": event["dur"]} for event in steps[:25]]


def on_device(arguments):
    session = Session(arguments)
    session.report["cuda"] = run(["nvcc", "--version"], check=False).stdout.strip().splitlines()[-1:] if shutil.which("nvcc") else []
    session.save()
    for part, seconds in PARTS.items():
        if part not in arguments.parts.split(","):
            continue
        report = session.report["parts"][part] = {}
        if session.left() < 5 and time.monotonic() > session.end - 5:
            report["not_run"] = True
            continue
        session.part_end = time.monotonic() + seconds * session.patience
        begin = time.monotonic()
        print(f"== {part}", flush=True)
        try:
            getattr(session, part)(report)
        except Exception as error:  # what the other parts find must not be lost
            session.check(part, False, f"{part} broke off: {type(error).__name__}: {error}")
        report["seconds"] = round(time.monotonic() - begin, 1)
        session.part_end = session.end
        session.save()
    for part, found in session.report["parts"].items():
        for name, result in [(part, found), *((f"{part} {key}", value) for key, value in found.items() if isinstance(value, dict))]:
            if left := result.get("not_run"):
                print(f"not run in time: {name}{': ' + ', '.join(left) if isinstance(left, list) else ''}")
    print(f"{len(session.failures)} failures on {session.report['device']}; wrote {session.path}")
    for failure in session.failures:
        print(f"  {failure[:300]}")
    return 1 if session.failures else 0
