// Element types by their ONNX number: sizes, names and conversion.
#ifndef GMC_DATA_DTYPE_H
#define GMC_DATA_DTYPE_H

#include "gmc/Abi.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gmc::rt {

/// Bytes of one element of `dtype` (GMC_FLOAT ...), 0 for an unknown one.
uint64_t dtypeSize(uint32_t dtype);

/// "F32", "I64", ...: the name in a safetensors header; null when it has none.
const char *safetensorsName(uint32_t dtype);

/// The dtype of a safetensors name, 0 when unknown.
uint32_t dtypeOfSafetensors(std::string_view name);

/// Converts `count` elements. Integers go to integers by value: throws Error(ExitUsage) naming the first value that
/// the target cannot hold. Floats go to floats rounded to nearest even; a float never goes to an integer.
/// With `scalePixels`, uint8 becomes value / 255 in a float type.
void convertElements(const void *src, uint32_t srcType, void *dst, uint32_t dstType, size_t count,
                     bool scalePixels = false);

/// Whether convertElements knows the pair.
bool convertible(uint32_t srcType, uint32_t dstType);

bool isFloatType(uint32_t dtype);

/// "float32", "int64", ...: for messages.
std::string dtypeName(uint32_t dtype);

/// "[2,3]": for messages.
std::string shapeString(const int64_t *dims, size_t rank);

} // namespace gmc::rt

#endif
