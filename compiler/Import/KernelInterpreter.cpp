//===- KernelInterpreter.cpp - runs what an op's emitKernel emits, on the host --------------------------===//
//
// The kernels are first translated to a compact form: SSA values become cells of an array, ops become instructions with
// function pointers. Then they run.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/KernelInterpreter.h"
#include "compiler/Import/InterpreterProgram.h"
#include "compiler/Import/TensorSource.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc {

//===- HostTensor ---------------------------------------------------------------------------------------===//

HostTensor HostTensor::zeros(RankedTensorType type) {
  HostTensor tensor;
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  tensor.elementType = type.getElementType();
  tensor.data.resize(type.getNumElements() * elementBytes(type.getElementType()));
  return tensor;
}

HostTensor HostTensor::from(DenseElementsAttr attr) {
  HostTensor tensor = zeros(cast<RankedTensorType>(attr.getType()));
  if (tensor.elementType.isInteger(1)) {
    for (auto [to, value] : llvm::zip(tensor.data, attr.getValues<bool>()))
      to = value;
    return tensor;
  }
  ArrayRef<char> raw = attr.getRawData();
  if (attr.isSplat())
    for (size_t at = 0; at < tensor.data.size(); at += raw.size())
      std::memcpy(tensor.data.data() + at, raw.data(), raw.size());
  else if (!tensor.data.empty())
    std::memcpy(tensor.data.data(), raw.data(), tensor.data.size());
  return tensor;
}

DenseElementsAttr HostTensor::toAttr() const {
  auto type = RankedTensorType::get(shape, elementType);
  if (elementType.isInteger(1)) {
    SmallVector<bool> values(data.begin(), data.end());
    return DenseElementsAttr::get(type, values);
  }
  // One value all over is kept once.
  size_t size = elementBytes(elementType);
  bool splat = data.size() > size;
  for (size_t at = size; splat && at < data.size(); at += size)
    splat = std::memcmp(data.data(), data.data() + at, size) == 0;
  return DenseElementsAttr::getFromRawBuffer(type, ArrayRef(data).take_front(splat ? size : data.size()));
}

//===- Running an op ------------------------------------------------------------------------------------===//

static MemRefType bufferType(Type tensor) {
  auto type = cast<RankedTensorType>(tensor);
  return MemRefType::get(type.getShape(), nn::signless(type.getElementType()));
}

FailureOr<SmallVector<HostTensor>> interpretKernel(Operation *op, ArrayRef<HostTensor> operands, int64_t maxSteps) {
  auto kernelOp = dyn_cast<KernelOpInterface>(op);
  if (!kernelOp)
    return failure();
  SmallVector<HostTensor> results;
  for (Type type : op->getResultTypes())
    results.push_back(HostTensor::zeros(cast<RankedTensorType>(type)));

  SmallVector<int64_t> workspaceBytes = kernelOp.getWorkspaceBytes(KernelTarget::Plain);
  std::vector<std::vector<char>> workspaces;
  OpBuilder b(op->getContext());
  Block block;
  b.setInsertionPointToEnd(&block);
  interpreter::Program program;
  SmallVector<Value> operandBuffers, resultBuffers, workspaceBuffers;
  for (auto [operand, tensor] : llvm::zip(op->getOperands(), operands)) {
    operandBuffers.push_back(block.addArgument(bufferType(operand.getType()), op->getLoc()));
    program.bind(operandBuffers.back(), const_cast<char *>(tensor.data.data()), /*writable=*/false);
  }
  for (auto [result, tensor] : llvm::zip(op->getResults(), results)) {
    resultBuffers.push_back(block.addArgument(bufferType(result.getType()), op->getLoc()));
    program.bind(resultBuffers.back(), tensor.data.data(), /*writable=*/true);
  }
  for (int64_t bytes : workspaceBytes) {
    workspaces.emplace_back(bytes);
    workspaceBuffers.push_back(block.addArgument(MemRefType::get({bytes}, b.getI8Type()), op->getLoc()));
    program.bind(workspaceBuffers.back(), workspaces.back().data(), /*writable=*/true);
  }
  KernelBuilder kernel(b, op->getLoc(), KernelTarget::Plain, op, operandBuffers, resultBuffers, workspaceBuffers);
  kernelOp.emitKernel(kernel);
  bool ok = succeeded(program.translate(block)) && succeeded(program.run(maxSteps));
  block.clear();
  if (!ok)
    return failure();
  return results;
}

} // namespace gmc
