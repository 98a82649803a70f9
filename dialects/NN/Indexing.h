//===- Indexing.h - reading and writing at places given by index tensors ----------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_INDEXING_H
#define GMC_DIALECTS_NN_INDEXING_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Indexing.h.inc"

#endif
