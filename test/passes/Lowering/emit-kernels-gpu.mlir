// RUN: gmc-opt %s --emit-kernels=target=gpu --canonicalize --cse | FileCheck %s
// RUN: gmc-opt %s --emit-kernels=target=gpu --divide-gpu-kernels | FileCheck %s --check-prefix=DIVIDED

// f32: 32 x 32 tiles, 16-byte accesses where the rows allow them, two barriers a slice of k.
// CHECK-LABEL: func.func private @matmul_gpu
// CHECK: gpu.launch {{.*}} workgroup(%[[A:.*]] : memref<16x36xf32, 3>, %[[B:.*]] : memref<16x36xf32, 3>)
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<2560xf32>, vector<4xf32>
// CHECK: scf.for
// CHECK: memref.store %{{.*}}, %[[A]]
// CHECK: vector.store %{{.*}}, %[[B]]{{.*}} {alignment = 16 : i64}
// CHECK: nvvm.barrier
// CHECK: scf.if
// CHECK-COUNT-64: vector.fma
// CHECK: nvvm.barrier
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<1920xf32>, vector<4xf32>
// DIVIDED: memref.global "private" @matmul_gpu_0_shared0 : memref<16x36xf32, 3>
// DIVIDED: memref.global "private" @matmul_gpu_0_shared1 : memref<16x36xf32, 3>
// DIVIDED-LABEL: func.func @matmul_gpu_0
// DIVIDED-SAME: (%{{[^:]*}}: memref<40x64xf32> {llvm.noalias}, %{{[^:]*}}: memref<64x48xf32> {llvm.noalias}, %{{[^:]*}}: memref<40x48xf32> {llvm.noalias})
func.func private @matmul(%a: tensor<40x64xf32>, %b: tensor<64x48xf32>) -> tensor<40x48xf32> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b : (tensor<40x64xf32>, tensor<64x48xf32>) -> tensor<40x48xf32>
  return %0 : tensor<40x48xf32>
}

// A long k is cut in slices, whose sums a second nest adds.
// CHECK-LABEL: func.func private @slices_gpu
// CHECK-SAME: memref<3840xi8>
// CHECK: gpu.launch
// CHECK: scf.parallel
// CHECK: arith.addf
// CHECK-NOT: scf.parallel
func.func private @slices(%a: tensor<768x16xf32>, %b: tensor<768x20xf32>) -> tensor<16x20xf32> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b {transpose_a = true} : (tensor<768x16xf32>, tensor<768x20xf32>) -> tensor<16x20xf32>
  return %0 : tensor<16x20xf32>
}

// Half precision: slices in the operands' type, products by the tensor cores.
// CHECK-LABEL: func.func private @half_gpu
// CHECK: gpu.launch {{.*}} workgroup(%{{.*}} : memref<32x40xbf16, 3>, %{{.*}} : memref<32x40xbf16, 3>)
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<2560xbf16>, vector<8xbf16>
// CHECK-COUNT-4: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 16>
func.func private @half(%a: tensor<40x64xbf16>, %b: tensor<48x64xbf16>) -> tensor<40x48xbf16> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b {transpose_b = true} : (tensor<40x64xbf16>, tensor<48x64xbf16>) -> tensor<40x48xbf16>
  return %0 : tensor<40x48xbf16>
}

// A transposed convolution of stride 2 is four launches, one a residue class of the pixels; taps that reach none make no product.
// CHECK-LABEL: func.func private @conv_transpose_gpu
// CHECK-COUNT-4: gpu.launch
// CHECK-NOT: gpu.launch
func.func private @conv_transpose(%x: tensor<2x16x5x5xf32>, %w: tensor<16x8x4x4xf32>) -> tensor<2x8x10x10xf32> attributes {plan.kernel} {
  %0 = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x16x5x5xf32>, tensor<16x8x4x4xf32>) -> tensor<2x8x10x10xf32>
  return %0 : tensor<2x8x10x10xf32>
}

// Depthwise weight gradient: a block a weight, its threads' sums reduced through shuffles and shared memory.
// CHECK-LABEL: func.func private @depthwise_gpu
// CHECK: gpu.launch {{.*}} workgroup(%{{.*}} : memref<4xf32, 3>)
// CHECK-COUNT-5: nvvm.shfl.sync  bfly
// CHECK: nvvm.barrier
func.func private @depthwise(%x: tensor<2x6x9x9xf32>, %dy: tensor<2x6x9x9xf32>) -> tensor<6x1x3x3xf32> attributes {plan.kernel} {
  %0 = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
      dilations = array<i64: 1, 1>, group = 6 : i64} : (tensor<2x6x9x9xf32>, tensor<2x6x9x9xf32>) -> tensor<6x1x3x3xf32>
  return %0 : tensor<6x1x3x3xf32>
}
