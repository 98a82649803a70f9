// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @inner(%a: tensor<8x16xf32>, %b: tensor<8x4xf32>) {
  // expected-error @+2 {{contracted dimensions differ: 16 of 'tensor<8x16xf32>' and 8 of 'tensor<8x4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %c = nn.matmul %a, %b : (tensor<8x16xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  return
}

// -----

func.func @batch(%a: tensor<3x8x16xf32>, %b: tensor<2x16x4xf32>) {
  // expected-error @+2 {{batch dimensions do not broadcast}}
  // expected-error @+1 {{failed to infer returned types}}
  %c = nn.matmul %a, %b : (tensor<3x8x16xf32>, tensor<2x16x4xf32>) -> tensor<3x8x4xf32>
  return
}

// -----

func.func @bias(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>, %d: tensor<8xf32>) {
  // expected-error @+2 {{bias 'tensor<8xf32>' for 4 columns}}
  // expected-error @+1 {{failed to infer returned types}}
  %c = nn.matmul %a, %b bias %d : (tensor<8x16xf32>, tensor<16x4xf32>, tensor<8xf32>) -> tensor<8x4xf32>
  return
}
