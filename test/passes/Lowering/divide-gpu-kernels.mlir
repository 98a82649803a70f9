// RUN: gmc-opt %s --divide-gpu-kernels | FileCheck %s

// An scf.parallel becomes the function of one iteration, the last dimension fastest.
// CHECK-LABEL: func.func @k_0
// CHECK-SAME: (%[[X:.*]]: memref<4x32xf32> {llvm.noalias}, %[[I:.*]]: index)
// CHECK-SAME: plan.moves = [array<i64: 0, 0, 512>]
// CHECK-DAG: %[[COLUMN:.*]] = arith.remsi %[[I]], %{{.*}}
// CHECK-DAG: %[[ROW:.*]] = arith.divsi %[[I]], %{{.*}}
// CHECK: memref.store %{{.*}}, %[[X]][%[[ROW]], %[[COLUMN]]]

// A gpu.launch becomes what one thread does, with its ids and its block's memory.
// CHECK: memref.global "private" @k_1_shared0 : memref<32xf32, 3> = uninitialized {alignment = 16 : i64}
// CHECK-LABEL: func.func @k_1
// CHECK-SAME: (%[[X:[^:]*]]: memref<4x32xf32> {llvm.noalias})
// CHECK-SAME: plan.moves = [array<i64: 0, 512, 512>]
// CHECK: %[[B32:.*]] = nvvm.read.ptx.sreg.ctaid.x range <i32, 0, 4> : i32
// CHECK: %[[B:.*]] = arith.index_castui %[[B32]]
// CHECK: %[[T32:.*]] = nvvm.read.ptx.sreg.tid.x range <i32, 0, 32> : i32
// CHECK: %[[T:.*]] = arith.index_castui %[[T32]]
// CHECK: %[[S:.*]] = memref.get_global @k_1_shared0
// CHECK: memref.store %{{.*}}, %[[S]][%[[T]]]
// CHECK: nvvm.barrier
// CHECK: memref.store %{{.*}}, %[[X]][%[[B]], %[[T]]]
// CHECK-NOT: gpu.launch
func.func private @k(%x: memref<4x32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c31 = arith.constant 31 : index
  %c32 = arith.constant 32 : index
  %z = arith.constant 0.0 : f32
  scf.parallel (%i, %j) = (%c0, %c0) to (%c4, %c32) step (%c1, %c1) {
    memref.store %z, %x[%i, %j] : memref<4x32xf32>
  }
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c4, %gy = %c1, %gz = %c1)
      threads(%tx, %ty, %tz) in (%nx = %c32, %ny = %c1, %nz = %c1) workgroup(%s : memref<32xf32, 3>) {
    %v = memref.load %x[%bx, %tx] : memref<4x32xf32>
    memref.store %v, %s[%tx] : memref<32xf32, 3>
    nvvm.barrier
    %other = arith.subi %c31, %tx : index
    %w = memref.load %s[%other] : memref<32xf32, 3>
    memref.store %w, %x[%bx, %tx] : memref<4x32xf32>
    gpu.terminator
  }
  return
}

// The bytes that a launch must move: of a table no more than is looked up, of what is read again and again no more than there is, of
// what a loop of unknown length reads all of it.
// CHECK-LABEL: func.func @moves_0
// CHECK-SAME: plan.moves = [array<i64: 1, 128, 0>, array<i64: 2, 2048, 0>, array<i64: 3, 0, 2048>]
// CHECK-LABEL: func.func @moves_1
// CHECK-SAME: plan.moves = [array<i64: 0, 512, 0>, array<i64: 2, 0, 64>]
func.func private @moves(%table: memref<100x32xf32>, %rows: memref<16xi64>, %again: memref<512xf32>, %out: memref<16x32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %z = arith.constant 0.0 : f32
  scf.parallel (%i, %j) = (%c0, %c0) to (%c16, %c32) step (%c1, %c1) {
    %row = memref.load %rows[%i] : memref<16xi64>
    %r = arith.index_cast %row : i64 to index
    %x = scf.for %k = %c0 to %r step %c1 iter_args(%acc = %z) -> f32 {
      %y = memref.load %again[%k] : memref<512xf32>
      %sum = arith.addf %acc, %y : f32
      scf.yield %sum : f32
    }
    memref.store %x, %out[%i, %j] : memref<16x32xf32>
  }
  scf.parallel (%i) = (%c0) to (%c16) step (%c1) {
    %x = scf.for %k = %c0 to %c8 step %c1 iter_args(%acc = %z) -> f32 {
      %y = memref.load %table[%i, %k] : memref<100x32xf32>
      %sum = arith.addf %acc, %y : f32
      scf.yield %sum : f32
    }
    memref.store %x, %again[%i] : memref<512xf32>
  }
  return
}
