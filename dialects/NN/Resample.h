//===- Resample.h - interpolation along axes --------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_RESAMPLE_H
#define GMC_DIALECTS_NN_RESAMPLE_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Resample.h.inc"

namespace gmc::nn {

/// What ResampleOp's `reach` has for an axis of `size` elements with this table of positions: below, above.
std::pair<int64_t, int64_t> reachOf(mlir::DenseElementsAttr positions, int64_t size);

} // namespace gmc::nn

#endif
