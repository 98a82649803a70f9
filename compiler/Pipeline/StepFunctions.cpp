#include "compiler/Pipeline/StepFunctions.h"
#include "dialects/NN/Elementwise.h"
#include "passes/Fusion/FormKernels.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace gmc {

static constexpr StringLiteral kRole = "nn.role", kName = "nn.name";

StringRef argumentRole(func::FuncOp function, unsigned i) {
  auto role = function.getArgAttrOfType<StringAttr>(i, kRole);
  return role ? role.getValue() : StringRef();
}
StringRef argumentName(func::FuncOp function, unsigned i) {
  auto name = function.getArgAttrOfType<StringAttr>(i, kName);
  return name ? name.getValue() : StringRef();
}
static StringRef resultRole(func::FuncOp function, unsigned i) {
  auto role = function.getResultAttrOfType<StringAttr>(i, kRole);
  return role ? role.getValue() : StringRef();
}
static StringRef resultName(func::FuncOp function, unsigned i) {
  auto name = function.getResultAttrOfType<StringAttr>(i, kName);
  return name ? name.getValue() : StringRef();
}

namespace {

/// A function under construction whose arguments are found or made by role and name.
class FunctionBuilder {
public:
  FunctionBuilder(ModuleOp module, StringRef name)
      : b(OpBuilder::atBlockEnd(module.getBody())),
        function(func::FuncOp::create(b, module.getLoc(), name, b.getFunctionType({}, {}))) {
    b.setInsertionPointToEnd(function.addEntryBlock());
  }

  Value argument(StringRef role, StringRef name, Type type) {
    Block &block = function.getBody().front();
    auto [it, inserted] = index.try_emplace((role + "\n" + name).str(), block.getNumArguments());
    if (inserted) { // the function's type and attributes follow in finish(), once
      block.addArgument(type, function.getLoc());
      attributes.push_back(b.getDictionaryAttr(
          {b.getNamedAttr(kName, b.getStringAttr(name)), b.getNamedAttr(kRole, b.getStringAttr(role))}));
    }
    return block.getArgument(it->second);
  }
  /// `value` is the new contents of the argument.
  void carry(StringRef role, StringRef name, Value value) {
    Value old = argument(role, name, value.getType());
    results.push_back(value);
    carried.push_back(cast<BlockArgument>(old).getArgNumber());
  }
  Value accumulate(StringRef role, StringRef name, Value value, Location loc) {
    Value sum = nn::AddOp::create(b, loc, argument(role, name, value.getType()), value);
    carry(role, name, sum);
    return sum;
  }
  StepFunction finish() {
    func::ReturnOp::create(b, function.getLoc(), results);
    SmallVector<Type> types;
    for (Value value : results)
      types.push_back(value.getType());
    function.setFunctionType(b.getFunctionType(function.getBody().front().getArgumentTypes(), types));
    function.setAllArgAttrs(attributes);
    return {function, carried};
  }

  OpBuilder b;
  func::FuncOp function;

private:
  llvm::StringMap<unsigned> index;
  SmallVector<DictionaryAttr> attributes; ///< of the arguments
  SmallVector<Value> results;
  std::vector<int> carried;
};

/// Ops of the update in the order in which the gradients they need become available.
SmallVector<Operation *> byGradient(func::FuncOp update, const llvm::StringMap<unsigned> &position) {
  DenseMap<Value, unsigned> key;
  for (unsigned i = 0; i < update.getNumArguments(); ++i)
    key[update.getArgument(i)] =
        argumentRole(update, i) == "gradient" ? position.lookup(argumentName(update, i)) : 0;
  SmallVector<std::pair<unsigned, Operation *>> ops;
  for (Operation &op : update.getBody().front().without_terminator()) {
    unsigned latest = 0;
    for (Value operand : op.getOperands())
      latest = std::max(latest, key.lookup(operand));
    for (Value result : op.getResults())
      key[result] = latest;
    ops.emplace_back(latest, &op);
  }
  llvm::stable_sort(ops, [](auto &a, auto &b) { return a.first < b.first; });
  SmallVector<Operation *> sorted;
  for (auto &[_, op] : ops)
    sorted.push_back(op);
  return sorted;
}

/// Clones the update's ops; `gradient(name, type)` gives the gradients, arguments come from the builder.
void inlineUpdate(FunctionBuilder &out, func::FuncOp update, ArrayRef<Operation *> ops,
                  function_ref<Value(unsigned)> special) {
  IRMapping map;
  for (unsigned i = 0; i < update.getNumArguments(); ++i) {
    Value value = special(i);
    map.map(update.getArgument(i), value ? value
                                         : out.argument(argumentRole(update, i), argumentName(update, i),
                                                        update.getArgument(i).getType()));
  }
  for (Operation *op : ops)
    out.b.clone(*op, map)->setAttr(kUpdateAttr, out.b.getUnitAttr());
  auto results = update.getBody().front().getTerminator()->getOperands();
  for (auto [r, result] : llvm::enumerate(results))
    out.carry(resultRole(update, r), resultName(update, r), map.lookup(result));
}

/// Ops of @micro whose results are the same in every micro-step, in order: those that read parameters and constants
/// only.
llvm::SetVector<Operation *> invariantOps(func::FuncOp micro) {
  llvm::SetVector<Operation *> ops;
  for (Operation &op : micro.getBody().front().without_terminator())
    if (llvm::all_of(op.getOperands(), [&](Value v) {
          if (Operation *producer = v.getDefiningOp())
            return ops.contains(producer);
          StringRef role = argumentRole(micro, cast<BlockArgument>(v).getArgNumber());
          return role == "parameter" || role == "constant";
        }))
      ops.insert(&op);
  return ops;
}

/// The argument that `v` is computed from, first operand by first operand; null for a constant.
BlockArgument sourceOf(Value v) {
  while (Operation *op = v.getDefiningOp()) {
    if (op->getNumOperands() == 0)
      return {};
    v = op->getOperand(0);
  }
  return cast<BlockArgument>(v);
}

/// Whether `op` makes the low-precision copy of a parameter that the micro-steps share.
bool isSharedCopy(Operation *op, const llvm::SetVector<Operation *> &invariant) {
  auto cast = dyn_cast<nn::CastOp>(op);
  return cast && invariant.contains(op) && sourceOf(cast) && isa<FloatType>(nn::elementTypeOf(cast.getX())) &&
         byteSize(cast.getType()) < byteSize(cast.getX().getType());
}

/// Clones `v` and what it is computed from into `out`, whose arguments stand for those of `micro`.
Value cloneInvariant(FunctionBuilder &out, func::FuncOp micro, Value v, IRMapping &map) {
  if (Value known = map.lookupOrNull(v))
    return known;
  if (auto argument = dyn_cast<BlockArgument>(v)) {
    unsigned i = argument.getArgNumber();
    map.map(v, out.argument(argumentRole(micro, i), argumentName(micro, i), v.getType()));
  } else {
    for (Value operand : v.getDefiningOp()->getOperands())
      cloneInvariant(out, micro, operand, map);
    out.b.clone(*v.getDefiningOp(), map);
  }
  return map.lookup(v);
}

} // namespace

FailureOr<StepFunctions> buildStepFunctions(ModuleOp module, int64_t accumulation) {
  auto micro = module.lookupSymbol<func::FuncOp>("micro");
  auto update = module.lookupSymbol<func::FuncOp>("update");
  auto eval = module.lookupSymbol<func::FuncOp>("eval");
  if (!micro || !update || !eval)
    return module.emitError("the train phase has not run: @micro, @update and @eval are expected");
  StepFunctions step;

  FunctionBuilder body(module, "step_body");
  IRMapping map;
  // What only other outputs than the loss need is an input of evaluation alone.
  auto unusedInput = [](func::FuncOp f, unsigned i) {
    return argumentRole(f, i) == "input" && f.getArgument(i).use_empty();
  };
  for (unsigned i = eval.getNumArguments(); i-- > 0;)
    if (unusedInput(eval, i))
      (void)eval.eraseArgument(i);
  for (unsigned i = 0; i < micro.getNumArguments(); ++i)
    if (!unusedInput(micro, i))
      map.map(micro.getArgument(i),
            body.argument(argumentRole(micro, i), argumentName(micro, i), micro.getArgument(i).getType()));
  llvm::DenseMap<Operation *, unsigned> order;
  FunctionBuilder begin(module, "step_begin");
  llvm::SetVector<Operation *> invariant = invariantOps(micro);
  IRMapping once;
  llvm::StringMap<unsigned> copies;
  auto isHoisted = [&](Operation &op) { return accumulation > 1 && isSharedCopy(&op, invariant); };
  DenseSet<Operation *> repeated{micro.getBody().front().getTerminator()}; // what only a copy needs is made with it
  for (Operation &op : llvm::reverse(micro.getBody().front().without_terminator()))
    if (!isHoisted(op) && llvm::any_of(op.getUsers(), [&](Operation *user) { return repeated.contains(user); }))
      repeated.insert(&op);
  for (Operation &op : micro.getBody().front().without_terminator()) {
    order[&op] = order.size() + 1;
    if (repeated.contains(&op))
      body.b.clone(op, map);
    if (!isHoisted(op))
      continue;
    Value copy = op.getResult(0);
    std::string name = argumentName(micro, sourceOf(copy).getArgNumber()).str();
    if (unsigned again = copies[name]++)
      name += ":" + std::to_string(again);
    begin.carry("cast", name, cloneInvariant(begin, micro, copy, once));
    map.map(copy, body.argument("cast", name, copy.getType()));
  }
  struct Zero {
    std::string role, name;
    Type type;
  };
  std::vector<Zero> zeros;
  llvm::StringMap<Value> gradients;
  llvm::StringMap<unsigned> position;
  Value validCount;
  for (auto [r, old] : llvm::enumerate(micro.getBody().front().getTerminator()->getOperands())) {
    StringRef role = resultRole(micro, r), name = resultName(micro, r);
    Value value = map.lookup(old);
    if (role == "state") {
      body.carry(role, name, value);
    } else if (role == "loss_sum" || role == "valid_count") {
      Location loc = old.getLoc();
      body.accumulate(role, name, value, loc);
      zeros.push_back({role.str(), name.str(), value.getType()});
      if (role == "valid_count")
        validCount = value;
    } else if (role == "gradient") {
      gradients[name] = value;
      position[name] = old.getDefiningOp() ? order.lookup(old.getDefiningOp()) : 0;
      if (accumulation > 1) {
        Value sum = body.accumulate(role, name, value, old.getLoc());
        sum.getDefiningOp()->setAttr(kBackwardAttr, body.b.getUnitAttr());
        zeros.push_back({role.str(), name.str(), value.getType()});
      }
    } else {
      return micro.emitOpError("result ") << r << " has the unknown role '" << role << "'";
    }
  }
  if (accumulation == 1) {
    inlineUpdate(body, update, byGradient(update, position), [&](unsigned i) -> Value {
      StringRef role = argumentRole(update, i);
      if (role == "gradient") { // an update widens what it reads itself
        Value gradient = gradients.lookup(argumentName(update, i));
        auto widened = gradient.getDefiningOp<nn::CastOp>();
        bool narrower = widened && isa<FloatType>(nn::elementTypeOf(widened.getX())) &&
                        byteSize(widened.getX().getType()) < byteSize(gradient.getType());
        return narrower ? widened.getX() : gradient;
      }
      return role == "valid_count" ? validCount : Value();
    });
    for (auto &[_, gradient] : gradients)
      if (Operation *op = gradient.getDefiningOp(); isa_and_nonnull<nn::CastOp>(op) && op->use_empty())
        op->erase();
  } else {
    FunctionBuilder last(module, "step_update");
    SmallVector<Operation *> ops;
    for (Operation &op : update.getBody().front().without_terminator())
      ops.push_back(&op);
    inlineUpdate(last, update, ops, [](unsigned) { return Value(); });
    step.update = last.finish();
  }
  step.body = body.finish();

  for (const Zero &zero : zeros) {
    auto fill = nn::FusedOp::create(begin.b, module.getLoc(), zero.type, ValueRange{});
    fill->setAttr(kUpdateAttr, begin.b.getUnitAttr());
    OpBuilder::InsertionGuard guard(begin.b);
    begin.b.createBlock(&fill.getBody());
    Value none = kb::constant(begin.b, module.getLoc(), cast<ShapedType>(zero.type).getElementType(), 0);
    nn::YieldOp::create(begin.b, module.getLoc(), none);
    begin.carry(zero.role, zero.name, fill.getResult());
  }
  step.begin = begin.finish();
  step.eval = {eval, std::vector<int>(eval.getNumResults(), -1)};
  return step;
}

} // namespace gmc
