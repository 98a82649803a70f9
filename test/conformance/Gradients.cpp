//===- Gradients.cpp - derivatives of the conformance cases against finite differences ------------------===//

#include "dialects/NN/Loss.h"
#include "dialects/NN/NN.h"
#include "dialects/NN/Norm.h"
#include "passes/Autodiff/Autodiff.h"
#include "test/conformance/Case.h"
#include <cmath>
#include <random>

using namespace mlir;
using namespace gmc;

namespace {

using Doubles = std::vector<double>;

/// Operands that the ONNX standard declares not to be differentiable: class weights and running statistics.
bool hasNoGradient(OpOperand &use) {
  if (auto norm = dyn_cast<nn::BatchNormOp>(use.getOwner()))
    return use.get() == norm.getMean() || use.get() == norm.getVariance();
  if (auto loss = dyn_cast<nn::SoftmaxCrossEntropyOp>(use.getOwner()))
    return use.get() == loss.getWeights();
  if (auto loss = dyn_cast<nn::NllLossOp>(use.getOwner()))
    return use.get() == loss.getWeights();
  if (auto loss = dyn_cast<nn::NllRowsOp>(use.getOwner()))
    return use.get() == loss.getWeights();
  return false;
}

bool isRunningStatistic(Value value) {
  auto norm = value.getDefiningOp<nn::BatchNormOp>();
  return norm && value != norm.getResult();
}

Doubles resultOf(JitProgram &program, unsigned i) {
  Doubles values(program.resultBytes(i) / sizeof(double));
  program.getResult(i, values.data());
  return values;
}

} // namespace

void findDifferentiable(func::FuncOp forward, Type element, SmallVectorImpl<unsigned> &inputs,
                        SmallVectorImpl<unsigned> &outputs) {
  auto counts = [&](Type type) {
    auto tensor = cast<ShapedType>(type);
    return tensor.getElementType() == element && tensor.getNumElements();
  };
  for (BlockArgument argument : forward.getArguments())
    if (counts(argument.getType()) && (argument.use_empty() || !llvm::all_of(argument.getUses(), hasNoGradient)))
      inputs.push_back(argument.getArgNumber());
  for (OpOperand &result : forward.getBody().front().getTerminator()->getOpOperands())
    if (counts(result.get().getType()) && !isRunningStatistic(result.get()))
      outputs.push_back(result.getOperandNumber());
}

FailureOr<func::FuncOp> differentiate(func::FuncOp forward, ArrayRef<unsigned> inputs, ArrayRef<unsigned> outputs) {
  OpBuilder b(forward);
  auto backward = cast<func::FuncOp>(b.clone(*forward));
  backward.setName("backward");
  Block &body = backward.getBody().front();
  Operation *ret = body.getTerminator();
  SmallVector<GradientSeed> seeds;
  for (unsigned k : outputs) {
    Value of = ret->getOperand(k);
    (void)backward.insertArgument(backward.getNumArguments(), of.getType(), {}, of.getLoc());
    seeds.push_back({of, body.getArguments().back()});
  }
  SmallVector<Value> wanted;
  for (unsigned i : inputs)
    wanted.push_back(body.getArgument(i));
  b.setInsertionPoint(ret);
  auto gradients = buildGradients(b, seeds, wanted);
  if (failed(gradients))
    return failure();
  for (auto [gradient, value] : llvm::zip(*gradients, wanted))
    if (!gradient)
      gradient = nn::splat(b, value.getLoc(), nn::tensorType(value), 0.0);
  ret->setOperands(*gradients);
  eraseDeadOps(body);
  backward.setFunctionType(b.getFunctionType(backward.getArgumentTypes(), ValueRange(*gradients).getTypes()));
  backward.removeResAttrsAttr();
  return backward;
}

Outcome checkGradients(func::FuncOp forward, const llvm::StringMap<Stored> &given, const WeightStore &weights,
                       const JitOptions &jit) {
  SmallVector<unsigned> inputs, outputs;
  findDifferentiable(forward, Float64Type::get(forward.getContext()), inputs, outputs);
  if (inputs.empty() || outputs.empty())
    return {"outside", "no float input or no float output"};

  std::string diagnostics;
  ScopedDiagnosticHandler handler(forward.getContext(), [&](mlir::Diagnostic &d) {
    diagnostics += d.str() + " ";
    return success();
  });
  auto backward = differentiate(forward, inputs, outputs);
  if (failed(backward))
    return {"unsupported", diagnostics};
  auto value = JitProgram::compile(forward, jit), derivative = JitProgram::compile(*backward, jit);
  if (!value || !derivative)
    return {"error", value ? llvm::toString(derivative.takeError()) : llvm::toString(value.takeError())};

  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Doubles> at(forward.getNumArguments()), direction(at.size());
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    StringRef name = forward.getArgAttrOfType<StringAttr>(i, "nn.name").getValue();
    auto it = given.find(name);
    bool isFloat = cast<ShapedType>(forward.getArgumentTypes()[i]).getElementType().isF64();
    bool moves = llvm::is_contained(inputs, i);
    std::vector<char> bytes;
    if (it != given.end() && !isFloatDataType(it->second.source.dataType)) {
      bytes = it->second.data;
    } else if (it != given.end()) {
      bytes.resize((*value)->argumentBytes(i));
      if (isFloat)
        convertElements(it->second.data.data(), it->second.source.dataType, bytes.data(), onnx::TensorProto::DOUBLE,
                        it->second.source.elements);
      else
        bytes = it->second.data;
    } else if (const Weight *weight = weights.find(name)) {
      auto data = weights.readAll(name, isFloat ? int32_t(onnx::TensorProto::DOUBLE) : weight->source.dataType);
      if (!data)
        return {"error", llvm::toString(data.takeError())};
      bytes = std::move(*data);
    }
    if (bytes.size() != (*value)->argumentBytes(i))
      return {"error", "no value for argument " + name.str()};
    if (moves) {
      at[i].resize(bytes.size() / sizeof(double));
      memcpy(at[i].data(), bytes.data(), bytes.size());
      for (double &x : at[i]) {
        x += 1e-3 * uniform(generator) * std::max(0.1, std::abs(x));
        direction[i].push_back(uniform(generator));
      }
    } else {
      (*value)->setArgument(i, bytes.data(), bytes.size());
      (*derivative)->setArgument(i, bytes.data(), bytes.size());
    }
  }
  std::vector<Doubles> cotangents;
  for (auto [n, k] : llvm::enumerate(outputs)) {
    Doubles r((*value)->resultBytes(k) / sizeof(double));
    for (double &x : r)
      x = uniform(generator);
    (*derivative)->setArgument(forward.getNumArguments() + n, r.data(), r.size() * sizeof(double));
    cotangents.push_back(std::move(r));
  }
  auto evaluate = [&](double h) {
    for (unsigned i : inputs) {
      Doubles moved(at[i]);
      for (size_t e = 0; e < moved.size(); ++e)
        moved[e] += h * direction[i][e];
      (*value)->setArgument(i, moved.data(), moved.size() * sizeof(double));
    }
    (*value)->run();
    double sum = 0;
    for (auto [n, k] : llvm::enumerate(outputs)) {
      Doubles y = resultOf(**value, k);
      for (size_t e = 0; e < y.size(); ++e)
        sum += y[e] * cotangents[n][e];
    }
    return sum;
  };
  for (unsigned i : inputs)
    (*derivative)->setArgument(i, at[i].data(), at[i].size() * sizeof(double));
  (*derivative)->run();
  double exact = 0, scale = 0;
  for (auto [n, i] : llvm::enumerate(inputs)) {
    Doubles g = resultOf(**derivative, n);
    for (size_t e = 0; e < g.size(); ++e) {
      exact += g[e] * direction[i][e];
      scale += std::abs(g[e] * direction[i][e]);
    }
  }
  constexpr double h = 1e-6;
  double numeric = (evaluate(h) - evaluate(-h)) / (2 * h);
  if (std::abs(exact - numeric) <= 1e-5 * std::max({1.0, scale, std::abs(numeric)}) && std::isfinite(numeric))
    return {"pass", ""};
  if (!std::isfinite(numeric))
    return {"outside", "the values are not finite"};
  std::string text;
  llvm::raw_string_ostream(text) << "derivative " << exact << ", by differences " << numeric;
  return {"fail", text};
}
