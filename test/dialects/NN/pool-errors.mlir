// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @rank(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{a pool needs an input of rank 3 or more, not 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.max_pool %x {kernel = array<i64>, strides = array<i64>, pads = array<i64>, dilations = array<i64>}
      : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @zero_kernel(%x: tensor<2x3x8xf32>) {
  // expected-error @+2 {{kernel, strides and dilations must be positive}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.avg_pool %x {kernel = array<i64: 0>, strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>}
      : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return
}

// -----

func.func @gradient(%x: tensor<2x3x8xf32>, %dy: tensor<2x3x5xf32>) {
  // expected-error @+2 {{output gradient 'tensor<2x3x5xf32>' is not of the pool's type 'tensor<2x3x4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %dx = nn.max_pool_grad %x, %dy {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>,
      dilations = array<i64: 1>} : (tensor<2x3x8xf32>, tensor<2x3x5xf32>) -> tensor<2x3x8xf32>
  return
}
