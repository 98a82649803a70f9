//===- Indexing.h - reading and writing at places given by index tensors ----------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_INDEXING_H
#define GMC_DIALECTS_NN_INDEXING_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Indexing.h.inc"

namespace gmc::nn {

/// Of how many entries of one axis each element of `use` chooses one, as nn.gather's indices do; nothing where it is no
/// such operand.
std::optional<int64_t> indexedEntries(mlir::OpOperand &use);

} // namespace gmc::nn

#endif
