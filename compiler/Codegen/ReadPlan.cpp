//===- ReadPlan.cpp - from plan-dialect IR to tables and to the plan's JSON -----------------------------===//

#include "compiler/Codegen/ReadPlan.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "dialects/Plan/Lifetimes.h"
#include "passes/Fusion/FormKernels.h"

using namespace mlir;

namespace gmc {

static plan::ProgramOp findProgram(plan::ArenaOp arena, StringRef name) {
  for (auto program : arena.getBody().front().getOps<plan::ProgramOp>())
    if (program.getName() == name)
      return program;
  return {};
}

//===- Tables -------------------------------------------------------------------------------------------===//

static uint32_t dataType(Type element) {
  if (element.isF32())
    return GMC_FLOAT;
  if (element.isF64())
    return GMC_DOUBLE;
  if (element.isF16())
    return GMC_FLOAT16;
  if (element.isBF16())
    return GMC_BFLOAT16;
  unsigned width = element.getIntOrFloatBitWidth();
  if (width == 1)
    return GMC_BOOL;
  if (element.isUnsignedInteger())
    return width == 8 ? GMC_UINT8 : width == 16 ? GMC_UINT16 : width == 32 ? GMC_UINT32 : GMC_UINT64;
  return width == 8 ? GMC_INT8 : width == 16 ? GMC_INT16 : width == 32 ? GMC_INT32 : GMC_INT64;
}

static uint64_t offsetOf(Value value) {
  auto view = value.getDefiningOp<plan::ViewOp>();
  return view.getBufferOp().getOffset() + view.getOffset();
}

static_assert(static_cast<int>(plan::Role::Input) == GMC_ROLE_INPUT);
static_assert(static_cast<int>(plan::Role::StepCount) == GMC_ROLE_STEP_COUNT);
static_assert(static_cast<int>(plan::Stage::Update) == GMC_STAGE_UPDATE);

static ImageTensor readTensor(plan::TensorOp op) {
  auto type = cast<MemRefType>(op.getView().getType());
  ImageTensor t;
  t.name = op.getName().str();
  t.dims.assign(type.getShape().begin(), type.getShape().end());
  t.offset = offsetOf(op.getView());
  t.bytes = byteSize(type);
  t.dtype = dataType(type.getElementType());
  t.role = static_cast<uint32_t>(op.getRole());
  t.flags = op.getInitializer() ? GMC_TENSOR_INITIALIZER : 0;
  return t;
}

/// The library call of a launch with positions among the kernel's arguments, of which results that overwrite operands
/// are none.
static std::vector<int64_t> operandPositions(ArrayRef<int64_t> args, size_t ins, ArrayRef<int> aliases) {
  PlannedCall call = PlannedCall::decode(args.data(), static_cast<uint32_t>(args.size()));
  SmallVector<int64_t> resultAt;
  int64_t next = static_cast<int64_t>(ins);
  for (int alias : aliases)
    resultAt.push_back(alias >= 0 ? alias : next++);
  for (int64_t &position : call.positions) {
    size_t at = static_cast<size_t>(position);
    if (at >= ins + aliases.size())
      position += next - static_cast<int64_t>(ins + aliases.size());
    else if (at >= ins)
      position = resultAt[at - ins];
  }
  return call.encode();
}

static ImageProgram readProgram(plan::ProgramOp op) {
  ImageProgram program;
  program.name = op.getName().str();
  program.microBatch = op.getMicroBatch();
  plan::Lifetimes lifetimes(op);
  for (plan::LaunchOp launch : lifetimes.launches) {
    ImageStep &step = program.steps.emplace_back();
    step.use.kernel = launch.getKernel().str();
    auto aliases = launch.getAliases();
    step.use.aliases.assign(aliases.begin(), aliases.end());
    step.op = launch.getOpName().str();
    SmallVector<std::string> nodes = nodeNames(launch.getLoc());
    step.node = nodes.empty() ? "" : nodes.front();
    step.stage = static_cast<uint32_t>(launch.getStage());
    for (Value view : launch.getKernelArguments())
      step.operands.push_back(offsetOf(view));
    step.predictedMicros = launch.getPredictedUs().convertToDouble();
    if (auto library = launch.getLibrary()) {
      step.library = static_cast<uint32_t>(*library);
      step.libraryArgs = operandPositions(*launch.getLibraryArgs(), launch.getIns().size(), aliases);
    }
  }
  for (auto &[loop, range] : lifetimes.loops)
    if (!range.empty())
      program.loops.push_back({static_cast<uint32_t>(range.first), static_cast<uint32_t>(range.last),
                               static_cast<uint32_t>(cast<plan::LoopOp>(loop).getCount())});
  op.walk<WalkOrder::PreOrder>([&](plan::TensorOp tensor) { program.tensors.push_back(readTensor(tensor)); });
  return program;
}

ModelImage readImage(plan::ArenaOp arena) {
  ModelImage image;
  image.target = static_cast<uint32_t>(arena.getTarget());
  image.arenaBytes = arena.getBytes();
  image.alignment = arena.getAlignment();
  for (auto tensor : arena.getBody().front().getOps<plan::TensorOp>())
    image.tensors.push_back(readTensor(tensor));
  for (auto program : arena.getBody().front().getOps<plan::ProgramOp>())
    image.programs.push_back(readProgram(program));
  return image;
}

//===- The plan -----------------------------------------------------------------------------------------===//

namespace {

/// Appends to `list` the buffers that `views` lie in, each once.
void note(std::vector<int64_t> &list, ValueRange views, const llvm::DenseMap<Operation *, int64_t> &ids) {
  for (Value view : views)
    if (int64_t id = ids.lookup(view.getDefiningOp<plan::ViewOp>().getBufferOp()); !llvm::is_contained(list, id))
      list.push_back(id);
}

planning::PlanStep readStep(plan::LaunchOp launch, int64_t index, const llvm::DenseMap<Operation *, int64_t> &ids) {
  planning::PlanStep step;
  step.index = index;
  step.op = launch.getOpName().str();
  auto nodes = nodeNames(launch.getLoc());
  step.nodes.assign(nodes.begin(), nodes.end());
  step.stage = static_cast<planning::Stage>(launch.getStage());
  note(step.reads, launch.getIns(), ids);
  note(step.writes, launch.getOuts(), ids);
  note(step.workspace, launch.getWorkspaces(), ids);
  if (auto of = launch.getRecomputeOf())
    step.recomputeOf.assign(of->begin(), of->end());
  if (auto us = launch.getRecomputeUs())
    step.recomputeUs = us->convertToDouble();
  step.flops = launch.getFlops();
  step.bytes = launch.getBytes();
  step.predictedUs = launch.getPredictedUs().convertToDouble();
  return step;
}

} // namespace

void readPlan(plan::ArenaOp arena, planning::Plan &result) {
  plan::ProgramOp program = findProgram(arena, "train");
  plan::Lifetimes lifetimes(program);
  result.target = static_cast<planning::PlanTarget>(arena.getTarget());
  result.arenaBytes = arena.getBytes();
  result.microBatch = program.getMicroBatch();
  result.buffers.clear();
  result.steps.clear();
  result.loops.clear();
  llvm::DenseMap<Operation *, int64_t> ids;
  auto add = [&](plan::BufferOp buffer, plan::Range range, planning::Carry carry) {
    planning::PlanBuffer b;
    b.id = ids[buffer] = result.buffers.size();
    b.name = buffer.getName().str();
    b.kind = static_cast<planning::BufferKind>(buffer.getKind());
    b.carry = carry;
    b.offset = buffer.getOffset();
    b.size = buffer.getSize();
    b.first = range.first;
    b.last = range.last;
    result.buffers.push_back(std::move(b));
  };
  int64_t end = static_cast<int64_t>(lifetimes.launches.size()) - 1;
  for (plan::BufferOp buffer : lifetimes.residents)
    add(buffer, {0, end}, planning::Carry::Step);
  for (auto &[op, range] : lifetimes.live)
    add(cast<plan::BufferOp>(op), range,
        lifetimes.carried.contains(op) ? planning::Carry::Loop : planning::Carry::None);
  for (auto [i, launch] : llvm::enumerate(lifetimes.launches))
    result.steps.push_back(readStep(launch, i, ids));
  result.accumulation = 0;
  for (auto &[op, range] : lifetimes.loops) {
    int64_t count = cast<plan::LoopOp>(op).getCount();
    result.loops.push_back({range.first, range.last, count});
    result.accumulation += count;
  }
  // A resident that only evaluation reads: the last step keeps it for then.
  std::vector<bool> touched(result.buffers.size(), false);
  for (const planning::PlanStep &step : result.steps)
    for (const auto *list : {&step.reads, &step.writes, &step.workspace})
      for (int64_t id : *list)
        touched[id] = true;
  for (const planning::PlanBuffer &b : result.buffers)
    if (!touched[b.id])
      result.steps.back().reads.push_back(b.id);

  result.evalArenaBytes = 0;
  auto reach = [&](plan::BufferOp buffer) { result.evalArenaBytes = std::max(result.evalArenaBytes, buffer.getEnd()); };
  for (plan::BufferOp buffer : lifetimes.residents)
    reach(buffer);
  if (plan::ProgramOp eval = findProgram(arena, "eval"))
    eval.walk(reach);
  planning::computePeak(result);
  result.predictedStepMs = planning::sumStepMs(result);
}

} // namespace gmc
