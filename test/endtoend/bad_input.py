#!/usr/bin/env python3
"""Bad input through the real gmc and a real trainer: bad_input.py GMC WORK CASE, or --list.

Every case checks the exit code, a message that names the culprit and the way out, and that no partial file is left."""
import random, tempfile
from harness import *

USAGE = "bad_input.py GMC WORK CASE"
HOST = ["--target=host", "--batch=8", "--threads=2"]


def compiled(gmc, work, text=None, *options, name="net"):
    """A trainer of the model in a folder of its own."""
    folder = work / name
    folder.mkdir()
    onnx = encode(text or mlp(), folder / "net.onnx")
    run(gmc, "compile", onnx, "--vram=64MB", "-o", folder / "trainer", *HOST, *options).must(0)
    return folder / "trainer"


def damaged_model(gmc, work):
    """Truncated and bit-flipped files give a message and exit 1 or 2 (or still are models); never a crash or a hang."""
    original = encode(mlp(), work / "net.onnx").read_bytes()
    out = work / "out"
    out.mkdir()
    rng = random.Random(5)
    changed = [("cut to %d bytes" % n, original[:n]) for n in sorted({0, 1, 2, 7, len(original) - 1} | {
        rng.randrange(len(original)) for _ in range(40)})]
    for _ in range(30):
        data, bits = bytearray(original), []
        for _ in range(rng.choice([1, 1, 2, 8])):
            bits.append((rng.randrange(len(data)), rng.randrange(8)))
            data[bits[-1][0]] ^= 1 << bits[-1][1]
        changed.append((f"bits flipped at {bits}", bytes(data)))
    codes = {}
    for what, data in changed:
        (work / "bad.onnx").write_bytes(data)
        result = run(gmc, "compile", work / "bad.onnx", "--vram=64MB", "-o", out / "trainer", *HOST, timeout=300)
        codes[result.code] = codes.get(result.code, 0) + 1
        expect(result.code in (0, 1, 2), f"{what}: {result}")
        if result.code:
            expect("bad.onnx" in result.err or "error" in result.err, f"{what}: no message: {result}")
            expect(not list(out.iterdir()), f"{what}: left {list(out.iterdir())}")
        for file in out.iterdir():
            file.unlink()
    expect(codes.get(1, 0) + codes.get(2, 0) > 45, f"exit codes {codes}")
    expect(not list(work.glob("gmc-internal-error*")), "an internal error left a reproducer")


def missing_external_data(gmc, work):
    text = mlp().replace(weight("w1", 12, 16), 'name: "w1" data_type: 1 dims: 12 dims: 16 data_location: EXTERNAL '
                         'external_data { key: "location" value: "weights.bin" } external_data { key: "offset" value: "0" } '
                         'external_data { key: "length" value: "768" }')
    onnx = encode(text, work / "net.onnx")
    command = [gmc, "compile", onnx, "--vram=64MB", "-o", work / "trainer", *HOST]
    with Untouched(work):
        run(*command).must(1, "w1", "weights.bin", "--init")
    (work / "weights.bin").write_bytes(bytes(700))  # shorter than the model says
    with Untouched(work):
        run(*command).must(1, "w1", "weights.bin")
    (work / "weights.bin").write_bytes(bytes(768))
    run(*command).must(0)
    encode(text.replace('"weights.bin"', '"../outside.bin"'), onnx)
    (work.parent / "outside.bin").write_bytes(bytes(768))
    run(*command).must(1, "outside.bin")


def wrong_label(gmc, work):
    trainer = compiled(gmc, work)
    samples(work)
    with Untouched(work):
        npy_bad = {"shape": ("<i8", (96, 2), bytes(96 * 16)), "count": ("<i8", (95,), bytes(95 * 8)),
                   "type": ("<f4", (96,), bytes(96 * 4)), "range": ("<i8", (96,), struct.pack("<96q", *[3] * 96))}
        with tempfile.TemporaryDirectory() as folder:
            for kind, (dtype, shape, data) in npy_bad.items():
                file = npy(Path(folder) / f"{kind}.npy", dtype, shape, data)
                run(trainer, f"--data=x={work}/x.npy,label={file}", f"--save={work}/s.safetensors").must(1, "label" if kind != "count"
                                                                                                        else "95")
            run(gmc, "grad", work / "net/net.onnx", f"--input=x={work}/x.npy", f"--label={folder}/shape.npy", "-o", work / "g").must(
                1, "label", "96x2")
    run(trainer, f"--data=x={work}/x.npy").must(1, "label")
    run(trainer, f"--data=y={work}/x.npy,label={work}/y.npy").must(1, "'x'")


def unknown_tokens(gmc, work):
    """Indices that a table does not have make their samples damaged ones; those counted from its end are good."""
    text = model([("Gather", "table", ["w0", "ids"], ["e"]), ("Flatten", "flat", ["e"], ["f"]), ("Gemm", "fc", ["f", "w1"], ["logits"])],
                 [weight("w0", 7, 4), weight("w1", 12, 3)], [value("ids", "batch", 3, kind=7)], [value("logits", "batch", 3)])
    trainer = compiled(gmc, work, text)
    ids = [[i % 7, -1 - i % 7, (i * 3) % 7] for i in range(96)]
    labels = npy(work / "y.npy", "<i8", (96,), struct.pack("<96q", *(row[0] % 3 for row in ids)))

    def data(name, kind="q"):
        return "ids=" + str(npy(work / name, f"<i{struct.calcsize(kind)}", (96, 3), struct.pack(f"<288{kind}", *sum(ids, []))))
    good = data("good.npy")
    ids[11][2], ids[40][0] = 7, -8
    bad = data("bad.npy")
    with Untouched(work):
        run(trainer, f"--data={good},label={labels}").must(0)
        run(trainer, f"--data={bad},label={labels}").must(1, "'ids' is 7", "0 to 6", "--max-bad-samples")
        run(trainer, f"--data={bad},label={labels}", "--max-bad-samples=2").must(0, "2 damaged samples were skipped", "'ids' is -8")
        run(trainer, f"--predict={bad}").must(1, "'ids' is 7")


def unknown_ops(gmc, work):
    text = model([("Gemm", "first", ["x", "w1"], ["h"]), ("Frobnicate", "spin", ["h"], ["s"]),
                  ("Quux", "twist", ["s"], ["t"], 'domain: "com.example"'), ("Gemm", "last", ["t", "w2"], ["logits"])],
                 [weight("w1", 12, 16), weight("w2", 16, 3)], [value("x", "batch", 12)], [value("logits", "batch", 3)])
    onnx = encode(text, work / "net.onnx")
    for command in (["compile", onnx, "--vram=64MB", "-o", work / "trainer", *HOST], ["plan", onnx, *HOST]):
        with Untouched(work):
            run(gmc, *command).must(2, "Frobnicate", "spin", "Quux", "twist")


def one_megabyte(gmc, work):
    onnx = encode(mlp(), work / "net.onnx")
    with Untouched(work):
        result = run(gmc, "compile", onnx, "--vram=1MB", "-o", work / "trainer", *HOST)
        result.must(3, "DOES NOT FIT", "smallest budget", "way out")
    floor = result.err.split("smallest budget found")[1].split("(")[1].split()[0]
    run(gmc, "compile", onnx, f"--vram={int(floor) - 1}", "-o", work / "trainer", *HOST).must(3)
    run(gmc, "compile", onnx, f"--vram={floor}", "-o", work / "trainer", *HOST).must(0)


def short_reserve(gmc, work):
    """Too little was promised for what the process itself takes: an error before training, with what would do."""
    onnx = encode(mlp(), work / "net.onnx")
    data = samples(work)
    plan = run(gmc, "plan", onnx, "--json=-", "--reserve=100000", *HOST).must(0)
    need = json.loads(plan.out)["budget_bytes"]
    run(gmc, "compile", onnx, f"--vram={need}", "--reserve=100000", "-o", work / "trainer", *HOST).must(0)
    with Untouched(work):
        result = run(work / "trainer", f"--data={data}", f"--save={work}/s.safetensors").must(3, "reserve is short", "--reserve=")
    enough = result.err.split("--reserve=")[1].split()[0].rstrip(",;.")
    need += int(enough) - 100000
    run(gmc, "compile", onnx, f"--vram={need}", f"--reserve={enough}", "-o", work / "trainer", *HOST).must(0)
    run(work / "trainer", f"--data={data}", f"--save={work}/s.safetensors").must(0)


def unwritable_output(gmc, work):
    trainer = compiled(gmc, work)
    onnx, data = work / "net/net.onnx", samples(work)
    run(trainer, f"--data={data}", f"--save={work}/s.safetensors").must(0)
    (work / "folder").mkdir()
    gone = "/proc/sys/nothing"  # nobody, root included, can make a file here
    with Untouched(work):
        for bad in (f"{work}/no/such/folder/t", f"{gone}/t", "/proc/t", str(work / "folder")):
            run(gmc, "compile", onnx, "--vram=64MB", "-o", bad, *HOST).must(1, bad)
            run(gmc, "export", onnx, work / "s.safetensors", "-o", bad).must(1, bad)
            run(gmc, "plan", onnx, f"--json={bad}", *HOST).must(1, bad)
            run(gmc, "grad", onnx, f"--input=x={work}/x.npy", f"--label={work}/y.npy", "-o", bad).must(1, bad)
            run(trainer, f"--data={data}", f"--save={bad}").must(6, bad)
            run(trainer, f"--data={data}", "--steps=8", f"--log={bad}").must(6, bad)
            run(trainer, f"--data={data}", "--steps=8", f"--profile={bad}").must(6, bad)
        for bad in (f"{gone}/t", "/proc/t", str(work / "x.npy")):
            run(gmc, "run", onnx, f"--input=x={work}/x.npy", "-o", bad).must(1, bad)
            run(trainer, f"--data={data}", f"--checkpoint={bad}").must(6, bad)
            run(trainer, f"--data={data}", "--steps=8", f"--tensorboard={bad}").must(6, bad)
    expect(not list((work / "folder").iterdir()), "files in the folder")


CONVNET = model(
    [("Conv", "conv", ["image", "k"], ["c"], 'attribute { name: "kernel_shape" ints: 3 ints: 3 type: INTS }'),
     ("Relu", "relu", ["c"], ["r"]), ("GlobalAveragePool", "pool", ["r"], ["p"]), ("Flatten", "flat", ["p"], ["f"]),
     ("Gemm", "fc", ["f", "w"], ["logits"])],
    [weight("k", 8, 3, 3, 3), weight("w", 8, 4)], [value("image", "batch", 3, 32, 32)], [value("logits", "batch", 4)])


def damaged_pictures(gmc, work):
    """Damaged JPEG and PNG files are named, counted and skipped up to --max-bad-samples."""
    trainer = compiled(gmc, work, CONVNET)
    pictures = work / "pictures"
    run(gmc.parent.parent / "test/make-pictures", pictures, 4, 64, 48, 40).must(0)
    good = (pictures / "class-0000/0.jpg").read_bytes()
    bad = {"class-0000/cut.jpg": good[:200], "class-0001/empty.jpg": b"", "class-0002/text.jpg": b"this is no picture\n" * 20,
           "class-0003/text.png": b"\x89PNG\r\n\x1a\n" + bytes(40)}
    for name, data in bad.items():
        (pictures / name).write_bytes(data)
    save, log = work / "s.safetensors", work / "log"
    with Untouched(work / "net"):
        run(trainer, f"--data={pictures}", f"--save={save}").must(1, "damaged samples", "--max-bad-samples")
        expect(not save.exists(), "weights were saved")
        run(trainer, f"--data={pictures}", f"--save={save}", "--max-bad-samples=3").must(1, "4 damaged samples")
        result = run(trainer, f"--data={pictures}", f"--save={save}", "--max-bad-samples=4", f"--log={log}").must(
            0, "4 damaged samples were skipped", *bad)
    expect(result.err.count("skipped:") == 4, f"each is named once: {result}")
    losses = [e["loss"] for e in events(log) if e["event"] == "step"]
    expect(len(losses) == 9 and all(0 < loss < 10 for loss in losses), f"losses {losses}")
    # Many bit flips in one file: either decoded, or counted; never a crash.
    rng = random.Random(3)
    shutil.rmtree(pictures)
    for label in range(4):
        (pictures / f"class-{label:04d}").mkdir(parents=True)
        for i in range(40):
            data = bytearray(good)
            for _ in range(rng.choice([1, 4, 30])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            (pictures / f"class-{label:04d}/{i}.jpg").write_bytes(data[:rng.choice([len(data), rng.randrange(len(data))])])
    run(trainer, f"--data={pictures}", "--max-bad-samples=160").must(0)


def no_data(gmc, work):
    trainer = compiled(gmc, work, CONVNET)
    (work / "empty").mkdir()
    (work / "classes/a").mkdir(parents=True)
    (work / "classes/b").mkdir()
    for folder in ("empty", "classes"):
        with Untouched(work):
            run(trainer, f"--data={work / folder}", f"--save={work}/s").must(1, str(work / folder))
    (work / "text.txt").write_text("")
    with Untouched(work):
        run(trainer, f"--data={work}/nothing-here", f"--save={work}/s").must(1, "nothing-here")
        run(trainer, f"--data=text:{work}/text.txt", f"--save={work}/s").must(1)
        run(trainer, f"--data={work}/shards-{{0..3}}.tar", f"--save={work}/s").must(1, "shards-0.tar")
        run(trainer, f"--predict={work}/empty").must(1, "empty")


def full_disk(gmc, work):
    """A file system of one megabyte: exit 1 from gmc, 6 from the trainer, nothing half-written, what was there is whole."""
    small = work / "small"
    small.mkdir(exist_ok=True)
    mount = ["sh", "-c", f"mount -t tmpfs -o size=1m tmpfs {small} && exec \"$@\"", "sh"]
    if not os.path.ismount(small):
        # Once more with a mount of its own: as root, or as root of a user namespace where the system allows it.
        for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
            if subprocess.run([*unshare, *mount, "true"], capture_output=True).returncode == 0:
                sys.exit(subprocess.run([*unshare, *mount, sys.executable, __file__, gmc, work.parent, "full_disk"]).returncode)
        skip("a small file system cannot be mounted here")
    trainer, data = compiled(gmc, work), samples(work)
    onnx = work / "net/net.onnx"
    run(trainer, f"--data={data}", f"--save={small}/s.safetensors", f"--checkpoint={small}/c").must(0)
    filler = small / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    with Untouched(small):
        run(gmc, "compile", onnx, "--vram=64MB", "-o", small / "trainer", *HOST).must(1, "trainer", "No space")
        run(gmc, "plan", onnx, f"--json={small}/plan.json", *HOST).must(1, "plan.json", "No space")
        run(gmc, "export", onnx, small / "s.safetensors", "-o", small / "out.onnx").must(1, "out.onnx", "No space")
        run(trainer, f"--data={data}", f"--save={small}/s.safetensors").must(6, "s.safetensors", "No space")
        run(trainer, f"--data={data}", f"--checkpoint={small}/c", "--resume", "--epochs=2").must(6, "No space")
    with Untouched(work / "net"):
        for flag in ("--log", "--profile"):
            run(trainer, f"--data={data}", "--steps=8", f"{flag}=/dev/full").must(6, "/dev/full", "No space")
    filler.unlink()
    run(trainer, f"--data={data}", f"--checkpoint={small}/c", "--resume", "--epochs=2").must(0, "resumed from")


def contradictions(gmc, work):
    onnx = encode(mlp(), work / "net.onnx")
    with Untouched(work):
        for options, words in ((["--batch=8", "--micro-batch=4", "--accumulate=3"], ["batch", "--micro-batch", "--accumulate"]),
                               (["--batch=8", "--micro-batch=16"], ["--micro-batch"]),
                               (["--batch=8", "--precision=fp64"], ["--precision"]),
                               (["--batch=0"], ["batch"]), (["--vram=-4"], ["vram"]), (["--vram=4XB"], ["4XB"]),
                               (["--train=("], ["--train"]), (["--freeze=.*"], ["--freeze", "nothing to train"]),
                               (["--loss=cross-entropy:nothing"], ["nothing", "logits"]), (["--loss=output"], ["--loss=output", "logits"]),
                               (["--optimizer=newton"], ["--optimizer"]), (["--init=normal"], ["--init"])):
            run(gmc, "compile", onnx, "--vram=64MB", "--target=host", "-o", work / "t", *options).must(1, *words)
        fixed = encode(mlp(4), work.parent / "fixed.onnx")
        run(gmc, "compile", fixed, "--vram=64MB", "--target=host", "--micro-batch=8", "-o", work / "t").must(1, "4")
    trainer, data = compiled(gmc, work), samples(work)
    with Untouched(work):
        for flags, words in ((["--epochs=1", "--steps=1"], ["--epochs", "--steps"]), (["--clip=1"], ["compile with --clip"]),
                             (["--ema=.9"], ["compile with --ema"]), (["--workers=65"], ["--workers-max"]),
                             (["--betas=1"], ["--betas"]), (["--val=split:2"], ["split"]), (["--frobnicate"], ["frobnicate"]),
                             (["--schedule=sometimes"], ["schedule", "cosine"]), (["--augment=flip"], ["augment"])):
            run(trainer, f"--data={data}", f"--save={work}/s", *flags).must(1, *words)


def missing_dims(gmc, work):
    text = model([("Gemm", "fc", ["x", "w"], ["logits"]), ("ReduceMean", "mean", ["y"], ["m"])], [weight("w", 12, 3)],
                 [value("x", "batch", 12), value("y", "batch", "height", "width")], [value("logits", "batch", 3), value("m", 1, 1, 1)])
    onnx = encode(text, work / "net.onnx")
    with Untouched(work):
        run(gmc, "plan", onnx, *HOST).must(1, "--dim", "height", "width")
        run(gmc, "plan", onnx, *HOST, "--dim", "height=4").must(1, "width")
        run(gmc, "plan", onnx, *HOST, "--dim", "height=x").must(1, "height=x")
    run(gmc, "plan", onnx, *HOST, "--dim", "height=4", "--dim", "width=4", "--dim", "depth=4").must(0, "warning: --dim depth")
    # y is an input of evaluation alone: training needs no data for it.
    run(gmc, "compile", onnx, *HOST, "--dim", "height=4", "--dim=width=4", "--vram=64MB", "-o", work / "trainer").must(0)
    data = samples(work)
    npy(work / "extra.npy", "<f4", (96, 4, 4), bytes(96 * 64))
    run(work / "trainer", f"--data={data}", f"--save={work}/s.safetensors").must(0)
    run(work / "trainer", f"--data={data}", "--eval").must(1, "y=FILE.npy")
    run(work / "trainer", f"--data=y={work}/extra.npy,{data}", "--val=split:.25").must(0, "accuracy")


def order_of_nodes(gmc, work):
    nodes = [("Gemm", "fc1", ["x", "w1"], ["h"]), ("Relu", "relu1", ["h"], ["r"]), ("Gemm", "fc2", ["r", "w2"], ["logits"])]
    rest = [[weight("w1", 12, 16), weight("w2", 16, 3)], [value("x", "batch", 12)], [value("logits", "batch", 3)]]
    ring = [("Add", "a", ["h", "d"], ["b"]), ("Relu", "c", ["b"], ["d"]), ("Gemm", "fc2", ["d", "w2"], ["logits"])]
    cyclic = encode(model(nodes[:1] + ring, *rest), work / "cyclic.onnx")
    feeding = encode(model([nodes[0], ("Add", "loop", ["h", "r"], ["l"]), ("Relu", "relu1", ["l"], ["r"]), nodes[2]], *rest),
                     work / "feeding.onnx")
    with Untouched(work):
        for file, words in ((cyclic, ["'a'", "'c'"]), (feeding, ["'loop'", "'relu1'"])):
            run(gmc, "compile", file, "--vram=64MB", "-o", work / "t", *HOST).must(1, "cycle", *words)
    digests = set()
    data = samples(work)
    for name, order in (("sorted", nodes), ("unsorted", nodes[::-1])):
        trainer = compiled(gmc, work, model(order, *rest), name=name)
        run(trainer, f"--data={data}", f"--save={work}/{name}.safetensors").must(0)
        digests.add(str(safetensors(work / f"{name}.safetensors")))
    expect(len(digests) == 1, "the order in the file changes the weights")


def initializer_types(gmc, work):
    """Types this release has no arithmetic for, and numbers that are no type: named, with the initializer."""
    for kind, raw in ((0, 48), (8, 48), (14, 96), (17, 12), (23, 12), (99, 48)):
        text = model([("Gemm", "fc", ["x", "w"], ["h"]), ("Add", "shift", ["h", "odd"], ["logits"])],
                     [weight("w", 12, 3), f'name: "odd" data_type: {kind} dims: 3 raw_data: "{"x" * (raw // 4)}"'],
                     [value("x", "batch", 12)], [value("logits", "batch", 3)])
        onnx = encode(text, work / f"type{kind}.onnx")
        with Untouched(work):
            result = run(gmc, "compile", onnx, "--vram=64MB", "-o", work / "t", *HOST)
            expect(result.code in (1, 2), f"type {kind}: {result}")
            result.must(result.code, "odd")
    short = mlp().replace(weight("b1", 16), 'name: "b1" data_type: 1 dims: 16 raw_data: "abcd"')
    onnx = encode(short, work / "short.onnx")
    with Untouched(work):
        run(gmc, "compile", onnx, "--vram=64MB", "-o", work / "t", *HOST).must(1, "b1")
    onnx = encode(mlp().replace("dims: 12 dims: 16", "dims: -12 dims: 16", 1), work / "negative.onnx")
    with Untouched(work):
        run(gmc, "compile", onnx, "--vram=64MB", "-o", work / "t", *HOST).must(1, "w1")


def wrong_weights(gmc, work):
    trainer, data = compiled(gmc, work), samples(work)
    other = compiled(gmc, work, mlp().replace("w1", "v1"), name="other")
    run(trainer, f"--data={data}", f"--save={work}/s.safetensors", f"--checkpoint={work}/c").must(0)
    (work / "garbage").write_bytes(bytes(range(256)) * 8)
    (work / "cut").write_bytes((work / "s.safetensors").read_bytes()[:-100])
    kept = Path(str(trainer) + ".safetensors").read_bytes()
    with Untouched(work):
        for flags in ([f"--weights={work}/garbage"], [f"--weights={work}/cut"], [f"--weights={work}/nothing"]):
            run(trainer, f"--data={data}", f"--save={work}/t", *flags).must(1, flags[0].split("=")[1])
        run(trainer, f"--data={data}", f"--weights={other}.safetensors", f"--save={work}/t").must(1, "'w1'")
        run(other, f"--data={data}", f"--checkpoint={work}/c", "--resume").must(1, "another model")
        for file in ("garbage", "cut", "nothing", "other/trainer.safetensors"):
            run(gmc, "export", work / "net/net.onnx", work / file, "-o", work / "out.onnx").must(1, file)
    Path(str(trainer) + ".safetensors").write_bytes(Path(str(other) + ".safetensors").read_bytes())
    run(trainer, f"--data={data}", f"--save={work}/t").must(1, "trainer.safetensors")
    Path(str(trainer) + ".safetensors").unlink()
    run(trainer, f"--data={data}", f"--save={work}/t").must(1, "trainer.safetensors", "--weights=")
    Path(str(trainer) + ".safetensors").write_bytes(kept)
    expect(not (work / "t").exists(), "weights were saved")
    run(trainer, f"--data={data}").must(0)


def vanished_data(gmc, work):
    """A file that shrinks under a running trainer: a message, not a crash."""
    trainer = compiled(gmc, work)
    data = samples(work, 4000)
    process = subprocess.Popen([str(trainer), f"--data={data}", "--steps=100000000", f"--log={work}/log", f"--checkpoint={work}/c",
                                "--save-every=50"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(work.glob("c/*.safetensors"))) < 2:
        pass
    os.truncate(work / "x.npy", 1000)
    _, err = process.communicate(timeout=60)
    expect(process.returncode == 6 and "x.npy" in err, f"exit {process.returncode}: {err}")
    expect(not [p for p in work.glob("c/*") if ".tmp" in p.name], "a half-written checkpoint")


CASES = {f.__name__: f for f in (damaged_model, missing_external_data, wrong_label, unknown_tokens, unknown_ops, one_megabyte,
                                 short_reserve, unwritable_output, damaged_pictures, no_data, full_disk, contradictions, missing_dims,
                                 order_of_nodes, initializer_types, wrong_weights, vanished_data)}
if __name__ == "__main__":
    main(CASES, USAGE)
