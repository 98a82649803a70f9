// RUN: gmc-opt %s --build-eval=loss=mse:z -split-input-file -verify-diagnostics

// expected-error @+1 {{--loss=mse:z: there is no output 'z'; the outputs are 'y' tensor<8x4xf32>}}
func.func @forward(%x: tensor<8x4xf32> {nn.name = "x", nn.role = "input"}) -> (tensor<8x4xf32> {nn.name = "y", nn.role = "output"}) {
  return %x : tensor<8x4xf32>
}

// -----

// expected-error @+1 {{has no function @forward to evaluate}}
module {
}
