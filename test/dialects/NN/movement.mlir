// RUN: gmc-opt %s | gmc-opt | FileCheck %s
// RUN: gmc-opt %s --canonicalize | FileCheck %s --check-prefix=CANON

// CHECK-LABEL: func.func @transpose
// CHECK: nn.transpose %{{.*}} {perm = array<i64: 2, 0, 1>}
// CHECK: return %{{.*}} : tensor<4x2x3xf32>
func.func @transpose(%x: tensor<2x3x4xf32>) -> tensor<4x2x3xf32> {
  %y = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  return %y : tensor<4x2x3xf32>
}

// Back and forth is nothing.
// CANON-LABEL: func.func @transpose_twice
// CANON-NEXT: return %arg0
func.func @transpose_twice(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %y = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %z = nn.transpose %y {perm = array<i64: 1, 2, 0>} : (tensor<4x2x3xf32>) -> tensor<2x3x4xf32>
  return %z : tensor<2x3x4xf32>
}

// CANON-LABEL: func.func @transpose_composed
// CANON-NEXT: %[[Y:.*]] = nn.transpose %arg0 {perm = array<i64: 1, 2, 0>}
// CANON-NEXT: return %[[Y]]
func.func @transpose_composed(%x: tensor<2x3x4xf32>) -> tensor<3x4x2xf32> {
  %y = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %z = nn.transpose %y {perm = array<i64: 2, 0, 1>} : (tensor<4x2x3xf32>) -> tensor<3x4x2xf32>
  return %z : tensor<3x4x2xf32>
}

// Only dimensions of size 1 move: no element does.
// CANON-LABEL: func.func @transpose_units
// CANON-NEXT: nn.reshape %arg0 {shape = array<i64: 2, 4, 1, 1>}
func.func @transpose_units(%x: tensor<2x1x1x4xf32>) -> tensor<2x4x1x1xf32> {
  %y = nn.transpose %x {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x1x1x4xf32>) -> tensor<2x4x1x1xf32>
  return %y : tensor<2x4x1x1xf32>
}

// CHECK-LABEL: func.func @concat
// CHECK: nn.concat %{{.*}}, %{{.*}} {axis = 1 : i64}
func.func @concat(%x: tensor<2x3xf32>, %y: tensor<2x5xf32>) -> tensor<2x8xf32> {
  %z = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
  return %z : tensor<2x8xf32>
}

// CANON-LABEL: func.func @concat_constants
// CANON-NEXT: nn.constant dense<[1, 2, 3]> : tensor<3xi64>
func.func @concat_constants() -> tensor<3xi64> {
  %x = nn.constant dense<[1, 2]> : tensor<2xi64>
  %y = nn.constant dense<[3]> : tensor<1xi64>
  %z = nn.concat %x, %y {axis = 0 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<3xi64>
  return %z : tensor<3xi64>
}

// CHECK-LABEL: func.func @slice
// CHECK: nn.slice %{{.*}} {sizes = array<i64: 2, 4>, starts = array<i64: 0, 7>, steps = array<i64: 1, -2>}
func.func @slice(%x: tensor<2x8xf32>) -> tensor<2x4xf32> {
  %y = nn.slice %x {starts = array<i64: 0, 7>, sizes = array<i64: 2, 4>, steps = array<i64: 1, -2>}
      : (tensor<2x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// CANON-LABEL: func.func @slice_constant
// CANON-NEXT: nn.constant dense<[7, 5, 3]> : tensor<3xi64>
func.func @slice_constant() -> tensor<3xi64> {
  %x = nn.constant dense<[0, 1, 2, 3, 4, 5, 6, 7]> : tensor<8xi64>
  %y = nn.slice %x {starts = array<i64: 7>, sizes = array<i64: 3>, steps = array<i64: -2>}
      : (tensor<8xi64>) -> tensor<3xi64>
  return %y : tensor<3xi64>
}

// CHECK-LABEL: func.func @pad
// CHECK: nn.pad %{{.*}} {high = array<i64: 0, 2>, interior = array<i64: 1, 0>, low = array<i64: 0, 1>, value = 1.0
func.func @pad(%x: tensor<2x8xf32>) -> tensor<3x11xf32> {
  %y = nn.pad %x {low = array<i64: 0, 1>, high = array<i64: 0, 2>, interior = array<i64: 1, 0>, value = 1.0 : f64}
      : (tensor<2x8xf32>) -> tensor<3x11xf32>
  return %y : tensor<3x11xf32>
}

// CHECK-LABEL: func.func @broadcast_to
// CHECK: nn.broadcast_to %{{.*}} {shape = array<i64: 4, 2, 3>}
func.func @broadcast_to(%x: tensor<2x1xf32>) -> tensor<4x2x3xf32> {
  %y = nn.broadcast_to %x {shape = array<i64: 4, 2, 3>} : (tensor<2x1xf32>) -> tensor<4x2x3xf32>
  return %y : tensor<4x2x3xf32>
}

// CHECK-LABEL: func.func @trilu
// CHECK: nn.trilu %{{.*}} {k = -1 : i64, upper = false}
func.func @trilu(%x: tensor<4x8x8xf32>) -> tensor<4x8x8xf32> {
  %y = nn.trilu %x {k = -1 : i64, upper = false} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
  return %y : tensor<4x8x8xf32>
}
