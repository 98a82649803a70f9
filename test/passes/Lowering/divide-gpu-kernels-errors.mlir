// RUN: gmc-opt %s --divide-gpu-kernels -verify-diagnostics -split-input-file

func.func private @threads() {
  %c1 = arith.constant 1 : index
  %c48 = arith.constant 48 : index
  // expected-error@+1 {{has 48 threads a block: a multiple of 32 up to 1024 is possible}}
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c1, %gy = %c1, %gz = %c1)
      threads(%tx, %ty, %tz) in (%nx = %c48, %ny = %c1, %nz = %c1) {
    gpu.terminator
  }
  return
}

// -----

func.func private @shared() {
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  // expected-error@+1 {{has 65536 bytes of shared memory a block, more than 49152}}
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c1, %gy = %c1, %gz = %c1)
      threads(%tx, %ty, %tz) in (%nx = %c32, %ny = %c1, %nz = %c1)
      workgroup(%s : memref<8192xf32, 3>, %t : memref<8192xf32, 3>) {
    gpu.terminator
  }
  return
}

// -----

func.func private @dimensions() {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  // expected-error@+1 {{must have one dimension of blocks and one of threads}}
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c1, %gy = %c2, %gz = %c1)
      threads(%tx, %ty, %tz) in (%nx = %c32, %ny = %c1, %nz = %c1) {
    gpu.terminator
  }
  return
}
