//===- ConvGpu.h - what the GPU's convolutions share -------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_CONVGPU_H
#define GMC_DIALECTS_NN_CONVGPU_H

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/GpuSupport.h"

namespace gmc::nn {

llvm::SmallVector<int64_t> prepend(std::initializer_list<int64_t> first, llvm::ArrayRef<int64_t> rest);

/// Whether the forms for the GPU take a convolution: their indices are 32-bit.
bool gpuConvTiles(const ConvShape &shape);
/// Below this many rows a tile would be mostly empty.
constexpr int64_t fewRows = 4;

} // namespace gmc::nn

#endif
