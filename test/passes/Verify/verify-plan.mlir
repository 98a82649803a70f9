// RUN: gmc-opt %s --verify-plan | FileCheck %s

func.func private @k_relu(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel} {
  %0 = nn.relu %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
// CHECK: plan.arena
plan.arena host bytes(64) align(64) {
  %w = plan.buffer state "w" at 0 : memref<64xi8>
  %v = plan.view %w : memref<64xi8> to memref<16xf32>
  plan.program "train" micro_batch(1) {
    plan.loop count(1) {
      plan.launch @k_relu "nn.relu" forward ins(%v : memref<16xf32>) outs(%v : memref<16xf32>) cost(16 flops, 128 bytes, 1.0 us)
    }
  }
}
