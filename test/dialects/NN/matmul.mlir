// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: @products
func.func @products(%a: tensor<5x8x16xf32>, %b: tensor<4x16xf32>, %d: tensor<4xf32>) -> tensor<5x8x4xf32> {
  // CHECK: nn.matmul %{{.*}}, %{{.*}} bias %{{.*}} {transpose_b = true} : (tensor<5x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>) -> tensor<5x8x4xf32>
  %c = nn.matmul %a, %b bias %d {transpose_b = true} : (tensor<5x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>) -> tensor<5x8x4xf32>
  // CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_a = true} : (tensor<5x8x16xf32>, tensor<5x8x4xf32>) -> tensor<5x16x4xf32>
  %e = nn.matmul %a, %c {transpose_a = true} : (tensor<5x8x16xf32>, tensor<5x8x4xf32>) -> tensor<5x16x4xf32>
  return %c : tensor<5x8x4xf32>
}
