//===- Resample.h - interpolation along axes --------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_RESAMPLE_H
#define GMC_DIALECTS_NN_RESAMPLE_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Resample.h.inc"

#endif
