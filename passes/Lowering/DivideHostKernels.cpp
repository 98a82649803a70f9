//===- DivideHostKernels.cpp - nests to functions over a range of iterations ----------------------------===//

#include "passes/Passes.h"
#include "passes/Lowering/DivideHostKernels.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_DIVIDEHOSTKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace gmc

namespace gmc {

/// Elements of work below which waking another thread costs more than it saves.
static constexpr int64_t kWorkPerThread = 8192;

/// Iterations of a loop where its bounds tell: constants, or [x, min(x + constant, ...)), a block whose last one may be
/// shorter. Else a guess.
static int64_t tripCount(scf::ForOp loop) {
  constexpr int64_t guess = 8;
  APInt lo, hi, step;
  if (!matchPattern(loop.getStep(), m_ConstantInt(&step)) || step.getSExtValue() <= 0)
    return guess;
  auto trips = [&](int64_t count) { return std::max<int64_t>(1, count / step.getSExtValue()); };
  Value lower = loop.getLowerBound(), upper = loop.getUpperBound();
  if (matchPattern(lower, m_ConstantInt(&lo)) && matchPattern(upper, m_ConstantInt(&hi)))
    return trips(hi.getSExtValue() - lo.getSExtValue());
  if (auto smaller = upper.getDefiningOp<arith::MinSIOp>())
    upper = smaller.getLhs();
  auto sum = upper.getDefiningOp<arith::AddIOp>();
  return sum && sum.getLhs() == lower && matchPattern(sum.getRhs(), m_ConstantInt(&hi)) ? trips(hi.getSExtValue())
                                                                                        : guess;
}

/// Scalar operations in one iteration of the nest's body.
static int64_t workPerIteration(Block &block) {
  int64_t work = 0;
  for (Operation &op : block) {
    int64_t inner = 0;
    for (Region &region : op.getRegions())
      for (Block &nested : region)
        inner += workPerIteration(nested);
    int64_t trips = 1;
    if (auto loop = dyn_cast<scf::ForOp>(op))
      trips = tripCount(loop);
    work += 1 + trips * inner;
    if (work > (int64_t(1) << 40))
      return work;
  }
  return work;
}

SmallVector<HostLaunch> divideHostKernel(func::FuncOp kernel) {
  SmallVector<HostLaunch> launches;
  OpBuilder b(kernel);
  Location loc = kernel.getLoc();
  Block &from = kernel.getBody().front();
  for (Operation &candidate : from) {
    auto nest = dyn_cast<scf::ParallelOp>(candidate);
    if (!nest)
      continue;
    SmallVector<int64_t> extents;
    for (Value bound : nest.getUpperBound()) {
      APInt value;
      matchPattern(bound, m_ConstantInt(&value));
      extents.push_back(value.getSExtValue());
    }
    if (llvm::is_contained(extents, 0))
      continue; // nothing to do for a tensor without elements
    bool single = extents.size() == 1;
    SmallVector<int64_t> outer(extents);
    if (!single)
      outer.pop_back();
    HostLaunch launch;
    launch.function = (kernel.getName() + "_" + Twine(launches.size())).str();
    launch.extent = 1;
    for (int64_t extent : outer)
      launch.extent *= extent;
    int64_t work = workPerIteration(*nest.getBody()) * (single ? 1 : extents.back());
    launch.grain = std::max<int64_t>(1, kWorkPerThread * 4 / std::max<int64_t>(1, work));

    b.setInsertionPoint(kernel);
    SmallVector<Type> types(kernel.getArgumentTypes());
    types.append(2, b.getIndexType());
    auto part = func::FuncOp::create(b, loc, launch.function, b.getFunctionType(types, {}));
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
      part.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    Block *to = part.addEntryBlock();
    b.setInsertionPointToEnd(to);
    IRMapping map;
    map.map(from.getArguments(), to->getArguments().drop_back(2));
    // What precedes the nest at the top level is constants and views of buffers: cheap, and dead where unused.
    for (Operation &op : from) {
      if (&op == nest.getOperation())
        break;
      if (!isa<scf::ParallelOp>(op))
        b.clone(op, map);
    }
    auto body = [&](OpBuilder &b, ValueRange ivs) {
      map.map(nest.getInductionVars(), ivs);
      for (Operation &op : nest.getBody()->without_terminator())
        b.clone(op, map);
    };
    KernelBuilder::loop(b, loc, to->getArgument(types.size() - 2), to->getArgument(types.size() - 1),
                        [&](OpBuilder &b, Location l, Value i) {
                          if (single)
                            return body(b, i);
                          SmallVector<Value> ivs = kb::delinearize(b, l, i, outer);
                          KernelBuilder::loop(b, l, kb::idx(b, l, 0), kb::idx(b, l, extents.back()),
                                              [&](OpBuilder &b, Location, Value inner) {
                                                SmallVector<Value> all(ivs);
                                                all.push_back(inner);
                                                body(b, all);
                                              });
                        });
    func::ReturnOp::create(b, loc);
    // Local arrays of an iteration: one for all iterations, which run one after the other, or the stack would grow.
    part.walk([&](memref::AllocaOp local) { local->moveBefore(to, to->begin()); });
    launches.push_back(std::move(launch));
  }
  kernel.erase();
  return launches;
}

namespace {
struct DivideHostKernelsPass : impl::DivideHostKernelsPassBase<DivideHostKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && !function.getBody().front().getOps<scf::ParallelOp>().empty())
        kernels.push_back(function);
    OpBuilder b(&getContext());
    for (func::FuncOp kernel : kernels)
      for (const HostLaunch &launch : divideHostKernel(kernel)) {
        Operation *part = SymbolTable::lookupSymbolIn(getOperation(), launch.function);
        part->setAttr("plan.extent", b.getIndexAttr(launch.extent));
        part->setAttr("plan.grain", b.getIndexAttr(launch.grain));
      }
  }
};
} // namespace

} // namespace gmc
