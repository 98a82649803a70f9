//===- ReducePlan.h - how a reduction is divided ----------------------------------------------*- C++ -*-===//
//
// Neighbouring dimensions that are all reduced, or all kept, are one. Where there are few elements to make and much to
// read, the longest reduced dimension is cut into parts that are summed on their own and combined. Where the rows of a
// GPU's columns are short and begin anywhere, as many of them as make whole vectors count as one, with copies of each
// column that are combined as parts are. How depends on the shape and the target alone, so that sums are the same in
// every run.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_REDUCEPLAN_H
#define GMC_DIALECTS_NN_REDUCEPLAN_H

#include "dialects/Interfaces/OpInterfaces.h"
#include "llvm/ADT/SmallVector.h"

namespace gmc::nn {

struct ReducePlan {
  /// Elements in a block of the host's column form.
  static constexpr int64_t blockColumns = 256;
  /// Columns from which on a GPU's blocks read rows that begin anywhere as vectors. Fewer would leave most of their
  /// threads idle.
  static constexpr int64_t acrossColumns = 256;

  llvm::SmallVector<int64_t> sizes; ///< of the merged dimensions
  llvm::SmallVector<bool> reduced;
  int64_t results = 1;
  int64_t copies = 1;                          ///< of each result in a part
  int64_t stride = 1;                          ///< of the parts in the workspace: on a GPU whole vectors of any type
  int64_t splitDim = -1, parts = 1, chunk = 0; ///< the reduced dimension that is cut
  /// For groups of a GPU's threads: how many pieces of neighbours an element is made of, and how many of them are a
  /// part's. A single piece is cut at multiples of `chunk`.
  int64_t pieces = 1, piecesAPart = 1;

  ReducePlan(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> axes, KernelTarget target);

  bool columns() const { return !reduced.empty() && !reduced.back(); }
  /// Whether parts and copies are in a workspace first.
  bool combined() const { return parts * copies > 1; }
};

} // namespace gmc::nn

#endif
