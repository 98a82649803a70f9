// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: func.func @upsample
func.func @upsample(%x: tensor<3x2xf32>) -> tensor<3x4xf32> {
  %p = nn.constant dense<[[0], [0], [1], [1]]> : tensor<4x1xi32>
  %w = nn.constant dense<1.0> : tensor<4x1xf32>
  // CHECK: nn.resample %{{.*}} at %{{.*}} by %{{.*}} {axes = array<i64: 1>} : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x1xf32>) -> tensor<3x4xf32>
  %y = nn.resample %x at %p by %w {axes = array<i64: 1>}
      : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x1xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @reach
func.func @reach(%x: tensor<3x2xf32>) -> tensor<3x4xf32> {
  %p = nn.constant dense<[[0, 0], [0, 1], [0, 1], [1, 1]]> : tensor<4x2xi32>
  %w = nn.constant dense<0.5> : tensor<4x2xf32>
  // CHECK: nn.resample {{.*}} {axes = array<i64: 1>, reach = array<i64: 1, 1>}
  %y = nn.resample %x at %p by %w {axes = array<i64: 1>, reach = array<i64: 1, 1>}
      : (tensor<3x2xf32>, tensor<4x2xi32>, tensor<4x2xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
