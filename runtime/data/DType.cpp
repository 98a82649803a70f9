#include "runtime/data/DType.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace gmc::rt {
namespace {

struct TypeInfo {
  uint32_t id;
  uint32_t size;
  const char *safetensors, *name;
};
constexpr TypeInfo Types[] = {
    {GMC_FLOAT, 4, "F32", "float32"},  {GMC_UINT8, 1, "U8", "uint8"},      {GMC_INT8, 1, "I8", "int8"},
    {GMC_UINT16, 2, "U16", "uint16"},  {GMC_INT16, 2, "I16", "int16"},     {GMC_INT32, 4, "I32", "int32"},
    {GMC_INT64, 8, "I64", "int64"},    {GMC_BOOL, 1, "BOOL", "bool"},      {GMC_FLOAT16, 2, "F16", "float16"},
    {GMC_DOUBLE, 8, "F64", "float64"}, {GMC_UINT32, 4, "U32", "uint32"},   {GMC_UINT64, 8, "U64", "uint64"},
    {GMC_BFLOAT16, 2, "BF16", "bfloat16"}};

const TypeInfo *infoOf(uint32_t dtype) {
  for (const TypeInfo &type : Types)
    if (type.id == dtype)
      return &type;
  return nullptr;
}

/// Storage types of the 16-bit floats; arithmetic goes through float.
struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

uint32_t floatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

float bitsFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

double load(Half h) {
  uint32_t exponent = (h.bits >> 10) & 31, mantissa = h.bits & 1023;
  double sign = h.bits >> 15 ? -1.0 : 1.0;
  if (exponent == 31)
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent ? std::ldexp(1024.0 + mantissa, static_cast<int>(exponent) - 25)
                          : std::ldexp(static_cast<double>(mantissa), -24));
}
double load(BFloat b) { return bitsFloat(static_cast<uint32_t>(b.bits) << 16); }
template <typename T> T load(T value) { return value; }

void store(Half &dst, double value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  double magnitude = std::fabs(value);
  if (std::isnan(value)) {
    dst.bits = 0x7e00;
  } else if (magnitude >= 65520.0) {
    dst.bits = sign | 0x7c00;
  } else {
    int exponent;
    std::frexp(magnitude, &exponent);
    // One unit in the last place: 2^(e-11) for normals, 2^-24 below them. nearbyint rounds to nearest even.
    int ulp = std::max(exponent - 11, -24);
    auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -ulp)));
    uint32_t biased = static_cast<uint32_t>(ulp + 24);
    // units >= 1024 carries into the exponent field by itself.
    dst.bits = static_cast<uint16_t>(sign | (units >= 1024 || biased ? (biased << 10) + units : units));
  }
}
void store(BFloat &dst, double value) {
  uint32_t bits = floatBits(static_cast<float>(value));
  if (std::isnan(value))
    dst.bits = 0x7fc0;
  else
    dst.bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename T> constexpr bool IsSmallFloat = std::is_same_v<T, Half> || std::is_same_v<T, BFloat>;
template <typename T> constexpr bool IsFloat = IsSmallFloat<T> || std::is_floating_point_v<T>;

template <typename S, typename D> void convertLoop(const char *src, char *dst, size_t count, double divisor) {
  for (size_t i = 0; i < count; ++i) {
    S in;
    std::memcpy(&in, src + i * sizeof(S), sizeof(S));
    D out{};
    auto value = load(in);
    if constexpr (IsSmallFloat<D>) {
      store(out, static_cast<double>(value) / divisor);
    } else if constexpr (IsFloat<D>) {
      out = divisor == 1.0 ? static_cast<D>(value) : static_cast<D>(value) / static_cast<D>(divisor);
    } else if constexpr (!IsFloat<S>) {
      out = static_cast<D>(value);
      if (static_cast<S>(out) != in || (out < D{}) != (in < S{}))
        throw usageError("value " + std::to_string(in) + " does not fit the graph's " + std::to_string(sizeof(D) * 8) +
                         "-bit integer");
    }
    std::memcpy(dst + i * sizeof(D), &out, sizeof(D));
  }
}

template <typename F> bool dispatch(uint32_t dtype, F &&f) {
  switch (dtype) {
  case GMC_FLOAT: f(float{}); return true;
  case GMC_UINT8: f(uint8_t{}); return true;
  case GMC_BOOL: f(uint8_t{}); return true;
  case GMC_INT8: f(int8_t{}); return true;
  case GMC_UINT16: f(uint16_t{}); return true;
  case GMC_INT16: f(int16_t{}); return true;
  case GMC_INT32: f(int32_t{}); return true;
  case GMC_INT64: f(int64_t{}); return true;
  case GMC_UINT32: f(uint32_t{}); return true;
  case GMC_UINT64: f(uint64_t{}); return true;
  case GMC_DOUBLE: f(double{}); return true;
  case GMC_FLOAT16: f(Half{}); return true;
  case GMC_BFLOAT16: f(BFloat{}); return true;
  default: return false;
  }
}

} // namespace

uint64_t dtypeSize(uint32_t dtype) {
  const TypeInfo *info = infoOf(dtype);
  return info ? info->size : 0;
}

const char *safetensorsName(uint32_t dtype) {
  const TypeInfo *info = infoOf(dtype);
  return info ? info->safetensors : nullptr;
}

uint32_t dtypeOfSafetensors(std::string_view name) {
  for (const TypeInfo &type : Types)
    if (name == type.safetensors)
      return type.id;
  return 0;
}

bool isFloatType(uint32_t dtype) {
  return dtype == GMC_FLOAT || dtype == GMC_DOUBLE || dtype == GMC_FLOAT16 || dtype == GMC_BFLOAT16;
}

bool convertible(uint32_t srcType, uint32_t dstType) {
  return infoOf(srcType) && infoOf(dstType) && (!isFloatType(srcType) || isFloatType(dstType));
}

void convertElements(const void *src, uint32_t srcType, void *dst, uint32_t dstType, size_t count, bool scalePixels) {
  if (!convertible(srcType, dstType))
    throw usageError("elements of type " + dtypeName(srcType) + " cannot become " + dtypeName(dstType));
  if (srcType == dstType) {
    std::memcpy(dst, src, count * dtypeSize(srcType));
    return;
  }
  double divisor = scalePixels && srcType == GMC_UINT8 && isFloatType(dstType) ? 255.0 : 1.0;
  dispatch(srcType, [&](auto s) {
    dispatch(dstType, [&](auto d) {
      convertLoop<decltype(s), decltype(d)>(static_cast<const char *>(src), static_cast<char *>(dst), count, divisor);
    });
  });
}

std::string dtypeName(uint32_t dtype) {
  const TypeInfo *info = infoOf(dtype);
  return info ? info->name : "type " + std::to_string(dtype);
}

std::string shapeString(const int64_t *dims, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; ++i)
    text += (i ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

} // namespace gmc::rt
