//===- PackValidator.h - Is this packing valid? ------------------*- C++ -*-===//
//
// Part of gmc. Shares no code with the packer.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Planning/Packing.h"

#include <string>

namespace gmc::planning {

enum class PackVerdict {
  Valid,
  WrongCount,     ///< not one offset per buffer
  NegativeOffset, ///< an offset below zero
  Misaligned,     ///< an offset that is no multiple of its buffer's alignment
  Overlap,        ///< two buffers share an address while both live
  WrongHeight,    ///< the height claimed is not the highest end
  OverCapacity,   ///< valid but higher than the problem's capacity although `found` is set
};

struct PackCheck {
  PackVerdict verdict = PackVerdict::Valid;
  std::string message; ///< names the buffers by id; empty when valid
  explicit operator bool() const { return verdict == PackVerdict::Valid; }
};

/// Checks a solution against its problem; the first violation found is returned. O(n log n).
PackCheck validatePacking(const PackProblem &problem, const PackSolution &solution);

} // namespace gmc::planning
