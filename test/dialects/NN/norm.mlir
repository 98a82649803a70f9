// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: func.func @batch
func.func @batch(%x: tensor<2x3x4xf32>, %s: tensor<3xf32>, %b: tensor<3xf32>, %m: tensor<3xf32>, %v: tensor<3xf32>) -> (tensor<2x3x4xf32>, tensor<3xf32>) {
  // CHECK: nn.batch_norm %{{.*}} {momentum = 8.000000e-01 : f64, training = true} : (tensor<2x3x4xf32>
  %y:5 = nn.batch_norm %x, %s, %b, %m, %v {training = true, momentum = 0.8 : f64}
      : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
      -> (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  // CHECK: nn.batch_norm_grad %{{.*}} {training = true}
  %dx:3 = nn.batch_norm_grad %x, %s, %y#1, %y#2, %y#0 {training = true}
      : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<2x3x4xf32>)
      -> (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>)
  return %dx#0, %y#3 : tensor<2x3x4xf32>, tensor<3xf32>
}

// CHECK-LABEL: func.func @group
func.func @group(%x: tensor<2x4x5xf32>, %s: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<2x4x5xf32> {
  // CHECK: nn.group_norm %{{.*}} {groups = 2 : i64}
  %y:3 = nn.group_norm %x, %s, %b {groups = 2 : i64}
      : (tensor<2x4x5xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4x5xf32>, tensor<2x2xf32>, tensor<2x2xf32>)
  // CHECK: nn.group_norm_grad
  %dx:3 = nn.group_norm_grad %x, %s, %y#1, %y#2, %y#0
      : (tensor<2x4x5xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x4x5xf32>)
      -> (tensor<2x4x5xf32>, tensor<4xf32>, tensor<4xf32>)
  return %dx#0 : tensor<2x4x5xf32>
}
