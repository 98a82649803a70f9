//===- Norm.h - batch and group normalization -------------------------------------------------*- C++ -*-===//
//
// nn.batch_norm has one form for both modes. The train phase makes @micro with getTraining() as `--bn` says and @eval
// with training = false: `op.setTraining(mode)`, nothing else changes. Where training is set, operands 3 and 4 are the
// carried running statistics (state) and results 3 and 4 their next values.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_NORM_H
#define GMC_DIALECTS_NN_NORM_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Norm.h.inc"

#endif
