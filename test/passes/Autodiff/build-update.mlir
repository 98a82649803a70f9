// RUN: gmc-opt %s --build-update="optimizer=momentum clip=true ema=true" | FileCheck %s
// RUN: gmc-opt %s --build-update="optimizer=adamw" | FileCheck %s --check-prefix=ADAM

// CHECK-LABEL: func @update
// CHECK-SAME: %[[W:[^:]*]]: tensor<4xf32> {nn.name = "w", nn.role = "parameter"}
// CHECK-SAME: %[[G:[^:]*]]: tensor<4xf32> {nn.name = "w", nn.role = "gradient"}
// CHECK-SAME: %[[BUF:[^:]*]]: tensor<4xf32> {nn.name = "momentum.buf/w", nn.role = "state"}
// CHECK-SAME: %[[EMA:[^:]*]]: tensor<4xf32> {nn.name = "ema/w", nn.role = "state"}
// CHECK-SAME: %[[HYPER:[^:]*]]: tensor<16xf32> {nn.role = "hyper"}
// CHECK-SAME: %[[COUNT:[^:]*]]: tensor<1xf32> {nn.role = "valid_count"}
// CHECK-SAME: %[[STEPS:[^:]*]]: tensor<1xi64> {nn.role = "step_count"}
// CHECK: %[[N:.*]] = nn.grad_norm_sq %[[G]]
// CHECK: %[[SCALE:.*]] = nn.clip_scale %[[N]], %[[HYPER]], %[[COUNT]]
// CHECK: %[[W1:.*]], %[[BUF1:.*]] = nn.momentum_update %[[W]], %[[G]], %[[BUF]], %[[HYPER]], %[[COUNT]], %[[STEPS]], %[[SCALE]]
// CHECK: %[[DECAY:.*]] = nn.slice %[[HYPER]] {sizes = array<i64: 1>, starts = array<i64: 7>
// CHECK: %[[EMA1:.*]] = nn.fused(%[[EMA]], %[[W1]], %[[DECAY]], %[[STEPS]])
// CHECK: %[[STEPS1:.*]] = nn.add %[[STEPS]]
// CHECK: return %[[W1]], %[[BUF1]], %[[EMA1]], %[[STEPS1]]

// ADAM-LABEL: func @update
// ADAM-SAME: nn.name = "adam.m/w"
// ADAM-SAME: nn.name = "adam.v/w"
// ADAM-NOT: nn.clip_scale
// ADAM: nn.adam_update
func.func @micro(%x: tensor<4xf32> {nn.name = "x", nn.role = "input"}, %w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<4xf32> {nn.name = "w", nn.role = "gradient"}) {
  return %x : tensor<4xf32>
}
