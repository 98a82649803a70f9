#include "compiler/Pipeline/KernelGraph.h"
#include "dialects/NN/Tensor.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Lowering/EmitKernels.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace gmc {

/// Flops and bytes of a kernel: arithmetic of all its ops, traffic of its arguments and results.
static void addCost(KernelNode &node) {
  Operation *root = kernelRoot(node.kernel);
  for (Operation &op : node.kernel.getBody().front())
    if (auto cost = dyn_cast<CostOpInterface>(op))
      node.flops += cost.getFlops();
  if (auto cost = dyn_cast<CostOpInterface>(root)) {
    node.costClass = cost.getCostClass();
    Type element = root->getNumOperands() ? getElementTypeOrSelf(root->getOperand(0).getType()) : Type();
    node.halves = element && element.isFloat() && element.getIntOrFloatBitWidth() == 16;
    node.bytes = isa<ScalarOpInterface>(root) ? 0 : cost.getMemoryBytes();
  }
  if (!node.bytes) {
    for (Type type : node.kernel.getArgumentTypes())
      node.bytes += byteSize(type);
    for (Type type : node.kernel.getResultTypes())
      node.bytes += byteSize(type);
  }
  if (auto remat = dyn_cast<RematOpInterface>(root))
    node.recomputable = remat.isRecomputable();
}

KernelGraph KernelGraph::build(func::FuncOp function, KernelTarget target) {
  KernelGraph graph;
  SymbolTable symbols(function->getParentOfType<ModuleOp>());
  DenseMap<Value, int> storageOf;
  auto add = [&](Storage::Kind kind, Value value, int producer, unsigned index) {
    int id = graph.storages.size();
    graph.storages.push_back({kind, value, byteSize(value.getType()), producer, index, false});
    storageOf[value] = id;
    return id;
  };
  for (BlockArgument argument : function.getArguments())
    graph.arguments.push_back(add(Storage::Kind::Argument, argument, -1, argument.getArgNumber()));
  for (Operation &op : function.getBody().front()) {
    if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
      add(Storage::Kind::Constant, constant.getResult(), -1, 0);
    } else if (auto view = dyn_cast<nn::ReshapeOp>(op)) {
      storageOf[view.getResult()] = storageOf.lookup(view.getX());
    } else if (auto call = dyn_cast<func::CallOp>(op)) {
      KernelNode node;
      node.call = call;
      node.kernel = symbols.lookup<func::FuncOp>(call.getCallee());
      node.op = cast<StringAttr>(call->getAttr(kOpAttr)).str();
      for (Attribute name : cast<ArrayAttr>(call->getAttr(kNodesAttr)))
        node.nodes.push_back(cast<StringAttr>(name).str());
      node.stage = cast<StringAttr>(call->getAttr(kStageAttr)).str();
      for (Value operand : call.getOperands())
        node.operands.push_back(storageOf.lookup(operand));
      for (auto [r, result] : llvm::enumerate(call.getResults())) {
        node.results.push_back(add(Storage::Kind::Result, result, graph.nodes.size(), r));
        node.inPlace.push_back(kernelInPlaceOperands(node.kernel, r));
      }
      node.workspaces = kernelWorkspaces(node.kernel, target);
      addCost(node);
      graph.nodes.push_back(std::move(node));
    } else if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      for (Value value : ret.getOperands()) {
        int id = storageOf.lookup(value);
        graph.results.push_back(id);
        graph.storages[id].isOutput = true;
      }
    }
  }
  return graph;
}

} // namespace gmc
