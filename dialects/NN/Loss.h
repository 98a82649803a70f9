//===- Loss.h - losses as (unnormalized sum, count), their backward ops, accuracy -------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_LOSS_H
#define GMC_DIALECTS_NN_LOSS_H

#include "dialects/NN/NN.h"
#include "dialects/NN/Scalar.h"

#define GET_OP_CLASSES
#include "dialects/NN/Loss.h.inc"

#endif
