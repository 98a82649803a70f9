// RUN: gmc-opt %s --verify-train -verify-diagnostics -split-input-file

// expected-error @below {{has no @update after train: build-update makes it}}
// expected-error @below {{has no @eval after train: build-eval makes it}}
module {
  // expected-error @below {{argument 1 has no nn.role after train: whoever added it should have said what it is}}
  // expected-error @below {{result 0 has no nn.role after train}}
  func.func @micro(%x: tensor<4xf32> {nn.role = "input"}, %w: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{is illegal after train: only nn ops on tensors of static shape are left; the gradient or loss that created it should have removed it}}
    %0 = arith.mulf %x, %w : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// expected-note @below {{@micro}}
func.func @micro(%x: tensor<4xf32> {nn.role = "input"}) -> (tensor<4xf32> {nn.role = "gradient", nn.name = "v"}) {
  return %x : tensor<4xf32>
}
// expected-error @below {{reads the gradient of 'w', which @micro does not return after train: build-update takes the gradients that build-micro made}}
func.func @update(%w: tensor<4xf32> {nn.role = "parameter", nn.name = "w"}, %g: tensor<4xf32> {nn.role = "gradient", nn.name = "w"})
    -> (tensor<4xf32> {nn.role = "parameter", nn.name = "w"}) {
  %0 = nn.sub %w, %g : tensor<4xf32>, tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @eval() {
  return
}
