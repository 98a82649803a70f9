// RUN: gmc-opt %s --verify-import --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s
// What is legal passes as it is. Scalar IR inside an nn op is that op's own.

// CHECK: nn.fused
// CHECK: arith.addf
// CHECK: nn.relu {{.*}} loc(fused["relu", "clip"])
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.fused(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32):
    %s = arith.addf %a, %a : f32
    nn.yield %s : f32
  } loc("double")
  %1 = nn.relu %0 : tensor<4xf32> loc(fused["relu", "clip"])
  return %1 : tensor<4xf32>
}
