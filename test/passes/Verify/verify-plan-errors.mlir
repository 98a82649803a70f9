// RUN: gmc-opt %s --verify-plan -verify-diagnostics -split-input-file

// expected-error @below {{has no plan.arena after plan: the planner writes it}}
module {
  // expected-error @below {{is illegal after plan: tensors live in plan.kernel functions only; the planner, which turned calls into launches, should have removed it}}
  func.func @step(%x: tensor<16xf32>) -> tensor<16xf32> {
    return %x : tensor<16xf32>
  }
  // expected-error @below {{is illegal after plan: a module holds one plan.arena and the kernels it launches; the planner should have removed it}}
  %0 = memref.alloc() : memref<16xf32>
  // expected-error @below {{is illegal after plan: every kernel is launched; the planner should have removed it}}
  func.func private @k(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel} {
    return %x : tensor<16xf32>
  }
}

// -----

// expected-note @below {{the first one}}
plan.arena host bytes(64) align(64) {
}
// expected-error @below {{is the second arena after plan: a process has one, which holds every tensor}}
plan.arena host bytes(64) align(64) {
}

// -----

// A kernel that allocates or copies.
func.func private @k(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel} {
  // expected-error @below {{'memref.alloc' op is illegal after plan: only nn ops on tensors of static shape are left; form-kernels should have removed it}}
  %a = memref.alloc() : memref<16xf32>
  // expected-error @below {{'memref.alloca' op is illegal after plan}}
  %b = memref.alloca() : memref<16xf32>
  // expected-error @below {{'memref.copy' op is illegal after plan}}
  memref.copy %a, %b : memref<16xf32> to memref<16xf32>
  %0 = nn.relu %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
plan.arena host bytes(64) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    plan.launch @k "nn.relu" forward ins(%v : memref<16xf32>) outs(%v : memref<16xf32>) cost(16 flops, 128 bytes, 1.0 us)
  }
}

// -----

// A matrix product reads its operands to the end, and wants no scratch.
// expected-note @below {{the kernel}}
func.func private @k(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {plan.kernel} {
  %0 = nn.matmul %x, %y : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
plan.arena cuda bytes(512) align(256) {
  %w = plan.buffer state "w" at 0 : memref<256xi8>
  %v = plan.view %w : memref<256xi8> to memref<4x4xf32>
  %s = plan.buffer workspace "s" at 256 : memref<256xi8>
  %sv = plan.view %s : memref<256xi8> to memref<24xi8>
  plan.program "train" micro_batch(1) {
    // expected-error @below {{puts result 0 over operand 0, which the kernel may still read after plan: the planner asks getInPlaceOperands}}
    // expected-error @below {{gives scratch of [24] bytes, the kernel wants [] after plan: the planner asks getWorkspaceBytes}}
    plan.launch @k "nn.matmul" forward ins(%v, %v : memref<4x4xf32>, memref<4x4xf32>) outs(%v : memref<4x4xf32>) workspace(%sv : memref<24xi8>) cost(128 flops, 192 bytes, 1.0 us)
  }
}
