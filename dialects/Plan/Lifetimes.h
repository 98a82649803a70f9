//===- Lifetimes.h - who is live when in a plan.program ---------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_PLAN_LIFETIMES_H
#define GMC_DIALECTS_PLAN_LIFETIMES_H

#include "dialects/Plan/Plan.h"
#include "llvm/ADT/MapVector.h"

namespace gmc::plan {

/// Launches first..last, both included.
struct Range {
  int64_t first = INT64_MAX, last = -1;
  bool empty() const { return first > last; }
  void include(int64_t position) {
    first = std::min(first, position);
    last = std::max(last, position);
  }
};

/// Lifetimes of the buffers of one program, in launches counted from 0.
struct Lifetimes {
  explicit Lifetimes(ProgramOp program);

  llvm::SmallVector<LaunchOp> launches;
  llvm::MapVector<mlir::Operation *, Range> loops;  ///< plan.loop -> its launches
  llvm::MapVector<mlir::Operation *, Range>
      live; ///< plan.buffer of the program -> launches during which it holds its value
  llvm::SmallVector<BufferOp> residents;            ///< of the arena: live all the time
  llvm::SmallPtrSet<mlir::Operation *, 8>
      carried; ///< buffers of the program that survive from one micro-step to the next
};

} // namespace gmc::plan

#endif
