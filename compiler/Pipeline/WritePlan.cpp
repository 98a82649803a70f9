//===- WritePlan.cpp - a plan as plan-dialect IR --------------------------------------------------------===//

#include "compiler/Pipeline/WritePlan.h"
#include "dialects/Interfaces/OpInterfaces.h"

using namespace mlir;

namespace gmc {

using planning::BufferKind;
using planning::Carry;

static_assert(static_cast<int>(plan::BufferKind::Cast) == static_cast<int>(BufferKind::Cast));
static_assert(static_cast<int>(plan::Stage::Update) == static_cast<int>(planning::Stage::Update));
static_assert(static_cast<int>(plan::Target::Sim) == static_cast<int>(planning::PlanTarget::Sim));

namespace {

class PlanWriter {
public:
  PlanWriter(ModuleOp module, const PlannedStep &step)
      : step(step), b(OpBuilder::atBlockBegin(module.getBody())), unknown(b.getUnknownLoc()) {}

  plan::ArenaOp run() {
    auto target = static_cast<plan::Target>(step.plan.target);
    auto arena =
        plan::ArenaOp::create(b, unknown, target, step.plan.arenaBytes, planning::offsetAlignment(step.plan.target));
    b.createBlock(&arena.getBody());
    for (const planning::PlanBuffer &buffer : step.plan.buffers)
      if (buffer.carry == Carry::Step)
        addBuffer(buffer);
    for (const PlannedTensor &tensor : step.residents)
      addTensor(tensor);
    writeProgram("train", step.plan, step.train);
    b.setInsertionPointToEnd(&arena.getBody().front());
    writeProgram("eval", step.evalPlan, step.eval);
    return arena;
  }

private:
  void addBuffer(const planning::PlanBuffer &buffer) {
    auto type = MemRefType::get({buffer.size}, b.getI8Type());
    buffers[buffer.id] = plan::BufferOp::create(b, unknown, type, static_cast<plan::BufferKind>(buffer.kind),
                                                buffer.name, buffer.offset);
  }

  /// The view of a buffer as `type`, right behind the buffer: whoever sees the buffer sees the view.
  Value viewOf(int64_t id, MemRefType type) {
    plan::BufferOp buffer = buffers.at(id);
    Value &view = views[{buffer, type}];
    if (!view) {
      OpBuilder::InsertionGuard guard(b);
      Operation *behind = buffer;
      while (behind->getNextNode() && isa<plan::ViewOp>(behind->getNextNode()))
        behind = behind->getNextNode();
      b.setInsertionPointAfter(behind);
      view = plan::ViewOp::create(b, unknown, type, buffer, b.getI64IntegerAttr(0));
    }
    return view;
  }

  void addTensor(const PlannedTensor &tensor) {
    auto type = cast<RankedTensorType>(tensor.type);
    auto role = plan::symbolizeRole(tensor.role);
    plan::TensorOp::create(b, unknown, *role, tensor.name, tensor.initializer,
                           viewOf(tensor.buffer, MemRefType::get(type.getShape(), type.getElementType())));
  }

  void writeProgram(StringRef name, const planning::Plan &plan, const PlannedProgram &program) {
    auto op = plan::ProgramOp::create(b, unknown, name, step.plan.microBatch);
    b.createBlock(&op.getBody());
    // A buffer stands before the first launch that touches it; when it is carried over a loop, before that loop.
    std::vector<std::vector<const planning::PlanBuffer *>> starting(plan.steps.size()), carried(plan.steps.size());
    for (const planning::PlanBuffer &buffer : plan.buffers) {
      if (buffer.carry == Carry::None)
        starting[buffer.first].push_back(&buffer);
      if (buffer.carry != Carry::Loop || &plan == &step.evalPlan)
        continue;
      int64_t first = buffer.first;
      for (const planning::PlanLoop &loop : plan.loops)
        if (loop.first <= first && first <= loop.last)
          first = loop.first;
      carried[first].push_back(&buffer);
    }
    auto isWritten = [](const PlannedTensor &tensor) { return tensor.role == "input" || tensor.role == "label"; };
    auto loop = plan.loops.begin();
    for (auto [i, launch] : llvm::enumerate(program.launches)) {
      int64_t position = i;
      for (const planning::PlanBuffer *buffer : carried[i])
        addBuffer(*buffer);
      if (loop != plan.loops.end() && loop->first == position) {
        auto repeat = plan::LoopOp::create(b, unknown, loop->count);
        b.createBlock(&repeat.getBody());
      }
      for (const planning::PlanBuffer *buffer : starting[i])
        addBuffer(*buffer);
      for (const PlannedTensor &tensor : program.tensors) // written by the trainer at the start of what repeats
        if (isWritten(tensor) && plan.buffers[tensor.buffer].first == position)
          addTensor(tensor);
      addLaunch(plan.steps[i], launch);
      if (loop != plan.loops.end() && loop->last == position) {
        b.setInsertionPointAfter(b.getBlock()->getParentOp());
        ++loop;
      }
    }
    for (const PlannedTensor &tensor : program.tensors)
      if (!isWritten(tensor))
        addTensor(tensor);
  }

  void addLaunch(const planning::PlanStep &s, const PlannedLaunch &launch) {
    SmallVector<Value> ins, outs, workspaces;
    func::FuncOp kernel = launch.kernel;
    for (auto [id, type] : llvm::zip(launch.ins, kernel.getArgumentTypes()))
      ins.push_back(viewOf(id, plan::bufferType(type)));
    for (auto [id, type] : llvm::zip(launch.outs, kernel.getResultTypes()))
      outs.push_back(viewOf(id, plan::bufferType(type)));
    for (auto [id, bytes] : llvm::zip(launch.workspaces, launch.workspaceBytes))
      workspaces.push_back(viewOf(id, MemRefType::get({bytes}, b.getI8Type())));
    SmallVector<Location> nodes;
    for (const std::string &node : s.nodes)
      nodes.push_back(NameLoc::get(b.getStringAttr(node)));
    Location loc = nodes.empty() ? unknown : nodes.size() == 1 ? nodes[0] : FusedLoc::get(b.getContext(), nodes);
    bool again = !s.recomputeOf.empty();
    plan::LaunchOp::create(
        b, loc, kernel.getName(), s.op, static_cast<plan::Stage>(s.stage), ins, outs, workspaces, s.flops, s.bytes,
        llvm::APFloat(s.predictedUs), again ? b.getDenseI64ArrayAttr(s.recomputeOf) : DenseI64ArrayAttr(),
        again ? b.getF64FloatAttr(s.recomputeUs) : FloatAttr(),
        launch.library ? plan::LibraryAttr::get(b.getContext(), static_cast<plan::Library>(launch.library))
                       : plan::LibraryAttr(),
        launch.library ? b.getDenseI64ArrayAttr(launch.libraryArgs) : DenseI64ArrayAttr());
  }

  const PlannedStep &step;
  OpBuilder b;
  Location unknown;
  llvm::DenseMap<int64_t, plan::BufferOp> buffers;
  llvm::DenseMap<std::pair<Operation *, Type>, Value> views;
};

} // namespace

plan::ArenaOp writePlan(ModuleOp module, const PlannedStep &step) {
  module.getContext()->loadDialect<plan::PlanDialect>();
  plan::ArenaOp arena = PlanWriter(module, step).run();
  llvm::SmallPtrSet<Operation *, 32> launched;
  for (const PlannedProgram *program : {&step.train, &step.eval})
    for (const PlannedLaunch &launch : program->launches)
      launched.insert(launch.kernel);
  for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
    if (!launched.contains(function))
      function.erase();
  return arena;
}

} // namespace gmc
