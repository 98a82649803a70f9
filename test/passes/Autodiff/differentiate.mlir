// RUN: gmc-opt %s --differentiate -split-input-file | FileCheck %s

// CHECK-LABEL: func @product
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[W:.*]]: tensor<3xf32> {{.*}}) -> (tensor<f32>, tensor<3xf32> {nn.name = "w", nn.role = "gradient"})
func.func @product(%x: tensor<2x3xf32>, %w: tensor<3xf32> {nn.name = "w", nn.role = "parameter"}) -> tensor<f32> {
  // CHECK: %[[P:.*]] = nn.mul %[[X]], %[[W]]
  // CHECK: %[[L:.*]] = nn.reduce_sum %[[P]]
  %p = nn.mul %x, %w : tensor<2x3xf32>, tensor<3xf32>
  %l = nn.reduce_sum %p {axes = array<i64: 0, 1>} : (tensor<2x3xf32>) -> tensor<f32>
  // The input's gradient is not wanted: one product only. The broadcast of w is summed over.
  // CHECK: %[[ONE:.*]] = nn.constant {nn.backward} dense<1.0
  // CHECK: %[[G1:.*]] = nn.reshape %[[ONE]]
  // CHECK: %[[DP:.*]] = nn.add %{{.*}}, %[[G1]] {nn.backward}
  // CHECK: %[[DPX:.*]] = nn.mul %[[DP]], %[[X]] {nn.backward}
  // CHECK-NOT: nn.mul
  // CHECK: %[[DW:.*]] = nn.reduce_sum %[[DPX]] {axes = array<i64: 0>, nn.backward}
  // CHECK: return %[[L]], %[[DW]]
  return %l : tensor<f32>
}

// -----

// Three uses of one value: contributions are added in reverse program order, left to right.
// CHECK-LABEL: func @association
// CHECK-SAME: (%[[W:[^:]*]]: tensor<4xf32>
func.func @association(%w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"}) -> tensor<f32> {
  %a = nn.sin %w : tensor<4xf32>
  %b = nn.mul %a, %w : tensor<4xf32>, tensor<4xf32>
  %c = nn.add %b, %w : tensor<4xf32>, tensor<4xf32>
  %l = nn.reduce_sum %c {axes = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  // CHECK: %[[A:.*]] = nn.sin %[[W]]
  // CHECK: %[[DC:.*]] = nn.add %{{.*}}, %{{.*}} {nn.backward}
  // CHECK: %[[DA:.*]] = nn.mul %[[DC]], %[[W]] {nn.backward}
  // CHECK: %[[FROMB:.*]] = nn.mul %[[DC]], %[[A]] {nn.backward}
  // CHECK: %[[S1:.*]] = nn.add %[[DC]], %[[FROMB]] {nn.backward}
  // CHECK: %[[FROMA:.*]] = nn.fused(%[[W]], %[[DA]])
  // CHECK: %[[S2:.*]] = nn.add %[[S1]], %[[FROMA]] {nn.backward}
  // CHECK: return %{{.*}}, %[[S2]]
  return %l : tensor<f32>
}

// -----

// What the loss does not depend on gets zeros; dead ops go; integers carry nothing.
// CHECK-LABEL: func @unused
func.func @unused(%w: tensor<2xf32> {nn.name = "w", nn.role = "parameter"}, %x: tensor<1xf32>,
                  %i: tensor<2xi64>) -> tensor<1xf32> {
  // CHECK-NOT: nn.exp
  // CHECK-NOT: nn.cast
  %dead = nn.exp %w : tensor<2xf32>
  %c = nn.cast %w {to = i64} : (tensor<2xf32>) -> tensor<2xi64>
  %s = nn.add %c, %i : tensor<2xi64>, tensor<2xi64>
  // CHECK: %[[L:.*]] = nn.sin
  %l = nn.sin %x : tensor<1xf32>
  // CHECK: %[[Z:.*]] = nn.constant dense<0.0{{.*}}> : tensor<2xf32>
  // CHECK: return %[[L]], %[[Z]]
  return %l : tensor<1xf32>
}
