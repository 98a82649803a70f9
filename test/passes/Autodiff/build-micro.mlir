// RUN: gmc-opt %s --build-micro -split-input-file | FileCheck %s
// RUN: gmc-opt %s --build-micro="loss=mse bn-train=false input-grads=true" -split-input-file | FileCheck %s --check-prefix=MSE

// CHECK-LABEL: func @micro
// CHECK-SAME: %[[X:[^:]*]]: tensor<8x4xf32> {nn.name = "x", nn.role = "input"}
// CHECK-SAME: %[[LABEL:[^:]*]]: tensor<8xi64> {nn.name = "label", nn.role = "label"}
// CHECK-SAME: %[[ROWS:[^:]*]]: tensor<1xi64> {nn.role = "valid_samples"}
// CHECK-NOT: rng
// CHECK-SAME: %[[S:[^:]*]]: tensor<4xf32> {nn.name = "s", nn.role = "parameter"}
// CHECK-SAME: %[[M:[^:]*]]: tensor<4xf32> {nn.name = "m", nn.role = "state"}
// CHECK-SAME: %[[V:[^:]*]]: tensor<4xf32> {nn.name = "v", nn.role = "state"}
// CHECK-SAME: -> (tensor<1xf32> {nn.role = "loss_sum"}, tensor<1xf32> {nn.role = "valid_count"},
// CHECK-SAME: tensor<4xf32> {nn.name = "s", nn.role = "gradient"}, tensor<4xf32> {nn.name = "b", nn.role = "gradient"},
// CHECK-SAME: tensor<4xf32> {nn.name = "m", nn.role = "state"}, tensor<4xf32> {nn.name = "v", nn.role = "state"})

// Batch statistics, which move the running ones.
// CHECK: %[[Y:.*]], %[[UM:.*]], %[[UI:.*]], %[[NM:.*]], %[[NV:.*]] = nn.batch_norm %[[X]], %[[S]], %{{.*}}, %[[M]], %[[V]] {training = true}
// CHECK: %[[SUM:.*]], %[[COUNT:.*]] = nn.softmax_cross_entropy %[[Y]], %[[LABEL]] valid %[[ROWS]]
// CHECK: %[[ONE:.*]] = nn.constant {nn.backward, nn.seed} dense<1.0
// CHECK: %[[DY:.*]] = nn.softmax_cross_entropy_grad %[[Y]], %[[LABEL]], %[[ONE]] valid %[[ROWS]] {nn.backward}
// CHECK: %{{.*}}, %[[DS:.*]], %[[DB:.*]] = nn.batch_norm_grad %[[X]], %[[S]], %[[UM]], %[[UI]], %[[DY]] {nn.backward, training = true}
// CHECK: return %[[SUM]], %[[COUNT]], %[[DS]], %[[DB]], %[[NM]], %[[NV]]

// Frozen statistics are constants; the gradient of the input comes after those of parameters.
// MSE-LABEL: func @micro
// MSE-SAME: tensor<8x4xf32> {nn.name = "label", nn.role = "label"}
// MSE-SAME: {nn.name = "m", nn.role = "constant"}
// MSE-SAME: tensor<8x4xf32> {nn.name = "x", nn.role = "gradient"})
// MSE: nn.batch_norm
// MSE-NOT: training = true
// MSE: nn.mse_loss
func.func @forward(%x: tensor<8x4xf32> {nn.name = "x", nn.role = "input"},
                   %s: tensor<4xf32> {nn.name = "s", nn.role = "parameter"},
                   %b: tensor<4xf32> {nn.name = "b", nn.role = "parameter"},
                   %m: tensor<4xf32> {nn.name = "m", nn.role = "constant"},
                   %v: tensor<4xf32> {nn.name = "v", nn.role = "constant"})
    -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}) {
  %y, %um, %ui, %nm, %nv = nn.batch_norm %x, %s, %b, %m, %v : (tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return %y : tensor<8x4xf32>
}

// -----

// Dropout drops with the random numbers of the step; its gradient draws them again.
// CHECK-LABEL: func @micro
// CHECK-SAME: %[[RNG:[^:]*]]: tensor<4xi64> {nn.role = "rng"}
// CHECK: %[[D:.*]] = nn.dropout %{{.*}}, %[[RNG]] {node_id = 7 : i64, ratio = 5.000000e-01 : f64, training = true}
// CHECK: nn.dropout %{{.*}}, %[[RNG]] {nn.backward, node_id = 7 : i64, ratio = 5.000000e-01 : f64, training = true}
func.func @forward(%x: tensor<8x4xf32> {nn.name = "x", nn.role = "input"},
                   %s: tensor<4xf32> {nn.name = "s", nn.role = "parameter"})
    -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}) {
  %p = nn.mul %x, %s : tensor<8x4xf32>, tensor<4xf32>
  %d = nn.dropout %p {ratio = 0.5 : f64, node_id = 7 : i64} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %d : tensor<8x4xf32>
}

// -----

// A mean in the file is taken apart; its label is an input, whose rows are tokens: four for a sample.
// CHECK-LABEL: func @micro
// CHECK-SAME: tensor<2x4x3xf32> {nn.name = "x", nn.role = "input"}
// CHECK-SAME: %[[LABEL:[^:]*]]: tensor<2x4xi64> {nn.name = "y", nn.role = "label"}
// CHECK-SAME: %[[SAMPLES:[^:]*]]: tensor<1xi64> {nn.role = "valid_samples"}
// CHECK-DAG: %[[LABELS:.*]] = nn.reshape %[[LABEL]]
// CHECK-DAG: %[[FOUR:.*]] = nn.constant dense<4> : tensor<1xi64>
// CHECK-DAG: %[[ROWS:.*]] = nn.mul %[[SAMPLES]], %[[FOUR]]
// CHECK: %[[SUM:.*]], %[[COUNT:.*]] = nn.softmax_cross_entropy %{{.*}}, %[[LABELS]] valid %[[ROWS]]
// CHECK-NOT: nn.div
// CHECK: return %[[SUM]], %[[COUNT]]
func.func @forward(%x: tensor<2x4x3xf32> {nn.name = "x", nn.role = "input"},
                   %y: tensor<2x4xi64> {nn.name = "y", nn.role = "input"},
                   %s: tensor<3xf32> {nn.name = "s", nn.role = "parameter"})
    -> (tensor<f32> {nn.name = "loss", nn.role = "output"}) {
  %p = nn.mul %x, %s : tensor<2x4x3xf32>, tensor<3xf32>
  %r = nn.reshape %p {shape = array<i64: 8, 3>} : (tensor<2x4x3xf32>) -> tensor<8x3xf32>
  %l = nn.reshape %y {shape = array<i64: 8>} : (tensor<2x4xi64>) -> tensor<8xi64>
  %sum, %count = nn.softmax_cross_entropy %r, %l : (tensor<8x3xf32>, tensor<8xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  %m = nn.div %sum, %count : tensor<1xf32>, tensor<1xf32>
  %loss = nn.reshape %m {shape = array<i64>} : (tensor<1xf32>) -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Scores [batch, classes, length] of inputs [batch, channels, length]: the classes are on axis 1.
// CHECK-LABEL: func @micro
// CHECK-SAME: %[[LABEL:[^:]*]]: tensor<2x9xi64> {nn.name = "label", nn.role = "label"}
// CHECK: nn.softmax_cross_entropy %{{.*}}, %[[LABEL]] {{.*}}tensor<2x5x9xf32>
// MSE-LABEL: func @micro
func.func @forward(%x: tensor<2x3x9xf32> {nn.name = "x", nn.role = "input"},
                   %w: tensor<5x3x1xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<2x5x9xf32> {nn.name = "y", nn.role = "output"}) {
  %y = nn.conv %x, %w {dilations = array<i64: 1>, pads = array<i64: 0, 0>, strides = array<i64: 1>} : (tensor<2x3x9xf32>, tensor<5x3x1xf32>) -> tensor<2x5x9xf32>
  return %y : tensor<2x5x9xf32>
}

// -----

// The other way round, the length comes first: the classes are on the last axis.
// CHECK-LABEL: func @micro
// CHECK-SAME: tensor<2x9xi64> {nn.name = "label", nn.role = "label"}
// CHECK: nn.softmax_cross_entropy {{.*}}class_axis = 2{{.*}}tensor<2x9x5xf32>
// MSE-LABEL: func @micro
func.func @forward(%x: tensor<2x9x3xf32> {nn.name = "x", nn.role = "input"},
                   %w: tensor<3x5xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<2x9x5xf32> {nn.name = "y", nn.role = "output"}) {
  %y = nn.matmul %x, %w : (tensor<2x9x3xf32>, tensor<3x5xf32>) -> tensor<2x9x5xf32>
  return %y : tensor<2x9x5xf32>
}
