// RUN: gmc-opt %s --verify-import -verify-diagnostics -split-input-file
// Every offender is reported, not only the first.

// expected-error @below {{has argument 0 without a static shape after import: the node's import rule should have bound its dimensions}}
func.func @forward(%x: tensor<?x4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{is illegal after import: only nn ops on tensors of static shape are left; the node's import rule should have removed it}}
  // expected-error @below {{has no ONNX node as its location after import: import rules create ops through ImportNode, which sets it}}
  %0 = arith.addf %y, %y : tensor<4xf32>
  // expected-error @below {{'nn.relu' op has no ONNX node as its location}}
  %1 = nn.relu %0 : tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// expected-error @below {{is illegal after import: every function has a body}}
func.func private @forward(tensor<4xf32>) -> tensor<4xf32>

// -----

// expected-error @below {{is illegal after import: a module holds functions; the importer should have removed it}}
memref.global "private" @weights : memref<4xf32>
