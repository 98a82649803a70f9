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
