//===- PlanJson.h - Plans as JSON --------------------------------*- C++ -*-===//
//
// Part of gmc. Writes and reads the JSON of `gmc plan --json`; numbers in full.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Planning/Plan.h"

#include <string>
#include <vector>

namespace gmc::planning {

/// The plan as JSON text with a final newline. With `fits` false: floor, bound, peak and levers only. With `points`:
/// the frontier as well.
std::string planToJson(const Plan &plan, bool points = false);

/// Reads what planToJson writes. Returns what is wrong (all fields that are missing or of another type, by path);
/// empty: the plan was read. Whether it is a valid plan is validatePlan's question.
std::vector<std::string> planFromJson(const std::string &text, Plan &plan);

} // namespace gmc::planning
