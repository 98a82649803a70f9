#!/usr/bin/env python3
"""A trained and exported model in onnxruntime: export_runs.py GMC WORK CASE, or --list.

Trains a few steps on the inputs that lie beside the model, exports, and compares three answers on the same samples: onnxruntime
on the exported file, the trainer's --predict with the trained weights, and `gmc run` on the exported file."""
from harness import *

TOLERANCE = 1e-5  # of the largest output
MODELS = ("reference/lenet5 reference/resnet8_cifar reference/gpt2_tiny reference/unet_tiny modern/mobilenetv3_tiny "
          "modern/mobilenetv3_tiny_bn modern/resnet_tiny_ts modern/convnext_tiny modern/vit_tiny modern/gpt2_tiny "
          "modern/bert_cls_tiny modern/lstm_cls_tiny modern/audio1d_tiny modern/dcgan_tiny modern/whisper_encoder_tiny "
          "modern/unet_bilinear_tiny").split()


def compare(name):
    def case(gmc, work):
        import numpy, onnxruntime
        onnxruntime.set_default_logger_severity(3)
        onnx = SHARED / "onnx" / f"{name}.onnx"
        if not onnx.exists():
            skip(f"{onnx} is not there")
        case = numpy.load(onnx.with_suffix(".npz"))
        bindings, dims = [], {}
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        for info in session.get_inputs():
            value = case["in_" + info.name]
            numpy.save(work / f"{len(bindings)}.npy", value)
            bindings.append(f"{info.name}={work}/{len(bindings)}.npy")
            dims.update((n, d) for n, d in list(zip(info.shape, value.shape))[1:] if isinstance(n, str))
        numpy.save(work / "label.npy", case["y"])
        kind = case["loss_kind"].tobytes().decode() if "loss_kind" in case else ""
        loss = "mse" if kind.startswith("mse") else "cross-entropy"
        batch = len(case["y"])
        trainer, trained, exported = work / "trainer", work / "trained.safetensors", work / "trained.onnx"
        run(gmc, "compile", onnx, "--target=host", f"--batch={batch}", "--vram=1GB", f"--loss={loss}", "-o", trainer,
            *(f"--dim={n}={d}" for n, d in dims.items())).must(0)
        data = ",".join(bindings)
        run(trainer, f"--data={data},label={work}/label.npy", "--steps=5", "--lr=2e-3", f"--save={trained}").must(0)
        run(gmc, "export", onnx, trained, "-o", exported).must(0)
        before = session.run(None, {b.split("=")[0]: numpy.load(b.split("=")[1]) for b in bindings})
        session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        theirs = dict(zip(names, session.run(None, {b.split("=")[0]: numpy.load(b.split("=")[1]) for b in bindings})))
        expect(any(abs(a - b).max() > 1e-4 for a, b in zip(before, theirs.values())), "training changed nothing")
        predicted = run(trainer, f"--predict={data}", f"--weights={trained}").must(0).out.splitlines()
        run(gmc, "run", exported, *(f"--input={b}" for b in bindings), "-o", work / "run").must(0)
        expect(len(predicted) == batch, f"{len(predicted)} predictions for {batch} samples")
        for output in names:
            want = theirs[output].astype(numpy.float64)
            scale = max(1.0, abs(want).max())
            rows = numpy.array([json.loads(line)["outputs"][output] for line in predicted]).reshape(want.shape)
            ours = numpy.load(work / "run" / f"{output.replace('/', '_')}.npy")
            for who, got in (("--predict", rows), ("gmc run", ours)):
                difference = abs(got - want).max() / scale
                print(f"{name} '{output}' {want.shape}: {who} differs from onnxruntime by {difference:.2e} of the largest output")
                expect(difference <= TOLERANCE, f"more than {TOLERANCE}")
    return case


if __name__ == "__main__":
    main({m.replace("/", "-"): compare(m) for m in MODELS}, "export_runs.py GMC WORK CASE")
