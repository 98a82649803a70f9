// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: @rows
func.func @rows(%x: tensor<4x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) {
  // CHECK: nn.layer_norm %{{.*}} scale %{{.*}} bias %{{.*}} {axis = 1 : i64} : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>)
  %y, %m, %i = nn.layer_norm %x scale %s bias %b {axis = 1 : i64} : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>)
  // CHECK: nn.layer_norm %{{.*}} {axis = 0 : i64, center = false}
  %r, %rm, %ri = nn.layer_norm %x {axis = 0 : i64, center = false} : (tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<1xf32>, tensor<1xf32>)
  // CHECK: nn.layer_norm_grad %{{.*}} scale %{{.*}} {axis = 1 : i64}
  %dx = nn.layer_norm_grad %x, %m, %i, %y scale %s {axis = 1 : i64} : (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  // CHECK: nn.layer_norm_param_grad
  %ds, %db = nn.layer_norm_param_grad %x, %m, %i, %y {axis = 1 : i64} : (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  return
}
