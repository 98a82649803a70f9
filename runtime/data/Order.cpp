#include "runtime/data/Order.h"

#include <algorithm>

namespace gmc::rt {

uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t keyOf(uint64_t a, uint64_t b, uint64_t c) {
  constexpr uint64_t Golden = 0x9e3779b97f4a7c15u;
  return mix64(mix64(mix64(a + Golden) + b + Golden) + c + Golden);
}

Permutation::Permutation(uint64_t n, uint64_t key) : n(n), key(key), halfBits(1) {
  while (halfBits < 31 && (uint64_t(1) << (2 * halfBits)) < n)
    ++halfBits;
}

uint64_t Permutation::operator()(uint64_t index) const {
  uint64_t mask = (uint64_t(1) << halfBits) - 1;
  do {
    uint64_t left = index >> halfBits, right = index & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      uint64_t mixed = left ^ (keyOf(key, round, right) & mask);
      left = right;
      right = mixed;
    }
    index = left << halfBits | right;
  } while (index >= n);
  return index;
}

Order::Order(const std::vector<int64_t> &bounds, bool shuffle, int64_t buffer, uint64_t seed, int64_t epoch)
    : groups(bounds), count(bounds.back()), shuffle(shuffle), bufferSize(shuffle ? buffer : 0),
      samples(static_cast<uint64_t>(count), keyOf(seed, static_cast<uint64_t>(epoch), 1)),
      groupOrder(bounds.size() - 1, keyOf(seed, static_cast<uint64_t>(epoch), 2)),
      random(keyOf(seed, static_cast<uint64_t>(epoch), 3)) {
  this->buffer.reserve(static_cast<size_t>(std::min(bufferSize, count)));
}

int64_t Order::sequential() {
  for (;;) {
    auto at = static_cast<size_t>(shuffle ? groupOrder(static_cast<uint64_t>(group)) : group);
    if (inGroup < groups[at + 1] - groups[at]) {
      ++taken;
      return groups[at] + inGroup++;
    }
    ++group;
    inGroup = 0;
  }
}

int64_t Order::next() {
  int64_t position = given++;
  if (!shuffle)
    return position;
  if (bufferSize == 0)
    return static_cast<int64_t>(samples(static_cast<uint64_t>(position)));
  while (taken < count && static_cast<int64_t>(buffer.size()) < bufferSize)
    buffer.push_back(sequential());
  size_t pick = random.below(buffer.size());
  int64_t index = buffer[pick];
  buffer[pick] = buffer.back();
  buffer.pop_back();
  return index;
}

} // namespace gmc::rt
