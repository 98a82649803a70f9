//===- Reduce.h - reductions over axes, softmax -----------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_REDUCE_H
#define GMC_DIALECTS_NN_REDUCE_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Reduce.h.inc"

#endif
