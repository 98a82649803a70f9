#include "compiler/Import/TensorSource.h"
#include "compiler/Import/Diagnostics.h"
#include "gmc/Abi.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include "onnx/onnx_pb.h"
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gmc {

unsigned dataTypeBytes(int32_t dataType) {
  switch (dataType) {
  case GMC_UINT8:
  case GMC_INT8:
  case GMC_BOOL:
    return 1;
  case GMC_UINT16:
  case GMC_INT16:
  case GMC_FLOAT16:
  case GMC_BFLOAT16:
    return 2;
  case GMC_FLOAT:
  case GMC_INT32:
  case GMC_UINT32:
    return 4;
  case GMC_INT64:
  case GMC_UINT64:
  case GMC_DOUBLE:
    return 8;
  default:
    return 0;
  }
}

std::string dataTypeName(int32_t dataType) {
  switch (dataType) {
  case GMC_FLOAT:
    return "float32";
  case GMC_UINT8:
    return "uint8";
  case GMC_INT8:
    return "int8";
  case GMC_UINT16:
    return "uint16";
  case GMC_INT16:
    return "int16";
  case GMC_INT32:
    return "int32";
  case GMC_INT64:
    return "int64";
  case 8:
    return "string";
  case GMC_BOOL:
    return "bool";
  case GMC_FLOAT16:
    return "float16";
  case GMC_DOUBLE:
    return "float64";
  case GMC_UINT32:
    return "uint32";
  case GMC_UINT64:
    return "uint64";
  case 14:
    return "complex64";
  case 15:
    return "complex128";
  case GMC_BFLOAT16:
    return "bfloat16";
  default:
    return "data type " + std::to_string(dataType);
  }
}

bool isFloatDataType(int32_t dataType) {
  return dataType == GMC_FLOAT || dataType == GMC_DOUBLE || dataType == GMC_FLOAT16 || dataType == GMC_BFLOAT16;
}

std::optional<int64_t> elementCount(llvm::ArrayRef<int64_t> dims) {
  int64_t count = 1;
  for (int64_t dim : dims) {
    if (dim < 0)
      return std::nullopt;
    // A zero anywhere makes the count zero, but the other dimensions must still be sane.
    if (dim > maxElements || (dim && count > maxElements / dim))
      return std::nullopt;
    count *= dim;
  }
  return count;
}

//===- Conversion ---------------------------------------------------------------------------------------===//

template <typename T> static T loadAs(const char *p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

static double halfToDouble(uint16_t bits, const llvm::fltSemantics &semantics) {
  llvm::APFloat value(semantics, llvm::APInt(16, bits));
  bool losesInfo;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return value.convertToDouble();
}

static uint16_t doubleToHalf(double x, const llvm::fltSemantics &semantics) {
  llvm::APFloat value(x);
  bool losesInfo;
  value.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
}

static double loadFloat(const char *p, int32_t type) {
  switch (type) {
  case GMC_FLOAT:
    return loadAs<float>(p);
  case GMC_DOUBLE:
    return loadAs<double>(p);
  case GMC_FLOAT16:
    return halfToDouble(loadAs<uint16_t>(p), llvm::APFloat::IEEEhalf());
  default:
    return halfToDouble(loadAs<uint16_t>(p), llvm::APFloat::BFloat());
  }
}

static void storeFloat(char *p, int32_t type, double x) {
  if (type == GMC_FLOAT) {
    float f = static_cast<float>(x);
    std::memcpy(p, &f, 4);
  } else if (type == GMC_DOUBLE) {
    std::memcpy(p, &x, 8);
  } else {
    uint16_t h =
        doubleToHalf(x, type == GMC_FLOAT16 ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat());
    std::memcpy(p, &h, 2);
  }
}

void convertElements(const char *from, int32_t fromType, char *to, int32_t toType, uint64_t count) {
  unsigned fromBytes = dataTypeBytes(fromType), toBytes = dataTypeBytes(toType);
  if (fromType == toType || !isFloatDataType(fromType)) {
    std::memcpy(to, from, count * std::min(fromBytes, toBytes));
    return;
  }
  for (uint64_t i = 0; i < count; ++i)
    storeFloat(to + i * toBytes, toType, loadFloat(from + i * fromBytes, fromType));
}

//===- TensorSource -------------------------------------------------------------------------------------===//

/// Elements held in the typed field that belongs to the data type.
static int64_t typedCount(const onnx::TensorProto &p) {
  switch (p.data_type()) {
  case GMC_FLOAT:
    return p.float_data_size();
  case GMC_DOUBLE:
    return p.double_data_size();
  case GMC_INT64:
    return p.int64_data_size();
  case GMC_UINT32:
  case GMC_UINT64:
    return p.uint64_data_size();
  default:
    return p.int32_data_size();
  }
}

static std::optional<uint64_t> parseUnsigned(llvm::StringRef text) {
  uint64_t value;
  if (text.getAsInteger(10, value))
    return std::nullopt;
  return value;
}

llvm::Expected<TensorSource> TensorSource::describe(const onnx::TensorProto &p, llvm::StringRef folder) {
  TensorSource t;
  t.proto = &p;
  t.name = p.name();
  t.dataType = p.data_type();
  t.dims.assign(p.dims().begin(), p.dims().end());
  auto problem = [&](const llvm::Twine &reason) { return inputError("tensor '" + t.name + "' " + reason); };
  auto count = elementCount(t.dims);
  if (!count)
    return problem("has an impossible shape; the file is damaged");
  t.elements = *count;
  if (p.has_segment())
    return problem("is stored in segments, which is not supported");
  if (p.data_location() == onnx::TensorProto_DataLocation_EXTERNAL) {
    t.isExternal = true;
    std::string location;
    std::optional<uint64_t> offset = 0, length;
    bool hasLength = false;
    for (const auto &entry : p.external_data()) {
      if (entry.key() == "location")
        location = entry.value();
      else if (entry.key() == "offset")
        offset = parseUnsigned(entry.value());
      else if (entry.key() == "length") {
        length = parseUnsigned(entry.value());
        hasLength = true;
      }
    }
    if (location.empty() || !offset || (hasLength && !length))
      return problem("has external data without a readable location, offset and length");
    if (!dataTypeBytes(t.dataType))
      return t; // Missing: reported by whoever needs it
    if (hasLength && *length != t.bytes())
      return problem("needs " + llvm::Twine(t.bytes()) + " bytes, its external data has " + llvm::Twine(*length));
    if (llvm::sys::path::is_absolute(location))
      return problem("names its external data by an absolute path, '" + location + "'; it must lie beside the model");
    int depth = 0;
    for (auto it = llvm::sys::path::begin(location), end = llvm::sys::path::end(location); it != end; ++it) {
      depth += *it == ".." ? -1 : *it == "." ? 0 : 1;
      if (depth < 0)
        return problem("names external data outside the model's folder, '" + location + "'");
    }
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, location);
    t.path = path.str().str();
    t.offset = *offset;
    struct stat info;
    if (stat(t.path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
      t.missingReason = "file '" + t.path + "' does not exist";
    } else if (t.offset > uint64_t(info.st_size) || t.bytes() > uint64_t(info.st_size) - t.offset) {
      t.missingReason = "file '" + t.path + "' ends before byte " + std::to_string(t.offset + t.bytes());
    } else {
      t.kind = External;
    }
    return t;
  }
  unsigned size = dataTypeBytes(t.dataType);
  if (!size) {
    t.missingReason = "its " + dataTypeName(t.dataType) + " elements are not supported";
    return t;
  }
  uint64_t present = p.has_raw_data() ? p.raw_data().size() : uint64_t(typedCount(p)) * size;
  if (present == t.bytes()) {
    t.kind = Inline;
  } else if (present == 0) {
    t.missingReason = "it has no data";
  } else {
    return problem("has " + llvm::Twine(present) + " bytes of data, its shape needs " + llvm::Twine(t.bytes()) +
                   "; the file is damaged");
  }
  return t;
}

/// Copies elements of a typed field, each narrowed to the tensor's element size.
template <typename T, typename Field>
static void copyTyped(const Field &field, uint64_t first, uint64_t count, char *to) {
  for (uint64_t i = 0; i < count; ++i) {
    T value = static_cast<T>(field.Get(static_cast<int>(first + i)));
    std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  }
}

llvm::Error TensorSource::read(uint64_t first, uint64_t count, char *to) const {
  unsigned size = dataTypeBytes(dataType);
  if (kind == Missing)
    return inputError("tensor '" + name + "' cannot be read: " + missingReason);
  if (first > uint64_t(elements) || count > uint64_t(elements) - first)
    return inputError("tensor '" + name + "' is read past its end");
  if (kind == External) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return inputError("cannot open '" + path + "': " + std::strerror(errno));
    uint64_t done = 0, bytes = count * size, at = offset + first * size;
    while (done < bytes) {
      ssize_t n = pread(fd, to + done, bytes - done, static_cast<off_t>(at + done));
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0) {
        std::string why = n < 0 ? std::strerror(errno) : "the file ends early";
        close(fd);
        return inputError("cannot read '" + path + "': " + why);
      }
      done += static_cast<uint64_t>(n);
    }
    close(fd);
    return llvm::Error::success();
  }
  if (count == 0)
    return llvm::Error::success();
  if (proto->has_raw_data()) {
    std::memcpy(to, proto->raw_data().data() + first * size, count * size);
    return llvm::Error::success();
  }
  switch (dataType) {
  case GMC_FLOAT:
    std::memcpy(to, proto->float_data().data() + first, count * 4);
    break;
  case GMC_DOUBLE:
    std::memcpy(to, proto->double_data().data() + first, count * 8);
    break;
  case GMC_INT64:
    std::memcpy(to, proto->int64_data().data() + first, count * 8);
    break;
  case GMC_UINT64:
    std::memcpy(to, proto->uint64_data().data() + first, count * 8);
    break;
  case GMC_UINT32:
    copyTyped<uint32_t>(proto->uint64_data(), first, count, to);
    break;
  case GMC_INT32:
    std::memcpy(to, proto->int32_data().data() + first, count * 4);
    break;
  default: // 16-bit and 8-bit types, float16 and bfloat16 as bit patterns
    if (size == 2)
      copyTyped<uint16_t>(proto->int32_data(), first, count, to);
    else
      copyTyped<uint8_t>(proto->int32_data(), first, count, to);
  }
  return llvm::Error::success();
}

} // namespace gmc
