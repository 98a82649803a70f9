// RUN: gmc-opt %s --build-micro=loss=mse --build-update="optimizer=momentum ema=true" --scale-loss=accumulation=3 | FileCheck %s

// Eight labels in each of three micro-steps: 32 is the next power of two.
// CHECK-LABEL: func @micro
// CHECK-SAME: %[[SCALE:[^:]*]]: tensor<1xf32> {nn.name = "loss_scale", nn.role = "state"}) ->
// CHECK: %[[N:.*]] = nn.constant {nn.backward} dense<3.125000e-02> : tensor<1xf32>
// CHECK: %[[SEED:.*]] = nn.mul %[[SCALE]], %[[N]] {nn.backward}
// CHECK: nn.mse_loss_grad {{.*}}%[[SEED]]

// CHECK-LABEL: func @update
// CHECK-SAME: %[[W:[^:]*]]: tensor<4xf32> {nn.name = "w", nn.role = "parameter"}
// CHECK-SAME: %[[G:[^:]*]]: tensor<4xf32> {nn.name = "w", nn.role = "gradient"}
// CHECK-SAME: %[[BUF:[^:]*]]: tensor<4xf32> {nn.name = "momentum.buf/w", nn.role = "state"}
// CHECK-SAME: %[[EMA:[^:]*]]: tensor<4xf32> {nn.name = "ema/w", nn.role = "state"}
// CHECK-SAME: %[[HYPER:[^:]*]]: tensor<16xf32> {nn.role = "hyper"}
// CHECK-SAME: %[[COUNT:[^:]*]]: tensor<1xf32> {nn.role = "valid_count"}
// CHECK-SAME: %[[STEPS:[^:]*]]: tensor<1xi64> {nn.role = "step_count"}
// CHECK-SAME: %[[SCALE:[^:]*]]: tensor<1xf32> {nn.name = "loss_scale", nn.role = "state"}
// CHECK-SAME: %[[CLEAN:[^:]*]]: tensor<1xf32> {nn.name = "loss_scale.clean_steps", nn.role = "state"}
// CHECK: %[[BAD:.*]] = nn.non_finite_count %[[G]]
// CHECK: %[[INTERVAL:.*]] = nn.slice %[[HYPER]] {sizes = array<i64: 1>, starts = array<i64: 8>
// CHECK: %[[DIVISOR:.*]] = nn.fused(%[[COUNT]], %[[SCALE]], %[[BAD]])
// CHECK: %[[SCALE1:.*]] = nn.fused(%[[SCALE]], %[[CLEAN]], %[[BAD]], %[[INTERVAL]])
// CHECK: %[[CLEAN1:.*]] = nn.fused(%[[CLEAN]], %[[BAD]], %[[INTERVAL]])
// CHECK: %[[W1:.*]], %[[BUF1:.*]] = nn.momentum_update %[[W]], %[[G]], %[[BUF]], %[[HYPER]], %[[DIVISOR]], %[[STEPS]]
// CHECK: %[[EMA0:.*]] = nn.fused(%[[EMA]], %[[W1]],
// CHECK: %[[STEPS0:.*]] = nn.add %[[STEPS]]
// CHECK: %[[EMA1:.*]] = nn.fused(%[[EMA]], %[[EMA0]], %[[DIVISOR]])
// CHECK: %[[STEPS1:.*]] = nn.fused(%[[STEPS]], %[[STEPS0]], %[[DIVISOR]])
// CHECK: return %[[W1]], %[[BUF1]], %[[EMA1]], %[[STEPS1]], %[[SCALE1]], %[[CLEAN1]]
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x", nn.role = "input"},
                   %w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<2x4xf32> {nn.name = "y", nn.role = "output"}) {
  %0 = nn.mul %x, %w : tensor<2x4xf32>, tensor<4xf32>
  return %0 : tensor<2x4xf32>
}
