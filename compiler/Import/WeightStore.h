//===- WeightStore.h - the bytes behind a model's initializers --------------------------------*- C++ -*-===//
//
// Weights live outside the IR: an imported function takes them as arguments, by name. They are read in pieces, from the
// protobuf message or with pread from external data, or made by --init.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_COMPILER_IMPORT_WEIGHTSTORE_H
#define GMC_COMPILER_IMPORT_WEIGHTSTORE_H

#include "compiler/Import/TensorSource.h"
#include "llvm/ADT/StringMap.h"
#include <vector>

namespace gmc {

enum class InitKind { Keep, Kaiming, Xavier, Normal };

/// `--init=keep|kaiming|xavier|normal:STD`
struct InitOptions {
  InitKind kind = InitKind::Keep;
  double std = 0.02; ///< of InitKind::Normal
  uint64_t seed = 0;

  static llvm::Expected<InitOptions> parse(llvm::StringRef text);
};

/// What --init fills a tensor of rank <= 1 with: ones where it is the scale of a normalization or a running variance.
enum class WeightUse { Weight, One };

struct Weight {
  TensorSource source;
  bool made = false; ///< its values come from --init, not from the file
  WeightUse use = WeightUse::Weight;
};

class WeightStore {
public:
  void add(Weight weight) {
    index[weight.source.name] = weights.size();
    weights.push_back(std::move(weight));
  }
  const std::vector<Weight> &all() const { return weights; }
  const Weight *find(llvm::StringRef name) const {
    auto it = index.find(name);
    return it == index.end() ? nullptr : &weights[it->second];
  }

  /// Reads elements [first, first + count) of weight `name` as `dataType` (a GMC_* number; float types convert into
  /// each other), little endian, row-major.
  llvm::Error read(llvm::StringRef name, int32_t dataType, uint64_t first, uint64_t count, char *to) const;
  /// All elements.
  llvm::Expected<std::vector<char>> readAll(llvm::StringRef name, int32_t dataType) const;

  InitOptions init;

private:
  std::vector<Weight> weights;
  llvm::StringMap<size_t> index;
};

/// Elements [first, first + count) of a made weight, in double precision: a function of name, shape, use and options
/// only.
///   rank >= 2    Kaiming: N(0, 2 / fan_in); Xavier: U(-a, a), a = sqrt(6 / (fan_in + fan_out)); Normal: N(0, std^2),
///                with fan_in = product of dims[1:], fan_out = dims[0] * product of dims[2:]
///   rank <= 1    scales of normalizations and running variances 1, everything else 0
/// Sources: He et al., Delving Deep into Rectifiers, 2015, eq. 10; Glorot and Bengio, 2010, eq. 16.
void makeWeights(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, WeightUse use, const InitOptions &options,
                 uint64_t first, llvm::MutableArrayRef<double> to);

} // namespace gmc

#endif
