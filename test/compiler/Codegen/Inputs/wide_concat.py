"""wide_concat.py N: a function that concatenates N tensors, as one kernel of N + 1 operands."""
import sys

n = int(sys.argv[1])
arguments = ", ".join(f"%a{i}: tensor<1xf32>" for i in range(n))
operands = ", ".join(f"%a{i}" for i in range(n))
types = ", ".join(["tensor<1xf32>"] * n)
print(f"func.func @wide({arguments}) -> tensor<{n}xf32> {{")
print(f"  %y = nn.concat {operands} {{axis = 0 : i64}} : ({types}) -> tensor<{n}xf32>")
print(f"  return %y : tensor<{n}xf32>\n}}")
