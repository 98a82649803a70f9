// RUN: gmc-opt %s --divide-host-kernels | FileCheck %s

// One function a nest; the last dimension is the inner loop, the others the range.
// CHECK-LABEL: func.func @k_0
// CHECK-SAME: (%[[X:.*]]: memref<4x8xf32> {llvm.noalias}, %[[B:.*]]: index, %[[E:.*]]: index)
// CHECK: scf.for %[[I:.*]] = %[[B]] to %[[E]]
// CHECK: scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step
// CHECK: memref.store %{{.*}}, %[[X]][%[[I]], %[[J]]]
// A one-dimensional nest is divided itself.
// CHECK-LABEL: func.func @k_1
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step
// CHECK-NOT: scf.for
// CHECK: memref.store
func.func private @k(%x: memref<4x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %z = arith.constant 0.0 : f32
  scf.parallel (%i, %j) = (%c0, %c0) to (%c4, %c8) step (%c1, %c1) {
    memref.store %z, %x[%i, %j] : memref<4x8xf32>
  }
  scf.parallel (%i) = (%c0) to (%c4) step (%c1) {
    memref.store %z, %x[%i, %c0] : memref<4x8xf32>
  }
  return
}

// The last block of a sum may be shorter, but the others count: each is worth a thread.
// CHECK-LABEL: func.func @blocks_0
// CHECK-SAME: attributes {plan.extent = 32 : index, plan.grain = 1 : index}
// Nothing is known of these loops.
// CHECK-LABEL: func.func @unknown_0
// CHECK-SAME: attributes {plan.extent = 32 : index, plan.grain = {{[0-9][0-9][0-9]+}} : index}
func.func private @blocks(%x: memref<1048571xf32>, %y: memref<32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %size = arith.constant 32768 : index
  %total = arith.constant 1048571 : index
  %zero = arith.constant 0.0 : f32
  scf.parallel (%i) = (%c0) to (%c32) step (%c1) {
    %lo = arith.muli %i, %size : index
    %next = arith.addi %lo, %size : index
    %hi = arith.minsi %next, %total : index
    %sum = scf.for %k = %lo to %hi step %c1 iter_args(%acc = %zero) -> f32 {
      %v = memref.load %x[%k] : memref<1048571xf32>
      %s = arith.addf %acc, %v : f32
      scf.yield %s : f32
    }
    memref.store %sum, %y[%i] : memref<32xf32>
  }
  return
}
func.func private @unknown(%x: memref<1048571xf32>, %y: memref<32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %zero = arith.constant 0.0 : f32
  scf.parallel (%i) = (%c0) to (%c32) step (%c1) {
    %hi = arith.muli %i, %c32 : index
    %sum = scf.for %k = %i to %hi step %c1 iter_args(%acc = %zero) -> f32 {
      %v = memref.load %x[%k] : memref<1048571xf32>
      %s = arith.addf %acc, %v : f32
      scf.yield %s : f32
    }
    memref.store %sum, %y[%i] : memref<32xf32>
  }
  return
}
