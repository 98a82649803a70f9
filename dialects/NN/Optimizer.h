//===- Optimizer.h - parameter updates, gradient norm and clipping ----------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_OPTIMIZER_H
#define GMC_DIALECTS_NN_OPTIMIZER_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Optimizer.h.inc"

#endif
