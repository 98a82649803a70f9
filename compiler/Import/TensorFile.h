//===- TensorFile.h - tensors as .npy and ONNX TensorProto files ------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_TENSORFILE_H
#define GMC_COMPILER_IMPORT_TENSORFILE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>
#include <vector>

namespace gmc {

/// A tensor in host memory: row-major, little endian, booleans one byte.
struct HostTensor {
  int32_t dataType = 1; ///< GMC_FLOAT ...
  llvm::SmallVector<int64_t> dims;
  std::vector<char> data;

  int64_t elements() const;
  /// Element i in double precision.
  double at(int64_t i) const;
  /// The same numbers as another data type; floats round to nearest even, floats do not convert to integers or back.
  llvm::Expected<HostTensor> as(int32_t otherType) const;
  /// "float32[2x3]"
  std::string describe() const;
};

/// Reads `.npy` (format versions 1 to 3; https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), or a
/// serialized ONNX TensorProto for every other extension. Errors name the file.
llvm::Expected<HostTensor> readTensorFile(llvm::StringRef path);

/// Parses the bytes of a .npy file. Both byte orders, both element orders.
llvm::Expected<HostTensor> parseNpy(llvm::StringRef bytes);

/// Writes .npy, version 1.0. bfloat16 has no type there: it is written as float32.
void writeNpy(llvm::raw_ostream &os, const HostTensor &tensor);

} // namespace gmc

#endif
