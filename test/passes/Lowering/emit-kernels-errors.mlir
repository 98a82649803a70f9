// RUN: gmc-opt %s --emit-kernels=target=tpu -verify-diagnostics

// expected-error@below {{unknown target 'tpu': host and gpu are known}}
module {
}
