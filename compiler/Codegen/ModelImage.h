//===- ModelImage.h - a planned model, ready for code generation ------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_MODELIMAGE_H
#define GMC_COMPILER_CODEGEN_MODELIMAGE_H

#include "gmc/Abi.h"
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace gmc {

/// A kernel function of the module, and which operand's buffer each result overwrites (-1: one of its own).
struct KernelUse {
  std::string kernel;
  std::vector<int> aliases;
};

struct ImageStep {
  KernelUse use;
  std::string op, node;
  uint32_t stage = GMC_STAGE_FORWARD;
  /// Arena offsets in the order of emitKernel's arguments: operands, results without alias, workspaces.
  std::vector<uint64_t> operands;
  float predictedMicros = 0;
  uint32_t library = 0; ///< GmcStep.library
  std::vector<int64_t> libraryArgs;
};

struct ImageTensor {
  std::string name;
  std::vector<int64_t> dims;
  uint64_t offset = 0, bytes = 0;
  uint32_t dtype = GMC_FLOAT, role = 0, flags = 0;
};

struct ImageProgram {
  std::string name;
  std::vector<ImageStep> steps;
  std::vector<GmcLoop> loops;
  std::vector<ImageTensor> tensors;
  uint32_t microBatch = 0;
};

/// Everything that becomes `gmc_model`. Kernels are plan.kernel functions of the module handed to code generation with
/// it.
struct ModelImage {
  uint32_t target = GMC_TARGET_HOST, threads = 1;
  uint64_t arenaBytes = 0, alignment = 64, budgetBytes = 0, reserveBytes = 0;
  std::array<uint64_t, 2> hash{};
  std::string metadata; ///< JSON
  std::vector<ImageTensor> tensors;
  std::vector<ImageProgram> programs;
};

} // namespace gmc

#endif
