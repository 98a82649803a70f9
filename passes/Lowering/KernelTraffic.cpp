//===- KernelTraffic.cpp - the bytes that a launch must move --------------------------------------------===//

#include "passes/Lowering/KernelTraffic.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <limits>
#include <map>

using namespace mlir;

namespace gmc {

static constexpr int64_t unknown = std::numeric_limits<int64_t>::max();

static int64_t times(int64_t x, int64_t y) {
  int64_t product;
  return x == unknown || y == unknown || llvm::MulOverflow(x, y, product) ? unknown : product;
}

/// How often one thread does what `op` does; unknown where a loop around it has bounds that are no constants.
static int64_t repetitions(Operation *op, func::FuncOp function) {
  int64_t count = 1;
  for (Operation *parent = op->getParentOp(); parent != function; parent = parent->getParentOp()) {
    auto loop = dyn_cast<scf::ForOp>(parent);
    if (!loop)
      continue;
    APInt lower, upper, step;
    if (!matchPattern(loop.getLowerBound(), m_ConstantInt(&lower)) ||
        !matchPattern(loop.getUpperBound(), m_ConstantInt(&upper)) ||
        !matchPattern(loop.getStep(), m_ConstantInt(&step)))
      return unknown;
    int64_t span = std::max<int64_t>(upper.getSExtValue() - lower.getSExtValue(), 0);
    count = times(count, llvm::divideCeil(span, step.getSExtValue()));
  }
  return count;
}

/// The argument that `buffer` is a view of; nullopt for shared memory and local arrays.
static std::optional<unsigned> argumentOf(Value buffer, func::FuncOp function) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  auto argument = dyn_cast<BlockArgument>(buffer);
  if (!argument || argument.getOwner() != &function.getBody().front())
    return std::nullopt;
  return argument.getArgNumber();
}

SmallVector<BufferTraffic> kernelTraffic(func::FuncOp function, int64_t threads) {
  std::map<unsigned, BufferTraffic> found;
  function.walk([&](Operation *op) {
    Value buffer;
    Type accessed;
    bool writes = false;
    llvm::TypeSwitch<Operation *>(op)
        .Case<memref::LoadOp>([&](auto load) { buffer = load.getMemRef(), accessed = load.getType(); })
        .Case<memref::StoreOp>(
            [&](auto store) { buffer = store.getMemRef(), accessed = store.getValue().getType(), writes = true; })
        .Case<vector::LoadOp, vector::GatherOp, vector::MaskedLoadOp>(
            [&](auto load) { buffer = load.getBase(), accessed = load.getType(); })
        .Case<vector::StoreOp, vector::MaskedStoreOp, vector::ScatterOp>(
            [&](auto store) { buffer = store.getBase(), accessed = store.getValueToStore().getType(), writes = true; });
    if (!buffer)
      return;
    std::optional<unsigned> argument = argumentOf(buffer, function);
    if (!argument)
      return;
    auto vector = dyn_cast<VectorType>(accessed);
    int64_t bytes = elementBytes(vector ? vector.getElementType() : accessed) * (vector ? vector.getNumElements() : 1);
    int64_t all = times(times(repetitions(op, function), threads), bytes),
            size = byteSize(function.getArgumentTypes()[*argument]);
    BufferTraffic &traffic = found[*argument];
    traffic.argument = *argument;
    int64_t &total = writes ? traffic.written : traffic.read;
    total = all == unknown ? size : std::min(size, total + std::min(all, size));
  });
  SmallVector<BufferTraffic> list;
  for (auto &[_, traffic] : found)
    list.push_back(traffic);
  return list;
}

} // namespace gmc
