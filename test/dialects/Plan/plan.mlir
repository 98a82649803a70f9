// RUN: gmc-opt %s | gmc-opt | FileCheck %s
// RUN: gmc-opt %s --mlir-print-op-generic | gmc-opt | FileCheck %s
// RUN: gmc-opt %s --canonicalize --cse | FileCheck %s
// Everything of a plan survives printing and parsing, and neither clean-up drops or merges a buffer or a launch.

func.func private @k_zero() -> tensor<1xf32> attributes {plan.kernel} {
  %0 = nn.constant dense<0.0> : tensor<1xf32>
  return %0 : tensor<1xf32>
}
func.func private @k_relu(%x: tensor<16xf32>) -> tensor<16xf32> attributes {plan.kernel} {
  %0 = nn.relu %x : tensor<16xf32>
  return %0 : tensor<16xf32>
}
func.func private @k_dot(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<1xf32>) attributes {plan.kernel} {
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.constant dense<0.0> : tensor<1xf32>
  return %0, %1 : tensor<4x4xf32>, tensor<1xf32>
}

// CHECK: plan.arena host bytes(448) align(64) {
plan.arena host bytes(448) align(64) {
  // CHECK-NEXT: %[[W:.*]] = plan.buffer parameter "fc.weight" at 0 : memref<64xi8>
  %w = plan.buffer parameter "fc.weight" at 0 : memref<64xi8>
  // CHECK-NEXT: %[[WV:.*]] = plan.view %[[W]] : memref<64xi8> to memref<4x4xf32>
  %wv = plan.view %w : memref<64xi8> to memref<4x4xf32>
  // CHECK-NEXT: plan.tensor parameter "fc.weight" is %[[WV]] initializer : memref<4x4xf32>
  plan.tensor parameter "fc.weight" is %wv initializer : memref<4x4xf32>
  // CHECK: plan.program "train" micro_batch(4) {
  plan.program "train" micro_batch(4) {
    // CHECK-NEXT: %[[SUM:.*]] = plan.buffer gradient "sum" at 64 : memref<64xi8>
    %sum = plan.buffer gradient "sum" at 64 : memref<64xi8>
    %sumv = plan.view %sum : memref<64xi8> to memref<1xf32>
    // CHECK: plan.launch @k_zero "nn.zero" update outs(%{{.*}} : memref<1xf32>) cost(0 flops, 4 bytes, 1.000000e+00 us)
    plan.launch @k_zero "nn.zero" update outs(%sumv : memref<1xf32>) cost(0 flops, 4 bytes, 1.0 us)
    // CHECK: plan.loop count(8) {
    plan.loop count(8) {
      // CHECK: plan.buffer input "x" at 128
      %x = plan.buffer input "x" at 128 : memref<64xi8>
      %x4 = plan.view %x : memref<64xi8> to memref<4x4xf32>
      %x16 = plan.view %x : memref<64xi8> to memref<16xf32>
      // CHECK: plan.tensor input "x" is
      plan.tensor input "x" is %x4 : memref<4x4xf32>
      %a = plan.buffer activation "relu" at 192 : memref<64xi8>
      %a16 = plan.view %a : memref<64xi8> to memref<16xf32>
      // CHECK: plan.launch @k_relu "nn.relu" forward ins(%{{.*}} : memref<16xf32>) outs(%{{.*}} : memref<16xf32>) cost(16 flops, 128 bytes, 2.500000e+00 us)
      plan.launch @k_relu "nn.relu" forward ins(%x16 : memref<16xf32>) outs(%a16 : memref<16xf32>) cost(16 flops, 128 bytes, 2.5 us)
      %p = plan.buffer activation "dot" at 256 : memref<128xi8>
      %p4 = plan.view %p : memref<128xi8> to memref<4x4xf32>
      // CHECK: plan.view %{{.*}} at 64 : memref<128xi8> to memref<1xf32>
      %p1 = plan.view %p at 64 : memref<128xi8> to memref<1xf32>
      %s = plan.buffer workspace "scratch" at 384 : memref<64xi8>
      %sv = plan.view %s : memref<64xi8> to memref<24xi8>
      // CHECK: plan.launch @k_dot "nn.matmul" forward ins(%{{.*}}, %[[WV]] : memref<4x4xf32>, memref<4x4xf32>) outs(%{{.*}}, %{{.*}} : memref<4x4xf32>, memref<1xf32>) workspace(%{{.*}} : memref<24xi8>) cost(128 flops, 192 bytes, 3.000000e+00 us)
      plan.launch @k_dot "nn.matmul" forward ins(%x4, %wv : memref<4x4xf32>, memref<4x4xf32>) outs(%p4, %p1 : memref<4x4xf32>, memref<1xf32>) workspace(%sv : memref<24xi8>) cost(128 flops, 192 bytes, 3.0 us)
      // The same name, kind and place as "relu" above: another value, another buffer.
      // CHECK: plan.buffer activation "relu" at 192
      %again = plan.buffer activation "relu" at 192 : memref<64xi8>
      %again16 = plan.view %again : memref<64xi8> to memref<16xf32>
      // CHECK: plan.launch @k_relu "nn.relu" recompute ins(%{{.*}} : memref<16xf32>) outs(%{{.*}} : memref<16xf32>) cost(16 flops, 128 bytes, 2.500000e+00 us) recompute_of([1], 2.500000e+00 us)
      plan.launch @k_relu "nn.relu" recompute ins(%x16 : memref<16xf32>) outs(%again16 : memref<16xf32>) cost(16 flops, 128 bytes, 2.5 us) recompute_of([1], 2.5 us)
      // In place: the same view is operand and result.
      // CHECK: plan.launch @k_relu "nn.relu" backward ins(%[[V:.*]] : memref<16xf32>) outs(%[[V]] : memref<16xf32>)
      plan.launch @k_relu "nn.relu" backward ins(%again16 : memref<16xf32>) outs(%again16 : memref<16xf32>) cost(16 flops, 128 bytes, 2.5 us)
      // CHECK: plan.launch @k_zero "nn.sum" backward {{.*}} library(onednn, [1, 16, 64])
      plan.launch @k_zero "nn.sum" backward outs(%sumv : memref<1xf32>) cost(0 flops, 4 bytes, 1.0 us) library(onednn, [1, 16, 64])
    }
    // CHECK: plan.tensor loss_sum "loss_sum" is
    plan.tensor loss_sum "loss_sum" is %sumv : memref<1xf32>
  }
}
