//===- PlanOps.cpp - the plan dialect and its verifiers -------------------------------------------------===//

#include "dialects/Plan/Plan.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "dialects/Plan/Lifetimes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringSet.h"
#include <map>

using namespace mlir;

#include "dialects/Plan/PlanDialect.cpp.inc"
#include "dialects/Plan/PlanEnums.cpp.inc"

namespace gmc::plan {

void PlanDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Plan/Plan.cpp.inc"
      >();
}

MemRefType bufferType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  Type element = tensor.getElementType();
  if (auto integer = dyn_cast<IntegerType>(element); integer && !integer.isSignless())
    element = IntegerType::get(type.getContext(), integer.getWidth());
  return MemRefType::get(tensor.getShape(), element);
}

/// "'conv1' [4096, 8192)": how an error says which buffer it means.
static std::string describe(BufferOp buffer) {
  return ("'" + buffer.getName() + "' [" + Twine(buffer.getOffset()) + ", " + Twine(buffer.getEnd()) + ")").str();
}

//===- Addresses ----------------------------------------------------------------------------------------===//

namespace {

struct Placed {
  BufferOp buffer;
  Range range;
};

/// Reports two of `buffers` that are live at the same time and share an address.
LogicalResult verifyDisjoint(SmallVector<Placed> buffers) {
  llvm::sort(buffers, [](const Placed &a, const Placed &b) {
    return std::pair(a.range.first, BufferOp(a.buffer).getOffset()) <
           std::pair(b.range.first, BufferOp(b.buffer).getOffset());
  });
  // The live ones by offset are disjoint, so a new one is compared with its neighbours only.
  std::map<int64_t, const Placed *> live;
  std::multimap<int64_t, const Placed *> byEnd;
  for (const Placed &next : buffers) {
    if (next.range.empty() || BufferOp(next.buffer).getSize() == 0)
      continue;
    BufferOp buffer = next.buffer;
    while (!byEnd.empty() && byEnd.begin()->first < next.range.first) {
      live.erase(BufferOp(byEnd.begin()->second->buffer).getOffset());
      byEnd.erase(byEnd.begin());
    }
    int64_t offset = buffer.getOffset();
    auto after = live.lower_bound(offset);
    const Placed *clash = nullptr;
    if (after != live.end() && after->first < buffer.getEnd())
      clash = after->second;
    else if (after != live.begin() && BufferOp(std::prev(after)->second->buffer).getEnd() > offset)
      clash = std::prev(after)->second;
    if (clash) {
      InFlightDiagnostic error = buffer.emitOpError() << describe(buffer) << " overlaps " << describe(clash->buffer)
                                                      << ", which is live at the same time";
      error.attachNote(BufferOp(clash->buffer).getLoc()) << "the other buffer";
      return error;
    }
    live[offset] = &next;
    byEnd.emplace(next.range.last, &next);
  }
  return success();
}

} // namespace

LogicalResult ArenaOp::verifyRegions() {
  int64_t alignment = getAlignment();
  if (alignment <= 0 || (alignment & (alignment - 1)))
    return emitOpError("aligns to ") << alignment << ", which is not a power of two";
  SmallVector<Placed> residents;
  llvm::StringMap<Operation *> programs;
  for (Operation &op : getBody().front()) {
    if (auto buffer = dyn_cast<BufferOp>(op))
      residents.push_back({buffer, {0, 0}});
    if (auto program = dyn_cast<ProgramOp>(op)) {
      auto [it, inserted] = programs.try_emplace(program.getName(), program);
      if (!inserted) {
        InFlightDiagnostic error = program.emitOpError("is the second one named '") << program.getName() << "'";
        error.attachNote(it->second->getLoc()) << "the first one";
        return error;
      }
    } else if (!isa<BufferOp, ViewOp, TensorOp>(op)) {
      return op.emitOpError("does not belong directly into a plan.arena: residents and programs do");
    }
  }
  return verifyDisjoint(std::move(residents));
}

LogicalResult ProgramOp::verifyRegions() {
  Lifetimes lifetimes(*this);
  SmallVector<Placed> buffers;
  Range always{0, std::max<int64_t>(0, static_cast<int64_t>(lifetimes.launches.size()) - 1)};
  for (BufferOp resident : lifetimes.residents)
    buffers.push_back({resident, always});
  for (auto &[op, range] : lifetimes.live) {
    auto buffer = cast<BufferOp>(op);
    if (range.empty())
      return buffer.emitOpError() << describe(buffer) << " is used by no launch and no tensor";
    buffers.push_back({buffer, range});
  }
  for (Operation &op : getBody().front())
    if (!isa<BufferOp, ViewOp, TensorOp, LaunchOp, LoopOp>(op))
      return op.emitOpError("does not belong into a plan.program: only launches on views of the arena do");

  // Whatever is read has been written: by an earlier launch, by the trainer, or in a step before (residents).
  llvm::SmallPtrSet<Operation *, 32> written;
  LogicalResult result = success();
  walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto tensor = dyn_cast<TensorOp>(op)) {
      if (tensor.getRole() == Role::Input || tensor.getRole() == Role::Label)
        if (auto view = tensor.getView().getDefiningOp<ViewOp>())
          written.insert(view.getBufferOp());
      return WalkResult::advance();
    }
    auto launch = dyn_cast<LaunchOp>(op);
    if (!launch)
      return WalkResult::advance();
    for (auto [i, value] : llvm::enumerate(launch.getIns())) {
      BufferOp buffer = value.getDefiningOp<ViewOp>().getBufferOp();
      if (isa<ArenaOp>(buffer->getParentOp()) || written.contains(buffer))
        continue;
      InFlightDiagnostic error = launch.emitOpError("reads ")
                                 << describe(buffer) << " as operand " << i << ", which nothing before it has written";
      error.attachNote(buffer.getLoc()) << "the buffer";
      result = error;
      return WalkResult::interrupt();
    }
    for (Value value : launch.getOuts())
      written.insert(value.getDefiningOp<ViewOp>().getBufferOp());
    return WalkResult::advance();
  });
  if (failed(result))
    return result;
  return verifyDisjoint(std::move(buffers));
}

LogicalResult LoopOp::verify() {
  if (auto outer = (*this)->getParentOfType<LoopOp>()) {
    InFlightDiagnostic error = emitOpError("is inside another loop: a micro-step has no parts that repeat");
    error.attachNote(outer.getLoc()) << "the outer loop";
    return error;
  }
  if (!isa<ProgramOp>((*this)->getParentOp()))
    return emitOpError("stands outside of a plan.program");
  if (int64_t count = getCount(); count < 1)
    return emitOpError("runs ") << count << " times: the count is at least 1";
  for (Operation &op : getBody().front())
    if (!isa<BufferOp, ViewOp, TensorOp, LaunchOp, LoopOp>(op))
      return op.emitOpError("does not belong into a plan.loop: only launches on views of the arena do");
  return success();
}

//===- Memory -------------------------------------------------------------------------------------------===//

void BufferOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) { setName(getBytes(), getName()); }

LogicalResult BufferOp::verify() {
  auto arena = (*this)->getParentOfType<ArenaOp>();
  if (!arena)
    return emitOpError("lies in no plan.arena");
  int64_t offset = getOffset(), alignment = arena.getAlignment();
  auto fail = [&](const Twine &what) {
    InFlightDiagnostic error = emitOpError() << describe(*this) << " " << what;
    error.attachNote(arena.getLoc()) << "the arena";
    return error;
  };
  if (offset < 0 || getEnd() > static_cast<int64_t>(arena.getBytes()))
    return fail("lies outside the arena of " + Twine(arena.getBytes()) + " bytes");
  if (offset % alignment || getSize() % alignment)
    return fail("is not aligned to " + Twine(alignment) + " bytes");
  return success();
}

void ViewOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) {
  if (BufferOp buffer = getBufferOp())
    setName(getView(), ("v_" + buffer.getName()).str());
}

BufferOp ViewOp::getBufferOp() { return getBuffer().getDefiningOp<BufferOp>(); }

LogicalResult ViewOp::verify() {
  BufferOp buffer = getBufferOp();
  if (!buffer)
    return emitOpError("is not a view of a plan.buffer");
  auto type = cast<MemRefType>(getView().getType());
  if (!type.getLayout().isIdentity())
    return emitOpError("has the layout ") << type.getLayout() << ": views are row-major and dense";
  int64_t offset = getOffset(), size = byteSize(type);
  if (offset < 0 || offset + size > buffer.getSize()) {
    InFlightDiagnostic error = emitOpError("of ") << size << " bytes at " << offset << " reaches outside its buffer of "
                                                  << buffer.getSize() << " bytes";
    error.attachNote(buffer.getLoc()) << "the buffer";
    return error;
  }
  if (offset % elementBytes(type.getElementType()))
    return emitOpError("starts at byte ") << offset << ", which is not a multiple of its element's size";
  return success();
}

//===- plan.launch --------------------------------------------------------------------------------------===//

/// Bytes of the arena that a view covers.
static std::pair<int64_t, int64_t> bytesOf(Value value) {
  auto view = value.getDefiningOp<ViewOp>();
  int64_t first = view.getBufferOp().getOffset() + view.getOffset();
  return {first, first + byteSize(view.getView().getType())};
}

static bool sameStart(Value a, Value b) {
  auto x = a.getDefiningOp<ViewOp>(), y = b.getDefiningOp<ViewOp>();
  return x.getBuffer() == y.getBuffer() && x.getOffset() == y.getOffset();
}

SmallVector<int> LaunchOp::getAliases() {
  SmallVector<int> aliases;
  for (Value out : getOuts()) {
    auto position = llvm::find_if(getIns(), [&](Value in) { return sameStart(in, out); });
    aliases.push_back(position == getIns().end() ? -1 : static_cast<int>(position - getIns().begin()));
  }
  return aliases;
}

SmallVector<Value> LaunchOp::getKernelArguments() {
  SmallVector<Value> views(getIns());
  for (auto [out, alias] : llvm::zip(getOuts(), getAliases()))
    if (alias < 0)
      views.push_back(out);
  llvm::append_range(views, getWorkspaces());
  return views;
}

LogicalResult LaunchOp::verify() {
  for (auto [i, operand] : llvm::enumerate(getOperands()))
    if (!operand.getDefiningOp<ViewOp>())
      return emitOpError("operand #") << i << " is not a plan.view";
  // A written view meets another one only where an operand and the result in its place are the same bytes from the
  // start.
  SmallVector<Value> views(getOperands());
  size_t reads = getIns().size(), outs = reads + getOuts().size();
  for (size_t i = reads; i < views.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      if (i < outs && j < reads && sameStart(views[i], views[j]))
        continue;
      auto [a, aEnd] = bytesOf(views[i]);
      auto [b, bEnd] = bytesOf(views[j]);
      if (a >= bEnd || b >= aEnd)
        continue;
      InFlightDiagnostic error = emitOpError(i < outs ? "writes" : "has scratch in")
                                 << " bytes [" << std::max(a, b) << ", " << std::min(aEnd, bEnd)
                                 << ") of the arena that are also "
                                 << (j < reads  ? "an operand's, from another start"
                                     : j < outs ? "another result's"
                                                : "other scratch's");
      error.attachNote(views[i].getLoc()) << "the one view";
      error.attachNote(views[j].getLoc()) << "the other view";
      return error;
    }
  bool again = getRecomputeOf() && !getRecomputeOf()->empty();
  if (getStage() == Stage::Recompute && !again)
    return emitOpError("recomputes, but does not say which launch computed it first (recompute_of)");
  if (again && getStage() != Stage::Recompute && getStage() != Stage::Backward)
    return emitOpError("of stage ") << stringifyStage(getStage()) << " cannot recompute";
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<func::FuncOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("launches '") << getKernel() << "', which is no function of this module";
  auto fail = [&](const Twine &what) {
    InFlightDiagnostic error = emitOpError() << what;
    error.attachNote(kernel.getLoc()) << "the kernel";
    return error;
  };
  if (!kernel->hasAttr(kKernelAttr))
    return fail("launches '" + getKernel() + "', which is not a " + kKernelAttr + " function");
  auto match = [&](StringRef what, TypeRange kernelTypes, OperandRange views) -> LogicalResult {
    if (kernelTypes.size() != views.size())
      return fail("gives " + Twine(views.size()) + " " + what + "s, the kernel has " + Twine(kernelTypes.size()));
    for (auto [i, type] : llvm::enumerate(kernelTypes)) {
      if (!isa<RankedTensorType>(type))
        return fail("the kernel's " + what + " " + Twine(i) + " is not a tensor");
      if (bufferType(type) != views[i].getType()) {
        std::string text;
        llvm::raw_string_ostream(text) << what << " " << i << " is a " << views[i].getType()
                                       << ", the kernel's lies in a " << bufferType(type);
        return fail(text);
      }
    }
    return success();
  };
  if (failed(match("operand", kernel.getArgumentTypes(), getIns())))
    return failure();
  return match("result", kernel.getResultTypes(), getOuts());
}

} // namespace gmc::plan

#define GET_OP_CLASSES
#include "dialects/Plan/Plan.cpp.inc"
