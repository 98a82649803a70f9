// RUN: gmc-opt %s -verify-diagnostics -split-input-file

func.func @transpose(%x: tensor<2x3xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{perm [0, 0] is not a permutation of the 2 dimensions}}
  %y = nn.transpose %x {perm = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @concat_axis(%x: tensor<2x3xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{axis 2 is outside rank 2}}
  %y = nn.concat %x {axis = 2 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @concat_shapes(%x: tensor<2x3xf32>, %y: tensor<3x3xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{cannot concatenate 'tensor<2x3xf32>' and 'tensor<3x3xf32>' along axis 1}}
  %z = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_rank(%x: tensor<2x8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{starts, sizes and steps need one number for each of the 2 dimensions}}
  %y = nn.slice %x {starts = array<i64: 0>, sizes = array<i64: 2>, steps = array<i64: 1>}
      : (tensor<2x8xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @slice_outside(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{slice of 4 elements from 5 by 1 leaves dimension 0 of size 8}}
  %y = nn.slice %x {starts = array<i64: 5>, sizes = array<i64: 4>, steps = array<i64: 1>}
      : (tensor<8xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @slice_step(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{step of dimension 0 is 0}}
  %y = nn.slice %x {starts = array<i64: 5>, sizes = array<i64: 1>, steps = array<i64: 0>}
      : (tensor<8xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @pad(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{padding of dimension 0 is negative}}
  %y = nn.pad %x {low = array<i64: -1>, high = array<i64: 0>, interior = array<i64: 0>}
      : (tensor<8xf32>) -> tensor<7xf32>
  return
}

// -----

func.func @broadcast_to(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{'tensor<8xf32>' does not broadcast to [4, 2]}}
  %y = nn.broadcast_to %x {shape = array<i64: 4, 2>} : (tensor<8xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @trilu(%x: tensor<8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{a triangle needs two dimensions, the operand has 1}}
  %y = nn.trilu %x : (tensor<8xf32>) -> tensor<8xf32>
  return
}
