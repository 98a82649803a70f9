// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @channels(%x: tensor<2x3x4xf32>, %s: tensor<4xf32>, %m: tensor<3xf32>) {
  // expected-error @+2 {{'tensor<4xf32>' does not hold one element for each of the 3 channels of 'tensor<2x3x4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %y:5 = nn.batch_norm %x, %s, %m, %m, %m : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
      -> (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  return
}

// -----

func.func @groups(%x: tensor<2x3x4xf32>, %s: tensor<3xf32>) {
  // expected-error @+2 {{2 groups do not divide 3 channels}}
  // expected-error @+1 {{failed to infer returned types}}
  %y:3 = nn.group_norm %x, %s, %s {groups = 2 : i64}
      : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<2x3x4xf32>, tensor<2x2xf32>, tensor<2x2xf32>)
  return
}
