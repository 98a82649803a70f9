// RUN: gmc-opt %s --verify-train | FileCheck %s

// CHECK: func.func @micro
func.func @micro(%x: tensor<4xf32> {nn.role = "input", nn.name = "x"}, %w: tensor<4xf32> {nn.role = "parameter", nn.name = "w"})
    -> (tensor<4xf32> {nn.role = "gradient", nn.name = "w"}) {
  %0 = nn.mul %x, %w : tensor<4xf32>, tensor<4xf32>
  return %0 : tensor<4xf32>
}
// CHECK: func.func @update
func.func @update(%w: tensor<4xf32> {nn.role = "parameter", nn.name = "w"}, %g: tensor<4xf32> {nn.role = "gradient", nn.name = "w"})
    -> (tensor<4xf32> {nn.role = "parameter", nn.name = "w"}) {
  %0 = nn.sub %w, %g : tensor<4xf32>, tensor<4xf32>
  return %0 : tensor<4xf32>
}
// CHECK: func.func @eval
func.func @eval(%x: tensor<4xf32> {nn.role = "input", nn.name = "x"}) -> (tensor<4xf32> {nn.role = "output", nn.name = "y"}) {
  %0 = nn.relu %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
