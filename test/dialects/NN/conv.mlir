// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: func.func @conv
func.func @conv(%x: tensor<2x3x8x8xf32>, %w: tensor<16x3x3x3xf32>, %b: tensor<16xf32>) -> tensor<2x16x4x8xf32> {
  // CHECK: nn.conv %{{.*}}, %{{.*}}, %{{.*}} {dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 1>} : (tensor<2x3x8x8xf32>, tensor<16x3x3x3xf32>, tensor<16xf32>) -> tensor<2x16x4x8xf32>
  %y = nn.conv %x, %w, %b {strides = array<i64: 2, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<16x3x3x3xf32>, tensor<16xf32>) -> tensor<2x16x4x8xf32>
  return %y : tensor<2x16x4x8xf32>
}

// CHECK-LABEL: func.func @grouped_1d
func.func @grouped_1d(%x: tensor<2x4x9xf64>, %w: tensor<6x2x3xf64>) -> tensor<2x6x5xf64> {
  // CHECK: nn.conv %{{.*}}, %{{.*}} {{{.*}}group = 2 : i64
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 2>, group = 2 : i64}
      : (tensor<2x4x9xf64>, tensor<6x2x3xf64>) -> tensor<2x6x5xf64>
  return %y : tensor<2x6x5xf64>
}

// A negative end pad is ONNX's output_padding.
// CHECK-LABEL: func.func @transposed
func.func @transposed(%x: tensor<2x16x4x4xf32>, %w: tensor<16x8x3x3xf32>) -> tensor<2x8x8x8xf32> {
  // CHECK: nn.conv_transpose {{.*}}pads = array<i64: 1, 1, 0, 0>
  %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x16x4x4xf32>, tensor<16x8x3x3xf32>) -> tensor<2x8x8x8xf32>
  return %y : tensor<2x8x8x8xf32>
}

// CHECK-LABEL: func.func @weight_grad
func.func @weight_grad(%x: tensor<2x3x8x8xf32>, %dy: tensor<2x16x8x8xf32>) -> tensor<16x3x3x3xf32> {
  // CHECK: nn.conv_weight_grad {{.*}}kernel = array<i64: 3, 3>
  %dw = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>,
      pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<2x16x8x8xf32>) -> tensor<16x3x3x3xf32>
  return %dw : tensor<16x3x3x3xf32>
}
