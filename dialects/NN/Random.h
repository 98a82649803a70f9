//===- Random.h - ops that draw random numbers ------------------------------------------------*- C++ -*-===//
//
// A pass sets the mode of nn.dropout and nn.dropout_mask (`setTraining`) and gives them the step's random state
// (`getRngMutable().assign(rng)`, a tensor<4xi64> laid out as GMC_RNG_* of the ABI). What the state, the node and the
// element determine is a bit of SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014. Its i-th output is mix64(key + i * gamma), so every element draws on its own.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_RANDOM_H
#define GMC_DIALECTS_NN_RANDOM_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Random.h.inc"

#endif
