//===- FunctionRunner.cpp - a compiled function fed with tensors by role and name -----------------------===//

#include "compiler/Pipeline/FunctionRunner.h"
#include "compiler/Import/Diagnostics.h"
#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "passes/Autodiff/Training.h"
#include <cstring>

using namespace mlir;

namespace gmc {

static TensorPort port(Type type, StringRef role, StringRef name) {
  auto tensor = cast<RankedTensorType>(type);
  return {role.str(), name.str(), dataTypeOf(tensor.getElementType()), SmallVector<int64_t>(tensor.getShape())};
}

llvm::Expected<std::unique_ptr<FunctionRunner>> FunctionRunner::create(func::FuncOp function,
                                                                       const JitOptions &options) {
  function.getContext()->loadAllAvailableDialects();
  function.getContext()->getOrLoadDialect<LLVM::LLVMDialect>();
  auto program = JitProgram::compile(function, options);
  if (!program)
    return program.takeError();
  auto runner = std::make_unique<FunctionRunner>();
  runner->program = std::move(*program);
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    runner->ins.push_back(port(function.getArgumentTypes()[i], argRole(function, i), argName(function, i)));
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    runner->outs.push_back(port(function.getResultTypes()[i], resultRole(function, i), resultName(function, i)));
  return runner;
}

static std::optional<unsigned> find(const std::vector<TensorPort> &ports, StringRef role, StringRef name) {
  for (auto [i, port] : llvm::enumerate(ports))
    if (port.role == role && (name.empty() || port.name == name))
      return i;
  return std::nullopt;
}
std::optional<unsigned> FunctionRunner::findArgument(StringRef role, StringRef name) const {
  return find(ins, role, name);
}
std::optional<unsigned> FunctionRunner::findResult(StringRef role, StringRef name) const {
  return find(outs, role, name);
}

static SmallVector<int64_t> squeezed(ArrayRef<int64_t> dims) {
  return llvm::to_vector(llvm::make_filter_range(dims, [](int64_t d) { return d != 1; }));
}

llvm::Error FunctionRunner::set(unsigned i, const HostTensor &tensor) {
  const TensorPort &to = ins[i];
  HostTensor wanted{to.dataType, to.dims, {}};
  if (squeezed(tensor.dims) != squeezed(to.dims))
    return inputError("'" + to.name + "' is " + wanted.describe() + ", given is " + tensor.describe());
  auto converted = tensor.as(to.dataType);
  if (!converted)
    return inputError("'" + to.name + "' is " + wanted.describe() + ", given is " + tensor.describe() + ": " +
                      llvm::toString(converted.takeError()));
  program->setArgument(i, converted->data.data(), converted->data.size());
  return llvm::Error::success();
}

llvm::Error FunctionRunner::setWeights(const WeightStore &weights) {
  for (auto [i, to] : llvm::enumerate(ins)) {
    if (to.role != "parameter" && to.role != "constant" && to.role != "state")
      continue;
    if (!weights.find(to.name))
      continue;
    auto bytes = weights.readAll(to.name, to.dataType);
    if (!bytes)
      return bytes.takeError();
    program->setArgument(i, bytes->data(), bytes->size());
  }
  return llvm::Error::success();
}

void FunctionRunner::fill(unsigned i, ArrayRef<double> values) {
  for (auto [k, value] : llvm::enumerate(values))
    put(i, k, value);
}

HostTensor FunctionRunner::result(unsigned i) const {
  const char *data = static_cast<const char *>(program->result(i));
  return {outs[i].dataType, outs[i].dims, std::vector<char>(data, data + program->resultBytes(i))};
}

HostTensor FunctionRunner::argument(unsigned i) const {
  const char *data = static_cast<const char *>(program->argument(i));
  return {ins[i].dataType, ins[i].dims, std::vector<char>(data, data + program->argumentBytes(i))};
}

double FunctionRunner::get(unsigned i, int64_t k) const {
  const void *data = program->argument(i);
  return ins[i].dataType == GMC_DOUBLE ? static_cast<const double *>(data)[k]
                                       : static_cast<const float *>(data)[k];
}

void FunctionRunner::put(unsigned i, int64_t k, double value) {
  void *data = program->argument(i);
  switch (ins[i].dataType) {
  case GMC_DOUBLE:
    static_cast<double *>(data)[k] = value;
    break;
  case GMC_FLOAT:
    static_cast<float *>(data)[k] = static_cast<float>(value);
    break;
  case GMC_INT64:
    static_cast<int64_t *>(data)[k] = static_cast<int64_t>(value);
    break;
  case GMC_INT32:
    static_cast<int32_t *>(data)[k] = static_cast<int32_t>(value);
    break;
  default: {
    int64_t integer = static_cast<int64_t>(value);
    unsigned size = dataTypeBytes(ins[i].dataType);
    if (isFloatDataType(ins[i].dataType))
      convertElements(reinterpret_cast<const char *>(&value), GMC_DOUBLE, static_cast<char *>(data) + k * size,
                      ins[i].dataType, 1);
    else
      std::memcpy(static_cast<char *>(data) + k * size, &integer, size);
  }
  }
}

} // namespace gmc
