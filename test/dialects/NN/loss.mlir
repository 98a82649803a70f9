// RUN: gmc-opt %s | gmc-opt | FileCheck %s

// CHECK-LABEL: @classification
func.func @classification(%x: tensor<8x10x4xf32>, %t: tensor<8x4xi64>, %w: tensor<10xf32>, %n: tensor<1xi64>) {
  // CHECK: nn.softmax_cross_entropy %{{.*}}, %{{.*}} weights %{{.*}} valid %{{.*}} {ignore_index = 3 : i64}
  // CHECK-SAME: (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<10xf32>, tensor<1xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  %s, %c = nn.softmax_cross_entropy %x, %t weights %w valid %n {ignore_index = 3 : i64} : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<10xf32>, tensor<1xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  // CHECK: nn.softmax_cross_entropy_grad %{{.*}}, %{{.*}}, %{{.*}} : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<1xf32>) -> tensor<8x10x4xf32>
  %dx = nn.softmax_cross_entropy_grad %x, %t, %s : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<1xf32>) -> tensor<8x10x4xf32>
  // CHECK: nn.nll_loss
  %s2, %c2 = nn.nll_loss %x, %t : (tensor<8x10x4xf32>, tensor<8x4xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  // CHECK: nn.nll_rows %{{.*}}, %{{.*}} weights %{{.*}} : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<10xf32>) -> tensor<8x4xf32>
  %r = nn.nll_rows %x, %t weights %w : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<10xf32>) -> tensor<8x4xf32>
  // CHECK: nn.nll_grad
  %dr = nn.nll_grad %t, %r {type = tensor<8x10x4xf32>} : (tensor<8x4xi64>, tensor<8x4xf32>) -> tensor<8x10x4xf32>
  // CHECK: nn.count_correct %{{.*}}, %{{.*}} valid %{{.*}} -> tensor<1xf32>
  %k = nn.count_correct %x, %t valid %n : (tensor<8x10x4xf32>, tensor<8x4xi64>, tensor<1xi64>) -> tensor<1xf32>
  return
}

// CHECK-LABEL: @pointwise
func.func @pointwise(%x: tensor<8x4xf64>, %n: tensor<1xi64>) {
  // CHECK: nn.mse_loss %{{.*}}, %{{.*}} valid %{{.*}} -> (tensor<1xf64>, tensor<1xf64>)
  %s, %c = nn.mse_loss %x, %x valid %n : (tensor<8x4xf64>, tensor<8x4xf64>, tensor<1xi64>) -> (tensor<1xf64>, tensor<1xf64>)
  // CHECK: nn.l1_loss
  %s1, %c1 = nn.l1_loss %x, %x : (tensor<8x4xf64>, tensor<8x4xf64>) -> (tensor<1xf64>, tensor<1xf64>)
  // CHECK: nn.bce_loss
  %s2, %c2 = nn.bce_loss %x, %x : (tensor<8x4xf64>, tensor<8x4xf64>) -> (tensor<1xf64>, tensor<1xf64>)
  // CHECK: nn.bce_logits_loss
  %s3, %c3 = nn.bce_logits_loss %x, %x : (tensor<8x4xf64>, tensor<8x4xf64>) -> (tensor<1xf64>, tensor<1xf64>)
  // CHECK: nn.mse_loss_grad
  %d = nn.mse_loss_grad %x, %x, %s valid %n : (tensor<8x4xf64>, tensor<8x4xf64>, tensor<1xf64>, tensor<1xi64>) -> tensor<8x4xf64>
  return
}
