// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: @reductions
func.func @reductions(%x: tensor<4x8x16xf32>) {
  // CHECK: nn.reduce_sum %{{.*}} {axes = array<i64: 0, 2>} : (tensor<4x8x16xf32>) -> tensor<8xf32>
  %0 = nn.reduce_sum %x {axes = array<i64: 0, 2>} : (tensor<4x8x16xf32>) -> tensor<8xf32>
  // CHECK: nn.reduce_mean %{{.*}} {axes = array<i64: 1>, keepdims = true} : (tensor<4x8x16xf32>) -> tensor<4x1x16xf32>
  %1 = nn.reduce_mean %x {axes = array<i64: 1>, keepdims = true} : (tensor<4x8x16xf32>) -> tensor<4x1x16xf32>
  // CHECK: nn.reduce_max
  %2 = nn.reduce_max %x {axes = array<i64: 1>} : (tensor<4x8x16xf32>) -> tensor<4x16xf32>
  // CHECK: nn.arg_max %{{.*}} {axis = 1 : i64} : (tensor<4x8x16xf32>) -> tensor<4x16xi64>
  %3 = nn.arg_max %x {axis = 1 : i64} : (tensor<4x8x16xf32>) -> tensor<4x16xi64>
  // CHECK: nn.cumsum %{{.*}} {axis = 2 : i64, reverse = true} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  %4 = nn.cumsum %x {axis = 2 : i64, reverse = true} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  // CHECK: nn.softmax %{{.*}} {axis = 2 : i64} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  %5 = nn.softmax %x {axis = 2 : i64} : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  // CHECK: nn.log_softmax_grad
  %6 = nn.log_softmax_grad %5, %x {axis = 2 : i64} : (tensor<4x8x16xf32>, tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  return
}
