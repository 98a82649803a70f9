//===- LayerNorm.h - normalization of rows ----------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_LAYERNORM_H
#define GMC_DIALECTS_NN_LAYERNORM_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/LayerNorm.h.inc"

#endif
