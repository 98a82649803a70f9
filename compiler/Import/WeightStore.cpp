#include "compiler/Import/WeightStore.h"
#include "compiler/Import/Diagnostics.h"
#include "gmc/Abi.h"
#include "llvm/Support/xxhash.h"
#include <cmath>

namespace gmc {

llvm::Expected<InitOptions> InitOptions::parse(llvm::StringRef text) {
  InitOptions options;
  if (text == "keep")
    return options;
  if (text == "kaiming") {
    options.kind = InitKind::Kaiming;
    return options;
  }
  if (text == "xavier") {
    options.kind = InitKind::Xavier;
    return options;
  }
  if (text.consume_front("normal:")) {
    options.kind = InitKind::Normal;
    if (!text.getAsDouble(options.std) && std::isfinite(options.std) && options.std >= 0)
      return options;
    return inputError("--init=normal:STD needs a standard deviation >= 0, not '" + text + "'");
  }
  return inputError("--init takes keep, kaiming, xavier or normal:STD, not '" + text + "'");
}

/// Counter-based generator: the 64 bits of (key, counter) by the finalizer of SplitMix64 (Steele et al., 2014), twice.
static uint64_t randomBits(uint64_t key, uint64_t counter) {
  auto mix = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  };
  return mix(mix(counter + 0x9e3779b97f4a7c15ull) ^ key);
}

/// Uniform in (0, 1).
static double uniform(uint64_t key, uint64_t counter) {
  return (static_cast<double>(randomBits(key, counter) >> 11) + 0.5) * 0x1p-53;
}

void makeWeights(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, WeightUse use, const InitOptions &options,
                 uint64_t first, llvm::MutableArrayRef<double> to) {
  if (dims.size() <= 1) {
    llvm::fill(to, use == WeightUse::Weight ? 0.0 : 1.0);
    return;
  }
  uint64_t key = llvm::xxh3_64bits(name) ^ (options.seed * 0x9e3779b97f4a7c15ull);
  double fanIn = 1, receptive = 1;
  for (size_t d = 1; d < dims.size(); ++d) {
    fanIn *= static_cast<double>(dims[d]);
    receptive *= d >= 2 ? static_cast<double>(dims[d]) : 1.0;
  }
  double fanOut = static_cast<double>(dims[0]) * receptive;
  if (options.kind == InitKind::Xavier) {
    double limit = std::sqrt(6.0 / std::max(1.0, fanIn + fanOut));
    for (size_t i = 0; i < to.size(); ++i)
      to[i] = limit * (2.0 * uniform(key, first + i) - 1.0);
    return;
  }
  double deviation = options.kind == InitKind::Kaiming ? std::sqrt(2.0 / std::max(1.0, fanIn)) : options.std;
  for (size_t i = 0; i < to.size(); ++i) {
    // Box-Muller on two uniforms of the element's own: elements are independent of where reading starts.
    uint64_t counter = 2 * (first + i);
    double radius = std::sqrt(-2.0 * std::log(uniform(key, counter)));
    to[i] = deviation * radius * std::cos(2.0 * M_PI * uniform(key, counter + 1));
  }
}

llvm::Error WeightStore::read(llvm::StringRef name, int32_t dataType, uint64_t first, uint64_t count, char *to) const {
  const Weight *weight = find(name);
  if (!weight)
    return inputError("there is no weight '" + name + "'");
  const TensorSource &source = weight->source;
  if (dataType != source.dataType && !(isFloatDataType(dataType) && isFloatDataType(source.dataType)))
    return inputError("weight '" + name + "' is " + dataTypeName(source.dataType) + " and cannot be read as " +
                      dataTypeName(dataType));
  if (first > uint64_t(source.elements) || count > uint64_t(source.elements) - first)
    return inputError("weight '" + name + "' is read past its end");
  if (!weight->made && dataType == source.dataType)
    return source.read(first, count, to);
  constexpr uint64_t piece = 1 << 16;
  std::vector<char> raw;
  std::vector<double> values;
  for (uint64_t done = 0; done < count;) {
    uint64_t n = std::min(piece, count - done);
    char *target = to + done * dataTypeBytes(dataType);
    if (weight->made) {
      values.resize(n);
      makeWeights(name, source.dims, weight->use, init, first + done, values);
      convertElements(reinterpret_cast<const char *>(values.data()), GMC_DOUBLE, target, dataType, n);
    } else {
      raw.resize(n * dataTypeBytes(source.dataType));
      if (llvm::Error error = source.read(first + done, n, raw.data()))
        return error;
      convertElements(raw.data(), source.dataType, target, dataType, n);
    }
    done += n;
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<char>> WeightStore::readAll(llvm::StringRef name, int32_t dataType) const {
  const Weight *weight = find(name);
  if (!weight)
    return inputError("there is no weight '" + name + "'");
  std::vector<char> data(uint64_t(weight->source.elements) * dataTypeBytes(dataType));
  if (llvm::Error error = read(name, dataType, 0, weight->source.elements, data.data()))
    return std::move(error);
  return data;
}

} // namespace gmc
