// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: func.func @max
func.func @max(%x: tensor<2x3x7x7xf32>, %dy: tensor<2x3x4x4xf32>) -> (tensor<2x3x4x4xf32>, tensor<2x3x4x4xi64>, tensor<2x3x7x7xf32>) {
  // CHECK: nn.max_pool %{{.*}} {ceil_mode = true, dilations = array<i64: 1, 1>, kernel = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>} : (tensor<2x3x7x7xf32>) -> tensor<2x3x4x4xf32>
  %y = nn.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
      dilations = array<i64: 1, 1>, ceil_mode = true} : (tensor<2x3x7x7xf32>) -> tensor<2x3x4x4xf32>
  // CHECK: nn.max_pool_indices
  %i = nn.max_pool_indices %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
      dilations = array<i64: 1, 1>, ceil_mode = true} : (tensor<2x3x7x7xf32>) -> tensor<2x3x4x4xi64>
  // CHECK: nn.max_pool_grad
  %dx = nn.max_pool_grad %x, %dy {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
      dilations = array<i64: 1, 1>, ceil_mode = true} : (tensor<2x3x7x7xf32>, tensor<2x3x4x4xf32>) -> tensor<2x3x7x7xf32>
  return %y, %i, %dx : tensor<2x3x4x4xf32>, tensor<2x3x4x4xi64>, tensor<2x3x7x7xf32>
}

// CHECK-LABEL: func.func @average
func.func @average(%x: tensor<2x3x8xf32>) -> tensor<2x3x8xf32> {
  // CHECK: nn.avg_pool %{{.*}} {count_include_pad = true
  %y = nn.avg_pool %x {kernel = array<i64: 3>, strides = array<i64: 2>, pads = array<i64: 1, 1>,
      dilations = array<i64: 1>, count_include_pad = true} : (tensor<2x3x8xf32>) -> tensor<2x3x4xf32>
  // CHECK: nn.avg_pool_grad
  %dx = nn.avg_pool_grad %y {input = array<i64: 8>, kernel = array<i64: 3>, strides = array<i64: 2>,
      pads = array<i64: 1, 1>, dilations = array<i64: 1>, count_include_pad = true} : (tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  return %dx : tensor<2x3x8xf32>
}
