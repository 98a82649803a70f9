//===- RecurrentImport.cpp - ONNX LSTM, GRU and RNN, unrolled over the sequence -------------------------===//
//
// A recurrent operator has no nn op of its own: its steps are written out as matrix products and elementwise ops, which
// fuse, differentiate and are planned like any others. The products with the inputs are taken of all steps at once.
// What the standard leaves to run time (sequence lengths that differ) is not supported.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Matmul.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace gmc::nn {

void registerRecurrentOps(NNDialect *) {}

namespace {

/// One direction of a recurrent operator: its operands without the direction dimension.
struct Direction {
  Value inputWeights, recurrence; ///< [gates * hidden, inputs], [gates * hidden, hidden]
  Value inputBias, recurrentBias; ///< [gates * hidden], or null
  Value peepholes;                ///< [3 * hidden], or null
  Value hidden, cell;             ///< initial states [batch, hidden]
  SmallVector<std::string> activations;
  bool reverse = false;
};

/// Shapes are checked before anything is built; from then on creation cannot fail.
class Recurrent {
public:
  Recurrent(ImportNode &n, int64_t gates) : n(n), b(n.b), loc(n.loc), gates(gates) {}

  ImportNode::Results run(ArrayRef<StringRef> defaultActivations, bool hasCell);

private:
  LogicalResult check(bool hasCell);
  LogicalResult checkSequenceLengths();
  LogicalResult readActivations(ArrayRef<StringRef> defaults);
  Direction direction(int64_t d, bool hasCell);
  void stepLstm(const Direction &d, Value inputs);
  void stepGru(const Direction &d, Value inputs);
  void stepRnn(const Direction &d, Value inputs);

  Value add(Value x, Value y) { return AddOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return MulOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return SubOp::create(b, loc, x, y); }
  Value reshape(Value x, ArrayRef<int64_t> shape) {
    return shapeOf(x) == shape ? x : Value(ReshapeOp::create(b, loc, x, b.getDenseI64ArrayAttr(shape)));
  }
  /// Part d of the leading dimension, which goes.
  Value pick(Value x, int64_t d) {
    return reshape(sliceAxis(b, loc, x, 0, d, 1), shapeOf(x).drop_front());
  }
  /// Gate g of [.., gates * hidden].
  Value gate(Value x, int64_t g, int64_t count = 1) {
    return sliceAxis(b, loc, x, shapeOf(x).size() - 1, g * size, count * size);
  }
  /// x * weights^T, for the rows of `count` gates from g on.
  Value product(Value x, Value weights, int64_t g, int64_t count) {
    return matmul(b, loc, x, sliceAxis(b, loc, weights, 0, g * size, count * size), false, /*transposeB=*/true);
  }
  Value clipped(Value x);
  Value activate(StringRef name, Value x);

  ImportNode &n;
  OpBuilder &b;
  Location loc;
  int64_t gates, steps = 0, batch = 0, inputSize = 0, size = 0, directions = 1;
  bool batchFirst = false;
  SmallVector<std::string> activations; ///< of all directions
  Value hidden, cell;                   ///< running state
};

LogicalResult Recurrent::check(bool hasCell) {
  batchFirst = n.intAttr("layout", 0);
  std::string order = n.stringAttr("direction", "forward");
  if (order != "forward" && order != "reverse" && order != "bidirectional")
    return n.error("direction " + order + " is unknown");
  directions = order == "bidirectional" ? 2 : 1;
  if (!n.has(0) || !n.has(1) || !n.has(2) || n.rank(0) != 3 || n.rank(1) != 3 || n.rank(2) != 3)
    return n.error("needs X, W and R of rank 3");
  steps = n.shape(0)[batchFirst], batch = n.shape(0)[!batchFirst], inputSize = n.shape(0)[2];
  size = n.shape(2)[2];
  if (n.hasAttr("hidden_size") && n.intAttr("hidden_size", 0) != size)
    return n.error("hidden_size is " + Twine(n.intAttr("hidden_size", 0)) + ", R is made for " + Twine(size));
  if (steps < 1)
    return n.error("a sequence of no steps");
  auto expect = [&](unsigned i, ArrayRef<int64_t> shape) -> LogicalResult {
    if (!n.has(i) || n.shape(i) == shape)
      return success();
    auto text = llvm::map_range(shape, [](int64_t dim) { return std::to_string(dim); });
    return n.error("input " + Twine(i) + " needs the shape [" + llvm::join(text, ", ") + "]");
  };
  SmallVector<int64_t> state{directions, batch, size};
  if (batchFirst)
    std::swap(state[0], state[1]);
  if (failed(expect(1, {directions, gates * size, inputSize})) || failed(expect(2, {directions, gates * size, size})) ||
      failed(expect(3, {directions, 2 * gates * size})) || failed(expect(5, state)) ||
      (hasCell && (failed(expect(6, state)) || failed(expect(7, {directions, 3 * size})))))
    return failure();
  return checkSequenceLengths();
}

LogicalResult Recurrent::checkSequenceLengths() {
  if (!n.has(4))
    return success();
  auto lengths = n.constInts(4);
  if (!lengths || !llvm::all_of(*lengths, [&](int64_t length) { return length == steps; }))
    return n.error("sequence_lens other than the full length of " + Twine(steps) + " are not supported");
  return success();
}

LogicalResult Recurrent::readActivations(ArrayRef<StringRef> defaults) {
  for (int64_t d = 0; d < directions; ++d)
    for (StringRef name : defaults)
      activations.push_back(name.str());
  if (!n.hasAttr("activations"))
    return success();
  auto given = n.stringsAttr("activations");
  if (!given || given->size() != activations.size())
    return n.error("needs " + Twine(activations.size()) + " activations");
  activations.assign(given->begin(), given->end());
  for (const std::string &name : activations)
    if (!llvm::is_contained({"relu", "sigmoid", "softplus", "softsign", "tanh"}, StringRef(name).lower()))
      return n.error("activation " + name + " is not supported");
  return success();
}

Direction Recurrent::direction(int64_t d, bool hasCell) {
  Direction result;
  result.inputWeights = pick(n.in(1), d);
  result.recurrence = pick(n.in(2), d);
  if (n.has(3)) {
    Value both = pick(n.in(3), d);
    result.inputBias = sliceAxis(b, loc, both, 0, 0, gates * size);
    result.recurrentBias = sliceAxis(b, loc, both, 0, gates * size, gates * size);
  }
  auto state = [&](unsigned i) -> Value {
    if (!n.has(i))
      return splat(b, loc, RankedTensorType::get({batch, size}, n.elementType(0)), 0.0);
    return pick(batchFirst ? transpose(b, loc, n.in(i), {1, 0, 2}) : n.in(i), d);
  };
  result.hidden = state(5);
  if (hasCell) {
    result.cell = state(6);
    result.peepholes = n.has(7) ? pick(n.in(7), d) : Value();
  }
  size_t each = activations.size() / directions;
  result.activations.assign(activations.begin() + d * each, activations.begin() + (d + 1) * each);
  result.reverse = d == 1 || n.stringAttr("direction", "forward") == "reverse";
  return result;
}

Value Recurrent::clipped(Value x) {
  if (!n.hasAttr("clip"))
    return x;
  double limit = n.floatAttr("clip", 0);
  x = MaxOp::create(b, loc, x, scalarLike(b, loc, x, -limit));
  return MinOp::create(b, loc, x, scalarLike(b, loc, x, limit));
}

Value Recurrent::activate(StringRef name, Value x) {
  x = clipped(x);
  if (name.equals_insensitive("relu"))
    return ReluOp::create(b, loc, x);
  if (name.equals_insensitive("sigmoid"))
    return SigmoidOp::create(b, loc, x);
  if (name.equals_insensitive("softplus"))
    return SoftplusOp::create(b, loc, x);
  if (name.equals_insensitive("softsign"))
    return SoftsignOp::create(b, loc, x);
  return TanhOp::create(b, loc, x);
}

/// Gates in the order input, output, forget, cell; peepholes input, output, forget. Equations: ONNX LSTM.
void Recurrent::stepLstm(const Direction &d, Value inputs) {
  Value all = add(inputs, product(hidden, d.recurrence, 0, gates));
  Value input = gate(all, 0), output = gate(all, 1), forget = gate(all, 2), candidate = gate(all, 3);
  if (d.peepholes) {
    input = add(input, mul(gate(d.peepholes, 0), cell));
    forget = add(forget, mul(gate(d.peepholes, 2), cell));
  }
  input = activate(d.activations[0], input);
  bool coupled = n.intAttr("input_forget", 0);
  forget = coupled ? sub(scalarLike(b, loc, input, 1.0), input) : activate(d.activations[0], forget);
  candidate = activate(d.activations[1], candidate);
  cell = add(mul(forget, cell), mul(input, candidate));
  if (d.peepholes)
    output = add(output, mul(gate(d.peepholes, 1), cell));
  hidden = mul(activate(d.activations[0], output), activate(d.activations[2], cell));
}

/// Gates in the order update, reset, hidden. Equations: ONNX GRU.
void Recurrent::stepGru(const Direction &d, Value inputs) {
  bool linearFirst = n.intAttr("linear_before_reset", 0);
  Value update, reset, candidate;
  auto bias = [&](Value x, int64_t g, int64_t count) {
    return d.recurrentBias ? add(x, gate(d.recurrentBias, g, count)) : x;
  };
  if (linearFirst) {
    Value products = bias(product(hidden, d.recurrence, 0, gates), 0, 3);
    Value gatesBoth = add(gate(inputs, 0, 2), gate(products, 0, 2));
    update = activate(d.activations[0], gate(gatesBoth, 0));
    reset = activate(d.activations[0], gate(gatesBoth, 1));
    candidate = add(gate(inputs, 2), mul(reset, gate(products, 2)));
  } else {
    Value products = bias(product(hidden, d.recurrence, 0, 2), 0, 2);
    Value gatesBoth = add(gate(inputs, 0, 2), products);
    update = activate(d.activations[0], gate(gatesBoth, 0));
    reset = activate(d.activations[0], gate(gatesBoth, 1));
    candidate = add(gate(inputs, 2), bias(product(mul(reset, hidden), d.recurrence, 2, 1), 2, 1));
  }
  candidate = activate(d.activations[1], candidate);
  hidden = add(mul(sub(scalarLike(b, loc, update, 1.0), update), candidate), mul(update, hidden));
}

void Recurrent::stepRnn(const Direction &d, Value inputs) {
  Value recurrent = product(hidden, d.recurrence, 0, gates);
  if (d.recurrentBias)
    recurrent = add(recurrent, d.recurrentBias);
  hidden = activate(d.activations[0], add(inputs, recurrent));
}

ImportNode::Results Recurrent::run(ArrayRef<StringRef> defaultActivations, bool hasCell) {
  if (failed(check(hasCell)) || failed(readActivations(defaultActivations)))
    return failure();
  Value x = batchFirst ? transpose(b, loc, n.in(0), {1, 0, 2}) : n.in(0);
  SmallVector<Value> sequences, lastHidden, lastCell; // one a direction
  for (int64_t d = 0; d < directions; ++d) {
    Direction dir = direction(d, hasCell);
    Value inputs = product(reshape(x, {steps * batch, inputSize}), dir.inputWeights, 0, gates);
    if (dir.inputBias)
      inputs = add(inputs, dir.inputBias);
    if (dir.recurrentBias && gates == 4) // the LSTM's two biases always meet
      inputs = add(inputs, dir.recurrentBias);
    inputs = reshape(inputs, {steps, batch, gates * size});
    hidden = dir.hidden, cell = dir.cell;
    SmallVector<Value> outputs(steps);
    for (int64_t i = 0; i < steps; ++i) {
      int64_t t = dir.reverse ? steps - 1 - i : i;
      Value now = pick(inputs, t);
      if (gates == 4)
        stepLstm(dir, now);
      else if (gates == 3)
        stepGru(dir, now);
      else
        stepRnn(dir, now);
      outputs[t] = reshape(hidden, {1, 1, batch, size});
    }
    sequences.push_back(n.wants(0) ? concat(b, loc, outputs, 0) : Value());
    lastHidden.push_back(reshape(hidden, {1, batch, size}));
    if (hasCell)
      lastCell.push_back(reshape(cell, {1, batch, size}));
  }
  auto stateResult = [&](ArrayRef<Value> states) {
    Value all = concat(b, loc, states, 0);
    return batchFirst ? transpose(b, loc, all, {1, 0, 2}) : all;
  };
  SmallVector<Value> results{Value(), stateResult(lastHidden)};
  if (n.wants(0)) {
    results[0] = concat(b, loc, sequences, 1);
    if (batchFirst)
      results[0] = transpose(b, loc, results[0], {2, 0, 1, 3});
  }
  if (hasCell)
    results.push_back(stateResult(lastCell));
  return results;
}

} // namespace

void registerRecurrentImports(ImportRegistry &r) {
  r.add("LSTM", {.import =
                     [](ImportNode &n) { return Recurrent(n, 4).run({"Sigmoid", "Tanh", "Tanh"}, /*hasCell=*/true); },
                 .minOpset = 7,
                 .nonDifferentiable = {4}});
  r.add("GRU", {.import = [](ImportNode &n) { return Recurrent(n, 3).run({"Sigmoid", "Tanh"}, /*hasCell=*/false); },
                .minOpset = 7,
                .nonDifferentiable = {4}});
  r.add("RNN", {.import = [](ImportNode &n) { return Recurrent(n, 1).run({"Tanh"}, /*hasCell=*/false); },
                .minOpset = 7,
                .nonDifferentiable = {4}});
}

} // namespace gmc::nn
