// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @ratio(%x: tensor<8xf32>) {
  // expected-error @+1 {{ratio 1.500000e+00 is not between 0 and 1}}
  %y = nn.dropout %x {ratio = 1.5 : f64} : (tensor<8xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @state(%x: tensor<8xf32>, %rng: tensor<2xi64>) {
  // expected-error @+1 {{random state must be tensor<4xi64>, not 'tensor<2xi64>'}}
  %y = nn.dropout %x, %rng {ratio = 0.5 : f64} : (tensor<8xf32>, tensor<2xi64>) -> tensor<8xf32>
  return
}
