// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @axis(%x: tensor<4x8xf32>) {
  // expected-error @+2 {{axis 2 is outside rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.reduce_sum %x {axes = array<i64: 2>} : (tensor<4x8xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @softmax(%x: tensor<4x8xf32>) {
  // expected-error @+2 {{axis 5 is outside rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.softmax %x {axis = 5 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @cumsum(%x: tensor<4x8xf32>) {
  // expected-error @+2 {{axis 3 is outside 'tensor<4x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.cumsum %x {axis = 3 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}
