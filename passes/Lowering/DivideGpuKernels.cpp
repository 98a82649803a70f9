//===- DivideGpuKernels.cpp - nests to functions of one iteration ---------------------------------------===//

#include "passes/Lowering/DivideGpuKernels.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc {

SmallVector<GpuLaunch> divideGpuKernel(func::FuncOp kernel) {
  SmallVector<GpuLaunch> launches;
  OpBuilder b(kernel);
  Location loc = kernel.getLoc();
  Block &from = kernel.getBody().front();
  for (Operation &candidate : from) {
    auto nest = dyn_cast<scf::ParallelOp>(candidate);
    if (!nest)
      continue;
    GpuLaunch launch;
    launch.extent = 1;
    SmallVector<int64_t> extents;
    for (Value bound : nest.getUpperBound()) {
      APInt value;
      matchPattern(bound, m_ConstantInt(&value));
      extents.push_back(value.getSExtValue());
      launch.extent *= extents.back();
    }
    // PTX names hold letters, digits, _ and $ only.
    launch.function = (kernel.getName() + "_" + Twine(launches.size())).str();
    for (char &c : launch.function)
      if (!llvm::isAlnum(c))
        c = '_';
    b.setInsertionPoint(kernel);
    SmallVector<Type> types(kernel.getArgumentTypes());
    types.push_back(b.getIndexType());
    auto part = func::FuncOp::create(b, loc, launch.function, b.getFunctionType(types, {}));
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
      part.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    Block *to = part.addEntryBlock();
    b.setInsertionPointToEnd(to);
    IRMapping map;
    map.map(from.getArguments(), to->getArguments().drop_back());
    // What precedes the nest at the top level is constants and views of buffers: cheap, and dead where unused.
    for (Operation &op : from) {
      if (&op == nest.getOperation())
        break;
      if (!isa<scf::ParallelOp>(op))
        b.clone(op, map);
    }
    map.map(nest.getInductionVars(), kb::delinearize(b, loc, to->getArguments().back(), extents));
    for (Operation &op : nest.getBody()->without_terminator())
      b.clone(op, map);
    func::ReturnOp::create(b, loc);
    launches.push_back(std::move(launch));
  }
  kernel.erase();
  return launches;
}

} // namespace gmc
