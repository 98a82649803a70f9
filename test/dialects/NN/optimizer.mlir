// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: @updates
func.func @updates(%p: tensor<8xf32>, %g: tensor<8xf32>, %h: tensor<16xf32>, %n: tensor<1xf32>, %t: tensor<1xi64>) {
  // CHECK: nn.sgd_update
  %p1 = nn.sgd_update %p, %g, %h, %n, %t : tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
  // CHECK: nn.momentum_update {{.*}} {nesterov = true}
  %p2, %b2 = nn.momentum_update %p, %g, %g, %h, %n, %t {nesterov = true} : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
  // CHECK: nn.adam_update {{.*}} {decoupled = false}
  %p3, %m3, %v3 = nn.adam_update %p, %g, %g, %g, %h, %n, %t {decoupled = false} : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
  // CHECK: nn.grad_norm_sq
  %q = nn.grad_norm_sq %g : tensor<8xf32>
  // CHECK: nn.clip_scale
  %s = nn.clip_scale %q, %q, %h, %n : tensor<1xf32>, tensor<1xf32>, tensor<16xf32>, tensor<1xf32>
  // CHECK: nn.lion_update
  %p4, %m4 = nn.lion_update %p, %g, %g, %h, %n, %t, %s : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>, tensor<1xf32>
  return
}
