//===- Tensor.h - constants and views ---------------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_TENSOR_H
#define GMC_DIALECTS_NN_TENSOR_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Tensor.h.inc"

#endif
