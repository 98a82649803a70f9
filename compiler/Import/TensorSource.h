//===- TensorSource.h - the elements of an ONNX tensor, inline or in an external file ---------*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_TENSORSOURCE_H
#define GMC_COMPILER_IMPORT_TENSORSOURCE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>

namespace onnx {
class TensorProto;
}

namespace gmc {

/// Bytes of an element of an ONNX data type (TensorProto.DataType, as GMC_FLOAT... in Abi.h); 0 when unsupported.
unsigned dataTypeBytes(int32_t dataType);
/// "float32", "int64"...; "data type 17" for an unknown one.
std::string dataTypeName(int32_t dataType);
bool isFloatDataType(int32_t dataType);
/// The largest number of elements a tensor may have; shapes beyond it come from damaged files.
constexpr int64_t maxElements = int64_t(1) << 40;
/// Product of dims; nullopt when one is negative or the product is beyond maxElements.
std::optional<int64_t> elementCount(llvm::ArrayRef<int64_t> dims);

/// Converts `count` elements between two float or two integer data types (also bool), rounding to nearest even.
void convertElements(const char *from, int32_t fromType, char *to, int32_t toType, uint64_t count);

/// Where a tensor's elements are. Holds no copy: it refers to the protobuf message or to a file.
class TensorSource {
public:
  enum Kind { Inline, External, Missing };

  std::string name;
  int32_t dataType = 0;
  llvm::SmallVector<int64_t> dims;
  int64_t elements = 0;
  Kind kind = Missing;
  std::string missingReason; ///< when kind is Missing
  bool isExternal = false;   ///< the message says that its data lies in another file

  uint64_t bytes() const { return uint64_t(elements) * dataTypeBytes(dataType); }
  /// Reads elements [first, first + count) in the tensor's own data type, row-major, little endian.
  llvm::Error read(uint64_t first, uint64_t count, char *to) const;

  /// Checks shape and data against each other. External data is located in `folder`; when it is absent or too short,
  /// the result is of kind Missing. Errors: an impossible shape, data of another size, a path that leaves the folder.
  static llvm::Expected<TensorSource> describe(const onnx::TensorProto &proto, llvm::StringRef folder);

private:
  const onnx::TensorProto *proto = nullptr;
  std::string path;
  uint64_t offset = 0;
};

} // namespace gmc

#endif
