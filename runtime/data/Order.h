// The order of an epoch: a pure function of (seed, epoch), without an array of indices.
#ifndef GMC_DATA_ORDER_H
#define GMC_DATA_ORDER_H

#include <cstdint>
#include <vector>

namespace gmc::rt {

/// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): one step.
uint64_t mix64(uint64_t value);

/// Numbers of one stream, e.g. of one sample's augmentation: the i-th is mix64 of (key, i).
class Random {
public:
  explicit Random(uint64_t key) : state(key) {}
  uint64_t next() { return mix64(state += 0x9e3779b97f4a7c15u); }
  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform in [0, bound).
  uint64_t below(uint64_t bound) { return static_cast<uint64_t>((static_cast<__uint128_t>(next()) * bound) >> 64); }

private:
  uint64_t state;
};

/// A key from several numbers, each changing all bits.
uint64_t keyOf(uint64_t a, uint64_t b, uint64_t c);

/// A pseudo-random permutation of [0, n) computed element by element: a four-round Feistel network on the next even
/// power of two, walked until the value is inside (Black, Rogaway: "Ciphers with arbitrary finite domains", 2002).
class Permutation {
public:
  Permutation(uint64_t n, uint64_t key);
  uint64_t operator()(uint64_t index) const;

private:
  uint64_t n, key;
  int halfBits;
};

/// The samples of one epoch, one after the other.
class Order {
public:
  /// Every sample once. Without `shuffle` in ascending order. With `buffer` == 0, a full permutation; else groups are
  /// permuted, read through in order, and shuffled through a buffer of that many indices.
  Order(const std::vector<int64_t> &groups, bool shuffle, int64_t buffer, uint64_t seed, int64_t epoch);

  bool done() const { return given == count; }
  int64_t next();

private:
  int64_t sequential();

  std::vector<int64_t> groups;
  int64_t count, given = 0;
  bool shuffle;
  int64_t bufferSize;
  Permutation samples, groupOrder;
  Random random;
  std::vector<int64_t> buffer;
  int64_t group = 0, inGroup = 0, taken = 0;
};

} // namespace gmc::rt

#endif
