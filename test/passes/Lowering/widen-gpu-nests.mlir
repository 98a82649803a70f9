// RUN: gmc-opt %s --emit-kernels=target=gpu --widen-gpu-nests --canonicalize --cse | FileCheck %s

// Operands of the result's shape are vectors whatever their rows; 10 columns are no multiple of 4, so the bias is read lane by
// lane. 2 of 650 elements are left for the last thread, at indices that are constants.
// CHECK-LABEL: func.func private @rows_gpu
// CHECK-SAME: (%[[X:[^:]*]]: memref<65x10xf32> {llvm.noalias}, %[[BIAS:[^:]*]]: memref<10xf32> {llvm.noalias}, %[[Y:[^:]*]]: memref<65x10xf32>
// CHECK: scf.parallel (%[[I:.*]]) = (%{{.*}}) to (%c163) step
// CHECK: %[[AT:.*]] = arith.muli %[[I]], %c4
// CHECK: %[[FULL:.*]] = arith.cmpi slt, %[[I]], %c162
// CHECK: scf.if %[[FULL]]
// CHECK: %[[FLAT:.*]] = memref.reinterpret_cast %[[X]] {{.*}} to memref<650xf32
// CHECK: vector.load %[[FLAT]][%[[AT]]] {alignment = 16 : i64} : memref<650xf32{{.*}}>, vector<4xf32>
// CHECK-COUNT-4: memref.load %[[BIAS]]
// CHECK: vector.store %{{.*}}, %{{.*}}[%[[AT]]] {alignment = 16 : i64} : memref<650xf32{{.*}}>, vector<4xf32>
// CHECK: else
// CHECK: memref.load %[[X]][%c64, %c8]
// CHECK: memref.load %[[X]][%c64, %c9]
// CHECK-COUNT-2: memref.store %{{.*}}, %[[Y]]
// CHECK-NOT: memref.store
func.func private @rows(%x: tensor<65x10xf32>, %bias: tensor<10xf32>) -> tensor<65x10xf32> attributes {plan.kernel} {
  %0 = nn.add %x, %bias : tensor<65x10xf32>, tensor<10xf32>
  return %0 : tensor<65x10xf32>
}

// A channel has 784 elements, a multiple of 4: one load of its number a thread; a row vector is read as vectors.
// CHECK-LABEL: func.func private @channels_gpu
// CHECK-SAME: (%{{[^:]*}}: memref<2x8x28x28xf32> {llvm.noalias}, %[[C:[^:]*]]: memref<8x1x1xf32> {llvm.noalias}, %[[R:[^:]*]]: memref<28xf32> {llvm.noalias}
// CHECK: scf.parallel {{.*}} to (%c3136)
// CHECK-DAG: memref.load %[[C]]
// CHECK-DAG: vector.load %[[R]][%{{.*}}] {alignment = 16 : i64} : memref<28xf32>, vector<4xf32>
// CHECK-NOT: memref.load
// CHECK-COUNT-1: vector.store
// CHECK-NOT: {{memref.load|vector.store|memref.store}}
func.func private @channels(%x: tensor<2x8x28x28xf32>, %c: tensor<8x1x1xf32>, %r: tensor<28xf32>) -> tensor<2x8x28x28xf32> attributes {plan.kernel} {
  %0 = nn.mul %x, %c : tensor<2x8x28x28xf32>, tensor<8x1x1xf32>
  %1 = nn.add %0, %r : tensor<2x8x28x28xf32>, tensor<28xf32>
  return %1 : tensor<2x8x28x28xf32>
}

// The narrowest element decides: 8 elements a thread are one access in bf16 and two in f32.
// CHECK-LABEL: func.func private @cast_gpu
// CHECK: scf.parallel {{.*}} to (%c128)
// CHECK-COUNT-2: vector.load {{.*}} {alignment = 16 : i64} : memref<1024xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<1024xbf16>, vector<8xbf16>
func.func private @cast(%x: tensor<1024xf32>) -> tensor<1024xbf16> attributes {plan.kernel} {
  %0 = nn.cast %x {to = bf16} : (tensor<1024xf32>) -> tensor<1024xbf16>
  return %0 : tensor<1024xbf16>
}

// An update over a flat range: parameter, gradient and two moments in 16 bytes, the common numbers once.
// CHECK-LABEL: func.func private @update_gpu
// CHECK: scf.parallel {{.*}} to (%c250)
// CHECK-COUNT-4: vector.load {{.*}} {alignment = 16 : i64} : memref<1000xf32>, vector<4xf32>
// CHECK-COUNT-3: vector.store {{.*}} {alignment = 16 : i64} : memref<1000xf32>, vector<4xf32>
// CHECK-NOT: memref.store
func.func private @update(%p: tensor<1000xf32>, %g: tensor<1000xf32>, %m: tensor<1000xf32>, %v: tensor<1000xf32>, %hyper: tensor<16xf32>,
                          %count: tensor<1xf32>, %step: tensor<1xi64>) -> (tensor<1000xf32>, tensor<1000xf32>, tensor<1000xf32>) attributes {plan.kernel} {
  %0:3 = nn.adam_update %p, %g, %m, %v, %hyper, %count, %step {decoupled = true}
        : tensor<1000xf32>, tensor<1000xf32>, tensor<1000xf32>, tensor<1000xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
  return %0#0, %0#1, %0#2 : tensor<1000xf32>, tensor<1000xf32>, tensor<1000xf32>
}

// Columns: neighbouring sums in one thread, whose loop over rows reads vectors.
// CHECK-LABEL: func.func private @columns_gpu
// CHECK: scf.parallel {{.*}} to (%c16)
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}})
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<1280xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<64xf32>, vector<4xf32>
func.func private @columns(%x: tensor<20x64xf32>) -> tensor<64xf32> attributes {plan.kernel} {
  %0 = nn.reduce_sum %x {axes = array<i64: 0>} : (tensor<20x64xf32>) -> tensor<64xf32>
  return %0 : tensor<64xf32>
}

// Rows that are looked up: their size is a multiple of 4, so that wherever they are, they are aligned.
// CHECK-LABEL: func.func private @gather_gpu
// CHECK: scf.parallel {{.*}} to (%c160)
// CHECK: memref.load %{{.*}} : memref<10xi64>
// CHECK-NOT: memref.load
// CHECK: vector.load {{.*}} : memref<6400xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} : memref<640xf32>, vector<4xf32>
func.func private @gather(%table: tensor<100x64xf32>, %rows: tensor<10xi64>) -> tensor<10x64xf32> attributes {plan.kernel} {
  %0 = nn.gather %table, %rows {axis = 0 : i64} : (tensor<100x64xf32>, tensor<10xi64>) -> tensor<10x64xf32>
  return %0 : tensor<10x64xf32>
}

// Neighbours of the operand that lie apart in the result, and rows of one thread each, stay as they are: neighbouring threads access
// neighbouring elements. The fill before is of whole vectors.
// CHECK-LABEL: func.func private @strided_gpu
// CHECK: scf.parallel
// CHECK: vector.store
// CHECK: scf.parallel (%{{.*}}, %{{.*}}) = (%{{.*}}, %{{.*}}) to (%c8, %c7)
// CHECK-NOT: vector.
// CHECK-LABEL: func.func private @argmax_gpu
// CHECK-NOT: vector.
func.func private @strided(%x: tensor<8x7xf32>) -> tensor<8x9xf32> attributes {plan.kernel} {
  %0 = nn.pad %x {low = array<i64: 0, 1>, high = array<i64: 0, 1>, interior = array<i64: 0, 0>} : (tensor<8x7xf32>) -> tensor<8x9xf32>
  return %0 : tensor<8x9xf32>
}
func.func private @argmax(%x: tensor<64x16xf32>) -> tensor<64xi64> attributes {plan.kernel} {
  %0 = nn.arg_max %x {axis = 1 : i64} : (tensor<64x16xf32>) -> tensor<64xi64>
  return %0 : tensor<64xi64>
}

// Labels of a plane: four of them a thread, which reads the classes of all four as vectors, in one loop for the maxima and one for the sums.
// CHECK-LABEL: func.func private @plane_labels_gpu
// CHECK: scf.parallel {{.*}} to (%c192)
// CHECK-COUNT-2: vector.load {{.*}} {alignment = 16 : i64} : memref<768xi64>, vector<2xi64>
// CHECK: scf.for
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<3840xf32>, vector<4xf32>
// CHECK: scf.for
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<3840xf32>, vector<4xf32>
// CHECK: scf.for
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<3840xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<3840xf32>, vector<4xf32>
// CHECK-NOT: memref.store
func.func private @plane_labels(%x: tensor<2x5x16x24xf32>, %l: tensor<2x16x24xi64>, %g: tensor<1xf32>) -> tensor<2x5x16x24xf32> attributes {plan.kernel} {
  %0 = nn.softmax_cross_entropy_grad %x, %l, %g {class_axis = 1 : i64} : (tensor<2x5x16x24xf32>, tensor<2x16x24xi64>, tensor<1xf32>) -> tensor<2x5x16x24xf32>
  return %0 : tensor<2x5x16x24xf32>
}

// A few terms of a resampling are written out, so that four elements a thread are stored at once.
// CHECK-LABEL: func.func private @resample_gpu
// CHECK: scf.parallel {{.*}} to (%c48)
// CHECK-NOT: scf.for
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<192xf32>, vector<4xf32>
func.func private @resample(%x: tensor<3x32xf32>, %p: tensor<64x2xi32>, %w: tensor<64x2xf32>) -> tensor<3x64xf32> attributes {plan.kernel} {
  %0 = nn.resample %x at %p by %w {axes = array<i64: 1>} : (tensor<3x32xf32>, tensor<64x2xi32>, tensor<64x2xf32>) -> tensor<3x64xf32>
  return %0 : tensor<3x64xf32>
}
