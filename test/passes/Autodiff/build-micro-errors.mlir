// RUN: gmc-opt %s --build-micro -split-input-file -verify-diagnostics

// expected-error @+1 {{--loss=auto: no loss follows from the outputs 'y' tensor<8x4x2x2xf32>; choose --loss=cross-entropy, bce, mse or l1}}
func.func @forward(%x: tensor<8x4x2x2xf32> {nn.name = "x", nn.role = "input"}) -> (tensor<8x4x2x2xf32> {nn.name = "y", nn.role = "output"}) {
  return %x : tensor<8x4x2x2xf32>
}

// -----

// expected-error @+1 {{has no function @forward to train}}
module {
}

// -----

// A loss in the file that is no quotient of sum and count is averaged over micro-batches, and that is said.
// expected-remark @+1 {{output 'loss' is not a mean that can be taken apart into sum and count: it is averaged over micro-batches}}
func.func @forward(%x: tensor<8xf32> {nn.name = "x", nn.role = "input"}, %w: tensor<8xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<f32> {nn.name = "loss", nn.role = "output"}) {
  %p = nn.mul %x, %w : tensor<8xf32>, tensor<8xf32>
  %l = nn.reduce_sum %p {axes = array<i64: 0>} : (tensor<8xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
