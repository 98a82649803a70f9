#!/usr/bin/env python3
"""Runs of a real trainer, their records, interruptions and resumption: runs.py GMC WORK CASE, or --list."""
import random, signal, time
from bad_input import compiled
from harness import *


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tensorboard(folder):
    """{tag: [(step, value)...]} of the only event file; every checksum is checked."""
    (path,) = Path(folder).iterdir()
    data, at, scalars = path.read_bytes(), 0, {}

    def varint(b, i):
        value = shift = 0
        while True:
            value |= (b[i] & 127) << shift
            shift += 7
            i += 1
            if b[i - 1] < 128:
                return value, i

    def fields(b):
        i = 0
        while i < len(b):
            key, i = varint(b, i)
            if key & 7 == 0:
                value, i = varint(b, i)
            elif key & 7 == 2:
                size, i = varint(b, i)
                value, i = b[i:i + size], i + size
            else:
                size = 8 if key & 7 == 1 else 4
                value, i = struct.unpack("<d" if size == 8 else "<f", b[i:i + size])[0], i + size
            yield key >> 3, value

    def masked(b):
        crc = crc32c(b)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    while at < len(data):
        length = struct.unpack("<Q", data[at:at + 8])[0]
        record = data[at + 12:at + 12 + length]
        expect(struct.unpack("<I", data[at + 8:at + 12])[0] == masked(data[at:at + 8]), "checksum of a length")
        expect(struct.unpack("<I", data[at + 12 + length:at + 16 + length])[0] == masked(record), "checksum of a record")
        at += 16 + length
        event = dict(fields(record))
        if 5 in event:
            value = dict(fields(dict(fields(event[5]))[1]))
            scalars.setdefault(value[1].decode(), []).append((event[2], value[2]))
    return scalars


def records(gmc, work):
    """--log, --tensorboard, --profile, --eval and --predict say the same about one run."""
    trainer, data = compiled(gmc, work), samples(work)
    save, log = work / "s.safetensors", work / "log"
    run(trainer, f"--data={data}", f"--val={data}", "--epochs=12", "--lr=.02", f"--log={log}", f"--tensorboard={work}/tb",
        f"--profile={work}/trace.json", f"--save={save}").must(0)
    lines = events(log)
    steps = [e for e in lines if e["event"] == "step"]
    evals = [e for e in lines if e["event"] == "eval"]
    expect([e["step"] for e in steps] == list(range(1, 145)) and len(evals) == 12, "steps and evaluations")
    expect(all(set(e) >= {"step", "epoch", "loss", "lr", "step_ms", "wait_ms", "samples_per_s"} for e in steps), "keys")
    (memory,) = (e for e in lines if e["event"] == "memory")
    expect(memory["source"] == "VmHWM" and 0 < memory["used"] <= memory["promised"] == 64000000, f"memory {memory}")
    expect(lines[-1] == {"event": "end", "reason": "done"}, f"end {lines[-1]}")
    expect(evals[-1]["loss"] < evals[0]["loss"] and evals[-1]["accuracy"] > .8, f"no learning: {evals}")
    scalars = tensorboard(work / "tb")
    single = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]
    expect(scalars["train/loss"] == [(e["step"], single(e["loss"])) for e in steps], "train/loss is the log's")
    expect(scalars["val/loss"] == [(e["step"], single(e["loss"])) for e in evals], "val/loss is the log's")
    expect(scalars["val/accuracy"] == [(e["step"], single(e["accuracy"])) for e in evals], "val/accuracy is the log's")
    trace = json.loads((work / "trace.json").read_text())["traceEvents"]
    expect({"forward", "backward", "update"} <= {e["cat"] for e in trace} and all(e["dur"] >= 0 for e in trace), "trace")
    expect(any("fc1" in e["args"]["detail"] and "predicted" in e["args"]["detail"] for e in trace), "trace names nodes")
    run(trainer, f"--eval", f"--val={data}", f"--weights={save}", f"--log={work}/log2").must(0)
    again = events(work / "log2")[0]
    expect((again["loss"], again["accuracy"]) == (evals[-1]["loss"], evals[-1]["accuracy"]), f"--eval says {again}")
    inputs = data.split(",")[0]
    predicted = [json.loads(line) for line in run(trainer, f"--predict={inputs}", f"--weights={save}").must(0).out.splitlines()]
    expect(len(predicted) == 96, f"{len(predicted)} predictions")
    labels = struct.unpack("<96q", (work / "y.npy").read_bytes()[-96 * 8:])
    for p in predicted:
        expect(len(p["outputs"]["logits"]) == 3 and p["class"] == p["outputs"]["logits"].index(max(p["outputs"]["logits"])), str(p))
    right = sum(p["class"] == label for p, label in zip(predicted, labels)) / 96
    expect(abs(right - evals[-1]["accuracy"]) < 1e-9, f"predictions are right in {right}, --eval in {evals[-1]['accuracy']}")


# With dropout, and with a constant that the compiler folds and no checkpoint holds.
NET = model(
    [("Conv", "conv", ["image", "k"], ["c"], 'attribute { name: "kernel_shape" ints: 3 ints: 3 type: INTS }'),
     ("Relu", "relu", ["c"], ["r"]), ("GlobalAveragePool", "pool", ["r"], ["p"]), ("Flatten", "flat", ["p"], ["f"]),
     ("Dropout", "drop", ["f", "ratio", "on"], ["d"]), ("Gemm", "fc", ["d", "w"], ["scores"]),
     ("Cast", "cast", ["shift"], ["s"], 'attribute { name: "to" i: 1 type: INT }'), ("Add", "add", ["scores", "s"], ["logits"])],
    [weight("k", 8, 3, 3, 3), weight("w", 8, 4), 'name: "ratio" data_type: 1 float_data: 0.25',
     'name: "on" data_type: 9 int32_data: 1', 'name: "shift" data_type: 7 dims: 4 int64_data: 1 int64_data: 0 int64_data: -1 int64_data: 2'],
    [value("image", "batch", 3, 32, 32)], [value("logits", "batch", 4)])


def pictures(gmc, work):
    """A trainer on augmented, shuffled pictures."""
    trainer = compiled(gmc, work, NET, "--workers-max=3")
    run(gmc.parent.parent / "test/make-pictures", work / "data", 4, 150, 48, 40).must(0)
    return trainer, [f"--data={work}/data", "--augment=rrc=32,flip,jitter=.2", "--steps=200", "--schedule=cosine", "--warmup=10",
                     "--lr=.01", "--seed=5", "--workers=2"]


def whole(trainer, flags, work):
    """The uninterrupted run: final weights, and the loss of each step."""
    run(trainer, *flags, f"--save={work}/whole.safetensors", f"--log={work}/whole.log").must(0)
    losses = {e["step"]: e["loss"] for e in events(work / "whole.log") if e["event"] == "step"}
    expect(len(losses) == 200 and len(set(losses.values())) > 150, "losses of the whole run")
    return safetensors(work / "whole.safetensors"), losses


def same_steps(log, losses, complete=True):
    """Every step of an interrupted run has the loss of the whole one: same weights, same samples in the same order."""
    seen = set()
    for line in Path(log).read_text().splitlines():
        try:
            e = json.loads(line)
        except ValueError:
            continue  # the line that a kill cut off
        if e.get("event") == "step":
            expect(e["loss"] == losses[e["step"]], f"step {e['step']}: loss {e['loss']}, uninterrupted {losses[e['step']]}")
            seen.add(e["step"])
    expect(not complete or len(seen) == len(losses), f"{len(seen)} steps are in the log")


def signals(gmc, work):
    """Ctrl-C is 130, SIGTERM 143; both leave a checkpoint that continues bit for bit, with another number of workers too."""
    trainer, flags = pictures(gmc, work)
    weights, losses = whole(trainer, flags, work)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        log, checkpoints, save = work / f"{code}.log", work / f"{code}", work / f"{code}.safetensors"
        rest = [f"--log={log}", f"--checkpoint={checkpoints}", f"--save={save}"]
        process = subprocess.Popen([str(trainer), *flags, *rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (not log.exists() or log.read_text().count("\n") < 40):
            time.sleep(.001)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        expect(process.returncode == code and "--resume" in out and not save.exists(), f"exit {process.returncode}\n{out}{err}")
        expect(json.loads(log.read_text().splitlines()[-1])["reason"] == signal.Signals(number).name, "the log's last line")
        result = run(trainer, *flags[:-1], "--workers=3", *rest, "--resume").must(0, "resumed from")
        expect("not a bit for bit" not in result.err, str(result))
        same_steps(log, losses)
        expect(safetensors(save) == weights, "the weights differ from those of the uninterrupted run")
    # With other data it says so.
    run(trainer, f"--data={work}/data[0:100]", *flags[1:], f"--checkpoint={work}/130", "--resume", "--steps=201").must(
        0, "not a bit for bit continuation", "data")


def killed(gmc, work):
    """Killed at random instants, resumed each time: every step that is logged and the weights are those of the whole run."""
    trainer, flags = pictures(gmc, work)
    begin = time.time()
    weights, losses = whole(trainer, flags, work)
    step = (time.time() - begin) / len(losses)
    log, checkpoints, save = work / "log", work / "c", work / "s.safetensors"
    command = [str(trainer), *flags, f"--log={log}", f"--checkpoint={checkpoints}", f"--save={save}", "--save-every=3", "--resume"]
    rng = random.Random(11)
    kills = 0

    def steps():
        return log.read_text().count('"event":"step"') if log.exists() else 0

    while not save.exists():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if kills < 25:
            # Somewhere within a step, few enough after the last kill that many fit into a run, on any machine.
            until = steps() + rng.randint(1, max(2, len(losses) // 12))
            while steps() < until and process.poll() is None:
                time.sleep(.001)
            time.sleep(rng.random() * step)
        else:
            process.wait(timeout=600)
        process.kill()
        out, err = process.communicate()
        expect(process.returncode in (-signal.SIGKILL, 0), f"exit {process.returncode}\n{out}{err}")
        expect("not a bit for bit" not in err and "is tried" not in err, f"a checkpoint was not whole: {err}")
        kills += process.returncode == -signal.SIGKILL
        if log.exists() and not log.read_text().endswith("\n"):
            log.write_text(log.read_text() + "\n")
        for file in checkpoints.glob("*.safetensors"):
            expect(safetensors(file), f"{file} is not whole")
    expect(kills >= 5, f"{kills} kills only")
    same_steps(log, losses)
    expect(safetensors(save) == weights, "the weights differ from those of the uninterrupted run")
    expect(len(list(checkpoints.iterdir())) == 2, f"left in the folder: {list(checkpoints.iterdir())}")
    print(f"killed {kills} times")


if __name__ == "__main__":
    main({f.__name__: f for f in (records, signals, killed)}, "runs.py GMC WORK CASE")
