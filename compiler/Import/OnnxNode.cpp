#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "mlir/IR/Diagnostics.h"
#include "onnx/onnx_pb.h"

using namespace mlir;

namespace gmc {

Type elementTypeFor(MLIRContext *context, int32_t dataType, bool promote) {
  auto integer = [&](unsigned width, bool isUnsigned = false) -> Type {
    return IntegerType::get(context, width, isUnsigned ? IntegerType::Unsigned : IntegerType::Signless);
  };
  switch (dataType) {
  case GMC_FLOAT:
    return promote ? Type(Float64Type::get(context)) : Type(Float32Type::get(context));
  case GMC_DOUBLE:
    return Float64Type::get(context);
  case GMC_FLOAT16:
    return Float16Type::get(context);
  case GMC_BFLOAT16:
    return BFloat16Type::get(context);
  case GMC_BOOL:
    return integer(1);
  case GMC_INT8:
    return integer(8);
  case GMC_INT16:
    return integer(16);
  case GMC_INT32:
    return integer(32);
  case GMC_INT64:
    return integer(64);
  case GMC_UINT8:
    return integer(8, true);
  case GMC_UINT16:
    return integer(16, true);
  case GMC_UINT32:
    return integer(32, true);
  case GMC_UINT64:
    return integer(64, true);
  default:
    return {};
  }
}

int32_t dataTypeOf(Type type) {
  if (type.isF32())
    return GMC_FLOAT;
  if (type.isF64())
    return GMC_DOUBLE;
  if (type.isF16())
    return GMC_FLOAT16;
  if (type.isBF16())
    return GMC_BFLOAT16;
  bool isUnsigned = type.isUnsignedInteger();
  switch (type.getIntOrFloatBitWidth()) {
  case 1:
    return GMC_BOOL;
  case 8:
    return isUnsigned ? GMC_UINT8 : GMC_INT8;
  case 16:
    return isUnsigned ? GMC_UINT16 : GMC_INT16;
  case 32:
    return isUnsigned ? GMC_UINT32 : GMC_INT32;
  default:
    return isUnsigned ? GMC_UINT64 : GMC_INT64;
  }
}

llvm::Expected<DenseElementsAttr> readDense(const TensorSource &source, MLIRContext *context, bool promote) {
  std::vector<char> data(source.bytes());
  if (llvm::Error error = source.read(0, source.elements, data.data()))
    return std::move(error);
  auto type = RankedTensorType::get(source.dims, elementTypeFor(context, source.dataType, promote));
  if (source.dataType == GMC_BOOL) {
    SmallVector<bool> values(data.size());
    for (size_t i = 0; i < data.size(); ++i)
      values[i] = data[i] != 0;
    return DenseElementsAttr::get(type, values);
  }
  unsigned size = dataTypeBytes(source.dataType);
  if (source.dataType == GMC_FLOAT && promote) {
    size = 8;
    std::vector<char> wide(source.elements * 8);
    convertElements(data.data(), GMC_FLOAT, wide.data(), GMC_DOUBLE, source.elements);
    data.swap(wide);
  }
  bool splat = source.elements > 1;
  for (size_t i = size; splat && i < data.size(); i += size)
    splat = std::equal(data.begin(), data.begin() + size, data.begin() + i);
  if (splat)
    data.resize(size);
  return DenseElementsAttr::getFromRawBuffer(type, data);
}

OnnxNode::OnnxNode(OpBuilder &b, Location loc, const onnx::NodeProto &proto, StringRef name, int64_t opset,
                   ArrayRef<Value> inputs, bool promote, StringRef folder, Lookup initializerOf)
    : ImportNode(b, loc, proto.op_type(), name, opset), proto(proto), promote(promote), folder(folder),
      initializerOf(initializerOf) {
  this->inputs.assign(inputs.begin(), inputs.end());
  for (const std::string &output : proto.output())
    outputUsed.push_back(!output.empty());
}

const onnx::AttributeProto *OnnxNode::find(StringRef name) const {
  for (const auto &attribute : proto.attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

bool OnnxNode::hasAttr(StringRef name) const { return find(name); }
int64_t OnnxNode::intAttr(StringRef name, int64_t otherwise) const {
  const auto *attribute = find(name);
  return attribute ? attribute->i() : otherwise;
}
double OnnxNode::floatAttr(StringRef name, double otherwise) const {
  const auto *attribute = find(name);
  return attribute ? attribute->f() : otherwise;
}
std::string OnnxNode::stringAttr(StringRef name, StringRef otherwise) const {
  const auto *attribute = find(name);
  return attribute ? attribute->s() : otherwise.str();
}
std::optional<SmallVector<int64_t>> OnnxNode::intsAttr(StringRef name) const {
  const auto *attribute = find(name);
  if (!attribute)
    return std::nullopt;
  return SmallVector<int64_t>(attribute->ints().begin(), attribute->ints().end());
}
std::optional<SmallVector<std::string>> OnnxNode::stringsAttr(StringRef name) const {
  const auto *attribute = find(name);
  if (!attribute)
    return std::nullopt;
  return SmallVector<std::string>(attribute->strings().begin(), attribute->strings().end());
}
std::optional<SmallVector<double>> OnnxNode::floatsAttr(StringRef name) const {
  const auto *attribute = find(name);
  if (!attribute)
    return std::nullopt;
  return SmallVector<double>(attribute->floats().begin(), attribute->floats().end());
}

DenseElementsAttr OnnxNode::tensorAttr(StringRef name) const {
  const auto *attribute = find(name);
  if (!attribute || !attribute->has_t())
    return {};
  auto source = TensorSource::describe(attribute->t(), folder);
  if (!source) {
    emitError(loc) << llvm::toString(source.takeError());
    return {};
  }
  if (!onnxType(source->dataType)) {
    emitError(loc) << "attribute '" << name << "' has elements of type " << dataTypeName(source->dataType);
    return {};
  }
  auto dense = readDense(*source, b.getContext(), promote);
  if (!dense) {
    emitError(loc) << llvm::toString(dense.takeError());
    return {};
  }
  return *dense;
}

Type OnnxNode::onnxType(int64_t dataType) const {
  return elementTypeFor(b.getContext(), static_cast<int32_t>(dataType), promote);
}

DenseElementsAttr OnnxNode::constantValue(Value value) const {
  if (DenseElementsAttr attr = ImportNode::constantValue(value))
    return attr;
  return value ? initializerOf(value) : DenseElementsAttr();
}

} // namespace gmc
