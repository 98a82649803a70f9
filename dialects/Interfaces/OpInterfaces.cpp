#include "dialects/Interfaces/OpInterfaces.h"

using namespace mlir;

namespace gmc {

int64_t elementBytes(Type type) {
  if (type.isIndex())
    return 8;
  return std::max<int64_t>(1, (type.getIntOrFloatBitWidth() + 7) / 8);
}

int64_t byteSize(Type type) {
  auto shaped = cast<ShapedType>(type);
  return shaped.getNumElements() * elementBytes(shaped.getElementType());
}

int64_t defaultFlops(Operation *op) {
  int64_t flops = 0;
  for (Type type : op->getResultTypes())
    flops += cast<ShapedType>(type).getNumElements();
  return flops;
}

int64_t defaultMemoryBytes(Operation *op) {
  int64_t bytes = 0;
  for (Type type : op->getOperandTypes())
    bytes += byteSize(type);
  for (Type type : op->getResultTypes())
    bytes += byteSize(type);
  return bytes;
}

} // namespace gmc

#include "dialects/Interfaces/OpInterfaces.cpp.inc"
