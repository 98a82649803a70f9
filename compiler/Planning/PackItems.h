//===- PackItems.h - Packing problems on compressed time ---------*- C++ -*-===//
//
// Part of gmc. Internal to the packer: buffers on a compressed time axis, and the placements that work on them.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace gmc::planning::detail {

/// A buffer live in time slots lo..hi, both included. A slot is the span from one start of a buffer to the next, so
/// every maximal set of buffers live together is the content of some slot.
struct PackItem {
  int32_t lo = 0, hi = 0;
  int64_t size = 0;
  int64_t alignment = 1;
};

struct PackItems {
  std::vector<PackItem> items;
  int32_t slots = 0;
};

inline int64_t alignUp(int64_t value, int64_t alignment) {
  return alignment > 1 ? (value + alignment - 1) / alignment * alignment : value;
}

/// Counts elementary operations; the unit in which effort is measured.
struct WorkBudget {
  int64_t left;
  bool spend(int64_t amount) { return (left -= amount) > 0; }
};

struct Placement {
  std::vector<int64_t> offsets;
  int64_t height = 0;
};

/// Places the items in the given order, each at its lowest free offset, or in the tightest gap that holds it. Gives up
/// (nullopt) once the height reaches `mustBeBelow` or the work is spent.
std::optional<Placement> placeInOrder(const PackItems &problem, const std::vector<int32_t> &order, bool tightestGap,
                                      int64_t mustBeBelow, WorkBudget &work);

/// Best fit over the skyline: again and again fills the lowest valley with the item of longest lifetime that lies in it
/// (Sekiyama et al., "Profile-guided memory optimization for deep neural networks", 2018).
std::optional<Placement> placeBySkyline(const PackItems &problem, bool largestFirst, int64_t mustBeBelow,
                                        WorkBudget &work);

/// Sum of the live sizes in each slot.
std::vector<int64_t> slotLoads(const PackItems &problem);

/// Branch and bound over canonical packings: offsets never decrease along a branch and every item rests on what is
/// below it. Returns a placement of at most `capacity`; nullopt with work left over means that none exists.
std::optional<Placement> searchPacking(const PackItems &problem, int64_t capacity, WorkBudget &work, bool &exhausted);

} // namespace gmc::planning::detail
