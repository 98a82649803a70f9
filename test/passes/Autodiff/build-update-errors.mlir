// RUN: gmc-opt %s --build-update -split-input-file -verify-diagnostics
// RUN: not gmc-opt %s --build-update=optimizer=adagrad -split-input-file 2>&1 | FileCheck %s
// CHECK: optimizer 'adagrad' is none of adamw, adam, sgd, momentum, nesterov, lion

// expected-error @+1 {{parameter 'w' has no gradient among the results}}
func.func @micro(%w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"}) {
  return
}

// -----

// expected-error @+1 {{has no function @micro to take gradients from; --build-micro makes it}}
module {
}
