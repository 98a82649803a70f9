// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @axis(%x: tensor<8x10xf32>, %t: tensor<8xi64>) {
  // expected-error @+2 {{class axis 2 is outside rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %s, %c = nn.softmax_cross_entropy %x, %t {class_axis = 2 : i64} : (tensor<8x10xf32>, tensor<8xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  return
}

// -----

func.func @labels(%x: tensor<8x10xf32>, %t: tensor<10xi64>) {
  // expected-error @+2 {{labels 'tensor<10xi64>' do not fit 'tensor<8x10xf32>' with classes on axis 1}}
  // expected-error @+1 {{failed to infer returned types}}
  %s, %c = nn.nll_loss %x, %t : (tensor<8x10xf32>, tensor<10xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  return
}

// -----

func.func @weights(%x: tensor<8x10xf32>, %t: tensor<8xi64>, %w: tensor<8xf32>) {
  // expected-error @+2 {{class weights 'tensor<8xf32>' for 10 classes}}
  // expected-error @+1 {{failed to infer returned types}}
  %s, %c = nn.nll_loss %x, %t weights %w : (tensor<8x10xf32>, tensor<8xi64>, tensor<8xf32>) -> (tensor<1xf32>, tensor<1xf32>)
  return
}

// -----

func.func @target(%x: tensor<8x10xf32>, %t: tensor<8x9xf32>) {
  // expected-error @+2 {{target 'tensor<8x9xf32>' differs in type from 'tensor<8x10xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %s, %c = nn.mse_loss %x, %t : (tensor<8x10xf32>, tensor<8x9xf32>) -> (tensor<1xf32>, tensor<1xf32>)
  return
}
