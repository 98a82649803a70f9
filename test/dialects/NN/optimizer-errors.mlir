// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @shape(%p: tensor<8xf32>, %g: tensor<7xf32>, %h: tensor<16xf32>, %n: tensor<1xf32>, %t: tensor<1xi64>) {
  // expected-error @+1 {{gradient and state must have the parameter's shape: 'tensor<7xf32>' for 'tensor<8xf32>'}}
  %p1 = nn.sgd_update %p, %g, %h, %n, %t : tensor<8xf32>, tensor<7xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
  return
}

// -----

func.func @hyper(%p: tensor<8xf32>, %g: tensor<8xf32>, %h: tensor<4xf32>, %n: tensor<1xf32>, %t: tensor<1xi64>) {
  // expected-error @+1 {{hyper-parameters are 16 numbers, not 'tensor<4xf32>'}}
  %p1 = nn.sgd_update %p, %g, %h, %n, %t : tensor<8xf32>, tensor<8xf32>, tensor<4xf32>, tensor<1xf32>, tensor<1xi64>
  return
}
