//===- PoolKernel.h - windows of pools inside kernels -----------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_POOLKERNEL_H
#define GMC_DIALECTS_NN_POOLKERNEL_H

#include "dialects/NN/Fold.h"
#include "dialects/NN/Pool.h"

namespace gmc::nn {

template <typename OpT> Window windowOf(OpT op) {
  return {op.getKernel(), op.getStrides(), op.getPads(), op.getDilations()};
}

/// One plane of a pool's input: its spatial shape, and how an element of it is read.
struct PoolPlane {
  llvm::ArrayRef<int64_t> in;
  llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange at)> load;
  /// Visit all taps of a window, those outside of the plane at its nearest element instead: loops of constant length,
  /// for a GPU. A window that everyTap() does not hold for visits the taps inside.
  bool allTaps = false;
};

/// Whether the nearest element to a tap outside of the plane is one of the same window, wherever the window is.
bool everyTap(const Window &w, llvm::ArrayRef<int64_t> in, llvm::ArrayRef<int64_t> out);

/// Largest element of the window at spatial position `at` of the output, and its row-major position in the plane.
std::pair<mlir::Value, mlir::Value> windowMax(mlir::OpBuilder &b, mlir::Location loc, const Window &w,
                                              const PoolPlane &plane, mlir::Type element, mlir::ValueRange at,
                                              bool isUnsigned);
/// Sum of its elements, as `sumType`.
mlir::Value windowSum(mlir::OpBuilder &b, mlir::Location loc, const Window &w, const PoolPlane &plane,
                      mlir::Type sumType, mlir::ValueRange at);
/// What a mean over it divides by, as a float of `type`.
mlir::Value windowCount(mlir::OpBuilder &b, mlir::Location loc, const Window &w, mlir::ValueRange at,
                        llvm::ArrayRef<int64_t> in, bool countPad, mlir::Type type);
/// Whether it reads any element of the input; null where every window does.
mlir::Value readsInput(mlir::OpBuilder &b, mlir::Location loc, const Window &w, mlir::ValueRange at,
                       llvm::ArrayRef<int64_t> in);

/// The cooperative forms of pools (PoolGpu.cpp). False, with nothing emitted, where the target or the shapes are not
/// for them. `value` is what result 0 has for the window at `at`, in plane `planeNumber` of batch and channels.
using PoolValue = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, const PoolPlane &,
                                                 mlir::Value planeNumber, mlir::ValueRange at)>;
bool emitGpuPool(KernelBuilder &kernel, const Window &w, PoolValue value);
bool emitGpuMaxPoolGrad(KernelBuilder &kernel, const Window &w);
bool emitGpuAvgPoolGrad(KernelBuilder &kernel, const Window &w, bool countPad);

} // namespace gmc::nn

#endif
