//===- ConvKernel.h - portable kernels of the convolution ops ---------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_CONVKERNEL_H
#define GMC_DIALECTS_NN_CONVKERNEL_H

#include "dialects/NN/Window.h"

namespace gmc::nn {

/// Which derivative of the trilinear form of Conv.h a kernel computes.
enum class ConvForm { Forward, Transpose };

/// The sizes of a convolution: `in` and `out` are the spatial shapes of its x and y.
struct ConvShape {
  int64_t batch, channels, filters, group; ///< N, C, M, number of groups
  llvm::ArrayRef<int64_t> in, out;
  Window window;

  int64_t channelsPerGroup() const { return channels / group; }
  int64_t filtersPerGroup() const { return filters / group; }
  int64_t inSize() const;
  int64_t outSize() const;
  /// Multiply-adds counted as two: the same for all three ops, padding included.
  int64_t flops() const { return 2 * batch * filters * outSize() * channelsPerGroup() * window.taps(); }
};

/// Emits y (or, transposed, x) as operand 0 times the weight, operand 1, plus the bias, operand 2 when `hasBias`.
void emitConvKernel(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias);
/// Emits the weight gradient of operands 0 (x) and 1 (dy).
void emitConvWeightGradKernel(KernelBuilder &kernel, const ConvShape &shape);

/// Host forms of both on vectors, for f32 and f64.
void emitConvTiles(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias);
void emitConvWeightGradTiles(KernelBuilder &kernel, const ConvShape &shape);

/// GPU forms, on f32, bf16 and f16, accumulating in f32. False, with nothing emitted, for shapes that they do not fit.
bool emitGpuConv(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias);
bool emitGpuConvWeightGrad(KernelBuilder &kernel, const ConvShape &shape);
/// Bytes of their workspaces.
llvm::SmallVector<int64_t> gpuConvWorkspaces(mlir::Type element, ConvForm form, const ConvShape &shape);
llvm::SmallVector<int64_t> gpuConvWeightGradWorkspaces(mlir::Type element, const ConvShape &shape);

} // namespace gmc::nn

#endif
