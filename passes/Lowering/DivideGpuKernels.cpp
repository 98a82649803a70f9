//===- DivideGpuKernels.cpp - nests to functions that are GPU kernels -----------------------------------===//

#include "passes/Passes.h"
#include "passes/Lowering/DivideGpuKernels.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_DIVIDEGPUKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace gmc

namespace gmc {

static int64_t constantOf(Value value) {
  APInt constant;
  return matchPattern(value, m_ConstantInt(&constant)) ? constant.getSExtValue() : -1;
}

static FailureOr<GpuLaunch> launchOf(gpu::LaunchOp op) {
  int64_t blocks = constantOf(op.getGridSizeX()), threads = constantOf(op.getBlockSizeX()), bytes = 0;
  for (BlockArgument buffer : op.getWorkgroupAttributions())
    bytes += (byteSize(buffer.getType()) + 15) / 16 * 16;
  if (threads < 1 || threads > GpuBlock::maxThreads || threads % GpuBlock::warpSize)
    return op.emitOpError("has ") << threads << " threads a block: a multiple of 32 up to 1024 is possible";
  if (bytes > GpuBlock::maxSharedBytes)
    return op.emitOpError("has ") << bytes << " bytes of shared memory a block, more than " << GpuBlock::maxSharedBytes;
  for (Value size : {op.getGridSizeY(), op.getGridSizeZ(), op.getBlockSizeY(), op.getBlockSizeZ()})
    if (constantOf(size) != 1)
      return op.emitOpError("must have one dimension of blocks and one of threads");
  auto resident = op->getAttrOfType<IntegerAttr>(GpuBlock::residentAttr);
  return GpuLaunch{"", blocks, threads, resident ? resident.getInt() : 1, {}};
}

namespace {

/// Emits the functions of one kernel, in front of it.
struct Division {
  func::FuncOp kernel;
  OpBuilder b;
  Location loc;
  SmallVector<GpuLaunch> launches;

  explicit Division(func::FuncOp kernel) : kernel(kernel), b(kernel), loc(kernel.getLoc()) {}

  /// The function of `nest`: its arguments are the kernel's and `extra`; what precedes the nest at the top level is
  /// constants and views of buffers, cheap, and dead where unused.
  func::FuncOp begin(Operation *nest, GpuLaunch launch, ArrayRef<Type> extra, IRMapping &map) {
    // PTX names hold letters, digits, _ and $ only.
    launch.function = (kernel.getName() + "_" + Twine(launches.size())).str();
    for (char &c : launch.function)
      if (!llvm::isAlnum(c))
        c = '_';
    b.setInsertionPoint(kernel);
    SmallVector<Type> types(kernel.getArgumentTypes());
    llvm::append_range(types, extra);
    auto part = func::FuncOp::create(b, loc, launch.function, b.getFunctionType(types, {}));
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
      part.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    Block *to = part.addEntryBlock(), &from = kernel.getBody().front();
    b.setInsertionPointToEnd(to);
    map.map(from.getArguments(), to->getArguments().drop_back(extra.size()));
    for (Operation &op : from) {
      if (&op == nest)
        break;
      if (!isa<scf::ParallelOp, gpu::LaunchOp>(op))
        b.clone(op, map);
    }
    launches.push_back(std::move(launch));
    return part;
  }

  void iterations(scf::ParallelOp nest) {
    GpuLaunch launch;
    launch.extent = 1;
    SmallVector<int64_t> extents;
    for (Value bound : nest.getUpperBound()) {
      extents.push_back(constantOf(bound));
      launch.extent *= extents.back();
    }
    if (launch.extent == 0)
      return; // nothing to do for a tensor without elements
    IRMapping map;
    func::FuncOp part = begin(nest, launch, b.getIndexType(), map);
    map.map(nest.getInductionVars(), kb::delinearize(b, loc, part.getArguments().back(), extents));
    for (Operation &op : nest.getBody()->without_terminator())
      b.clone(op, map);
    func::ReturnOp::create(b, loc);
    launches.back().traffic = kernelTraffic(part, launch.extent);
  }

  LogicalResult blocks(gpu::LaunchOp nest) {
    auto launch = launchOf(nest);
    if (failed(launch))
      return failure();
    if (launch->extent == 0)
      return success();
    IRMapping map;
    func::FuncOp part = begin(nest, *launch, {}, map);
    auto id = [&](auto op, int64_t bound) -> Value {
      op.setRangeAttr(LLVM::ConstantRangeAttr::get(b.getContext(), 32, 0, bound));
      return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), op);
    };
    map.map(nest.getBlockIds().x, id(NVVM::BlockIdXOp::create(b, loc, b.getI32Type()), launch->extent));
    map.map(nest.getThreadIds().x, id(NVVM::ThreadIdXOp::create(b, loc, b.getI32Type()), launch->threads));
    for (auto [i, buffer] : llvm::enumerate(nest.getWorkgroupAttributions())) {
      auto type = cast<MemRefType>(buffer.getType());
      std::string name = (part.getName() + "_shared" + Twine(i)).str();
      OpBuilder at(part);
      memref::GlobalOp::create(at, loc, name, b.getStringAttr("private"), type, b.getUnitAttr(), /*constant=*/false,
                               b.getI64IntegerAttr(16));
      map.map(buffer, memref::GetGlobalOp::create(b, loc, type, name));
    }
    for (Operation &op : nest.getBody().front().without_terminator())
      b.clone(op, map);
    func::ReturnOp::create(b, loc);
    launches.back().traffic = kernelTraffic(part, launch->extent * launch->threads);
    return success();
  }
};

} // namespace

FailureOr<SmallVector<GpuLaunch>> divideGpuKernel(func::FuncOp kernel) {
  Division division(kernel);
  for (Operation &op : kernel.getBody().front()) {
    if (auto nest = dyn_cast<scf::ParallelOp>(op))
      division.iterations(nest);
    else if (auto nest = dyn_cast<gpu::LaunchOp>(op); nest && failed(division.blocks(nest)))
      return failure();
  }
  kernel.erase();
  return std::move(division.launches);
}

namespace {
struct DivideGpuKernelsPass : impl::DivideGpuKernelsPassBase<DivideGpuKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && llvm::any_of(function.getBody().front(), [](Operation &op) {
            return isa<scf::ParallelOp, gpu::LaunchOp>(op);
          }))
        kernels.push_back(function);
    for (func::FuncOp kernel : kernels) {
      auto launches = divideGpuKernel(kernel);
      if (failed(launches))
        return signalPassFailure();
      for (const GpuLaunch &launch : *launches) {
        SmallVector<Attribute> moves;
        Builder b(&getContext());
        for (const BufferTraffic &t : launch.traffic)
          moves.push_back(b.getDenseI64ArrayAttr({t.argument, t.read, t.written}));
        getOperation().lookupSymbol(launch.function)->setAttr("plan.moves", b.getArrayAttr(moves));
      }
    }
  }
};
} // namespace

} // namespace gmc
