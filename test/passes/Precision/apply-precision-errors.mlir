// RUN: gmc-opt %s --apply-precision=precision=bf16 -split-input-file -verify-diagnostics
// RUN: not gmc-opt %s --apply-precision=precision=int8 -split-input-file 2>&1 | FileCheck %s
// CHECK: precision 'int8' is none of fp32, bf16, fp16

// expected-error @+1 {{has no body of straight-line nn ops to choose precisions for}}
func.func @two_blocks(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
^unreachable:
  return %x : tensor<4xf32>
}
