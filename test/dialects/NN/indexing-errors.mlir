// RUN: gmc-opt %s -verify-diagnostics -split-input-file

func.func @gather_axis(%x: tensor<65x128xf32>, %i: tensor<4xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{axis 2 is outside rank 2}}
  %y = nn.gather %x, %i {axis = 2 : i64} : (tensor<65x128xf32>, tensor<4xi64>) -> tensor<4x128xf32>
  return
}

// -----

func.func @gather_empty(%x: tensor<0x128xf32>, %i: tensor<4xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{indices into dimension 0 of 'tensor<0x128xf32>', which has no elements}}
  %y = nn.gather %x, %i {axis = 0 : i64} : (tensor<0x128xf32>, tensor<4xi64>) -> tensor<4x128xf32>
  return
}

// -----

func.func @gather_grad(%g: tensor<5x128xf32>, %i: tensor<4xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{'tensor<5x128xf32>' does not have the dimensions of 'tensor<4xi64>' at axis 0}}
  %y = nn.gather_grad %g, %i {axis = 0 : i64, size = 65 : i64}
      : (tensor<5x128xf32>, tensor<4xi64>) -> tensor<65x128xf32>
  return
}

// -----

func.func @gather_elements(%x: tensor<4x8xf32>, %i: tensor<5x2xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{indices 'tensor<5x2xi64>' do not lie inside 'tensor<4x8xf32>' beside axis 1}}
  %y = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<4x8xf32>, tensor<5x2xi64>) -> tensor<5x2xf32>
  return
}

// -----

func.func @gather_nd(%x: tensor<4x8xf32>, %i: tensor<5x3xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{tuples of 3 indices do not fit 'tensor<4x8xf32>' after 0 batch dimensions}}
  %y = nn.gather_nd %x, %i : (tensor<4x8xf32>, tensor<5x3xi64>) -> tensor<5xf32>
  return
}

// -----

func.func @scatter_elements(%x: tensor<8xf32>, %i: tensor<2xi64>, %u: tensor<3xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{updates 'tensor<3xf32>' for indices 'tensor<2xi64>' into 'tensor<8xf32>'}}
  %y = nn.scatter_elements %x, %i, %u {axis = 0 : i64} : (tensor<8xf32>, tensor<2xi64>, tensor<3xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @scatter_nd(%x: tensor<8x4xf32>, %i: tensor<2x1xi64>, %u: tensor<2xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{updates 'tensor<2xf32>' where the indices need 'tensor<2x4xf32>'}}
  %y = nn.scatter_nd %x, %i, %u : (tensor<8x4xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<8x4xf32>
  return
}

// -----

func.func @kind(%x: tensor<8xf32>, %i: tensor<2x1xi64>, %u: tensor<2xf32>) {
  // expected-error@+1 {{combines by sum, which is none of mul, min and max}}
  %y = nn.scatter_nd_fold %x, %i, %u {kind = "sum"} : (tensor<8xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @topk(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{k = 9 of an axis of size 8}}
  %v, %i = nn.topk %x {axis = 0 : i64, k = 9 : i64} : (tensor<8xf32>) -> (tensor<9xf32>, tensor<9xi64>)
  return
}
