//===- Commands.h - gmc pack and gmc remat -----------------------*- C++ -*-===//
//
// Part of gmc. The two planning commands as functions, so that the driver only parses options. Exit codes: 0 done, 1
// the input or output is at fault, 3 nothing found within the capacity or budget, 4 our own validator refuses our
// result.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace gmc::planning {

/// Packs FILE.csv. Without `output` the CSV goes to `out` and the summary line to `err`; with it the CSV appears there
/// by rename and the summary goes to `out`. Nothing is written with exit 3.
int runPackCommand(const std::string &file, std::optional<int64_t> capacity, const std::optional<std::string> &output,
                   int effort, std::ostream &out, std::ostream &err);

/// Solves FILE.json within `budgetBytes`. The JSON goes to `out`, or appears at `output` by rename; with exit 3 it says
/// found false, whether that is proved, and the bound.
int runRematCommand(const std::string &file, int64_t budgetBytes, const std::optional<std::string> &output, int effort,
                    std::ostream &out, std::ostream &err);

} // namespace gmc::planning
