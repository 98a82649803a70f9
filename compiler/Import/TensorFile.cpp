//===- TensorFile.cpp - tensors as .npy and ONNX TensorProto files --------------------------------------===//

#include "compiler/Import/TensorFile.h"
#include "compiler/Import/Diagnostics.h"
#include "compiler/Import/TensorSource.h"
#include "gmc/Abi.h"
#include "onnx/onnx_pb.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cstring>

namespace gmc {

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (int64_t d : dims)
    count *= d;
  return count;
}

/// An integer or boolean element.
static int64_t integerAt(const char *p, int32_t type) {
  auto load = [&](auto value) {
    std::memcpy(&value, p, sizeof(value));
    return static_cast<int64_t>(value);
  };
  switch (type) {
  case GMC_INT64:
  case GMC_UINT64:
    return load(int64_t());
  case GMC_INT32:
    return load(int32_t());
  case GMC_UINT32:
    return load(uint32_t());
  case GMC_INT16:
    return load(int16_t());
  case GMC_UINT16:
    return load(uint16_t());
  case GMC_INT8:
    return load(int8_t());
  default:
    return load(uint8_t());
  }
}

double HostTensor::at(int64_t i) const {
  const char *p = data.data() + i * dataTypeBytes(dataType);
  if (!isFloatDataType(dataType))
    return dataType == GMC_UINT64 ? static_cast<double>(static_cast<uint64_t>(integerAt(p, dataType)))
                                  : static_cast<double>(integerAt(p, dataType));
  double value;
  convertElements(p, dataType, reinterpret_cast<char *>(&value), GMC_DOUBLE, 1);
  return value;
}

std::string HostTensor::describe() const {
  std::string text = dataTypeName(dataType) + "[";
  for (auto [i, d] : llvm::enumerate(dims))
    text += (i ? "x" : "") + std::to_string(d);
  return text + "]";
}

llvm::Expected<HostTensor> HostTensor::as(int32_t otherType) const {
  if (otherType == dataType)
    return *this;
  if (isFloatDataType(otherType) != isFloatDataType(dataType))
    return inputError(dataTypeName(dataType) + " elements where " + dataTypeName(otherType) + " is wanted");
  HostTensor result{otherType, dims, std::vector<char>(elements() * dataTypeBytes(otherType))};
  if (isFloatDataType(dataType)) {
    convertElements(data.data(), dataType, result.data.data(), otherType, elements());
    return result;
  }
  unsigned from = dataTypeBytes(dataType), to = dataTypeBytes(otherType);
  for (int64_t i = 0, e = elements(); i < e; ++i) {
    int64_t value = integerAt(data.data() + i * from, dataType);
    if (otherType == GMC_BOOL)
      value = value != 0;
    std::memcpy(result.data.data() + i * to, &value, to); // little endian
    if (otherType != GMC_BOOL && integerAt(result.data.data() + i * to, otherType) != value)
      return inputError("element " + llvm::Twine(value) + " does not fit " + dataTypeName(otherType));
  }
  return result;
}

//===- .npy ---------------------------------------------------------------------------------------------===//

static const std::pair<const char *, int32_t> npyTypes[] = {{"f4", GMC_FLOAT},  {"f8", GMC_DOUBLE}, {"f2", GMC_FLOAT16},
                                                            {"i8", GMC_INT64},  {"i4", GMC_INT32},  {"i2", GMC_INT16},
                                                            {"i1", GMC_INT8},   {"u8", GMC_UINT64}, {"u4", GMC_UINT32},
                                                            {"u2", GMC_UINT16}, {"u1", GMC_UINT8},  {"b1", GMC_BOOL}};

/// The text of `'key':` up to the given closing character.
static llvm::StringRef headerField(llvm::StringRef header, llvm::StringRef key) {
  size_t at = header.find(("'" + key + "':").str());
  return at == llvm::StringRef::npos ? llvm::StringRef() : header.drop_front(at + key.size() + 3).ltrim();
}

llvm::Expected<HostTensor> parseNpy(llvm::StringRef bytes) {
  if (!bytes.starts_with("\x93NUMPY") || bytes.size() < 10)
    return inputError("is no .npy file");
  unsigned major = static_cast<unsigned char>(bytes[6]), lengthBytes = major == 1 ? 2 : 4;
  if (major < 1 || major > 3 || bytes.size() < 8 + lengthBytes)
    return inputError(".npy format version " + llvm::Twine(major) + " is not supported");
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, lengthBytes);
  if (bytes.size() < 8ull + lengthBytes + length)
    return inputError("is cut off in its header");
  llvm::StringRef header = bytes.substr(8 + lengthBytes, length), body = bytes.drop_front(8 + lengthBytes + length);

  HostTensor tensor;
  llvm::StringRef descr = headerField(header, "descr").drop_front(1);
  descr = descr.take_until([](char c) { return c == '\'' || c == '"'; });
  bool bigEndian = descr.starts_with(">");
  llvm::StringRef kind = descr.ltrim("<>|=");
  const auto *type = llvm::find_if(npyTypes, [&](auto &entry) { return kind == entry.first; });
  if (type == std::end(npyTypes))
    return inputError("has elements of type '" + descr + "', which is not supported");
  tensor.dataType = type->second;
  bool fortran = headerField(header, "fortran_order").starts_with("True");
  llvm::StringRef shape = headerField(header, "shape");
  if (!shape.consume_front("("))
    return inputError("has no shape in its header");
  llvm::SmallVector<llvm::StringRef> dims;
  shape.take_until([](char c) { return c == ')'; }).split(dims, ',', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef dim : dims) {
    int64_t value;
    if (dim.trim().empty())
      continue;
    if (dim.trim().rtrim('L').getAsInteger(10, value) || value < 0)
      return inputError("has the malformed dimension '" + dim + "'");
    tensor.dims.push_back(value);
  }
  auto count = elementCount(tensor.dims);
  unsigned size = dataTypeBytes(tensor.dataType);
  if (!count || body.size() != uint64_t(*count) * size)
    return inputError("holds " + llvm::Twine(body.size()) + " bytes, its shape wants " +
                      llvm::Twine(count ? *count * size : 0));
  tensor.data.assign(body.begin(), body.end());
  if (bigEndian)
    for (int64_t i = 0; i < *count; ++i)
      std::reverse(tensor.data.begin() + i * size, tensor.data.begin() + (i + 1) * size);
  if (fortran && tensor.dims.size() > 1) {
    std::vector<char> rowMajor(tensor.data.size());
    llvm::SmallVector<int64_t> index(tensor.dims.size(), 0);
    for (int64_t to = 0; to < *count; ++to) {
      int64_t from = 0, stride = 1;
      for (size_t d = 0; d < index.size(); stride *= tensor.dims[d++])
        from += index[d] * stride;
      std::memcpy(rowMajor.data() + to * size, tensor.data.data() + from * size, size);
      for (size_t d = index.size(); d-- > 0;) {
        if (++index[d] < tensor.dims[d])
          break;
        index[d] = 0;
      }
    }
    tensor.data = std::move(rowMajor);
  }
  return tensor;
}

void writeNpy(llvm::raw_ostream &os, const HostTensor &tensor) {
  if (tensor.dataType == GMC_BFLOAT16)
    return writeNpy(os, llvm::cantFail(tensor.as(GMC_FLOAT)));
  const char *kind = llvm::find_if(npyTypes, [&](auto &entry) { return entry.second == tensor.dataType; })->first;
  bool oneByte = dataTypeBytes(tensor.dataType) == 1;
  std::string header =
      std::string("{'descr': '") + (oneByte ? "|" : "<") + kind + "', 'fortran_order': False, 'shape': (";
  for (int64_t d : tensor.dims)
    header += std::to_string(d) + (tensor.dims.size() == 1 || &d != &tensor.dims.back() ? ", " : "");
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  os << llvm::StringRef("\x93NUMPY\x01\x00", 8);
  os << static_cast<char>(header.size() & 255) << static_cast<char>(header.size() >> 8) << header;
  os.write(tensor.data.data(), tensor.data.size());
}

//===- Files --------------------------------------------------------------------------------------------===//

static llvm::Expected<HostTensor> parseProto(llvm::StringRef bytes, llvm::StringRef folder) {
  onnx::TensorProto proto;
  if (!proto.ParseFromArray(bytes.data(), bytes.size()))
    return inputError("is no serialized ONNX TensorProto");
  auto source = TensorSource::describe(proto, folder);
  if (!source)
    return source.takeError();
  if (source->kind == TensorSource::Missing)
    return inputError(source->missingReason);
  HostTensor tensor{source->dataType, source->dims, std::vector<char>(source->bytes())};
  if (auto error = source->read(0, source->elements, tensor.data.data()))
    return error;
  return tensor;
}

llvm::Expected<HostTensor> readTensorFile(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return inputError("cannot read '" + path + "': " + buffer.getError().message());
  llvm::StringRef bytes = (*buffer)->getBuffer();
  auto tensor = path.ends_with(".npy") ? parseNpy(bytes) : parseProto(bytes, llvm::sys::path::parent_path(path));
  if (!tensor)
    return inputError("'" + path + "': " + llvm::toString(tensor.takeError()));
  return tensor;
}

} // namespace gmc
