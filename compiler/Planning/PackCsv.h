//===- PackCsv.h - Packing problems as CSV -----------------------*- C++ -*-===//
#pragma once

#include "compiler/Planning/Packing.h"

#include <string>
#include <vector>

namespace gmc::planning {

/// A problem as it stood in the file: ids may be any text, so they are kept beside the buffers (whose ids are row
/// numbers).
struct PackFile {
  PackProblem problem;
  std::vector<std::string> ids;
};

/// Reads `id,lower,upper,size` (columns by the header's names, in any order, further ones ignored). Returns what is
/// wrong, one sentence per offender with its line; empty: all was read.
std::vector<std::string> packFromCsv(const std::string &text, PackFile &file);

/// `id,lower,upper,size,offset` in the order of the problem.
std::string packToCsv(const PackFile &file, const PackSolution &solution);

} // namespace gmc::planning
