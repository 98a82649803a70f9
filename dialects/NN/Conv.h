//===- Conv.h - convolution, transposed convolution and their weight gradient -----------------*- C++ -*-===//
//
// The three ops are each other's gradients. Written as a trilinear form over one window and its groups,
//   T(x, w, dy) = sum dy[n,m,o] * x[n,c,o * stride - pad + k * dilation] * w[m,c,k],
// nn.conv is its derivative by dy, nn.conv_transpose by x, nn.conv_weight_grad by w: libraries know the same three.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_CONV_H
#define GMC_DIALECTS_NN_CONV_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Conv.h.inc"

#endif
