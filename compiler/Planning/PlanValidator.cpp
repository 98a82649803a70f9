//===- PlanValidator.cpp - Is this plan valid? ----------------------------===//
#include "compiler/Planning/PlanValidator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace gmc::planning {

namespace {

class Checker {
public:
  explicit Checker(const Plan &plan) : plan(plan), n(int64_t(plan.steps.size())) {}

  std::vector<PlanViolation> run() {
    if (!plan.fits) {
      if (plan.boundBytes > plan.floorBytes)
        report(PlanReason::Bounds, "bound_bytes is above floor_bytes");
      return std::move(violations);
    }
    totals();
    loops();
    buffers();
    steps();
    lifetimes();
    addresses();
    return std::move(violations);
  }

private:
  using Id = int64_t;

  void report(PlanReason reason, std::string message) { violations.push_back({reason, std::move(message)}); }

  static std::string text(int64_t value) { return std::to_string(value); }
  static std::string what(const PlanBuffer &b) {
    return std::string(toString(b.kind)) + " " + b.name + " (buffer " + text(b.id) + ")";
  }
  static std::string what(const PlanStep &s) { return "step " + text(s.index) + " " + s.op; }
  static std::string range(int64_t first, int64_t last) { return "[" + text(first) + ", " + text(last) + "]"; }

  void totals() {
    if (plan.arenaBytes + plan.reserveBytes > plan.budgetBytes)
      report(PlanReason::OverBudget, "arena " + text(plan.arenaBytes) + " + reserve " + text(plan.reserveBytes) +
                                         " > budget " + text(plan.budgetBytes));
    if (plan.evalArenaBytes > plan.arenaBytes)
      report(PlanReason::EvalOverArena,
             "evaluation needs " + text(plan.evalArenaBytes) + " of an arena of " + text(plan.arenaBytes));
    if (plan.maxLiveBytes > plan.arenaBytes)
      report(PlanReason::OverArena,
             "max_live_bytes " + text(plan.maxLiveBytes) + " is over the arena " + text(plan.arenaBytes));
    if (plan.batch < 1 || plan.microBatch < 1 || plan.accumulation < 1 ||
        plan.microBatch * plan.accumulation < plan.batch)
      report(PlanReason::Batch, "micro_batch " + text(plan.microBatch) + " x accumulation " + text(plan.accumulation) +
                                    " does not reach the batch " + text(plan.batch));
    if (plan.boundBytes > plan.floorBytes)
      report(PlanReason::Bounds, "bound_bytes is above floor_bytes");
    if (plan.floorBytes > plan.budgetBytes)
      report(PlanReason::Bounds, "floor_bytes is above budget_bytes although the plan fits");
    if (plan.unconstrainedStepMs > plan.predictedStepMs * (1 + 1e-9) + 1e-12)
      report(PlanReason::Bounds, "the unconstrained step is slower than this one");
    std::vector<FrontierPoint> points = plan.points;
    std::sort(points.begin(), points.end(),
              [](const auto &a, const auto &b) { return a.budgetBytes < b.budgetBytes; });
    for (size_t k = 1; k < points.size(); ++k)
      if (points[k].stepMs > points[k - 1].stepMs * (1 + 1e-12))
        report(PlanReason::Frontier, "budget " + text(points[k].budgetBytes) + " is slower than budget " +
                                         text(points[k - 1].budgetBytes));
  }

  void loops() {
    int64_t runs = 0;
    for (size_t k = 0; k < plan.loops.size(); ++k) {
      const PlanLoop &loop = plan.loops[k];
      runs += loop.count;
      if (loop.first < 0 || loop.last < loop.first || loop.last >= n || loop.count < 1 ||
          (k && loop.first <= plan.loops[k - 1].last))
        report(PlanReason::LoopPlace, "loop " + text(int64_t(k)) + " " + range(loop.first, loop.last) + " x " +
                                          text(loop.count) + " is out of place");
    }
    if (runs != plan.accumulation)
      report(PlanReason::LoopCounts,
             "loops run " + text(runs) + " micro-steps, accumulation is " + text(plan.accumulation));
  }

  void buffers() {
    int64_t alignment = plan.target == PlanTarget::Host ? 64 : 256;
    for (const PlanBuffer &b : plan.buffers) {
      if (!byId.emplace(b.id, &b).second) {
        report(PlanReason::DuplicateBuffer, what(b) + ": the id is taken");
        continue;
      }
      if (b.size < 0 || b.offset < 0 || b.size > plan.arenaBytes || b.offset > plan.arenaBytes - b.size)
        report(PlanReason::BufferPlace,
               what(b) + ": offset " + text(b.offset) + " size " + text(b.size) + " is outside the arena");
      if (b.offset % alignment)
        report(PlanReason::BufferPlace,
               what(b) + ": offset " + text(b.offset) + " is no multiple of " + text(alignment));
      if (b.first < 0 || b.last < b.first || b.last >= n)
        report(PlanReason::BufferLifetime, what(b) + " lives " + range(b.first, b.last) + " of " + text(n) + " steps");
      bool resident =
          b.kind == BufferKind::Parameter || b.kind == BufferKind::Constant || b.kind == BufferKind::State;
      if (resident && b.carry != Carry::Step)
        report(PlanReason::CarryKind, what(b) + " does not survive the step");
      if (b.carry == Carry::Step && (b.first != 0 || b.last != n - 1))
        report(PlanReason::CarryLifetime,
               what(b) + " is carried between optimizer steps but lives " + range(b.first, b.last));
    }
  }

  void steps() {
    std::unordered_set<Id> written;
    std::unordered_map<Id, int64_t> updated;
    for (const PlanBuffer &b : plan.buffers)
      if (b.kind == BufferKind::Input || b.carry == Carry::Step)
        written.insert(b.id);
    double us = 0;
    std::vector<int64_t> times(plan.steps.size(), 1);
    for (const PlanLoop &loop : plan.loops)
      for (int64_t i = std::max<int64_t>(0, loop.first); i <= loop.last && i < n; ++i)
        times[i] = loop.count;
    for (int64_t k = 0; k < n; ++k) {
      const PlanStep &s = plan.steps[k];
      if (s.index != k)
        report(PlanReason::StepIndex, "step " + text(k) + " has index " + text(s.index));
      const std::pair<const char *, const std::vector<Id> *> roles[] = {
          {"reads", &s.reads}, {"writes", &s.writes}, {"uses as workspace", &s.workspace}};
      for (auto [role, ids] : roles)
        for (Id id : *ids) {
          auto it = byId.find(id);
          if (it == byId.end()) {
            report(PlanReason::UnknownBuffer, what(s) + " " + role + " unknown buffer " + text(id));
            continue;
          }
          auto [use, isNew] = uses.try_emplace(id, k, k);
          use->second.second = k;
          touched[id].push_back(k);
          if (k < it->second->first || it->second->last < k)
            report(PlanReason::UseOutsideLifetime, what(s) + " " + role + " " + what(*it->second) + ", live only " +
                                                       range(it->second->first, it->second->last));
        }
      for (Id id : s.reads) {
        auto changed = updated.find(id);
        if (changed != updated.end() && s.stage != Stage::Update)
          report(PlanReason::ReadsUpdated,
                 what(s) + " reads " + what(*byId[id]) + ", updated at step " + text(changed->second));
        if (byId.count(id) && !written.count(id))
          report(PlanReason::ReadBeforeWrite, what(s) + " reads " + what(*byId[id]) + " before anything wrote it");
      }
      written.insert(s.writes.begin(), s.writes.end());
      for (Id id : s.writes) {
        auto it = byId.find(id);
        if (it == byId.end())
          continue;
        firstWrite.try_emplace(id, k);
        if (s.stage == Stage::Update && it->second->kind == BufferKind::Parameter)
          updated[id] = k;
      }
      recomputation(s, k);
      bool nameless = s.stage == Stage::Update;
      for (const char *word : {"cast", "scale", "zero", "fill", "offload"})
        nameless |= s.op.find(word) != std::string::npos;
      if (s.nodes.empty() && !nameless)
        report(PlanReason::NoNode, what(s) + " names no ONNX node");
      if (s.flops < 0 || s.bytes < 0 || !(s.predictedUs >= 0) || !(s.recomputeUs >= 0) || std::isinf(s.predictedUs))
        report(PlanReason::NegativeCost, what(s) + ": flops, bytes and times are numbers >= 0");
      us += double(times[k]) * s.predictedUs;
    }
    if (!(std::abs(us / 1000 - plan.predictedStepMs) <= 1e-3 * std::max(plan.predictedStepMs, 1e-3)))
      report(PlanReason::StepTime, "predicted_step_ms " + std::to_string(plan.predictedStepMs) + ", the steps sum to " +
                                       std::to_string(us / 1000));
  }

  void recomputation(const PlanStep &s, int64_t k) {
    if (s.stage == Stage::Recompute && s.recomputeOf.empty())
      report(PlanReason::RecomputeOf, what(s) + " is in stage recompute but recomputes nothing");
    for (int64_t earlier : s.recomputeOf) {
      if (earlier < 0 || earlier >= k)
        report(PlanReason::RecomputeOf, what(s) + " is said to recompute step " + text(earlier));
      else if (plan.steps[earlier].stage == Stage::Recompute)
        report(PlanReason::RecomputeOf, what(s) + " names step " + text(earlier) +
                                            ", which is a recomputation itself, and not the earliest");
    }
    if ((s.recomputeUs > 0) == s.recomputeOf.empty())
      report(PlanReason::RecomputeCost, what(s) + ": recompute_us " + std::to_string(s.recomputeUs) + " with " +
                                            text(int64_t(s.recomputeOf.size())) + " steps in recompute_of");
    if (s.recomputeUs > s.predictedUs * (1 + 1e-9))
      report(PlanReason::RecomputeCost, what(s) + ": recompute_us is more than predicted_us");
  }

  /// Loops that a buffer is touched in.
  std::vector<const PlanLoop *> loopsOf(Id id) {
    std::vector<const PlanLoop *> result;
    for (int64_t k : touched[id]) {
      auto it = std::upper_bound(plan.loops.begin(), plan.loops.end(), k,
                                 [](int64_t step, const PlanLoop &loop) { return step < loop.first; });
      if (it == plan.loops.begin())
        continue;
      const PlanLoop *loop = &*std::prev(it);
      if (k <= loop->last && (result.empty() || result.back() != loop))
        result.push_back(loop);
    }
    return result;
  }

  void lifetimes() {
    for (const PlanBuffer &b : plan.buffers) {
      auto use = uses.find(b.id);
      if (use == uses.end()) {
        report(PlanReason::NeverUsed, what(b) + " is used by no step");
        continue;
      }
      std::vector<const PlanLoop *> inside = loopsOf(b.id);
      bool repeats = std::any_of(inside.begin(), inside.end(), [](const PlanLoop *l) { return l->count > 1; });
      for (const PlanLoop *loop : inside) {
        if (loop->count <= 1)
          continue;
        if (b.carry == Carry::None && (b.first < loop->first || b.last > loop->last))
          report(PlanReason::CrossesLoop, what(b) + " crosses the edge of the loop " + range(loop->first, loop->last) +
                                              ", run " + text(loop->count) + " times, and is not carried");
        if (b.carry != Carry::None && (b.first > loop->first || b.last < loop->last))
          report(PlanReason::CarryLifetime, what(b) + " is carried through the loop " +
                                                range(loop->first, loop->last) + " but not live in all of it");
      }
      auto write = firstWrite.find(b.id);
      if (b.carry == Carry::Loop && write != firstWrite.end() &&
          (b.first > write->second || b.last < use->second.second))
        report(PlanReason::CarryLifetime, what(b) + " is not live from its first writer through its last reader");
      if (b.kind == BufferKind::Input && b.carry == Carry::None)
        for (const PlanLoop *loop : inside)
          if (b.first > loop->first) {
            report(PlanReason::InputLate, what(b) + " is not live from its loop's first step");
            break;
          }
      if (b.kind == BufferKind::Gradient && b.carry == Carry::None && (inside.size() > 1 || repeats))
        report(PlanReason::GradientLost, what(b) + " does not survive between micro-steps");
    }
  }

  void addresses() {
    struct Event {
      int64_t step;
      int order; // ends first
      const PlanBuffer *buffer;
    };
    std::vector<Event> events;
    for (const auto &[id, b] : byId)
      if (b->size > 0 && b->first >= 0 && b->first <= b->last) {
        events.push_back({b->first, 1, b});
        events.push_back({b->last + 1, 0, b});
      }
    std::sort(events.begin(), events.end(), [](const Event &a, const Event &b) {
      return std::tuple(a.step, a.order, a.buffer->id) < std::tuple(b.step, b.order, b.buffer->id);
    });
    std::set<std::tuple<int64_t, int64_t, Id>> active; // offset, end, id
    int64_t live = 0, most = 0;
    std::map<int64_t, int64_t> liveAt; // step of a change: live bytes from there
    for (const Event &event : events) {
      const PlanBuffer &b = *event.buffer;
      std::tuple item{b.offset, b.offset + b.size, b.id};
      if (event.order == 0) {
        active.erase(item);
        liveAt[event.step] = live -= b.size;
        continue;
      }
      // The set stays disjoint, so neighbours are enough: what conflicts is reported and not put into it.
      bool free = true;
      auto clash = [&](const std::tuple<int64_t, int64_t, Id> &other) {
        if (std::get<0>(other) >= b.offset + b.size || b.offset >= std::get<1>(other))
          return;
        free = false;
        report(PlanReason::Overlap, "at step " + text(event.step) + " " + what(b) + " and " +
                                        what(*byId[std::get<2>(other)]) + " share addresses");
      };
      auto next = active.lower_bound(item);
      if (next != active.end())
        clash(*next);
      if (next != active.begin())
        clash(*std::prev(next));
      if (free)
        active.insert(item);
      liveAt[event.step] = live += b.size;
      most = std::max(most, live);
    }
    if (plan.maxLiveBytes != most)
      report(PlanReason::MaxLive, "max_live_bytes is " + text(plan.maxLiveBytes) + ", most live are " + text(most));
    if (plan.peak.bytes != plan.maxLiveBytes)
      report(PlanReason::Peak, "peak.bytes is not max_live_bytes");
    auto at = liveAt.upper_bound(plan.peak.step);
    int64_t there = at == liveAt.begin() ? 0 : std::prev(at)->second;
    if (there != plan.peak.bytes || plan.peak.step < 0 || plan.peak.step >= n)
      report(PlanReason::Peak, "at the peak's step " + text(plan.peak.step) + " there are " + text(there) +
                                   " bytes live, peak.bytes is " + text(plan.peak.bytes));
    int64_t listed = 0;
    std::unordered_set<Id> seen;
    for (Id id : plan.peak.buffers) {
      auto it = byId.find(id);
      if (it == byId.end() || !seen.insert(id).second || plan.peak.step < it->second->first ||
          it->second->last < plan.peak.step)
        report(PlanReason::Peak, "peak lists buffer " + text(id) + ", which is not live there or listed twice");
      else
        listed += it->second->size;
    }
    if (listed != there)
      report(PlanReason::Peak,
             "the buffers listed at the peak have " + text(listed) + " of the " + text(there) + " bytes live there");
  }

  const Plan &plan;
  int64_t n;
  std::vector<PlanViolation> violations;
  std::unordered_map<Id, const PlanBuffer *> byId;
  std::unordered_map<Id, std::pair<int64_t, int64_t>> uses; ///< first and last step that touches it
  std::unordered_map<Id, std::vector<int64_t>> touched;
  std::unordered_map<Id, int64_t> firstWrite;
};

} // namespace

std::vector<PlanViolation> validatePlan(const Plan &plan) { return Checker(plan).run(); }

} // namespace gmc::planning
