//===- PackValidator.cpp - Is this packing valid? -------------------------===//
#include "compiler/Planning/PackValidator.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace gmc::planning {

PackCheck validatePacking(const PackProblem &problem, const PackSolution &solution) {
  const std::vector<PackBuffer> &buffers = problem.buffers;
  auto fail = [](PackVerdict verdict, std::string message) { return PackCheck{verdict, std::move(message)}; };
  if (solution.offsets.size() != buffers.size())
    return fail(PackVerdict::WrongCount, std::to_string(buffers.size()) + " buffers, " +
                                             std::to_string(solution.offsets.size()) + " offsets");
  struct Event {
    int64_t time;
    int order; // ends before starts: lifetimes are half open
    size_t buffer;
  };
  std::vector<Event> events;
  int64_t height = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const PackBuffer &b = buffers[i];
    int64_t offset = solution.offsets[i];
    if (offset < 0)
      return fail(PackVerdict::NegativeOffset,
                  "buffer " + std::to_string(b.id) + " has offset " + std::to_string(offset));
    if (b.alignment > 1 && offset % b.alignment)
      return fail(PackVerdict::Misaligned, "buffer " + std::to_string(b.id) + " at offset " + std::to_string(offset) +
                                               " is not aligned to " + std::to_string(b.alignment));
    if (b.size <= 0 || b.upper <= b.lower)
      continue;
    height = std::max(height, offset + b.size);
    events.push_back({b.lower, 1, i});
    events.push_back({b.upper, 0, i});
  }
  std::sort(events.begin(), events.end(),
            [](const Event &a, const Event &b) { return std::tie(a.time, a.order) < std::tie(b.time, b.order); });
  std::map<int64_t, size_t> live; // by offset; disjoint while no overlap was found, so neighbours are enough
  for (const Event &event : events) {
    int64_t offset = solution.offsets[event.buffer];
    if (event.order == 0) {
      live.erase(offset);
      continue;
    }
    auto clash = [&](size_t other) {
      return fail(PackVerdict::Overlap, "buffers " + std::to_string(buffers[event.buffer].id) + " and " +
                                            std::to_string(buffers[other].id) + " overlap at time " +
                                            std::to_string(event.time));
    };
    auto next = live.lower_bound(offset);
    if (next != live.end() && next->first < offset + buffers[event.buffer].size)
      return clash(next->second);
    if (next != live.begin()) {
      auto before = std::prev(next);
      if (before->first + buffers[before->second].size > offset)
        return clash(before->second);
    }
    live.emplace(offset, event.buffer);
  }
  if (height != solution.height)
    return fail(PackVerdict::WrongHeight,
                "claims height " + std::to_string(solution.height) + ", is " + std::to_string(height));
  if (problem.capacity && solution.found && height > *problem.capacity)
    return fail(PackVerdict::OverCapacity, "height " + std::to_string(height) + " over the capacity " +
                                               std::to_string(*problem.capacity));
  return {};
}

} // namespace gmc::planning
