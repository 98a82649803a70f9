// RUN: gmc-opt %s --verify-lower -verify-diagnostics -split-input-file

llvm.func @malloc(i64) -> !llvm.ptr
llvm.func @memrefCopy(i64, !llvm.ptr, !llvm.ptr)
llvm.func @k_0(%x: !llvm.ptr, %n: i64) {
  // expected-error @below {{calls malloc, which is not in the plan after lower: kernels work on views of the arena; their scratch is a workspace}}
  %0 = llvm.call @malloc(%n) : (i64) -> !llvm.ptr
  // expected-error @below {{calls memrefCopy, which is not in the plan}}
  llvm.call @memrefCopy(%n, %x, %0) : (i64, !llvm.ptr, !llvm.ptr) -> ()
  // expected-error @below {{takes stack of no fixed small size after lower: scratch of a kernel is a workspace of its launch}}
  %1 = llvm.alloca %n x f32 : (i64) -> !llvm.ptr
  %big = llvm.mlir.constant(100000 : i64) : i64
  // expected-error @below {{takes stack of no fixed small size}}
  %2 = llvm.alloca %big x f32 : (i64) -> !llvm.ptr
  llvm.return
}

// -----

// expected-error @below {{'func.func' op is illegal after lower: only the llvm dialect is left; lowering to it should have removed it}}
func.func @k(%x: memref<4xf32>) {
  // expected-error @below {{'func.return' op is illegal after lower}}
  return
}
