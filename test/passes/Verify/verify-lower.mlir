// RUN: gmc-opt %s --verify-lower | FileCheck %s

llvm.func @expf(f32) -> f32
// CHECK: llvm.func @k_0
llvm.func @k_0(%x: !llvm.ptr, %begin: i64, %end: i64) {
  %c8 = llvm.mlir.constant(8 : i64) : i64
  %lanes = llvm.alloca %c8 x f32 : (i64) -> !llvm.ptr
  %0 = llvm.load %x : !llvm.ptr -> f32
  %1 = llvm.call @expf(%0) : (f32) -> f32
  llvm.store %1, %lanes : f32, !llvm.ptr
  llvm.return
}
