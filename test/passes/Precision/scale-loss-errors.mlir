// RUN: gmc-opt %s --scale-loss -split-input-file -verify-diagnostics

// expected-error @+1 {{has no @micro and @update to scale the loss of; --build-micro and --build-update make them}}
module {
}

// -----

// expected-error @+1 {{has no f32 seed of the gradients that a loss scale could multiply}}
func.func @micro(%w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<4xf32> {nn.name = "w", nn.role = "gradient"}) {
  return %w : tensor<4xf32>
}
func.func @update() {
  return
}
