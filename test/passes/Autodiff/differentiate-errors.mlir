// RUN: gmc-opt %s --differentiate -split-input-file -verify-diagnostics

// Both offenders at once.
func.func @no_gradient(%w: tensor<4xf32> {nn.role = "parameter"}) -> tensor<f32> {
  // expected-error @+1 {{'nn.fused' has no gradient and lies between a trained value and the loss}}
  %a = nn.fused(%w) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%s: f32):
    nn.yield %s : f32
  }
  // expected-error @+1 {{'nn.fused' has no gradient}}
  %b = nn.fused(%a) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%s: f32):
    nn.yield %s : f32
  }
  %l = nn.reduce_sum %b {axes = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

// expected-error @+1 {{the loss must be one floating-point number, result 0 is 'tensor<4xf32>'}}
func.func @not_scalar(%w: tensor<4xf32> {nn.role = "parameter"}) -> tensor<4xf32> {
  return %w : tensor<4xf32>
}

// -----

// expected-error @+1 {{has 0 results, the loss is to be result 0}}
func.func @no_result(%w: tensor<4xf32> {nn.role = "parameter"}) {
  return
}
