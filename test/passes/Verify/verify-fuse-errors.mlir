// RUN: gmc-opt %s --verify-fuse -verify-diagnostics -split-input-file

func.func @step(%x: tensor<6xf32>) -> tensor<6xf32> {
  // expected-error @below {{'nn.exp' op is illegal after fuse: only kernel calls, views and constants are left; form-kernels should have removed it}}
  %0 = nn.exp %x : tensor<6xf32>
  // expected-error @below {{is illegal after fuse: calls are of plan.kernel functions; form-kernels should have removed it}}
  %1 = call @helper(%0) : (tensor<6xf32>) -> tensor<6xf32>
  // expected-error @below {{does not say its plan.op after fuse: form-kernels sets it, the planner reads it}}
  // expected-error @below {{does not say its plan.stage}}
  // expected-error @below {{does not say its plan.nodes}}
  %2 = call @k(%1) : (tensor<6xf32>) -> tensor<6xf32>
  return %2 : tensor<6xf32>
}
func.func @helper(%x: tensor<6xf32>) -> tensor<6xf32> {
  return %x : tensor<6xf32>
}
func.func private @k(%x: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} {
  // expected-error @below {{is illegal after fuse: only nn ops on tensors of static shape are left}}
  %0 = arith.negf %x : tensor<6xf32>
  return %0 : tensor<6xf32>
}
// expected-error @below {{is illegal after fuse: every kernel is called}}
func.func private @unused(%x: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} {
  return %x : tensor<6xf32>
}
