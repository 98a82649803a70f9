// RUN: gmc-opt %s | gmc-opt | FileCheck %s
// RUN: gmc-opt %s --canonicalize | FileCheck %s --check-prefix=CANON

// CHECK-LABEL: func.func @gather
// CHECK: nn.gather %{{.*}}, %{{.*}} {axis = 0 : i64}
// CHECK: return %{{.*}} : tensor<4x32x128xf32>
func.func @gather(%table: tensor<65x128xf32>, %tokens: tensor<4x32xi64>) -> tensor<4x32x128xf32> {
  %y = nn.gather %table, %tokens {axis = 0 : i64} : (tensor<65x128xf32>, tensor<4x32xi64>) -> tensor<4x32x128xf32>
  return %y : tensor<4x32x128xf32>
}

// CANON-LABEL: func.func @gather_constant
// CANON-NEXT: nn.constant dense<30> : tensor<i64>
func.func @gather_constant() -> tensor<i64> {
  %shape = nn.constant dense<[10, 20, 30]> : tensor<3xi64>
  %last = nn.constant dense<-1> : tensor<i64>
  %y = nn.gather %shape, %last {axis = 0 : i64} : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  return %y : tensor<i64>
}

// CHECK-LABEL: func.func @gather_grad
// CHECK: nn.gather_grad %{{.*}}, %{{.*}} {axis = 0 : i64, size = 65 : i64}
func.func @gather_grad(%grad: tensor<4x32x128xf32>, %tokens: tensor<4x32xi64>) -> tensor<65x128xf32> {
  %y = nn.gather_grad %grad, %tokens {axis = 0 : i64, size = 65 : i64}
      : (tensor<4x32x128xf32>, tensor<4x32xi64>) -> tensor<65x128xf32>
  return %y : tensor<65x128xf32>
}

// CHECK-LABEL: func.func @gather_elements
// CHECK: nn.gather_elements %{{.*}}, %{{.*}} {axis = 1 : i64}
func.func @gather_elements(%x: tensor<4x8xf32>, %i: tensor<4x2xi32>) -> tensor<4x2xf32> {
  %y = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<4x8xf32>, tensor<4x2xi32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// CHECK-LABEL: func.func @gather_nd
// CHECK: nn.gather_nd %{{.*}}, %{{.*}} {batch_dims = 1 : i64}
// CHECK: return %{{.*}} : tensor<4x5x16xf32>
func.func @gather_nd(%x: tensor<4x8x16xf32>, %i: tensor<4x5x1xi64>) -> tensor<4x5x16xf32> {
  %y = nn.gather_nd %x, %i {batch_dims = 1 : i64} : (tensor<4x8x16xf32>, tensor<4x5x1xi64>) -> tensor<4x5x16xf32>
  return %y : tensor<4x5x16xf32>
}

// CHECK-LABEL: func.func @scatters
// CHECK: nn.scatter_elements %{{.*}}, %{{.*}}, %{{.*}} {add = true, axis = 0 : i64}
// CHECK: nn.scatter_elements_fold %{{.*}}, %{{.*}}, %{{.*}} {axis = 0 : i64, kind = "max"}
// CHECK: nn.scatter_nd %{{.*}}, %{{.*}}, %{{.*}} {add = true}
// CHECK: nn.scatter_nd_fold %{{.*}}, %{{.*}}, %{{.*}} {kind = "mul"}
func.func @scatters(%x: tensor<8xf32>, %i: tensor<2xi64>, %j: tensor<2x1xi64>, %u: tensor<2xf32>) -> tensor<8xf32> {
  %a = nn.scatter_elements %x, %i, %u {axis = 0 : i64, add = true}
      : (tensor<8xf32>, tensor<2xi64>, tensor<2xf32>) -> tensor<8xf32>
  %b = nn.scatter_elements_fold %a, %i, %u {axis = 0 : i64, kind = "max"}
      : (tensor<8xf32>, tensor<2xi64>, tensor<2xf32>) -> tensor<8xf32>
  %c = nn.scatter_nd %b, %j, %u {add = true} : (tensor<8xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<8xf32>
  %d = nn.scatter_nd_fold %c, %j, %u {kind = "mul"} : (tensor<8xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<8xf32>
  return %d : tensor<8xf32>
}

// CHECK-LABEL: func.func @topk
// CHECK: nn.topk %{{.*}} {axis = 1 : i64, k = 5 : i64, largest = false}
func.func @topk(%x: tensor<32x1000xf32>) -> (tensor<32x5xf32>, tensor<32x5xi64>) {
  %v, %i = nn.topk %x {axis = 1 : i64, k = 5 : i64, largest = false}
      : (tensor<32x1000xf32>) -> (tensor<32x5xf32>, tensor<32x5xi64>)
  return %v, %i : tensor<32x5xf32>, tensor<32x5xi64>
}
