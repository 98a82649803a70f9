//===- PlanBuilder.cpp - from the functions of a step to a plan with addresses --------------------------===//

#include "compiler/Pipeline/PlanBuilder.h"
#include "compiler/Planning/Packing.h"
#include "dialects/NN/Tensor.h"
#include "passes/Fusion/FormKernels.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;

namespace gmc {

using planning::BufferKind;
using planning::Carry;

static KernelTarget kernelTarget(planning::PlanTarget target) {
  return target == planning::PlanTarget::Host ? KernelTarget::Host : KernelTarget::Gpu;
}

int64_t PlanBuilder::aligned(int64_t bytes) const {
  int64_t alignment = planning::offsetAlignment(options.target);
  return (bytes + alignment - 1) / alignment * alignment;
}

int PlanBuilder::residentFor(StringRef role, StringRef name, Type type) {
  auto [it, inserted] = residentIndex.try_emplace((role + "\n" + name).str(), residents.size());
  if (inserted) {
    BufferKind kind = role == "parameter"                       ? BufferKind::Parameter
                      : role == "constant"                      ? BufferKind::Constant
                      : role == "gradient"                      ? BufferKind::Gradient
                                                                : BufferKind::State;
    Carry carry = role == "gradient" ? Carry::Loop : Carry::Step;
    residents.push_back({name.empty() ? role.str() : name.str(), role.str(), kind, carry, type, byteSize(type)});
  }
  return it->second;
}

LogicalResult PlanBuilder::addSegment(const StepFunction &step, std::optional<Segment> &segment,
                                      std::vector<int> &residentOf) {
  func::FuncOp function = step.function;
  if (failed(formKernels(function, {})))
    return failure();
  Segment::Options segmentOptions;
  segmentOptions.alignment = planning::offsetAlignment(options.target);
  segmentOptions.carried = step.carried;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    StringRef role = argumentRole(function, i);
    segmentOptions.isInput.push_back(role == "input" || role == "label");
  }
  auto built = Segment::build(function, kernelTarget(options.target), std::move(segmentOptions), options.profile);
  if (failed(built))
    return failure();
  segment = std::move(*built);
  const KernelGraph &graph = segment->graph();
  residentOf.assign(graph.storages.size(), -1);
  for (auto [i, storage] : llvm::enumerate(graph.arguments)) {
    StringRef role = argumentRole(function, i);
    if (role != "input" && role != "label")
      residentOf[storage] = residentFor(role, argumentName(function, i), function.getArgument(i).getType());
  }
  for (auto [s, storage] : llvm::enumerate(graph.storages))
    if (storage.kind == Storage::Kind::Constant) {
      auto value = cast<DenseElementsAttr>(storage.value.getDefiningOp<nn::ConstantOp>().getValue());
      ArrayRef<char> raw = value.getRawData();
      std::string key = (llvm::Twine("constant/") +
                         llvm::utohexstr(llvm::xxh3_64bits(StringRef(raw.data(), raw.size())), true) + "/" +
                         llvm::utohexstr(hash_value(value.getType()), true)).str();
      size_t before = residents.size();
      // Named by contents, so that equal constants are one buffer.
      residentOf[s] = residentFor("constant", key, value.getType());
      if (residents.size() > before)
        arenaConstants.push_back({residents.back().name, value});
    }
  return success();
}

FailureOr<std::unique_ptr<PlanBuilder>> PlanBuilder::create(ModuleOp module, const PlanBuilderOptions &options) {
  std::unique_ptr<PlanBuilder> builder(new PlanBuilder(module, options));
  auto functions = buildStepFunctions(module, options.accumulation);
  if (failed(functions))
    return failure();
  builder->functions = *functions;
  if (failed(builder->addSegment(functions->begin, builder->begin, builder->beginResidents)) ||
      failed(builder->addSegment(functions->body, builder->body, builder->bodyResidents)) ||
      (functions->update.function &&
       failed(builder->addSegment(functions->update, builder->update, builder->updateResidents))) ||
      failed(builder->addSegment(functions->eval, builder->eval, builder->evalResidents)))
    return failure();
  return builder;
}

/// The schedule that computes every node once in the program's order and drops values after their last reader.
static planning::RematSchedule programOrder(const planning::RematProblem &problem) {
  planning::RematSchedule schedule;
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    schedule.order.push_back(i);
    schedule.cost += problem.nodes[i].cost;
  }
  return schedule;
}

int64_t PlanBuilder::boundBytes() const {
  int64_t resident = 0;
  for (const Resident &r : residents)
    resident += aligned(r.bytes);
  int64_t most = planning::rematBoundBytes(body->problem());
  if (update)
    most = std::max(most, planning::rematBoundBytes(update->problem()));
  return resident + most;
}

std::string PlanBuilder::kernelSignature() const {
  std::string text;
  for (const auto *segment : {&begin, &body, &update, &eval})
    if (*segment)
      for (const KernelNode &node : (*segment)->graph().nodes)
        text += func::FuncOp(node.kernel).getName().str() + "\n";
  return text;
}

std::vector<int64_t> PlanBuilder::addSteps(PlannedStep &out, const Segment &segment, const SegmentSchedule &schedule,
                                           const std::vector<int> &residentOf, StringRef part) {
  planning::Plan &plan = out.plan;
  const KernelGraph &graph = segment.graph();
  int64_t base = plan.steps.size();
  int loopEnd = base + static_cast<int>(schedule.steps.size()) - 1;
  // Buffers of this segment. Residents have ids 0..residents-1.
  std::vector<int64_t> idOf(schedule.buffers.size(), -1);
  for (auto [i, buffer] : llvm::enumerate(schedule.buffers)) {
    if (buffer.merged)
      continue;
    const Storage &storage = graph.storages[buffer.storage];
    planning::PlanBuffer b;
    b.id = plan.buffers.size();
    b.size = aligned(buffer.bytes);
    b.first = base + buffer.first;
    b.last = base + buffer.last;
    if (buffer.isInput) {
      b.kind = BufferKind::Input;
      b.first = base;
      auto function = cast<func::FuncOp>(Value(storage.value).getParentBlock()->getParentOp());
      b.name = argumentName(function, storage.index).str();
      if (b.name.empty())
        b.name = argumentRole(function, storage.index).str();
    } else {
      const KernelNode &node = graph.nodes[storage.producer];
      b.kind = node.stage == "forward" ? BufferKind::Activation : BufferKind::ActivationGradient;
      b.name = node.nodes.empty() ? node.op : node.nodes.back();
      if (storage.index)
        b.name += ":" + std::to_string(storage.index);
      if (node.stage == "backward")
        b.name = "grad of " + b.name;
    }
    if (buffer.kept)
      b.last = loopEnd;
    idOf[i] = b.id;
    plan.buffers.push_back(std::move(b));
  }
  auto bufferId = [&](int reference) -> int64_t {
    return reference >= 0 ? idOf[reference] : residentOf[-1 - reference];
  };
  for (const SegmentStep &step : schedule.steps) {
    const KernelNode &node = graph.nodes[step.node];
    planning::PlanStep s;
    s.index = plan.steps.size();
    s.op = node.op;
    s.nodes.assign(node.nodes.begin(), node.nodes.end());
    s.stage = step.recomputes >= 0      ? planning::Stage::Recompute
              : node.stage == "update"  ? planning::Stage::Update
              : node.stage == "forward" ? planning::Stage::Forward
                                        : planning::Stage::Backward;
    if (part == "begin")
      s.op = "nn.zero";
    if (s.stage == planning::Stage::Update)
      s.nodes.clear();
    s.flops = node.flops;
    s.bytes = node.bytes;
    s.predictedUs = step.micros;
    if (step.recomputes >= 0) {
      s.recomputeOf.push_back(base + step.recomputes);
      s.recomputeUs = step.micros;
    }
    ImageStep image;
    image.use.kernel = func::FuncOp(node.kernel).getName().str();
    image.use.aliases.assign(step.aliases.begin(), step.aliases.end());
    image.op = s.op;
    image.node = node.nodes.empty() || s.stage == planning::Stage::Update ? "" : node.nodes.front();
    image.stage = static_cast<uint32_t>(s.stage);
    image.predictedMicros = step.micros;
    auto note = [](std::vector<int64_t> &list, int64_t id) {
      if (!llvm::is_contained(list, id))
        list.push_back(id);
    };
    // Until offsets are known, operands hold buffer ids.
    for (int operand : step.operands) {
      note(s.reads, bufferId(operand));
      image.operands.push_back(bufferId(operand));
    }
    for (auto [r, result] : llvm::enumerate(step.results)) {
      note(s.writes, bufferId(result));
      if (step.aliases[r] < 0)
        image.operands.push_back(bufferId(result));
    }
    for (int64_t bytes : node.workspaces) {
      planning::PlanBuffer w;
      w.id = plan.buffers.size();
      w.kind = BufferKind::Workspace;
      w.name = "workspace of " + (node.nodes.empty() ? node.op : node.nodes.front());
      w.size = aligned(bytes);
      w.first = w.last = s.index;
      s.workspace.push_back(w.id);
      image.operands.push_back(w.id);
      plan.buffers.push_back(std::move(w));
    }
    // What the optimizer reads of a parameter is its gradient.
    if (s.stage == planning::Stage::Update)
      for (int64_t written : s.writes)
        if (plan.buffers[written].kind == BufferKind::Parameter)
          for (int64_t read : s.reads)
            if (plan.buffers[read].kind == BufferKind::ActivationGradient &&
                plan.buffers[read].size == plan.buffers[written].size) {
              plan.buffers[read].kind = BufferKind::Gradient;
              plan.buffers[read].name = plan.buffers[written].name;
            }
    out.image.programs[0].steps.push_back(std::move(image));
    plan.steps.push_back(std::move(s));
  }
  std::vector<int64_t> outputs;
  for (int reference : schedule.outputs)
    outputs.push_back(bufferId(reference));
  return outputs;
}

/// Offsets for the buffers that are not there all the time, above `floor`. Returns the height.
static int64_t packAbove(std::vector<planning::PlanBuffer *> buffers, int64_t floor, int64_t alignment, int effort) {
  planning::PackProblem problem;
  for (planning::PlanBuffer *b : buffers)
    problem.buffers.push_back({b->id, b->first, b->last + 1, b->size, alignment});
  planning::PackSolution solution = planning::pack(problem, effort);
  for (auto [b, offset] : llvm::zip(buffers, solution.offsets))
    b->offset = floor + offset;
  return floor + solution.height;
}

PlannedStep PlanBuilder::assemble(const planning::RematSchedule &bodySchedule) {
  PlannedStep out;
  planning::Plan &plan = out.plan;
  plan.target = options.target;
  plan.batch = options.batch;
  plan.microBatch = options.microBatch;
  plan.accumulation = options.accumulation;
  out.image.programs.emplace_back().name = "train";
  out.image.programs[0].microBatch = options.microBatch;
  for (const Resident &r : residents) {
    planning::PlanBuffer b;
    b.id = plan.buffers.size();
    b.name = r.name;
    b.kind = r.kind;
    b.carry = r.carry;
    b.size = aligned(r.bytes);
    plan.buffers.push_back(std::move(b));
  }
  auto once = [&](const Segment &segment) { return segment.realize(programOrder(segment.problem())); };
  addSteps(out, *begin, once(*begin), beginResidents, "begin");
  int64_t first = plan.steps.size();
  addSteps(out, *body, body->realize(bodySchedule), bodyResidents, "body");
  int64_t last = static_cast<int64_t>(plan.steps.size()) - 1;
  if (update)
    addSteps(out, *update, once(*update), updateResidents, "update");
  plan.loops.push_back({first, last, options.accumulation});
  out.image.programs[0].loops.push_back(
      {static_cast<uint32_t>(first), static_cast<uint32_t>(last), static_cast<uint32_t>(options.accumulation)});

  // Lifetimes of residents: the whole step, or for gradients from their zeroing to their last reader.
  int64_t end = static_cast<int64_t>(plan.steps.size()) - 1;
  std::vector<bool> touched(residents.size(), false);
  for (planning::PlanStep &step : plan.steps)
    for (const auto *list : {&step.reads, &step.writes})
      for (int64_t id : *list)
        if (id < static_cast<int64_t>(residents.size())) {
          planning::PlanBuffer &b = plan.buffers[id];
          b.first = touched[id] ? b.first : step.index;
          b.last = step.index;
          touched[id] = true;
        }
  for (size_t i = 0; i < residents.size(); ++i) {
    planning::PlanBuffer &b = plan.buffers[i];
    if (b.carry == Carry::Step) {
      b.first = 0;
      b.last = end;
      if (!touched[i]) // only evaluation reads it: the last step keeps it for then
        plan.steps.back().reads.push_back(b.id);
    } else {
      b.last = std::max(b.last, last);
    }
  }
  int64_t offset = 0;
  std::vector<planning::PlanBuffer *> rest;
  for (planning::PlanBuffer &b : plan.buffers) {
    if (b.carry == Carry::Step) {
      b.offset = offset;
      offset += b.size;
    } else {
      rest.push_back(&b);
    }
  }
  plan.arenaBytes = packAbove(rest, offset, planning::offsetAlignment(options.target), options.effort);
  for (ImageStep &step : out.image.programs[0].steps)
    for (uint64_t &operand : step.operands)
      operand = plan.buffers[operand].offset;
  planning::computePeak(plan);
  plan.predictedStepMs = planning::sumStepMs(plan);
  addEval(out);
  out.image.alignment = planning::offsetAlignment(options.target);
  return out;
}

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

static ImageTensor imageTensor(StringRef name, Type type, uint64_t offset, uint32_t role, uint32_t flags) {
  auto tensor = cast<RankedTensorType>(type);
  ImageTensor t;
  t.name = name.str();
  t.dims.assign(tensor.getShape().begin(), tensor.getShape().end());
  t.offset = offset;
  t.bytes = byteSize(type);
  t.dtype = dataType(tensor.getElementType());
  t.role = role;
  t.flags = flags;
  return t;
}

static uint32_t abiRole(StringRef role) {
  return llvm::StringSwitch<uint32_t>(role)
      .Case("input", GMC_ROLE_INPUT)
      .Case("label", GMC_ROLE_LABEL)
      .Case("parameter", GMC_ROLE_PARAMETER)
      .Case("constant", GMC_ROLE_CONSTANT)
      .Case("state", GMC_ROLE_STATE)
      .Case("hyper", GMC_ROLE_HYPER)
      .Case("rng", GMC_ROLE_RNG)
      .Case("valid_samples", GMC_ROLE_VALID_SAMPLES)
      .Case("loss_sum", GMC_ROLE_LOSS_SUM)
      .Case("valid_count", GMC_ROLE_VALID_COUNT)
      .Case("correct_count", GMC_ROLE_CORRECT_COUNT)
      .Case("output", GMC_ROLE_OUTPUT)
      .Case("gradient", GMC_ROLE_GRADIENT)
      .Case("step_count", GMC_ROLE_STEP_COUNT)
      .Default(~0u);
}

/// The evaluation program leaves every resident where it is and uses the space above.
void PlanBuilder::addEval(PlannedStep &out) {
  planning::Plan &plan = out.plan;
  PlannedStep scratch;
  scratch.plan.target = options.target;
  scratch.image.programs.emplace_back();
  int64_t floor = 0;
  for (size_t i = 0; i < residents.size(); ++i) {
    scratch.plan.buffers.push_back(plan.buffers[i]);
    if (plan.buffers[i].carry == Carry::Step)
      floor = std::max(floor, plan.buffers[i].offset + plan.buffers[i].size);
  }
  std::vector<int64_t> outputs =
      addSteps(scratch, *eval, eval->realize(programOrder(eval->problem())), evalResidents, "eval");
  std::vector<planning::PlanBuffer *> rest;
  for (size_t i = residents.size(); i < scratch.plan.buffers.size(); ++i)
    rest.push_back(&scratch.plan.buffers[i]);
  plan.evalArenaBytes = packAbove(rest, floor, planning::offsetAlignment(options.target), options.effort);
  plan.arenaBytes = std::max(plan.arenaBytes, plan.evalArenaBytes);
  out.image.arenaBytes = plan.arenaBytes;
  ImageProgram program = std::move(scratch.image.programs[0]);
  program.name = "eval";
  program.microBatch = options.microBatch;
  for (ImageStep &step : program.steps)
    for (uint64_t &operand : step.operands)
      operand = scratch.plan.buffers[operand].offset;

  // What the trainer reads and writes, by program.
  auto addInputs = [&](ImageProgram &into, const Segment &segment, func::FuncOp function, const planning::Plan &from,
                       int64_t base) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      StringRef role = argumentRole(function, i);
      if (role != "input" && role != "label")
        continue;
      for (const planning::PlanBuffer &b : from.buffers)
        if (b.kind == BufferKind::Input && b.first == base &&
            b.name == (argumentName(function, i).empty() ? role : argumentName(function, i)).str())
          into.tensors.push_back(
              imageTensor(b.name, function.getArgument(i).getType(), b.offset, abiRole(role), 0));
    }
  };
  int64_t bodyFirst = plan.loops[0].first;
  addInputs(out.image.programs[0], *body, functions.body.function, plan, bodyFirst);
  addInputs(program, *eval, functions.eval.function, scratch.plan, 0);
  func::FuncOp function = functions.eval.function;
  for (unsigned r = 0; r < function.getNumResults(); ++r) {
    auto role = function.getResultAttrOfType<StringAttr>(r, "nn.role");
    auto name = function.getResultAttrOfType<StringAttr>(r, "nn.name");
    if (role)
      program.tensors.push_back(imageTensor(name ? name.getValue() : role.getValue(), function.getResultTypes()[r],
                                            scratch.plan.buffers[outputs[r]].offset, abiRole(role.getValue()), 0));
  }
  for (size_t i = 0; i < residents.size(); ++i) {
    const Resident &r = residents[i];
    uint32_t role = abiRole(r.role);
    if (role == GMC_ROLE_LOSS_SUM || role == GMC_ROLE_VALID_COUNT) {
      out.image.programs[0].tensors.push_back(imageTensor(r.name, r.type, plan.buffers[i].offset, role, 0));
      continue;
    }
    if (r.carry != Carry::Step)
      continue;
    bool initializer = role == GMC_ROLE_PARAMETER || (role == GMC_ROLE_CONSTANT && !StringRef(r.name).starts_with("constant/"));
    out.image.tensors.push_back(
        imageTensor(r.name, r.type, plan.buffers[i].offset, role, initializer ? GMC_TENSOR_INITIALIZER : 0));
  }
  out.image.programs.push_back(std::move(program));
}

std::vector<PlannedStep> PlanBuilder::candidates() {
  std::vector<PlannedStep> plans;
  if (options.remat == PlanBuilderOptions::Remat::Off) {
    plans.push_back(assemble(programOrder(body->problem())));
    return plans;
  }
  for (const planning::RematSchedule &schedule : planning::rematFrontier(body->problem(), 16, options.effort))
    plans.push_back(assemble(schedule));
  if (options.remat == PlanBuilderOptions::Remat::All && plans.size() > 1)
    plans.erase(plans.begin(), plans.end() - 1);
  return plans;
}

} // namespace gmc
