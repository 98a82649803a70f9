// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: func.func @dropout
func.func @dropout(%x: tensor<2x8xf32>, %rng: tensor<4xi64>) -> (tensor<2x8xf32>, tensor<2x8xi1>) {
  // CHECK: nn.dropout %{{.*}}, %{{.*}} {node_id = 7 : i64, ratio = 5.000000e-01 : f64, training = true} : (tensor<2x8xf32>, tensor<4xi64>) -> tensor<2x8xf32>
  %y = nn.dropout %x, %rng {ratio = 0.5 : f64, training = true, node_id = 7 : i64}
      : (tensor<2x8xf32>, tensor<4xi64>) -> tensor<2x8xf32>
  // CHECK: nn.dropout_mask %{{.*}} {ratio = 5.000000e-01 : f64} : (tensor<2x8xf32>) -> tensor<2x8xi1>
  %m = nn.dropout_mask %x {ratio = 0.5 : f64} : (tensor<2x8xf32>) -> tensor<2x8xi1>
  return %y, %m : tensor<2x8xf32>, tensor<2x8xi1>
}
