// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @axis(%x: tensor<3x2xf32>, %p: tensor<4x1xi32>, %w: tensor<4x1xf32>) {
  // expected-error @+2 {{axis 2 is outside rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.resample %x at %p by %w {axes = array<i64: 2>} : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x1xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @tables(%x: tensor<3x2xf32>, %p: tensor<4x1xi32>, %w: tensor<4x2xf32>) {
  // expected-error @+2 {{are not two matrices of one shape}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.resample %x at %p by %w {axes = array<i64: 1>} : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x2xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @reach_size(%x: tensor<3x2xf32>, %p: tensor<4x1xi32>, %w: tensor<4x1xf32>) {
  // expected-error @+2 {{reach has two numbers for each axis, none of them negative}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.resample %x at %p by %w {axes = array<i64: 1>, reach = array<i64: 1>} : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x1xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @reach_exceeded(%x: tensor<3x2xf32>, %w: tensor<4x2xf32>) {
  %p = nn.constant dense<[[0, 0], [0, 1], [0, 1], [1, 1]]> : tensor<4x2xi32>
  // expected-error @+1 {{along axis 1, positions are up to 1 below and 1 above, which its reach says they are not}}
  %y = nn.resample %x at %p by %w {axes = array<i64: 1>, reach = array<i64: 0, 1>} : (tensor<3x2xf32>, tensor<4x2xi32>, tensor<4x2xf32>) -> tensor<3x4xf32>
  return
}
