//===- FormKernels.cpp - from nn ops to calls of kernels ------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Fusion/FormKernels.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/xxhash.h"
#include <list>

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_FORMKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace gmc

namespace gmc {

static void collectNames(Location loc, SmallVectorImpl<std::string> &names) {
  if (auto named = dyn_cast<NameLoc>(loc)) {
    std::string name = named.getName().str();
    if (!llvm::is_contained(names, name))
      names.push_back(name);
  } else if (auto fused = dyn_cast<FusedLoc>(loc)) {
    for (Location inner : fused.getLocations())
      collectNames(inner, names);
  } else if (auto call = dyn_cast<CallSiteLoc>(loc)) {
    collectNames(call.getCallee(), names);
  }
}

SmallVector<std::string> nodeNames(Location loc) {
  SmallVector<std::string> names;
  collectNames(loc, names);
  return names;
}

namespace {

/// A set of ops that becomes one kernel; `ops` in program order, the last one yields the results.
struct Cluster {
  llvm::SetVector<Operation *> ops;
  Operation *root() const { return ops.back(); }
};

bool isView(Operation *op) {
  auto remat = dyn_cast<RematOpInterface>(op);
  return remat && remat.isView();
}

StringRef stageOf(Operation *op) {
  return op->hasAttr(kUpdateAttr) ? "update" : op->hasAttr(kBackwardAttr) ? "backward" : "forward";
}

bool isSplatConstant(Value v) {
  auto constant = v.getDefiningOp<nn::ConstantOp>();
  if (!constant)
    return false;
  auto value = dyn_cast<DenseElementsAttr>(constant.getValue());
  return value && value.isSplat();
}

class KernelFormer {
public:
  KernelFormer(func::FuncOp function, const FormKernelsOptions &options)
      : function(function), module(function->getParentOfType<ModuleOp>()), options(options) {
    for (auto kernel : module.getOps<func::FuncOp>())
      if (kernel->hasAttr(kKernelAttr))
        known[bodyKey(kernel)] = kernel;
  }

  LogicalResult run() {
    SmallVector<Operation *> ops;
    for (Operation &op : function.getBody().front().without_terminator())
      ops.push_back(&op);
    // Consumers first: an elementwise producer joins the cluster that is its only reader.
    for (Operation *op : llvm::reverse(ops)) {
      if (isa<nn::ConstantOp>(op) || isView(op) || member.contains(op) || isTakenIn(op))
        continue;
      if (!isa<KernelOpInterface>(op))
        return op->emitOpError("has no portable kernel");
      Cluster &cluster = clusters.emplace_back();
      cluster.ops.insert(op);
      member[op] = &cluster;
      if (options.fuse && isa<ScalarOpInterface>(op))
        absorbProducers(cluster);
      else if (options.fuse)
        takeInCasts(cluster);
    }
    // A cast that another reader needs in memory, a result of the function say, is there for all of them.
    for (Cluster &cluster : clusters)
      cluster.ops.remove_if([&](Operation *op) {
        auto own = member.find(op);
        return own != member.end() && own->second != &cluster;
      });
    for (Cluster &cluster : llvm::reverse(clusters))
      emit(cluster);
    for (Operation *op : llvm::reverse(ops))
      if (op->use_empty())
        op->erase();
    return success();
  }

private:
  /// Whether every reader of `op` computes it by itself.
  bool isTakenIn(Operation *op) {
    auto it = takenIn.find(op);
    return it != takenIn.end() &&
           llvm::all_of(op->getUsers(), [&](Operation *user) { return it->second.contains(user); });
  }

  /// What computes in f32 whatever its operands are stored as extends them as it loads: a widening cast, which is
  /// exact, becomes part of each of its readers.
  void takeInCasts(Cluster &cluster) {
    Operation *root = cluster.root();
    auto precision = dyn_cast<PrecisionOpInterface>(root);
    if (!precision || precision.getPrecisionPolicy() != PrecisionPolicy::Fp32)
      return;
    llvm::SetVector<Operation *> casts;
    for (Value operand : root->getOperands()) {
      auto cast = operand.getDefiningOp<nn::CastOp>();
      if (cast && isa<FloatType>(nn::elementTypeOf(cast.getX())) &&
          byteSize(cast.getX().getType()) < byteSize(cast.getType()))
        casts.insert(cast);
    }
    cluster.ops.clear();
    for (Operation *cast : casts) {
      takenIn[cast].insert(root);
      cluster.ops.insert(cast);
    }
    cluster.ops.insert(root);
  }

  void absorbProducers(Cluster &cluster) {
    SmallVector<Operation *> work{cluster.root()};
    auto shape = cast<ShapedType>(cluster.root()->getResult(0).getType()).getShape();
    SmallVector<Operation *> members{cluster.root()};
    while (!work.empty()) {
      Operation *consumer = work.pop_back_val();
      for (Value operand : consumer->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        if (!producer || member.contains(producer) || !isa<ScalarOpInterface>(producer) ||
            cast<ShapedType>(operand.getType()).getShape() != shape ||
            stageOf(producer) != stageOf(consumer))
          continue;
        if (!llvm::all_of(producer->getUsers(), [&](Operation *user) { return llvm::is_contained(members, user); }))
          continue;
        members.push_back(producer);
        member[producer] = &cluster;
        work.push_back(producer);
      }
    }
    cluster.ops.clear();
    llvm::sort(members, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *op : members)
      cluster.ops.insert(op);
  }

  /// Which dimensions of the root's shape can be merged: neighbours that every leaf either has or broadcasts over.
  SmallVector<std::pair<size_t, size_t>> collapse(ArrayRef<int64_t> shape, ArrayRef<Value> leaves) {
    SmallVector<std::pair<size_t, size_t>> groups;
    auto signature = [&](size_t d) {
      SmallVector<bool> has;
      for (Value leaf : leaves) {
        auto leafShape = cast<ShapedType>(leaf.getType()).getShape();
        size_t skip = shape.size() - leafShape.size();
        has.push_back(d >= skip && leafShape[d - skip] == shape[d] && shape[d] != 1);
      }
      return has;
    };
    SmallVector<size_t> dims;
    for (size_t d = 0; d < shape.size(); ++d)
      if (shape[d] != 1)
        dims.push_back(d);
    for (size_t d : dims) {
      if (!groups.empty() && signature(d) == signature(groups.back().first))
        groups.back().second = d + 1;
      else
        groups.emplace_back(d, d + 1);
    }
    return groups;
  }

  /// The shape of a leaf (or of the root) after merging dimension groups.
  SmallVector<int64_t> collapsed(ArrayRef<int64_t> leaf, size_t rank, ArrayRef<std::pair<size_t, size_t>> groups) {
    SmallVector<int64_t> result;
    size_t skip = rank - leaf.size();
    bool any = false;
    for (auto [first, last] : groups) {
      int64_t size = 1;
      for (size_t d = std::max(first, skip); d < last; ++d)
        size *= leaf[d - skip];
      any |= size != 1;
      if (any || !result.empty())
        result.push_back(size);
    }
    return result;
  }

  void emit(Cluster &cluster) {
    Operation *root = cluster.root();
    OpBuilder b(root);
    // Leaves: operands from outside; splat constants are cloned inside instead.
    llvm::SetVector<Value> leaves;
    llvm::SetVector<Value> constants;
    for (Operation *op : cluster.ops)
      for (Value operand : op->getOperands()) {
        if (operand.getDefiningOp() && cluster.ops.contains(operand.getDefiningOp()))
          continue;
        (isSplatConstant(operand) ? constants : leaves).insert(operand);
      }
    bool scalar = isa<ScalarOpInterface>(root);
    auto rootShape = cast<ShapedType>(root->getResult(0).getType()).getShape();
    SmallVector<std::pair<size_t, size_t>> groups;
    if (scalar)
      groups = collapse(rootShape, leaves.getArrayRef());
    auto newType = [&](Type type) -> Type {
      auto tensor = cast<RankedTensorType>(type);
      return scalar ? tensor.clone(collapsed(tensor.getShape(), rootShape.size(), groups)) : tensor;
    };
    SmallVector<Location> locs;
    for (Operation *op : cluster.ops)
      if (scalar || op == root) // a cast that a kernel takes in has no say in its name
        locs.push_back(op->getLoc());
    Location loc = FusedLoc::get(b.getContext(), locs);

    // The kernel function.
    SmallVector<Type> argumentTypes, resultTypes;
    for (Value leaf : leaves)
      argumentTypes.push_back(newType(leaf.getType()));
    for (Type type : root->getResultTypes())
      resultTypes.push_back(newType(type));
    OpBuilder moduleBuilder = OpBuilder::atBlockEnd(module.getBody());
    Location unknown = moduleBuilder.getUnknownLoc();
    auto kernel = func::FuncOp::create(moduleBuilder, unknown, "kernel",
                                       moduleBuilder.getFunctionType(argumentTypes, resultTypes));
    kernel.setPrivate();
    kernel->setAttr(kKernelAttr, moduleBuilder.getUnitAttr());
    Block *block = kernel.addEntryBlock();
    OpBuilder kb = OpBuilder::atBlockEnd(block);
    IRMapping map;
    map.map(leaves.getArrayRef(), block->getArguments());
    for (Value constant : constants) {
      auto splat = cast<DenseElementsAttr>(constant.getDefiningOp<nn::ConstantOp>().getValue());
      if (scalar) // one number everywhere: of the result's shape, whatever dimensions it had before they were merged
        splat = splat.resizeSplat(
            RankedTensorType::get(cast<ShapedType>(resultTypes[0]).getShape(), splat.getElementType()));
      map.map(constant, nn::ConstantOp::create(kb, unknown, splat).getResult());
    }
    for (Operation *op : cluster.ops) {
      Operation *copy = kb.clone(*op, map);
      copy->removeAttr(kBackwardAttr);
      copy->removeAttr(kUpdateAttr);
      copy->walk([&](Operation *inner) { inner->setLoc(unknown); });
      if (scalar)
        copy->getResult(0).setType(
            cast<RankedTensorType>(copy->getResult(0).getType()).clone(cast<ShapedType>(resultTypes[0]).getShape()));
    }
    SmallVector<Value> yielded;
    for (Value result : root->getResults())
      yielded.push_back(map.lookup(result));
    func::ReturnOp::create(kb, unknown, yielded);
    kernel = unique(kernel, root);

    // The call.
    SmallVector<Value> operands;
    for (auto [leaf, type] : llvm::zip(leaves, argumentTypes)) {
      Value operand = leaf;
      if (operand.getType() != type)
        operand =
            b.createOrFold<nn::ReshapeOp>(loc, operand, b.getDenseI64ArrayAttr(cast<ShapedType>(type).getShape()));
      operands.push_back(operand);
    }
    auto call = func::CallOp::create(b, loc, kernel, operands);
    SmallVector<Attribute> nodes;
    for (const std::string &name : nodeNames(loc))
      nodes.push_back(b.getStringAttr(name));
    call->setAttr(kNodesAttr, b.getArrayAttr(nodes));
    call->setAttr(kOpAttr, b.getStringAttr(root->getName().getStringRef()));
    call->setAttr(kStageAttr, b.getStringAttr(stageOf(root)));
    for (auto [old, value] : llvm::zip(root->getResults(), call.getResults())) {
      Value result = value;
      if (result.getType() != old.getType())
        result =
            nn::ReshapeOp::create(b, loc, result, b.getDenseI64ArrayAttr(cast<ShapedType>(old.getType()).getShape()));
      old.replaceAllUsesWith(result);
    }
  }

  static std::string bodyKey(func::FuncOp kernel) {
    std::string key;
    llvm::raw_string_ostream stream(key);
    stream << kernel.getFunctionType();
    OpPrintingFlags flags;
    flags.printGenericOpForm().useLocalScope().elideLargeElementsAttrs(1 << 30);
    kernel.getBody().front().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op->getBlock() == &kernel.getBody().front()) {
        op->print(stream, flags);
        stream << "\n";
      }
    });
    return key;
  }

  /// The kernel of the same body that the module has already, or this one under a name of its own.
  func::FuncOp unique(func::FuncOp kernel, Operation *root) {
    std::string key = bodyKey(kernel);
    auto [it, inserted] = known.try_emplace(key, kernel);
    if (!inserted) {
      kernel.erase();
      return it->second;
    }
    std::string name =
        ("k_" + root->getName().stripDialect() + "_" + llvm::utohexstr(llvm::xxh3_64bits(key), true)).str();
    kernel.setSymName(name);
    return kernel;
  }

  func::FuncOp function;
  ModuleOp module;
  FormKernelsOptions options;
  std::list<Cluster> clusters;
  llvm::DenseMap<Operation *, Cluster *> member;
  llvm::DenseMap<Operation *, llvm::DenseSet<Operation *>> takenIn; ///< casts, and the readers that compute them
  llvm::StringMap<func::FuncOp> known;
};

} // namespace

LogicalResult formKernels(func::FuncOp function, const FormKernelsOptions &options) {
  return KernelFormer(function, options).run();
}

namespace {
struct FormKernelsPass : impl::FormKernelsPassBase<FormKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions)
      if (!function.isExternal() && !function->hasAttr(kKernelAttr) && failed(formKernels(function, {fuse})))
        return signalPassFailure();
  }
};
} // namespace

} // namespace gmc
