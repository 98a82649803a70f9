//===- Lifetimes.cpp - who is live when in a plan.program -----------------------------------------------===//

#include "dialects/Plan/Lifetimes.h"

using namespace mlir;

namespace gmc::plan {

Lifetimes::Lifetimes(ProgramOp program) {
  auto arena = cast<ArenaOp>(program->getParentOp());
  for (auto buffer : arena.getBody().front().getOps<BufferOp>())
    residents.push_back(buffer);

  llvm::MapVector<Operation *, SmallVector<Operation *>> touchedIn; // buffer -> loops
  auto touch = [&](Value view, int64_t position, Operation *loop) {
    auto buffer = view.getDefiningOp<ViewOp>() ? view.getDefiningOp<ViewOp>().getBufferOp() : BufferOp();
    auto range = buffer ? live.find(buffer) : live.end();
    if (range == live.end())
      return;
    range->second.include(position);
    if (loop)
      touchedIn[buffer].push_back(loop);
  };
  auto visit = [&](auto &&visit, Block &block, Operation *loop) -> void {
    for (Operation &op : block) {
      if (auto buffer = dyn_cast<BufferOp>(op)) {
        live[buffer];
      } else if (auto launch = dyn_cast<LaunchOp>(op)) {
        int64_t position = launches.size();
        for (Value view : launch->getOperands())
          touch(view, position, loop);
        launches.push_back(launch);
        if (loop)
          loops[loop].include(position);
      } else if (auto tensor = dyn_cast<TensorOp>(op)) {
        // What the trainer writes is there before the next launch, what it reads after the one before.
        bool written = tensor.getRole() == Role::Input || tensor.getRole() == Role::Label;
        int64_t position = static_cast<int64_t>(launches.size()) - (written ? 0 : 1);
        if (position >= 0)
          touch(tensor.getView(), position, loop);
      } else if (auto inner = dyn_cast<LoopOp>(op)) {
        loops[inner];
        visit(visit, inner.getBody().front(), inner);
      }
    }
  };
  visit(visit, program.getBody().front(), nullptr);

  for (auto &[buffer, inLoops] : touchedIn) {
    if (buffer->getParentOp() != program)
      continue;
    carried.insert(buffer);
    for (Operation *loop : inLoops)
      if (cast<LoopOp>(loop).getCount() > 1) {
        live[buffer].include(loops[loop].first);
        live[buffer].include(loops[loop].last);
      }
  }
}

} // namespace gmc::plan
