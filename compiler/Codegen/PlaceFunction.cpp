//===- PlaceFunction.cpp - a function of nn ops over an arena of its own --------------------------------===//

#include "compiler/Codegen/PlaceFunction.h"
#include "compiler/Codegen/HostCodegen.h"
#include "compiler/Pipeline/KernelGraph.h"
#include "compiler/Planning/Packing.h"
#include "dialects/NN/Tensor.h"
#include "passes/Fusion/FormKernels.h"

using namespace mlir;

namespace gmc {

/// Places every storage: arguments, constants and outputs for the whole run, the rest by lifetime; a result overwrites
/// an operand that dies where its kernel allows it.
namespace {
struct Placement {
  std::vector<uint64_t> offset;                    ///< per storage
  std::vector<std::vector<int>> aliases;           ///< per node, per result: operand position or -1
  std::vector<std::vector<uint64_t>> workspaces;   ///< per node
  uint64_t arenaBytes = 0;
};
} // namespace

static Placement place(const KernelGraph &graph, int64_t alignment) {
  size_t count = graph.storages.size();
  int end = graph.nodes.size();
  std::vector<int> first(count, 0), last(count, -1), base(count);
  for (size_t s = 0; s < count; ++s) {
    base[s] = s;
    const Storage &storage = graph.storages[s];
    first[s] = storage.kind == Storage::Kind::Result ? storage.producer : 0;
    last[s] = storage.kind == Storage::Kind::Result && !storage.isOutput ? storage.producer : end;
  }
  for (auto [n, node] : llvm::enumerate(graph.nodes))
    for (int s : node.operands)
      last[s] = std::max<int>(last[s], n);
  Placement placement;
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    std::vector<int> aliases(node.results.size(), -1);
    for (size_t r = 0; r < node.results.size(); ++r)
      for (unsigned candidate : node.inPlace[r]) {
        int s = node.operands[candidate];
        bool taken = llvm::count(node.operands, s) > 1 || llvm::is_contained(aliases, static_cast<int>(candidate));
        if (taken || graph.storages[s].kind != Storage::Kind::Result || last[base[s]] != static_cast<int>(n))
          continue;
        aliases[r] = candidate;
        int target = base[s];
        base[node.results[r]] = target;
        last[target] = std::max(last[target], last[node.results[r]]);
        break;
      }
    placement.aliases.push_back(std::move(aliases));
  }
  planning::PackProblem problem;
  auto add = [&](int lower, int upper, int64_t bytes) {
    problem.buffers.push_back({static_cast<int64_t>(problem.buffers.size()), lower, upper,
                               (bytes + alignment - 1) / alignment * alignment, alignment});
    return problem.buffers.size() - 1;
  };
  std::vector<size_t> slot(count);
  for (size_t s = 0; s < count; ++s)
    if (base[s] == static_cast<int>(s))
      slot[s] = add(first[s], last[s] + 1, graph.storages[s].bytes);
  std::vector<std::vector<size_t>> workspaceSlots;
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    auto &slots = workspaceSlots.emplace_back();
    for (int64_t bytes : node.workspaces)
      slots.push_back(add(n, n + 1, bytes));
  }
  planning::PackSolution solution = planning::pack(problem, 1);
  for (size_t s = 0; s < count; ++s)
    placement.offset.push_back(solution.offsets[slot[base[s]]]);
  for (auto &slots : workspaceSlots) {
    auto &offsets = placement.workspaces.emplace_back();
    for (size_t w : slots)
      offsets.push_back(solution.offsets[w]);
  }
  placement.arenaBytes = std::max<int64_t>(solution.height, alignment);
  return placement;
}

llvm::Expected<PlacedFunction> placeFunction(func::FuncOp function, KernelTarget target, bool fuse) {
  std::string diagnostics;
  {
    ScopedDiagnosticHandler handler(function.getContext(), [&](Diagnostic &d) {
      diagnostics += d.str() + "\n";
      return success();
    });
    if (failed(formKernels(function, {fuse})))
      return llvm::createStringError("forming kernels: " + diagnostics);
  }
  KernelGraph graph = KernelGraph::build(function, target);
  Placement placement = place(graph, target == KernelTarget::Gpu ? 256 : 64);
  PlacedFunction placed;
  placed.arenaBytes = placement.arenaBytes;
  placed.program.name = function.getName().str();
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    ImageStep &step = placed.program.steps.emplace_back();
    step.use.kernel = node.kernel.getName().str();
    step.use.aliases = placement.aliases[n];
    step.op = node.op;
    step.node = node.nodes.empty() ? "" : node.nodes.front();
    for (int s : node.operands)
      step.operands.push_back(placement.offset[s]);
    for (auto [r, s] : llvm::enumerate(node.results))
      if (placement.aliases[n][r] < 0)
        step.operands.push_back(placement.offset[s]);
    llvm::append_range(step.operands, placement.workspaces[n]);
  }
  auto range = [&](int s) { return ArenaRange{placement.offset[s], static_cast<uint64_t>(graph.storages[s].bytes)}; };
  for (int s : graph.arguments)
    placed.arguments.push_back(range(s));
  for (int s : graph.results)
    placed.results.push_back(range(s));
  for (auto [s, storage] : llvm::enumerate(graph.storages))
    if (storage.kind == Storage::Kind::Constant) {
      auto constant = storage.value.getDefiningOp<nn::ConstantOp>();
      placed.constants.emplace_back(placement.offset[s], constantBytes(cast<DenseElementsAttr>(constant.getValue())));
    }
  return placed;
}

} // namespace gmc
