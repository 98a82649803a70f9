#!/usr/bin/env python3
"""Products in half precision on every architecture: matrix_instructions.py EMIT_GPU_KERNELS WORKDIR

sm_80 and later multiply with mma.sync m16n8k16; sm_75 has the m16n8k8 of f16 and no instruction for bf16, which it does by
shuffles. Where ptxas is, all of it must assemble without spilling a register."""
import os, re, shutil, subprocess, sys
from pathlib import Path

emit, work = sys.argv[1], Path(sys.argv[2])
work.mkdir(parents=True, exist_ok=True)
toolkit = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
ptxas = next((f"{root}/bin/ptxas" for root in toolkit if root and os.access(f"{root}/bin/ptxas", os.X_OK)), shutil.which("ptxas"))
module = """
func.func @TYPE_matmul(%a: tensor<400x520xTYPE>, %b: tensor<520x360xTYPE>) -> tensor<400x360xTYPE> {
  %0 = nn.matmul %a, %b : (tensor<400x520xTYPE>, tensor<520x360xTYPE>) -> tensor<400x360xTYPE>
  return %0 : tensor<400x360xTYPE>
}
func.func @TYPE_large(%a: tensor<4000x512xTYPE>, %b: tensor<768x512xTYPE>) -> tensor<4000x768xTYPE> {
  %0 = nn.matmul %a, %b {transpose_b = true} : (tensor<4000x512xTYPE>, tensor<768x512xTYPE>) -> tensor<4000x768xTYPE>
  return %0 : tensor<4000x768xTYPE>
}
func.func @TYPE_conv(%x: tensor<8x64x28x28xTYPE>, %w: tensor<64x64x3x3xTYPE>) -> tensor<8x64x28x28xTYPE> {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<8x64x28x28xTYPE>, tensor<64x64x3x3xTYPE>) -> tensor<8x64x28x28xTYPE>
  return %0 : tensor<8x64x28x28xTYPE>
}
"""
failures = []
for kind in ("f16", "bf16"):
    source = work / f"{kind}.mlir"
    source.write_text(module.replace("TYPE", kind))
    for arch in ("sm_75", "sm_80", "sm_120"):
        ptx = work / f"{kind}-{arch}.ptx"
        subprocess.run([emit, source, ptx, arch], check=True)
        text = ptx.read_text()
        want = (f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32" if arch != "sm_75"
                else "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32" if kind == "f16" else "shfl.sync.idx.b32")
        ok = want in text and ("mma.sync" in text or want.startswith("shfl"))
        spills = []
        if ptxas:
            done = subprocess.run([ptxas, f"-arch={arch}", "-v", "-o", work / "out.cubin", ptx], capture_output=True, text=True)
            spills = [int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr)]
            ok = ok and done.returncode == 0 and spills and max(spills) == 0
        print(("ok: " if ok else "FAILED: ") + f"{kind} on {arch}: {text.count(want)} x {want}, {len(spills) // 2} kernels assembled, "
              f"{max(spills, default=0)} bytes spilled", flush=True)
        if not ok:
            failures.append((kind, arch))

# In f32 every multiply-add is one instruction.
source, ptx = work / "f32.mlir", work / "f32.ptx"
source.write_text(module.replace("TYPE", "f32"))
subprocess.run([emit, source, ptx, "sm_80"], check=True)
fused, apart = (len(re.findall(pattern, ptx.read_text())) for pattern in (r"\bfma\.rn\.f32\b", r"\bmul\.rn\.f32\b"))
print(("ok: " if fused and not apart else "FAILED: ") + f"f32: {fused} fused multiply-adds, {apart} multiplications apart")
sys.exit(bool(failures) or not fused or bool(apart))
