//===- Window.h - sliding windows of convolutions and pools -----------------------------------*- C++ -*-===//
//
// A window op over D spatial dimensions reads, for output position o and tap k of dimension d, the input position
//   i = o * strides[d] - pads[d] + k * dilations[d];
// positions outside the input are padding. `pads` is ONNX's: all begins, then all ends.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_WINDOW_H
#define GMC_DIALECTS_NN_WINDOW_H

#include "dialects/NN/NN.h"

namespace gmc {
class ImportNode;
namespace nn {

/// The attributes of a window op, resolved: one entry per spatial dimension (two for `pads`).
struct Window {
  llvm::ArrayRef<int64_t> kernel, strides, pads, dilations;

  size_t rank() const { return kernel.size(); }
  int64_t taps() const;
  int64_t padBegin(size_t d) const { return pads[d]; }
  int64_t padEnd(size_t d) const { return pads[d + rank()]; }
  /// Distance from the first to one past the last input position that a window covers.
  int64_t extent(size_t d) const { return (kernel[d] - 1) * dilations[d] + 1; }
  /// Number of window positions of dimension d over an input of size `in`; not positive where no window fits.
  int64_t outputs(size_t d, int64_t in, bool ceilMode = false) const;
};

/// A window whose attributes it owns, as import resolves it.
struct OwnedWindow {
  llvm::SmallVector<int64_t> kernel, strides, pads, dilations;
  Window get() const { return {kernel, strides, pads, dilations}; }
};

/// Resolves kernel_shape (or `kernel` when not empty), strides, pads, dilations and auto_pad of an ONNX node over
/// `spatial`. Failure has been reported.
llvm::FailureOr<OwnedWindow> importWindow(ImportNode &node, llvm::ArrayRef<int64_t> spatial,
                                          llvm::ArrayRef<int64_t> kernel = {});

/// Checks the sizes of the attributes against the spatial rank, and that strides, dilations and kernel are positive.
llvm::LogicalResult checkWindow(std::optional<mlir::Location> loc, const Window &window, size_t spatialRank);

/// Window output sizes over `spatial`; an error where a window does not fit.
llvm::LogicalResult inferWindow(std::optional<mlir::Location> loc, const Window &window,
                                llvm::ArrayRef<int64_t> spatial, bool ceilMode, llvm::SmallVectorImpl<int64_t> &out);

/// Input position of dimension d for output position `o` and tap `k` (index values); may lie outside the input.
mlir::Value windowInput(mlir::OpBuilder &b, mlir::Location loc, const Window &window, size_t d, mlir::Value o,
                        mlir::Value k);

/// The output position o of dimension d whose tap `k` reads input position `i`, and whether there is one below
/// `outputs`.
std::pair<mlir::Value, mlir::Value> windowOutput(mlir::OpBuilder &b, mlir::Location loc, const Window &window, size_t d,
                                                 mlir::Value i, mlir::Value k, int64_t outputs);

/// The part [first, last) of the taps of dimension d at output position `o` that reads inside an input of size `in`.
std::pair<mlir::Value, mlir::Value> windowTaps(mlir::OpBuilder &b, mlir::Location loc, const Window &window, size_t d,
                                               mlir::Value o, int64_t in);

/// The output positions [first, last) of dimension d whose tap `k` reads inside an input of size `in`.
std::pair<mlir::Value, mlir::Value> windowPositions(mlir::OpBuilder &b, mlir::Location loc, const Window &window,
                                                    size_t d, mlir::Value k, int64_t in, int64_t outputs);

} // namespace nn
} // namespace gmc

#endif
