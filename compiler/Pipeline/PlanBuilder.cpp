//===- PlanBuilder.cpp - from the functions of a step to a plan with addresses --------------------------===//

#include "compiler/Pipeline/PlanBuilder.h"
#include "gmc/Abi.h"
#include "compiler/Planning/Packing.h"
#include "dialects/NN/Tensor.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"
#include <set>

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
                      : role == "cast"                          ? BufferKind::Cast
                                                                : BufferKind::State;
    Carry carry = role == "gradient" || role == "cast" ? Carry::Loop : Carry::Step;
    residents.push_back({name.empty() ? role.str() : name.str(), role.str(), kind, carry, type, byteSize(type)});
  }
  return it->second;
}

LogicalResult PlanBuilder::addSegment(const StepFunction &step, std::optional<Segment> &segment,
                                      std::vector<int> &residentOf) {
  func::FuncOp function = step.function;
  Segment::Options segmentOptions;
  segmentOptions.alignment = planning::offsetAlignment(options.target);
  segmentOptions.carried = step.carried;
  segmentOptions.library = options.library;
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
      std::string type;
      llvm::raw_string_ostream(type) << value.getType();
      std::string key = (llvm::Twine("constant/") +
                         llvm::utohexstr(llvm::xxh3_64bits(StringRef(raw.data(), raw.size())), true) + "/" +
                         llvm::utohexstr(llvm::xxh3_64bits(type), true)).str();
      size_t before = residents.size();
      // Named by contents, so that equal constants are one buffer and every compilation names them alike.
      residentOf[s] = residentFor("constant", key, value.getType());
      if (residents.size() > before)
        arenaConstants.push_back({residents.back().name, value});
    }
  return success();
}

FailureOr<std::unique_ptr<PlanBuilder>> PlanBuilder::create(ModuleOp module, const StepFunctions &functions,
                                                            const PlanBuilderOptions &options) {
  std::unique_ptr<PlanBuilder> builder(new PlanBuilder(module, options));
  builder->functions = functions;
  if (failed(builder->addSegment(functions.begin, builder->begin, builder->beginResidents)) ||
      failed(builder->addSegment(functions.body, builder->body, builder->bodyResidents)) ||
      (functions.update.function &&
       failed(builder->addSegment(functions.update, builder->update, builder->updateResidents))) ||
      failed(builder->addSegment(functions.eval, builder->eval, builder->evalResidents)))
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

int64_t PlanBuilder::residentBytes() const {
  int64_t resident = 0;
  for (const Resident &r : residents)
    resident += aligned(r.bytes);
  return resident;
}

planning::RematProblem PlanBuilder::rematProblem() const {
  planning::RematProblem problem = body->problem();
  problem.fixedBytes = residentBytes();
  return problem;
}

int64_t PlanBuilder::boundBytes() const {
  int64_t most = body->boundBytes();
  if (update)
    most = std::max(most, update->boundBytes());
  return residentBytes() + most;
}

int64_t PlanBuilder::libraryCalls() const {
  std::set<std::vector<int64_t>> calls;
  for (const auto *segment : {&begin, &body, &update, &eval})
    if (*segment)
      for (const KernelNode &node : (*segment)->graph().nodes)
        if (node.library)
          calls.insert(
              PlannedCall::decode(node.library->args.data(), static_cast<uint32_t>(node.library->args.size())).shape());
  return static_cast<int64_t>(calls.size());
}

std::string PlanBuilder::kernelSignature() const {
  std::string text;
  for (const auto *segment : {&begin, &body, &update, &eval})
    if (*segment)
      for (const KernelNode &node : (*segment)->graph().nodes)
        text +=
            func::FuncOp(node.kernel).getName().str() + (node.library ? " " + node.library->implementation : "") + "\n";
  return text;
}

std::vector<int64_t> PlanBuilder::addSteps(planning::Plan &plan, PlannedProgram &program, const Segment &segment,
                                           const SegmentSchedule &schedule, const std::vector<int> &residentOf,
                                           StringRef part) {
  const KernelGraph &graph = segment.graph();
  int64_t base = plan.steps.size();
  int loopEnd = base + static_cast<int>(schedule.steps.size()) - 1;
  // Buffers of this segment. Residents have ids 0..residents-1.
  std::vector<int64_t> idOf(schedule.buffers.size(), -1);
  // The parameter or constant that a storage holds in low precision, whatever its shape; -1 for any other storage.
  auto copyOf = [&](int storage) {
    auto element = cast<ShapedType>(graph.storages[storage].value.getType()).getElementType();
    if (!element.isF16() && !element.isBF16())
      return -1;
    while (graph.storages[storage].kind == Storage::Kind::Result) {
      const KernelNode &node = graph.nodes[graph.storages[storage].producer];
      if (node.operands.size() != 1)
        return -1;
      storage = node.operands[0];
    }
    int source = residentOf[storage];
    static constexpr StringLiteral copied[] = {"parameter", "constant", "cast"};
    return source >= 0 && llvm::is_contained(copied, StringRef(residents[source].role)) ? source : -1;
  };
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
      if (int source = copyOf(buffer.storage); source >= 0) {
        b.kind = BufferKind::Cast;
        b.name = residents[source].name;
      }
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
    if (part == "begin" && s.stage == planning::Stage::Update)
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
    PlannedLaunch launch;
    launch.kernel = node.kernel;
    launch.workspaceBytes = node.workspaces;
    if (node.library) {
      launch.library = GMC_LIBRARY_ONEDNN;
      launch.libraryArgs = node.library->args;
    }
    auto note = [](std::vector<int64_t> &list, int64_t id) {
      if (!llvm::is_contained(list, id))
        list.push_back(id);
    };
    for (int operand : step.operands) {
      note(s.reads, bufferId(operand));
      launch.ins.push_back(bufferId(operand));
    }
    for (int result : step.results) {
      note(s.writes, bufferId(result));
      launch.outs.push_back(bufferId(result));
    }
    for (int64_t bytes : node.workspaces) {
      planning::PlanBuffer w;
      w.id = plan.buffers.size();
      w.kind = BufferKind::Workspace;
      w.name = "workspace of " + (node.nodes.empty() ? node.op : node.nodes.front());
      w.size = aligned(bytes);
      w.first = w.last = s.index;
      s.workspace.push_back(w.id);
      launch.workspaces.push_back(w.id);
      plan.buffers.push_back(std::move(w));
    }
    // What the optimizer reads of a parameter is its gradient, in whatever precision.
    auto elements = [](Type type) { return cast<ShapedType>(type).getNumElements(); };
    func::FuncOp kernel = node.kernel;
    if (s.stage == planning::Stage::Update)
      for (int64_t written : s.writes)
        if (plan.buffers[written].kind == BufferKind::Parameter)
          for (auto [o, operand] : llvm::enumerate(step.operands))
            if (int64_t read = bufferId(operand);
                plan.buffers[read].kind == BufferKind::ActivationGradient &&
                elements(kernel.getArgumentTypes()[o]) == elements(kernel.getResultTypes()[0])) {
              plan.buffers[read].kind = BufferKind::Gradient;
              plan.buffers[read].name = plan.buffers[written].name;
            }
    program.launches.push_back(std::move(launch));
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
  if (effort == 0 || buffers.size() > 3000) // a frontier's worth of packings: near the least is enough
    problem.slack = planning::maxLive(problem.buffers) / 2000;
  planning::PackSolution solution = planning::pack(problem, effort);
  for (auto [b, offset] : llvm::zip(buffers, solution.offsets))
    b->offset = floor + offset;
  return floor + solution.height;
}

PlannedStep PlanBuilder::assemble(const planning::RematSchedule &bodySchedule, int packEffort) {
  PlannedStep out;
  planning::Plan &plan = out.plan;
  plan.target = options.target;
  plan.batch = options.batch;
  plan.microBatch = options.microBatch;
  plan.accumulation = options.accumulation;
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
  addSteps(plan, out.train, *begin, once(*begin), beginResidents, "begin");
  int64_t first = plan.steps.size();
  addSteps(plan, out.train, *body, body->realize(bodySchedule), bodyResidents, "body");
  int64_t last = static_cast<int64_t>(plan.steps.size()) - 1;
  if (update)
    addSteps(plan, out.train, *update, once(*update), updateResidents, "update");
  plan.loops.push_back({first, last, options.accumulation});

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
  plan.arenaBytes = packAbove(rest, offset, planning::offsetAlignment(options.target), packEffort);
  planning::computePeak(plan);
  plan.predictedStepMs = planning::sumStepMs(plan);
  addEval(out, packEffort);
  return out;
}

/// The evaluation program leaves every resident where `plan` has it and uses the space above.
const PlanBuilder::EvalProgram &PlanBuilder::evalProgram(const planning::Plan &plan, int packEffort) {
  auto [it, inserted] = evals.try_emplace(packEffort);
  EvalProgram &made = it->second;
  if (!inserted)
    return made;
  made.plan.target = options.target;
  int64_t floor = 0;
  for (size_t i = 0; i < residents.size(); ++i) {
    made.plan.buffers.push_back(plan.buffers[i]);
    if (plan.buffers[i].carry == Carry::Step)
      floor = std::max(floor, plan.buffers[i].offset + plan.buffers[i].size);
  }
  made.outputs =
      addSteps(made.plan, made.program, *eval, eval->realize(programOrder(eval->problem())), evalResidents, "eval");
  std::vector<planning::PlanBuffer *> rest;
  for (size_t i = residents.size(); i < made.plan.buffers.size(); ++i)
    rest.push_back(&made.plan.buffers[i]);
  made.arenaBytes = packAbove(rest, floor, planning::offsetAlignment(options.target), packEffort);
  return made;
}

void PlanBuilder::addEval(PlannedStep &out, int packEffort) {
  const EvalProgram &made = evalProgram(out.plan, packEffort);
  out.evalPlan = made.plan;
  for (size_t i = 0; i < residents.size(); ++i) // gradients lie elsewhere in every schedule
    out.evalPlan.buffers[i] = out.plan.buffers[i];
  out.eval = made.program;
  out.plan.evalArenaBytes = made.arenaBytes;
  out.plan.arenaBytes = std::max(out.plan.arenaBytes, made.arenaBytes);
  addTensors(out, made.outputs);
}

/// What the trainer reads and writes, by program.
void PlanBuilder::addTensors(PlannedStep &out, const std::vector<int64_t> &evalOutputs) {
  auto addInputs = [&](PlannedProgram &into, func::FuncOp function, const planning::Plan &from, int64_t base) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      StringRef role = argumentRole(function, i);
      if (role != "input" && role != "label")
        continue;
      for (const planning::PlanBuffer &b : from.buffers)
        if (b.kind == BufferKind::Input && b.first == base &&
            b.name == (argumentName(function, i).empty() ? role : argumentName(function, i)).str())
          into.tensors.push_back({b.name, role.str(), function.getArgument(i).getType(), b.id});
    }
  };
  addInputs(out.train, functions.body.function, out.plan, out.plan.loops[0].first);
  addInputs(out.eval, functions.eval.function, out.evalPlan, 0);
  func::FuncOp function = functions.eval.function;
  for (unsigned r = 0; r < function.getNumResults(); ++r) {
    auto role = function.getResultAttrOfType<StringAttr>(r, "nn.role");
    auto name = function.getResultAttrOfType<StringAttr>(r, "nn.name");
    if (role)
      out.eval.tensors.push_back(
          {(name ? name : role).str(), role.str(), function.getResultTypes()[r], evalOutputs[r]});
  }
  for (auto [i, r] : llvm::enumerate(residents)) {
    PlannedTensor tensor{r.name, r.role, r.type, static_cast<int64_t>(i)};
    if (r.role == "loss_sum" || r.role == "valid_count")
      out.train.tensors.push_back(std::move(tensor));
    else if (r.carry == Carry::Step) {
      tensor.initializer =
          r.role == "parameter" || (r.role == "constant" && !StringRef(r.name).starts_with("constant/"));
      out.residents.push_back(std::move(tensor));
    }
  }
}

double PlanBuilder::stepMs(const planning::RematSchedule &schedule) const {
  double micros = schedule.cost * double(options.accumulation);
  for (const auto *once : {&begin, &update})
    if (*once)
      for (const planning::RematNode &node : (*once)->problem().nodes)
        micros += node.cost;
  return micros / 1000;
}

/// Do the nodes of `a` depend on each other, and take over each other's storage, as those of `b`?
static bool sameStructure(const planning::RematProblem &a, const planning::RematProblem &b) {
  return a.keep == b.keep &&
         llvm::equal(a.nodes, b.nodes, [](const planning::RematNode &x, const planning::RematNode &y) {
           return x.deps == y.deps && x.recomputable == y.recomputable;
         });
}

const std::vector<planning::RematSchedule> &PlanBuilder::schedules(const PlanBuilder *like) {
  if (!found.empty())
    return found;
  if (options.remat == PlanBuilderOptions::Remat::Off) {
    found.push_back(programOrder(body->problem()));
    // Only the peak is missing.
    found.back().peak = planning::peakOf(body->problem(), found.back().order);
    return found;
  }
  std::vector<std::vector<int32_t>> orders;
  if (like && sameStructure(like->body->problem(), body->problem()))
    for (const planning::RematSchedule &schedule : like->found)
      orders.push_back(schedule.order);
  found = planning::rematFrontier(body->problem(), options.effort <= 2 ? 20 : 40, options.effort, orders);
  if (options.remat == PlanBuilderOptions::Remat::All)
    found.erase(found.begin(), found.end() - 1);
  return found;
}

} // namespace gmc
