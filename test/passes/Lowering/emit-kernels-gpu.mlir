// RUN: gmc-opt %s --emit-kernels=target=gpu --canonicalize --cse | FileCheck %s
// RUN: gmc-opt %s --emit-kernels=target=gpu --divide-gpu-kernels | FileCheck %s --check-prefix=DIVIDED

// f32: 32 x 32 tiles, 16-byte accesses where the rows allow them, two copies of each slice of k and
// one barrier.
// CHECK-LABEL: func.func private @matmul_gpu
// CHECK: gpu.launch {{.*}} workgroup(%[[A:.*]] : memref<2x16x36xf32, 3>, %[[B:.*]] : memref<2x16x36xf32, 3>)
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<2560xf32>, vector<4xf32>
// CHECK: scf.for
// CHECK: memref.store %{{.*}}, %[[A]]
// CHECK: vector.store %{{.*}}, %[[B]]{{.*}} {alignment = 16 : i64}
// CHECK: nvvm.barrier
// CHECK: scf.if
// CHECK-COUNT-64: vector.fma
// CHECK-NOT: nvvm.barrier
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<1920xf32>, vector<4xf32>
// DIVIDED: memref.global "private" @matmul_gpu_0_shared0 : memref<2x16x36xf32, 3>
// DIVIDED: memref.global "private" @matmul_gpu_0_shared1 : memref<2x16x36xf32, 3>
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

// Sums of more than 16 slices are added in groups, in place, and then those of the groups.
// CHECK-LABEL: func.func private @many_slices_gpu
// CHECK-SAME: memref<40960xi8>
// CHECK: gpu.launch
// CHECK: scf.parallel {{.*}} to (%c2{{[_0-9]*}},
// CHECK: arith.addf
// CHECK: vector.store
// CHECK: scf.parallel
// CHECK: arith.addf
// CHECK-NOT: scf.parallel
func.func private @many_slices(%a: tensor<8192x16xf32>, %b: tensor<8192x20xf32>) -> tensor<16x20xf32> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b {transpose_a = true} : (tensor<8192x16xf32>, tensor<8192x20xf32>) -> tensor<16x20xf32>
  return %0 : tensor<16x20xf32>
}

// Half precision: slices in the operands' type and order, products by the tensor cores, which ldmatrix feeds. Here both operands
// lie along k; below, A lies along its rows: its slice is [k][row], and ldmatrix transposes.
// CHECK-LABEL: func.func private @half_gpu
// CHECK: gpu.launch {{.*}} workgroup(%{{.*}} : memref<2x32x40xbf16, 3>, %{{.*}} : memref<2x32x40xbf16, 3>)
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<2560xbf16>, vector<8xbf16>
// CHECK-COUNT-2: nvvm.ldmatrix {{.*}} layout = #nvvm.mma_layout<row>, num = 4
// CHECK-COUNT-2: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-COUNT-2: nvvm.ldmatrix {{.*}} layout = #nvvm.mma_layout<row>, num = 4
// CHECK-COUNT-2: nvvm.mma.sync {{.*}} shape = #nvvm.shape<m = 16, n = 8, k = 16>
func.func private @half(%a: tensor<40x64xbf16>, %b: tensor<48x64xbf16>) -> tensor<40x48xbf16> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b {transpose_b = true} : (tensor<40x64xbf16>, tensor<48x64xbf16>) -> tensor<40x48xbf16>
  return %0 : tensor<40x48xbf16>
}

// CHECK-LABEL: func.func private @half_along_rows_gpu
// CHECK: gpu.launch blocks{{.*}} threads{{.*}} = %c256, {{.*}} workgroup(%{{.*}} : memref<2x32x136xbf16, 3>, %{{.*}} : memref<2x128x40xbf16, 3>)
// CHECK: nvvm.ldmatrix {{.*}} layout = #nvvm.mma_layout<row>, num = 4
// CHECK: nvvm.ldmatrix {{.*}} layout = #nvvm.mma_layout<col>, num = 4
// CHECK: gmc.resident_blocks = 2
func.func private @half_along_rows(%a: tensor<64x2048xbf16>, %b: tensor<1024x64xbf16>) -> tensor<2048x1024xbf16> attributes {plan.kernel} {
  %0 = nn.matmul %a, %b {transpose_a = true, transpose_b = true} : (tensor<64x2048xbf16>, tensor<1024x64xbf16>) -> tensor<2048x1024xbf16>
  return %0 : tensor<2048x1024xbf16>
}

// A convolution's weights are brought to the order of k, taps and then channels, in a workspace: a thread reads eight of them at once
// and eight channels of a pixel, for which there is one test. What is made of them is made when the slice before is done.
// CHECK-LABEL: func.func private @conv_gpu
// CHECK-SAME: memref<9216xi8>
// CHECK: scf.parallel {{.*}} to (%c16, %c4)
// CHECK: scf.for
// CHECK-COUNT-8: memref.load %{{.*}} : memref<4608xbf16>
// CHECK: vector.store {{.*}} : memref<4608xbf16>, vector<8xbf16>
// CHECK: gpu.launch
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<4608xbf16>, vector<8xbf16>
// CHECK-COUNT-2: arith.cmpi ult, {{.*}} : i32
// CHECK-NOT: arith.cmpi ult
// CHECK-COUNT-8: memref.load %{{.*}} : memref<25088xbf16>
// CHECK-NOT: {{memref.load|vector.from_elements}}
// CHECK: scf.for
// CHECK: vector.from_elements {{.*}} : vector<8xbf16>
// CHECK: arith.select {{.*}} : vector<8xbf16>
// CHECK: nvvm.barrier
// CHECK: scf.if
// CHECK-COUNT-8: memref.load %{{.*}} : memref<25088xbf16>
// CHECK-NOT: arith.select {{.*}} : vector<8xbf16>
// CHECK: nvvm.ldmatrix
func.func private @conv(%x: tensor<4x32x14x14xbf16>, %w: tensor<16x32x3x3xbf16>) -> tensor<4x16x14x14xbf16> attributes {plan.kernel} {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<4x32x14x14xbf16>, tensor<16x32x3x3xbf16>) -> tensor<4x16x14x14xbf16>
  return %0 : tensor<4x16x14x14xbf16>
}

// The weight gradient reads eight pixels of a line at once: where lines are of 14, in four loads of 4 bytes; and what they read of x, moved
// by a pixel, in five, which are shifted.
// CHECK-LABEL: func.func private @conv_weight_grad_gpu
// CHECK: gpu.launch
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 4 : i64} : memref<12544xbf16>, vector<2xbf16>
// CHECK-COUNT-5: vector.load %{{.*}} {alignment = 4 : i64} : memref<25088xbf16>, vector<2xbf16>
// CHECK-NOT: {{memref.load|llvm.intr.fshr}}
// CHECK: scf.for
// CHECK-COUNT-4: llvm.intr.fshr
// CHECK: nvvm.barrier
func.func private @conv_weight_grad(%x: tensor<4x32x14x14xbf16>, %dy: tensor<4x16x14x14xbf16>) -> tensor<16x32x3x3xbf16> attributes {plan.kernel} {
  %0 = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<4x32x14x14xbf16>, tensor<4x16x14x14xbf16>) -> tensor<16x32x3x3xbf16>
  return %0 : tensor<16x32x3x3xbf16>
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

// Rows of 768: 64 threads, each with three vectors of the row that it loads once, for the maximum, the sum and the result.
// CHECK-LABEL: func.func private @softmax_gpu
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c512, {{.*}}) threads({{.*}}) in (%{{.*}} = %c64, {{.*}}) workgroup(%{{.*}} : memref<2xf32, 3>, %{{.*}} : memref<2xf32, 3>)
// CHECK-COUNT-3: vector.load {{.*}} {alignment = 16 : i64} : memref<393216xf32>, vector<4xf32>
// CHECK-NOT: {{vector|memref}}.load {{.*}}393216
// CHECK-COUNT-5: nvvm.shfl.sync  bfly
// CHECK: nvvm.barrier
// CHECK-NOT: memref<393216xf32>, vector
// CHECK-COUNT-5: nvvm.shfl.sync  bfly
// CHECK-COUNT-3: vector.store {{.*}} {alignment = 16 : i64} : memref<393216xf32>, vector<4xf32>
func.func private @softmax(%x: tensor<512x768xf32>) -> tensor<512x768xf32> attributes {plan.kernel} {
  %0 = nn.softmax %x {axis = 1 : i64} : (tensor<512x768xf32>) -> tensor<512x768xf32>
  return %0 : tensor<512x768xf32>
}

// Short rows: 16 lanes a row, eight rows a block; the row's statistics by its first lane.
// CHECK-LABEL: func.func private @layer_norm_gpu
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c5, {{.*}}) threads({{.*}}) in (%{{.*}} = %c128, {{.*}})
// CHECK-COUNT-4: nvvm.shfl.sync  bfly
// CHECK-NOT: nvvm.barrier
// CHECK: vector.store
func.func private @layer_norm(%x: tensor<40x64xf32>, %w: tensor<64xf32>) -> (tensor<40x64xf32>, tensor<40xf32>, tensor<40xf32>) attributes {plan.kernel} {
  %y, %m, %i = nn.layer_norm %x scale %w {axis = 1 : i64} : (tensor<40x64xf32>, tensor<64xf32>) -> (tensor<40x64xf32>, tensor<40xf32>, tensor<40xf32>)
  return %y, %m, %i : tensor<40x64xf32>, tensor<40xf32>, tensor<40xf32>
}

// Short rows: 4 of them are a warp's, and one of its threads stores the numbers of all 4.
// CHECK-LABEL: func.func private @layer_norm_short_gpu
// CHECK-SAME: %[[MEAN:[^:]*]]: memref<64xf32> {llvm.noalias}, %[[INVERSE:[^:]*]]: memref<64xf32> {llvm.noalias})
// CHECK-COUNT-4: nvvm.shfl.sync idx
// CHECK: scf.if
// CHECK: vector.store %{{.*}}, %[[MEAN]][%{{.*}}] {alignment = 16 : i64} : memref<64xf32>, vector<4xf32>
// CHECK-COUNT-4: nvvm.shfl.sync idx
// CHECK: vector.store %{{.*}}, %[[INVERSE]][%{{.*}}] {alignment = 16 : i64} : memref<64xf32>, vector<4xf32>
func.func private @layer_norm_short(%x: tensor<64x32xf32>, %w: tensor<32xf32>) -> (tensor<64x32xf32>, tensor<64xf32>, tensor<64xf32>) attributes {plan.kernel} {
  %y, %m, %i = nn.layer_norm %x scale %w {axis = 1 : i64} : (tensor<64x32xf32>, tensor<32xf32>) -> (tensor<64x32xf32>, tensor<64xf32>, tensor<64xf32>)
  return %y, %m, %i : tensor<64x32xf32>, tensor<64xf32>, tensor<64xf32>
}

// Planes of a channel: a group of threads adds the channel in some of the samples, a second nest the parts. Each thread reads four vectors of
// its own, and the channel's first.
// CHECK-LABEL: func.func private @batch_norm_gpu
// CHECK-SAME: memref<512xi8>
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c64, {{.*}}) threads({{.*}}) in (%{{.*}} = %c1024, {{.*}})
// CHECK-COUNT-5: vector.load {{.*}} : memref<1048576xf32>, vector<4xf32>
// CHECK-NOT: vector.load
// CHECK: scf.parallel
// CHECK: scf.parallel {{.*}} to (%c16, %c4{{.*}}, %c128, %c128)
func.func private @batch_norm(%x: tensor<16x4x128x128xf32>, %s: tensor<4xf32>, %b: tensor<4xf32>, %m: tensor<4xf32>, %v: tensor<4xf32>)
    -> (tensor<16x4x128x128xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) attributes {plan.kernel} {
  %0:5 = nn.batch_norm %x, %s, %b, %m, %v {training = true}
      : (tensor<16x4x128x128xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
      -> (tensor<16x4x128x128xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1, %0#2, %0#3, %0#4 : tensor<16x4x128x128xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// A transposition goes through a tile in shared memory whose rows are padded.
// CHECK-LABEL: func.func private @transpose_gpu
// CHECK: gpu.launch {{.*}} workgroup(%[[TILE:.*]] : memref<64x65xf32, 3>)
// CHECK: vector.load {{.*}} : memref<32768xf32>, vector<4xf32>
// CHECK-COUNT-4: memref.store %{{.*}}, %[[TILE]]
// CHECK: nvvm.barrier
// CHECK-COUNT-4: memref.load %[[TILE]]
// CHECK: vector.store {{.*}} : memref<32768xf32>, vector<4xf32>
func.func private @transpose(%x: tensor<128x256xf32>) -> tensor<256x128xf32> attributes {plan.kernel} {
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<128x256xf32>) -> tensor<256x128xf32>
  return %0 : tensor<256x128xf32>
}

// Rows of 197 begin inside of a vector: 17 vectors cover a tile's 64 elements of one, and those at its ends are stored element by element.
// CHECK-LABEL: func.func private @transpose_odd_gpu
// CHECK: gpu.launch {{.*}} workgroup(%[[TILE:.*]] : memref<64x66xbf16, 3>)
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<50432xbf16>, vector<8xbf16>
// CHECK-COUNT-8: memref.store %{{.*}}, %[[TILE]]
// CHECK: nvvm.barrier
// CHECK: arith.remui %{{.*}}, %c8
// CHECK-COUNT-8: memref.load %[[TILE]]
// CHECK: scf.if
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<50432xbf16>, vector<8xbf16>
// CHECK: else
// CHECK-COUNT-8: memref.store {{.*}} : memref<4x64x197xbf16>
func.func private @transpose_odd(%x: tensor<4x197x64xbf16>) -> tensor<4x64x197xbf16> attributes {plan.kernel} {
  %0 = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<4x197x64xbf16>) -> tensor<4x64x197xbf16>
  return %0 : tensor<4x64x197xbf16>
}

// A total of many numbers: segments of 4096 of them by a block each, then what those made, a thread each.
// CHECK-LABEL: func.func private @count_correct_gpu
// CHECK: scf.parallel {{.*}} to (%c2{{.*}}, %c256, %c256)
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c32, {{.*}}) threads({{.*}}) in (%{{.*}} = %c256, {{.*}})
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<131072xf32>, vector<4xf32>
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c1, {{.*}}) threads({{.*}}) in (%{{.*}} = %c256, {{.*}})
func.func private @count_correct(%x: tensor<2x3x256x256xf32>, %l: tensor<2x256x256xi64>) -> tensor<1xf32> attributes {plan.kernel} {
  %0 = nn.count_correct %x, %l {class_axis = 1 : i64} : (tensor<2x3x256x256xf32>, tensor<2x256x256xi64>) -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

// Pools: a block copies 29 rows of a plane into shared memory, for 14 rows of the result, a window a thread; a barrier, and the result
// leaves as it came.
// CHECK-LABEL: func.func private @max_pool_gpu
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c8192, {{.*}}) threads({{.*}}) in (%{{.*}} = %c256, {{.*}}) workgroup(%[[X:.*]] : memref<3248xf32, 3>, %[[Y:.*]] : memref<784xf32, 3>)
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<25690112xf32>, vector<4xf32>
// CHECK-COUNT-4: vector.store {{.*}}, %[[X]]{{.*}} {alignment = 16 : i64} : memref<3248xf32, 3>, vector<4xf32>
// CHECK: nvvm.barrier
// CHECK-NOT: memref.load {{.*}} : memref<32x64
// CHECK: memref.load %[[X]]
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK: nvvm.barrier
// CHECK: vector.load %[[Y]]
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<6422528xf32>, vector<4xf32>
func.func private @max_pool(%x: tensor<32x64x112x112xf32>) -> tensor<32x64x56x56xf32> attributes {plan.kernel} {
  %0 = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<32x64x112x112xf32>) -> tensor<32x64x56x56xf32>
  return %0 : tensor<32x64x56x56xf32>
}

// A block has rows of the result and those that they are interpolated from, whose reach tells it which.
// CHECK-LABEL: func.func private @resample_gpu
// CHECK: gpu.launch {{.*}} workgroup(%[[X:.*]] : memref<{{[0-9]*}}xf32, 3>, %[[Y:.*]] : memref<{{[0-9]*}}xf32, 3>)
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<131072xf32>, vector<4xf32>
// CHECK: vector.store {{.*}}, %[[X]]{{.*}} {alignment = 16 : i64}
// CHECK: nvvm.barrier
// CHECK-NOT: memref.load {{.*}} : memref<8x4x64x64xf32>
// CHECK: memref.load %[[X]]
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK: nvvm.barrier
// CHECK: vector.load %[[Y]]
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<524288xf32>, vector<4xf32>
func.func private @resample(%x: tensor<8x4x64x64xf32>, %p: tensor<128x2xi32>, %w: tensor<128x2xf32>) -> tensor<8x4x128x128xf32> attributes {plan.kernel} {
  %0 = nn.resample %x at %p, %p by %w, %w {axes = array<i64: 2, 3>, reach = array<i64: 1, 1, 1, 1>}
      : (tensor<8x4x64x64xf32>, tensor<128x2xi32>, tensor<128x2xi32>, tensor<128x2xf32>, tensor<128x2xf32>) -> tensor<8x4x128x128xf32>
  return %0 : tensor<8x4x128x128xf32>
}

// Planes of 49 elements, eight of which are whole vectors: as many a block, the last one fewer. The maxima of the windows first, then
// what each element gets of their gradients, in the place of x.
// CHECK-LABEL: func.func private @max_pool_grad_gpu
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c3, {{.*}}) workgroup(%[[X:.*]] : memref<392xbf16, 3>, %[[DY:.*]] : memref<72xbf16, 3>, %[[MAXIMA:.*]] : memref<72xi32, 3>)
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<980xbf16>, vector<8xbf16>
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<180xbf16>, vector<8xbf16>
// CHECK: nvvm.barrier
// CHECK: memref.load %[[X]]
// CHECK: memref.store %{{.*}}, %[[MAXIMA]]
// CHECK: nvvm.barrier
// CHECK: memref.load %[[MAXIMA]]
// CHECK: memref.load %[[DY]]
// CHECK: memref.store %{{.*}}, %[[X]]
// CHECK: nvvm.barrier
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<980xbf16>, vector<8xbf16>
func.func private @max_pool_grad(%x: tensor<4x5x7x7xbf16>, %dy: tensor<4x5x3x3xbf16>) -> tensor<4x5x7x7xbf16> attributes {plan.kernel} {
  %0 = nn.max_pool_grad %x, %dy {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<4x5x7x7xbf16>, tensor<4x5x3x3xbf16>) -> tensor<4x5x7x7xbf16>
  return %0 : tensor<4x5x7x7xbf16>
}
