//===- RematJson.h - Rematerialization problems as JSON ----------*- C++ -*-===//
#pragma once

#include "compiler/Planning/Remat.h"

#include <string>
#include <vector>

namespace gmc::planning {

/// Reads the JSON of `gmc remat`. Beyond what it must hold a node may have "recomputable" (false: computed once, in the
/// order of the list) and "inplace_of" (an id of deps). Returns what is wrong, all offenders; empty: the problem was
/// read and checkRematProblem finds nothing.
std::vector<std::string> rematFromJson(const std::string &text, RematProblem &problem);

/// The same JSON of a problem, so that what a compiler solves can be solved alone.
std::string rematToJson(const RematProblem &problem);

/// {"order","drop_after","cost","peak_bytes","bound"}, or {"found":false,"proved_infeasible","bound_bytes"}.
std::string rematResultToJson(const RematProblem &problem, const RematResult &result);

} // namespace gmc::planning
