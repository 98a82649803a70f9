#include "compiler/Pipeline/Segment.h"
#include "passes/Lowering/EmitKernels.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace gmc {

FailureOr<Segment> Segment::build(func::FuncOp function, KernelTarget target, Options options,
                                  const DeviceProfile &profile) {
  Segment s;
  s.kernels = KernelGraph::build(function, target);
  if (options.library)
    for (KernelNode &node : s.kernels.nodes)
      options.library->assign(node, profile);
  const KernelGraph &graph = s.kernels;
  auto aligned = [&](int64_t bytes) { return (bytes + options.alignment - 1) / options.alignment * options.alignment; };
  s.carriedTo.assign(graph.storages.size(), -1);
  for (auto [r, storage] : llvm::enumerate(graph.results)) {
    int argument = options.carried[r];
    if (argument < 0)
      continue;
    int target = graph.arguments[argument];
    if (storage == target)
      continue; // handed through unchanged
    if (graph.storages[storage].kind != Storage::Kind::Result || s.carriedTo[storage] >= 0)
      return function.emitOpError("result ") << r << " is carried into argument " << argument
                                             << " but is not the result of a kernel of its own";
    s.carriedTo[storage] = target;
  }
  s.rematNode.assign(graph.storages.size(), -1);
  auto addNode = [&](std::string name, double cost, int64_t size, int kernel, int storage) {
    int id = s.remat.nodes.size();
    planning::RematNode node;
    node.id = id;
    node.name = std::move(name);
    node.cost = cost;
    node.size = size;
    s.remat.nodes.push_back(std::move(node));
    s.kernelOf.push_back(kernel);
    s.storageOf.push_back(storage);
    if (storage >= 0)
      s.rematNode[storage] = id;
    return id;
  };
  for (auto [a, storage] : llvm::enumerate(graph.arguments))
    if (options.isInput[a]) {
      int id = addNode("input", 0, aligned(graph.storages[storage].bytes), -1, storage);
      s.remat.nodes[id].recomputable = false;
    }
  for (auto [k, kernel] : llvm::enumerate(graph.nodes)) {
    double micros = predictMicros(profile, kernel);
    s.nodeMicros.push_back(micros);
    int main = -1;
    bool carries = false;
    auto remat = dyn_cast<RematOpInterface>(kernelRoot(kernel.kernel));
    for (int storage : kernel.results) {
      if (s.carriedTo[storage] >= 0) {
        carries |= !remat || !remat.isStateUpdate(llvm::find(kernel.results, storage) - kernel.results.begin());
        // Written over its argument: either no operand is that argument, or the kernel may work in place.
        int target = s.carriedTo[storage];
        size_t r = llvm::find(kernel.results, storage) - kernel.results.begin();
        auto position = llvm::find(kernel.operands, target);
        if (position != kernel.operands.end() &&
            !llvm::is_contained(kernel.inPlace[r], position - kernel.operands.begin()))
          return func::CallOp(kernel.call).emitOpError("cannot write its result over the state it reads");
        s.rematNode[storage] = s.remat.nodes.size(); // whoever reads the new value comes after this kernel
        continue;
      }
      if (main < 0 || graph.storages[storage].bytes > graph.storages[main].bytes)
        main = storage;
    }
    int id = addNode(kernel.op, micros, main < 0 ? 0 : aligned(graph.storages[main].bytes), k, main);
    planning::RematNode &node = s.remat.nodes[id];
    node.recomputable = kernel.recomputable && !carries;
    for (int64_t bytes : kernel.workspaces)
      node.workspace += aligned(bytes);
    for (int storage : kernel.operands)
      if (int dep = s.rematNode[storage]; dep >= 0 && !llvm::is_contained(node.deps, dep))
        node.deps.push_back(dep);
    if (main >= 0) {
      size_t r = llvm::find(kernel.results, main) - kernel.results.begin();
      for (unsigned candidate : kernel.inPlace[r]) {
        int storage = kernel.operands[candidate];
        int dep = s.rematNode[storage];
        if (dep >= 0 && s.kernelOf[dep] >= 0 && llvm::count(kernel.operands, storage) == 1) {
          node.inplaceOf = dep;
          break;
        }
      }
    }
    for (int storage : kernel.results)
      if (storage != main && s.carriedTo[storage] < 0) {
        int extra = addNode(kernel.op, 0, aligned(graph.storages[storage].bytes), -1, storage);
        s.remat.nodes[extra].deps.push_back(id);
        s.remat.nodes[extra].recomputable = s.remat.nodes[id].recomputable;
      }
  }
  // A state that is written together with a value that others read (two normalizations that share their statistics)
  // moves where that value is made: whoever reads the old contents is executed before, and not again.
  for (const KernelNode &writer : graph.nodes) {
    if (llvm::all_of(writer.results, [&](int storage) { return s.carriedTo[storage] >= 0; }))
      continue;
    for (int storage : writer.results)
      for (auto [id, k] : llvm::enumerate(s.kernelOf))
        if (k >= 0 && &graph.nodes[k] != &writer && s.carriedTo[storage] >= 0 &&
            llvm::is_contained(graph.nodes[k].operands, s.carriedTo[storage]))
          s.remat.nodes[id].recomputable = false;
  }
  for (auto [r, storage] : llvm::enumerate(graph.results))
    if (options.carried[r] < 0 && s.rematNode[storage] >= 0 &&
        !llvm::is_contained(s.remat.keep, s.rematNode[storage]))
      s.remat.keep.push_back(s.rematNode[storage]);
  s.options = std::move(options);
  return s;
}

int64_t Segment::boundBytes() const {
  size_t n = remat.nodes.size();
  std::vector<int64_t> waiting(n,
                               0); // bytes of inputs that a node does not read, but something that needs the node does
  for (size_t input = 0; input < n; ++input) {
    if (kernelOf[input] >= 0 || !remat.nodes[input].deps.empty())
      continue;
    std::vector<char> before(n, 0);
    for (size_t v = n; v-- > 0;) {
      bool reads = llvm::is_contained(remat.nodes[v].deps, static_cast<int32_t>(input));
      if (before[v] && !reads && v != input)
        waiting[v] += remat.nodes[input].size;
      if (before[v] || reads)
        for (int32_t d : remat.nodes[v].deps)
          before[d] = 1;
    }
  }
  int64_t bound = planning::rematBoundBytes(remat);
  for (auto [v, node] : llvm::enumerate(remat.nodes)) {
    int64_t bytes = node.size + node.workspace + waiting[v];
    for (int32_t d : node.deps)
      bytes += remat.nodes[d].size;
    if (node.inplaceOf >= 0)
      bytes -= std::min(node.size, remat.nodes[node.inplaceOf].size);
    bound = std::max(bound, bytes);
  }
  return bound;
}

/// A kernel that writes over an argument comes after every reader of the old contents: recomputation may have put such
/// a reader behind it. Moving it down is all that is needed, since nothing but its argument changes.
std::vector<int32_t> Segment::writersLast(std::vector<int32_t> order) const {
  // A kernel executed again does not write its state a second time, and what it reads of it no longer matters.
  std::vector<size_t> firstAt(kernels.nodes.size(), order.size());
  for (size_t i = order.size(); i-- > 0;)
    if (kernelOf[order[i]] >= 0)
      firstAt[kernelOf[order[i]]] = i;
  std::vector<char> written(kernels.storages.size(), 0);
  for (int target : carriedTo)
    if (target >= 0)
      written[target] = 1;
  // Where each goes: its old position, or right behind the last reader, which may itself have moved behind another.
  std::vector<std::pair<size_t, int>> place(order.size());
  std::vector<std::vector<size_t>> readers(kernels.storages.size());
  for (size_t i = order.size(); i-- > 0;) {
    place[i] = {i, 0};
    int k = kernelOf[order[i]];
    if (k < 0)
      continue;
    if (firstAt[k] == i)
      for (int storage : kernels.nodes[k].results)
        if (int target = carriedTo[storage]; target >= 0)
          for (size_t at : readers[target])
            if (order[at] != order[i])
              place[i] = std::max(place[i], {place[at].first, place[at].second + 1});
    for (int storage : kernels.nodes[k].operands)
      if (written[storage])
        readers[storage].push_back(i);
  }
  std::vector<size_t> sorted(order.size());
  for (size_t i = 0; i < sorted.size(); ++i)
    sorted[i] = i;
  llvm::stable_sort(sorted, [&](size_t a, size_t b) { return place[a] < place[b]; });
  std::vector<int32_t> result;
  for (size_t i : sorted)
    result.push_back(order[i]);
  return result;
}

SegmentSchedule Segment::realize(const planning::RematSchedule &schedule) const {
  SegmentSchedule result;
  std::vector<int> current(kernels.storages.size(), -1), pending(kernels.storages.size(), -1);
  std::vector<int> firstStep(kernels.nodes.size(), -1);
  auto instance = [&](int storage, int step) {
    result.buffers.push_back({storage, kernels.storages[storage].bytes, step, step, false, false, false});
    return static_cast<int>(result.buffers.size()) - 1;
  };
  for (auto [a, storage] : llvm::enumerate(kernels.arguments))
    if (options.isInput[a]) {
      current[storage] = instance(storage, 0);
      result.buffers[current[storage]].isInput = true;
    }
  for (int32_t id : writersLast(schedule.order)) {
    int k = kernelOf[id];
    if (k < 0) {
      int storage = storageOf[id];
      if (pending[storage] >= 0)
        current[storage] = pending[storage];
      continue;
    }
    const KernelNode &kernel = kernels.nodes[k];
    int step = result.steps.size();
    SegmentStep out;
    out.node = k;
    out.micros = nodeMicros[k];
    out.recomputes = firstStep[k];
    if (firstStep[k] < 0)
      firstStep[k] = step;
    for (int storage : kernel.operands) {
      if (current[storage] < 0) {
        out.operands.push_back(-1 - (carriedTo[storage] >= 0 ? carriedTo[storage] : storage));
        continue;
      }
      out.operands.push_back(current[storage]);
      result.buffers[current[storage]].last = step;
    }
    for (int storage : kernel.results) {
      if (carriedTo[storage] >= 0 && out.recomputes < 0) {
        out.results.push_back(-1 - carriedTo[storage]);
        continue;
      }
      int made = instance(storage, step);
      out.results.push_back(made);
      if (carriedTo[storage] >= 0)
        continue; // the state moved the first time; this copy is forgotten
      pending[storage] = made;
      if (storage == storageOf[id])
        current[storage] = made;
    }
    out.aliases.assign(out.results.size(), -1);
    result.steps.push_back(std::move(out));
  }
  int end = static_cast<int>(result.steps.size()) - 1;
  for (auto [r, storage] : llvm::enumerate(kernels.results))
    if (options.carried[r] < 0 && current[storage] >= 0) {
      result.buffers[current[storage]].last = end;
      result.buffers[current[storage]].kept = true;
    }
  // In place: a result takes over the buffer of an operand whose last reader this step is. Chains collapse to one
  // buffer.
  std::vector<int> base(result.buffers.size());
  for (size_t i = 0; i < base.size(); ++i)
    base[i] = i;
  for (auto [i, step] : llvm::enumerate(result.steps)) {
    const KernelNode &kernel = kernels.nodes[step.node];
    for (int &operand : step.operands)
      if (operand >= 0)
        operand = base[operand];
    for (size_t r = 0; r < step.results.size(); ++r) {
      if (step.results[r] < 0) { // over an argument
        auto position = llvm::find(step.operands, step.results[r]);
        if (position != step.operands.end())
          step.aliases[r] = position - step.operands.begin();
        continue;
      }
      for (unsigned candidate : kernel.inPlace[r]) {
        int operand = step.operands[candidate];
        if (operand < 0 || result.buffers[operand].isInput || result.buffers[operand].kept ||
            result.buffers[operand].last != static_cast<int>(i) || llvm::count(step.operands, operand) > 1 ||
            llvm::is_contained(step.aliases, static_cast<int>(candidate)) ||
            result.buffers[operand].bytes < result.buffers[step.results[r]].bytes)
          continue;
        SegmentBuffer &made = result.buffers[step.results[r]];
        result.buffers[operand].last = std::max(result.buffers[operand].last, made.last);
        result.buffers[operand].kept |= made.kept;
        made.merged = true;
        base[step.results[r]] = operand;
        step.results[r] = operand;
        step.aliases[r] = candidate;
        break;
      }
    }
  }
  for (auto [r, storage] : llvm::enumerate(kernels.results)) {
    int target = carriedTo[storage] >= 0 ? carriedTo[storage] : storage;
    result.outputs.push_back(current[target] >= 0 ? base[current[target]] : -1 - target);
  }
  return result;
}

} // namespace gmc
