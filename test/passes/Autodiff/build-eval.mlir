// RUN: gmc-opt %s --build-eval --split-input-file | FileCheck %s

// CHECK-LABEL: func @eval
// CHECK-SAME: %[[LABEL:[^:]*]]: tensor<8xi64> {nn.name = "label", nn.role = "label"}
// CHECK-SAME: %[[ROWS:[^:]*]]: tensor<1xi64> {nn.role = "valid_samples"}
// CHECK-SAME: {nn.name = "m", nn.role = "state"}
// CHECK-SAME: -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}, tensor<1xf32> {nn.role = "loss_sum"}, tensor<1xf32> {nn.role = "valid_count"}, tensor<1xf32> {nn.role = "correct_count"})
// The file's training mode gives way to inference.
// CHECK: %[[Y:.*]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} = nn.batch_norm
// CHECK-NOT: training = true
// CHECK: nn.softmax_cross_entropy %[[Y]], %[[LABEL]] valid %[[ROWS]]
// CHECK: %[[CORRECT:.*]] = nn.count_correct %[[Y]], %[[LABEL]] valid %[[ROWS]]
// CHECK: return %[[Y]], %{{.*}}, %{{.*}}, %[[CORRECT]]
func.func @forward(%x: tensor<8x4xf32> {nn.name = "x", nn.role = "input"},
                   %s: tensor<4xf32> {nn.name = "s", nn.role = "parameter"},
                   %b: tensor<4xf32> {nn.name = "b", nn.role = "parameter"},
                   %m: tensor<4xf32> {nn.name = "m", nn.role = "constant"},
                   %v: tensor<4xf32> {nn.name = "v", nn.role = "constant"})
    -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}) {
  %y, %um, %ui, %nm, %nv = nn.batch_norm %x, %s, %b, %m, %v {training = true} : (tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return %y : tensor<8x4xf32>
}

// -----

// A dropout that makes an output disappears, and what it read is the output.
// CHECK-LABEL: func @eval
// CHECK: %[[Y:.*]] = nn.relu
// CHECK-NOT: nn.dropout
// CHECK: nn.softmax_cross_entropy %[[Y]]
// CHECK: return %[[Y]]
func.func @forward(%x: tensor<8x4xf32> {nn.name = "x", nn.role = "input"})
    -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}) {
  %r = nn.relu %x : tensor<8x4xf32>
  %y = nn.dropout %r {ratio = 0.5 : f64, training = false, node_id = 7 : i64} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}
