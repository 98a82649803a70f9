//===- Pool.h - max and average pools ---------------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_POOL_H
#define GMC_DIALECTS_NN_POOL_H

#include "dialects/NN/Window.h"

#define GET_OP_CLASSES
#include "dialects/NN/Pool.h.inc"

#endif
