// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @scale(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error @+2 {{scale and bias of rows of 8 elements cannot be 'tensor<4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %y, %m, %i = nn.layer_norm %x scale %s {axis = 1 : i64} : (tensor<4x8xf32>, tensor<4xf32>) -> (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}
