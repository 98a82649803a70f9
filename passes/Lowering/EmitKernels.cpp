//===- EmitKernels.cpp - kernels from tensors to parallel loops over buffers ----------------------------===//

#include "passes/Passes.h"
#include "passes/Lowering/EmitKernels.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_EMITKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace gmc

namespace gmc {

Operation *kernelRoot(func::FuncOp kernel) {
  // Returned values come from the root, or from elementwise ops behind it: the last op that is not elementwise, else
  // the last op of all.
  Operation *last = nullptr, *heavy = nullptr;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (isa<nn::ConstantOp>(op))
      continue;
    last = &op;
    if (!isa<ScalarOpInterface>(op))
      heavy = &op;
  }
  return heavy ? heavy : last;
}

SmallVector<int64_t> kernelWorkspaces(func::FuncOp kernel, KernelTarget target) {
  return cast<KernelOpInterface>(kernelRoot(kernel)).getWorkspaceBytes(target);
}

/// Whether `v` reaches the kernel's result through anything but the elementwise path of equal shapes.
SmallVector<unsigned> kernelInPlaceOperands(func::FuncOp kernel, unsigned result) {
  Operation *root = kernelRoot(kernel);
  SmallVector<unsigned> candidates;
  auto remat = dyn_cast<RematOpInterface>(root);
  if (!remat)
    return candidates;
  Type type = kernel.getResultTypes()[result];
  // A buffer has elements of one type: 32-bit integers make no room for floats.
  auto sameElements = [&](BlockArgument argument) {
    return getElementTypeOrSelf(argument) == getElementTypeOrSelf(type);
  };
  if (!isa<ScalarOpInterface>(root)) {
    if (root->getNumResults() != kernel.getNumResults())
      return candidates;
    for (unsigned i : remat.getInPlaceOperands(result))
      if (auto argument = dyn_cast<BlockArgument>(root->getOperand(i)))
        if (argument.hasOneUse() && sameElements(argument))
          candidates.push_back(argument.getArgNumber());
    return candidates;
  }
  // An elementwise cluster reads element i of every full-size argument before it writes element i of its result.
  for (BlockArgument argument : kernel.getArguments())
    if (cast<ShapedType>(argument.getType()).getShape() == cast<ShapedType>(type).getShape() && sameElements(argument))
      candidates.push_back(argument.getArgNumber());
  return candidates;
}

namespace {

/// Reads through elementwise producers, writes through elementwise consumers.
class KernelEmitter : public KernelBuilder {
public:
  KernelEmitter(OpBuilder &builder, KernelTarget target, Operation *root, const DenseMap<Value, Value> &buffers,
                ArrayRef<Value> operandBuffers, ArrayRef<Value> resultBuffers, ArrayRef<Value> workspaces,
                ArrayRef<Value> yielded, ArrayRef<Value> yieldedBuffers)
      : KernelBuilder(builder, root->getLoc(), target, root, operandBuffers, resultBuffers, workspaces),
        buffers(buffers), yielded(yielded), yieldedBuffers(yieldedBuffers) {}

  Value load(OpBuilder &b, Location loc, unsigned i, ValueRange indices) override {
    return read(b, loc, op->getOperand(i), indices);
  }

  void store(OpBuilder &b, Location loc, Value value, unsigned i, ValueRange indices) override {
    Value result = op->getResult(i);
    for (auto [out, buffer] : llvm::zip(yielded, yieldedBuffers)) {
      if (out == result)
        memref::StoreOp::create(b, loc, value, buffer, indices);
      else if (isa<ScalarOpInterface>(out.getDefiningOp()) && out.getDefiningOp() != op && i == 0)
        memref::StoreOp::create(b, loc, read(b, loc, out, indices, result, value), buffer, indices);
    }
  }

  SmallVector<Value> loadNeighbours(OpBuilder &b, Location loc, unsigned i, Value first, int64_t count) override {
    return readNeighbours(b, loc, op->getOperand(i), first, count, {}, {});
  }

  void storeNeighbours(OpBuilder &b, Location loc, ArrayRef<Value> values, unsigned i, Value first) override {
    Value result = op->getResult(i);
    for (auto [out, buffer] : llvm::zip(yielded, yieldedBuffers)) {
      if (out == result)
        kb::storeVectors(b, loc, values, buffer, first);
      else if (isa<ScalarOpInterface>(out.getDefiningOp()) && out.getDefiningOp() != op && i == 0)
        kb::storeVectors(b, loc, readNeighbours(b, loc, out, first, values.size(), result, values), buffer, first);
    }
  }

  int64_t operandBytes(unsigned i) const override { return narrowest(op->getOperand(i), {}); }

  int64_t resultBytes(unsigned i) const override {
    Value result = op->getResult(i);
    int64_t bytes = vectorBytes;
    for (Value out : yielded)
      if (out == result || (isa<ScalarOpInterface>(out.getDefiningOp()) && out.getDefiningOp() != op && i == 0))
        bytes = std::min({bytes, elementBytes(nn::elementTypeOf(out)), narrowest(out, result)});
    return bytes;
  }

  bool storesPlainly(unsigned i) const override {
    return results[i] && (i > 0 || llvm::all_of(yielded, [&](Value v) { return v.getDefiningOp() == op; }));
  }

private:
  static constexpr int64_t vectorBytes = 16;

  /// Bytes of an element in the narrowest buffer of v's shape that reading v reads; `known` is not read.
  int64_t narrowest(Value v, Value known) const {
    if (known && v == known)
      return vectorBytes;
    if (buffers.contains(v))
      return elementBytes(nn::elementTypeOf(v));
    int64_t bytes = vectorBytes;
    for (Value operand : v.getDefiningOp()->getOperands())
      if (nn::shapeOf(operand) == nn::shapeOf(v))
        bytes = std::min(bytes, narrowest(operand, known));
    return bytes;
  }

  /// Element `indices` of `v`; `known` (when given) has the value `knownValue` there.
  Value read(OpBuilder &b, Location loc, Value v, ValueRange indices, Value known = {}, Value knownValue = {}) {
    if (known && v == known)
      return knownValue;
    auto it = buffers.find(v);
    if (it != buffers.end())
      return memref::LoadOp::create(b, loc, it->second, indices);
    Operation *producer = v.getDefiningOp();
    if (auto constant = dyn_cast<nn::ConstantOp>(producer)) {
      auto splat = cast<DenseElementsAttr>(constant.getValue());
      Attribute element = splat.getSplatValue<Attribute>();
      if (auto integer = dyn_cast<IntegerAttr>(element))
        element = b.getIntegerAttr(nn::signless(integer.getType()), integer.getValue());
      return arith::ConstantOp::create(b, loc, cast<TypedAttr>(element));
    }
    SmallVector<Value> scalars;
    for (Value operand : producer->getOperands())
      scalars.push_back(read(b, loc, operand, kb::broadcastIndices(b, loc, indices, nn::shapeOf(operand)), known,
                             knownValue));
    return cast<ScalarOpInterface>(producer).emitScalar(b, loc, scalars);
  }

  /// Elements `first`, first + 1, ... of `v`; what is of its shape is read as vectors, what broadcasts to it element by
  /// element.
  SmallVector<Value> readNeighbours(OpBuilder &b, Location loc, Value v, Value first, int64_t count, Value known,
                                    ArrayRef<Value> knownValues) {
    if (known && v == known)
      return SmallVector<Value>(knownValues);
    auto it = buffers.find(v);
    if (it != buffers.end() && count == 1)
      return {memref::LoadOp::create(b, loc, nn::flatten(b, loc, it->second), first)};
    if (it != buffers.end() && elementBits(it->second) >= 8)
      return kb::loadVectors(b, loc, it->second, first, count);
    Operation *producer = it == buffers.end() ? v.getDefiningOp() : nullptr;
    SmallVector<SmallVector<Value>> scalars(count);
    SmallVector<Value> values;
    for (int64_t k = 0; k < count; ++k) {
      Value knownValue = known ? knownValues[k] : Value();
      auto at = [&] {
        return kb::delinearize(b, loc, k ? kb::add(b, loc, first, kb::idx(b, loc, k)) : first, nn::shapeOf(v));
      };
      if (!producer || isa<nn::ConstantOp>(producer)) {
        values.push_back(read(b, loc, v, at(), known, knownValue));
        continue;
      }
      for (Value operand : producer->getOperands())
        if (nn::shapeOf(operand) != nn::shapeOf(v))
          scalars[k].push_back(
              read(b, loc, operand, kb::broadcastIndices(b, loc, at(), nn::shapeOf(operand)), known, knownValue));
        else
          scalars[k].push_back({});
    }
    if (!values.empty())
      return values;
    for (auto [position, operand] : llvm::enumerate(producer->getOperands()))
      if (nn::shapeOf(operand) == nn::shapeOf(v))
        for (auto [k, value] : llvm::enumerate(readNeighbours(b, loc, operand, first, count, known, knownValues)))
          scalars[k][position] = value;
    for (const SmallVector<Value> &operands : scalars)
      values.push_back(cast<ScalarOpInterface>(producer).emitScalar(b, loc, operands));
    return values;
  }
  static unsigned elementBits(Value buffer) {
    return cast<MemRefType>(buffer.getType()).getElementType().getIntOrFloatBitWidth();
  }

  const DenseMap<Value, Value> &buffers;
  SmallVector<Value> yielded, yieldedBuffers;
};

} // namespace

FailureOr<func::FuncOp> emitKernel(func::FuncOp kernel, StringRef name, KernelTarget target, ArrayRef<int> aliases) {
  MLIRContext *context = kernel.getContext();
  auto module = kernel->getParentOfType<ModuleOp>();
  SmallVector<Type> types;
  for (Type type : kernel.getArgumentTypes())
    types.push_back(bufferType(type));
  for (auto [r, type] : llvm::enumerate(kernel.getResultTypes()))
    if (aliases[r] < 0)
      types.push_back(bufferType(type));
  SmallVector<int64_t> workspaces = kernelWorkspaces(kernel, target);
  for (int64_t bytes : workspaces)
    types.push_back(MemRefType::get({bytes}, IntegerType::get(context, 8)));

  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto function = func::FuncOp::create(b, kernel.getLoc(), name, b.getFunctionType(types, {}));
  function.setPrivate();
  Block *block = function.addEntryBlock();
  for (unsigned i = 0; i < types.size(); ++i)
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());

  DenseMap<Value, Value> buffers;
  for (auto [from, to] : llvm::zip(kernel.getArguments(), block->getArguments()))
    buffers[from] = to;
  b.setInsertionPointToEnd(block);
  SmallVector<Value> yielded(kernel.getBody().front().getTerminator()->getOperands()), yieldedBuffers;
  unsigned next = kernel.getNumArguments();
  for (auto [r, value] : llvm::enumerate(yielded)) {
    if (aliases[r] < 0) {
      yieldedBuffers.push_back(block->getArgument(next++));
      continue;
    }
    Value buffer = block->getArgument(aliases[r]);
    auto want = bufferType(value.getType());
    if (buffer.getType() != want) {
      if (cast<MemRefType>(buffer.getType()).getElementType() != want.getElementType())
        return kernel.emitOpError("result of another element type cannot overwrite operand ") << aliases[r];
      SmallVector<int64_t> strides;
      int64_t offset;
      (void)want.getStridesAndOffset(strides, offset);
      buffer = memref::ReinterpretCastOp::create(b, kernel.getLoc(), want, buffer, 0, want.getShape(), strides);
    }
    yieldedBuffers.push_back(buffer);
  }
  SmallVector<Value> scratch(block->getArguments().drop_front(next));
  Operation *root = kernelRoot(kernel);
  SmallVector<Value> operandBuffers, resultBuffers;
  for (Value operand : root->getOperands())
    operandBuffers.push_back(buffers.lookup(operand));
  for (Value result : root->getResults()) {
    auto it = llvm::find(yielded, result);
    resultBuffers.push_back(it == yielded.end() ? Value() : yieldedBuffers[it - yielded.begin()]);
  }
  KernelEmitter emitter(b, target, root, buffers, operandBuffers, resultBuffers, scratch, yielded, yieldedBuffers);
  cast<KernelOpInterface>(root).emitKernel(emitter);
  b.setInsertionPointToEnd(block);
  func::ReturnOp::create(b, kernel.getLoc());
  return function;
}

namespace {
struct EmitKernelsPass : impl::EmitKernelsPassBase<EmitKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    if (target != "host" && target != "gpu") {
      getOperation().emitError("unknown target '") << target << "': host and gpu are known";
      return signalPassFailure();
    }
    KernelTarget kind = target == "gpu" ? KernelTarget::Gpu : KernelTarget::Host;
    SmallVector<func::FuncOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("plan.kernel"))
        kernels.push_back(function);
    for (func::FuncOp kernel : kernels) {
      SmallVector<int> aliases(kernel.getNumResults(), -1);
      if (failed(emitKernel(kernel, (kernel.getName() + "_" + target).str(), kind, aliases)))
        return signalPassFailure();
      kernel.erase();
    }
  }
};
} // namespace

} // namespace gmc
