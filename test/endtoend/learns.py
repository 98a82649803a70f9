#!/usr/bin/env python3
"""Networks that have to learn something: learns.py GMC WORK CASE, or --list."""
from harness import *


def train(gmc, work, onnx, options, flags):
    """Validation events of a run; memory within the budget."""
    if not onnx.exists():
        skip(f"{onnx} is not there")
    run(gmc, "compile", onnx, "--target=host", "-o", work / "trainer", *options).must(0)
    run(work / "trainer", f"--log={work}/log", f"--save={work}/s.safetensors", *flags).must(0)
    lines = events(work / "log")
    (memory,) = (e for e in lines if e["event"] == "memory")
    expect(memory["used"] <= memory["promised"], f"memory {memory}")
    evals = [e for e in lines if e["event"] == "eval"]
    print("\n".join(f"step {e['step']}: loss {e['loss']:.4f} accuracy {e['accuracy']:.4f}" for e in evals))
    print(f"{memory['used'] / 1e6:.1f} MB used of {memory['promised'] / 1e6:.1f} MB")
    return evals


def lenet5_on_mnist(gmc, work):
    """Without the file's weights, in three epochs: at least 97 % on images it has not seen."""
    mnist = SHARED / "mnist"
    evals = train(gmc, work, SHARED / "onnx/zoo/lenet5.onnx", ["--init=kaiming", "--vram=64MB", "--batch=256"],
                  [f"--data={mnist}[0:9000]", f"--val={mnist}[9000:10000]", "--epochs=3", "--lr=1e-2", "--schedule=cosine",
                   "--warmup=10"])
    expect(len(evals) == 3 and evals[-1]["accuracy"] >= .97, f"accuracy {evals[-1]['accuracy']}")


def gpt2_on_text(gmc, work):
    """The loss on text it has not seen falls from evaluation to evaluation, below that of guessing by letter counts (3.3)."""
    text = SHARED / "text/tinyshakespeare.txt"
    evals = train(gmc, work, SHARED / "onnx/zoo/gpt2_tiny.onnx", ["--init=normal:.02", "--vram=200MB", "--batch=16"],
                  [f"--data=text:{text}[0:4000]", f"--val=text:{text}[16000:16400]", "--epochs=3", "--lr=2e-3", "--warmup=20"])
    losses = [e["loss"] for e in evals]
    expect(losses == sorted(losses, reverse=True) and losses[-1] < 3.05, f"validation losses {losses}")


if __name__ == "__main__":
    main({f.__name__: f for f in (lenet5_on_mnist, gpt2_on_text)}, "learns.py GMC WORK CASE")
