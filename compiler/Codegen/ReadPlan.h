//===- ReadPlan.h - from plan-dialect IR to tables and to the plan's JSON ---------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_READPLAN_H
#define GMC_COMPILER_CODEGEN_READPLAN_H

#include "compiler/Codegen/ModelImage.h"
#include "compiler/Planning/Plan.h"
#include "dialects/Plan/Plan.h"

namespace gmc {

/// The programs and tensors of `arena` as tables. Metadata, hash, threads and budget are the caller's.
ModelImage readImage(plan::ArenaOp arena);

/// Sets what `arena` decides in `result`: target, arena, evaluation arena, micro-batch, accumulation, loops, buffers,
/// steps, peak and predicted time. Buffers are numbered in the order of the IR.
void readPlan(plan::ArenaOp arena, planning::Plan &result);

} // namespace gmc

#endif
