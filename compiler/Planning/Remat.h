//===- Remat.h - Rematerialization and order under a memory budget -*- C++ -*-===//
//
// Part of gmc. Which values to keep, which to compute again, and in which order, so that memory never exceeds a budget
// at the least cost. Problem, solution and solver; the validator is RematValidator.h.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gmc::planning {

/// A value and the computation that makes it. While it is computed, its dependencies, itself and its workspace are
/// live.
struct RematNode {
  int64_t id = 0;   ///< as in the JSON; everything else refers to nodes by their index
  std::string name;
  double cost = 0;  ///< of computing it once
  int64_t size = 0; ///< bytes of the value; 0 for nodes that only have an effect
  int64_t workspace = 0;
  std::vector<int32_t> deps; ///< indexes of nodes, without repeats
  /// False: computed exactly once, and in the order of the indexes among all such nodes (updates of state, gradient
  /// accumulation, side effects).
  bool recomputable = true;
  /// A dependency whose storage the value takes over when that dependency is dropped right after this node: then only
  /// the bytes by which the value is larger are added while it is computed. -1: none.
  int32_t inplaceOf = -1;
};

struct RematProblem {
  std::vector<RematNode> nodes;
  std::vector<int32_t> keep; ///< indexes of nodes that are live at the end
  int64_t fixedBytes = 0;    ///< live all the time
};

/// A schedule: nodes in the order in which they are computed, repeats allowed, and what is dropped after each.
struct RematSchedule {
  std::vector<int32_t> order;
  std::vector<std::vector<int32_t>> dropAfter;
  double cost = 0;  ///< sum over order
  int64_t peak = 0; ///< bytes, fixedBytes included
};

struct RematResult : RematSchedule {
  bool found = false;
  double bound = 0;            ///< proved lower bound of the cost within the budget
  int64_t boundBytes = 0;      ///< proved lower bound of any schedule's peak
  bool provedInfeasible = false;
};

/// What is wrong with a problem: all offenders, one sentence each. Empty: nothing. The solvers need a problem without.
std::vector<std::string> checkRematProblem(const RematProblem &problem);

/// A lower bound of every schedule's peak: some node with its dependencies, or what is kept.
int64_t rematBoundBytes(const RematProblem &problem);

/// Finds a cheap schedule with peak <= budget. Deterministic; `effort` 1..5 scales the work. Up to 128 nodes: a beam
/// search over (computed, live) states guided by the cost that is certainly still to come. Beyond, and to improve
/// either: eviction at the peak by bytes per recomputation cost, then removal and exchange of recomputations.
RematResult solveRemat(const RematProblem &problem, int64_t budgetBytes, int effort = 2);

/// The smallest budget found that has a schedule, with that schedule (peak == that budget).
RematResult rematFloor(const RematProblem &problem, int effort = 2);

/// Schedules from the one without recomputation down to the floor, by strictly falling peak and strictly rising cost.
/// The cheapest for a budget is the first whose peak fits, so that a larger budget never gets a costlier schedule. At
/// most `points` entries, or as many as differ. `orders`: those of the frontier of a problem that differs in sizes and
/// costs only, to start from instead of from nothing; used for problems beyond the beam search.
std::vector<RematSchedule> rematFrontier(const RematProblem &problem, int points = 16, int effort = 2,
                                         const std::vector<std::vector<int32_t>> &orders = {});

/// Bytes at the peak of computing the nodes in this order, every value dropped after its last use.
int64_t peakOf(const RematProblem &problem, const std::vector<int32_t> &order);

} // namespace gmc::planning
