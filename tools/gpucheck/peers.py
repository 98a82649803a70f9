"""PyTorch training steps of the networks that tools/gpu-check times, written here so that they are the ones of the ONNX files: same shapes,
same batch, same precision, plain SGD. Run in a process of its own, which gives its memory back."""
import statistics, subprocess, sys, time
from pathlib import Path


def measure(name, precision, mode, batch, seconds):
    """Milliseconds of a step, or why there are none."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r}); " \
             f"from gpucheck import peers; peers.main({name!r}, {precision!r}, {mode!r}, {batch})"
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done in {seconds:.0f} s"
    lines = done.stdout.strip().splitlines()
    return float(lines[-1]) if done.returncode == 0 and lines else "failed: " + done.stderr.strip()[-300:]


def lenet5():
    from torch import nn
    conv = lambda inner, outer, padding: [nn.Conv2d(inner, outer, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*conv(1, 6, 2), *conv(6, 16, 0), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                         nn.Linear(84, 10))


def resnet(blocks, bottleneck):
    import torch
    from torch import nn
    expansion = 4 if bottleneck else 1

    def unit(inner, outer, size, stride=1):
        return [nn.Conv2d(inner, outer, size, stride, size // 2, bias=False), nn.BatchNorm2d(outer)]

    class Block(nn.Module):
        def __init__(self, inner, width, stride):
            super().__init__()
            outer = width * expansion
            layers = [*unit(inner, width, 1), nn.ReLU(), *unit(width, width, 3, stride), nn.ReLU(), *unit(width, outer, 1)] if bottleneck \
                else [*unit(inner, width, 3, stride), nn.ReLU(), *unit(width, outer, 3)]
            self.main = nn.Sequential(*layers)
            self.short = nn.Identity() if inner == outer and stride == 1 else nn.Sequential(*unit(inner, outer, 1, stride))

        def forward(self, x):
            return torch.relu(self.main(x) + self.short(x))

    layers, inner = [*unit(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for i in range(count):
            layers.append(Block(inner, width, 2 if stage and not i else 1))
            inner = width * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, 1000))


def gpt2(vocabulary, length, width, heads, depth, dropout):
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.drop = nn.Dropout(dropout)

        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (part.view(b, t, heads, width // heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, 2))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
            x = x + self.drop(self.out(attended.transpose(1, 2).reshape(b, t, width)))
            return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.drop = nn.Dropout(dropout)
            self.layers, self.norm = nn.Sequential(*(Layer() for _ in range(depth))), nn.LayerNorm(width)

        def forward(self, ids):
            x = self.drop(self.tokens(ids) + self.positions.weight[:ids.shape[1]])
            return F.linear(self.norm(self.layers(x)), self.tokens.weight).flatten(0, 1)

    return Model()


NETWORKS = {  # maker, shape of a sample, classes or vocabulary
    "lenet5": (lenet5, (1, 28, 28), 10),
    "resnet18": (lambda: resnet((2, 2, 2, 2), False), (3, 224, 224), 1000),
    "resnet50": (lambda: resnet((3, 4, 6, 3), True), (3, 224, 224), 1000),
    "gpt2_tiny": (lambda: gpt2(512, 64, 64, 4, 2, 0.0), (64,), 512),
    "gpt2_124m": (lambda: gpt2(50257, 1024, 768, 12, 12, 0.1), (1024,), 50257)}


def main(name, precision, mode, batch, device="cuda", steps=30):
    import torch
    make, shape, classes = NETWORKS[name]
    # "The same precision": f32 products are f32's, not tf32's.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    text = name.startswith("gpt2")
    model = make().to(device)
    x = torch.randint(classes, (batch, *shape), device=device) if text else torch.rand(batch, *shape, device=device)
    y = torch.randint(classes, (batch, *shape) if text else (batch,), device=device)
    if len(shape) == 3:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = torch.compile(model) if mode == "compiled" else model
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    for _ in range(steps):
        wait()
        begin = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(step(x), y.flatten())
        loss.backward()
        optimizer.step()
        loss.item()
        times.append((time.perf_counter() - begin) * 1e3)
    print(statistics.median(times[steps // 3:]))
