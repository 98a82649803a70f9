//===- Packing.h - Offsets for buffers with known lifetimes ------*- C++ -*-===//
//
// Part of gmc. The dynamic storage allocation problem: buffers with fixed half-open lifetimes and sizes get offsets so
// that no two that live at the same time overlap. Problem, solution and solver; the validator is PackValidator.h.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace gmc::planning {

/// A buffer that is live in [lower, upper). An empty lifetime or size 0 takes no room.
struct PackBuffer {
  int64_t id = 0;
  int64_t lower = 0;
  int64_t upper = 0;     ///< exclusive
  int64_t size = 0;      ///< bytes
  int64_t alignment = 1; ///< the offset is a multiple of this
};

struct PackProblem {
  std::vector<PackBuffer> buffers;
  std::optional<int64_t> capacity; ///< stop at the first packing of at most this height
  int64_t slack = 0;               ///< without a capacity: stop at this much above the most bytes live at once
};

/// Offsets in the order of the problem's buffers.
struct PackSolution {
  std::vector<int64_t> offsets;
  int64_t height = 0;     ///< highest end of a buffer
  int64_t lowerBound = 0; ///< most bytes live at one time; no packing is lower
  bool found = false;     ///< height <= capacity (always true without a capacity)
  bool provedInfeasible = false; ///< no packing within the capacity exists
};

/// Most bytes live at one moment.
int64_t maxLive(const std::vector<PackBuffer> &buffers);

/// Packs. A portfolio of greedy orders, stopped as soon as the height reaches the max-live lower bound (or the
/// capacity); then a local search over the order; with a capacity that is still missed, a branch and bound over
/// canonical packings (Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning",
/// ASPLOS 2023). `effort` 0..5 scales the work of the searches, 0 is the greedy orders alone; results depend on problem
/// and effort only, never on time.
PackSolution pack(const PackProblem &problem, int effort = 2);

} // namespace gmc::planning
