//===- TrainOptions.h - options that compile and plan share -----------------------------------*- C++ -*-===//
#ifndef GMC_TOOLS_GMC_TRAINOPTIONS_H
#define GMC_TOOLS_GMC_TRAINOPTIONS_H

#include "compiler/Pipeline/Compiler.h"
#include "tools/gmc/Options.h"

namespace gmc {

struct TrainOptions {
  ModelOptions model;
  std::string vram, target, arch, device, reserve, precision = "auto", numerics = "free", optimizer = "adamw",
                                                   bn = "train", dropout = "on", remat = "auto", microBatch = "auto",
                                                   accumulate = "auto", libraries = "auto";
  int threads = 0, effort = 2, workersMax = 2;
  int64_t shuffleBufferMax = 65536;
  bool clip = false, ema = false;
};

/// MODEL and every option of DESIGN that decides about a plan.
void addTrainOptions(CLI::App &app, TrainOptions &options);

/// The request they make; `target` has been resolved by the caller. Error: one of them is malformed or contradicts
/// another.
llvm::Expected<CompileRequest> toRequest(const TrainOptions &options, const OnnxModel &model,
                                         planning::PlanTarget target);

} // namespace gmc

#endif
