#!/usr/bin/env python3
"""ResNet-18 on a folder of JPEG files, beside PyTorch's eager step of the same network in the same run.

tools/python-env bench/requirements.txt bench/resnet18.py [--model=FILE] [--batch=N] [--size=N] [--threads=N] [--steps=N] [--vram=SIZE] [-o FILE.md]

Prints (and writes with -o) how long planning and compiling took, what was predicted and used, and the step times with their ratio.
The two take turns, round by round; of all their steps the median counts."""
import argparse, json, os, platform, statistics, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", type=Path, default=ROOT / "../shared/data/onnx/zoo/resnet18.onnx")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=4, help="per round; the first of each is left out")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--vram", default="3GB")
parser.add_argument("-o", dest="output", type=Path)
arguments = parser.parse_args()
if not arguments.model.exists():
    sys.exit(f"skipped: {arguments.model} is not there")
import torch
from torch import nn

gmc, work = ROOT / "build/bin/gmc", ROOT / "build/bench/resnet18"
work.mkdir(parents=True, exist_ok=True)


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.down = None
        if stride != 1 or before != width:
            self.down = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + (x if self.down is None else self.down(x)))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(before, width, stride), Block(width, width, 1)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def timed(*command):
    begin = time.time()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return time.time() - begin


pictures = work / "pictures"
if not pictures.exists():
    timed(ROOT / "build/test/make-pictures", pictures, 10, arguments.batch * 8, 256, 256)
options = ["--target=host", f"--batch={arguments.batch}", f"--threads={arguments.threads}", "--optimizer=momentum", "--init=kaiming",
           f"--vram={arguments.vram}"]
plan_seconds = timed(gmc, "plan", arguments.model, *options, f"--json={work}/plan.json")
plan = json.loads((work / "plan.json").read_text())
compile_seconds = timed(gmc, "compile", arguments.model, *options, "-o", work / "trainer")

torch.manual_seed(0)
torch.set_num_threads(arguments.threads)
net = resnet18().train()
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=.9)
x, y = torch.randn(arguments.batch, 3, arguments.size, arguments.size), torch.randint(10, (arguments.batch,))
ours, theirs, waits, memory = [], [], [], {}
for _ in range(arguments.rounds):
    for k in range(arguments.steps):
        begin = time.time()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        if k:
            theirs.append((time.time() - begin) * 1e3)
    log = work / "log"
    log.unlink(missing_ok=True)
    timed(work / "trainer", f"--data={pictures}", "--augment=rrc=224,flip,normalize=imagenet", f"--steps={arguments.steps}",
          "--lr=1e-3", f"--log={log}")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [e for e in events if e["event"] == "step"]
    ours += [e["step_ms"] for e in steps[1:]]
    waits += [e["wait_ms"] for e in steps[1:]]
    memory = next(e for e in events if e["event"] == "memory")

mine, eager = statistics.median(ours), statistics.median(theirs)
git = ["git", "-C", str(ROOT)]
commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
rows = [("plan", f"{plan_seconds:.1f} s"), ("compile", f"{compile_seconds:.1f} s"),
        ("budget", f"{memory['promised'] / 1e6:.1f} MB"), ("predicted: arena + reserve", f"{(plan['arena_bytes'] + plan['reserve_bytes']) / 1e6:.1f} MB"),
        (f"used ({memory['source']})", f"{memory['used'] / 1e6:.1f} MB"), ("smallest budget", f"{plan['floor_bytes'] / 1e6:.1f} MB"),
        ("predicted step", f"{plan['predicted_step_ms']:.0f} ms"), ("step, decoding and augmenting JPEG files beside it", f"{mine:.0f} ms"),
        ("of it waiting for data", f"{statistics.median(waits):.1f} ms"), (f"PyTorch {torch.__version__} eager step, data in memory", f"{eager:.0f} ms"),
        ("step / eager step", f"{mine / eager:.2f}")]
text = f"""# ResNet-18 on JPEG files

{time.strftime('%Y-%m-%d')}, commit {commit}, {platform.machine()}, {arguments.threads} threads, batch {arguments.batch}, {arguments.size} x {arguments.size}, SGD with
momentum, fp32. Reprinted by

```
tools/python-env bench/requirements.txt bench/resnet18.py -o docs/results/resnet18.md
```

Both take turns in one run; medians of {len(ours)} and {len(theirs)} steps. Load of the machine during the run: {os.getloadavg()[1]:.1f}.

| | |
|---|---|
""" + "".join(f"| {name} | {value} |\n" for name, value in rows)
print(text)
if arguments.output:
    arguments.output.write_text(text)
sys.exit(memory["used"] > memory["promised"])
