//===- PlaneSums.h - two sums over each channel, by groups of GPU threads ---------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_PLANESUMS_H
#define GMC_DIALECTS_NN_PLANESUMS_H

#include "dialects/NN/GpuRows.h"

namespace gmc::nn {

/// Sums over batch and spatial axes of [N, C, ...]: a group of threads adds the planes of one channel in some samples,
/// and what reads the totals adds those parts in order. They wait in workspace 0.
class PlaneSums {
public:
  PlaneSums(llvm::ArrayRef<int64_t> shape, bool partPerSample = false);

  /// Whether planes are long enough for a group of threads; shorter ones are for a thread a channel.
  static bool pays(KernelTarget target, llvm::ArrayRef<int64_t> shape);
  int64_t workspaceBytes(mlir::Type type) const;

  /// Emits the nest; `terms` makes the two terms of an element of channel `channel`, of sample `part` with
  /// partPerSample.
  using Terms = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::OpBuilder &, mlir::Location, GpuRow &, const GpuRow::Element &, mlir::Value part, mlir::Value channel)>;
  void emit(KernelBuilder &kernel, mlir::Type type, ElementBytes bytes, Terms terms) const;
  /// Sum 0 or 1 of a channel, in a later nest.
  mlir::Value total(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, mlir::Type type, int64_t sum,
                    mlir::Value channel) const;

private:
  int64_t samples, channels, plane, parts = 1, samplesAPart;
};

} // namespace gmc::nn

#endif
