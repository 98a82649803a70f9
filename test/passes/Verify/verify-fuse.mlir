// RUN: gmc-opt %s --verify-fuse | FileCheck %s
// RUN: gmc-opt %S/../Fusion/form-kernels.mlir --form-kernels --verify-fuse | FileCheck %s --check-prefix=FORMED
// Legal, and what form-kernels leaves behind is.
// FORMED: attributes {plan.kernel}

// CHECK: func.func @step
func.func @step(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %c = nn.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>
  %0 = nn.reshape %x {shape = array<i64: 6>} : (tensor<2x3xf32>) -> tensor<6xf32>
  %1 = call @k(%0, %c) {plan.nodes = ["add"], plan.op = "nn.add", plan.stage = "forward"} : (tensor<6xf32>, tensor<6xf32>) -> tensor<6xf32>
  %2 = nn.reshape %1 {shape = array<i64: 2, 3>} : (tensor<6xf32>) -> tensor<2x3xf32>
  return %2 : tensor<2x3xf32>
}
func.func private @k(%x: tensor<6xf32>, %y: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} {
  %0 = nn.add %x, %y : tensor<6xf32>, tensor<6xf32>
  return %0 : tensor<6xf32>
}
