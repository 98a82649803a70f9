//===- Softmax.h - softmax, its logarithm and hardmax along one axis --------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_SOFTMAX_H
#define GMC_DIALECTS_NN_SOFTMAX_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Softmax.h.inc"

#endif
