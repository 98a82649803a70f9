#include "runtime/train/Schedule.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gmc::rt {

double Schedule::rate(int64_t step) const {
  if (step < warmup)
    return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  double span = static_cast<double>(std::max<int64_t>(1, totalSteps - warmup));
  double t = std::clamp(static_cast<double>(step - warmup) / span, 0.0, 1.0);
  switch (kind) {
  case ScheduleKind::Constant: return base;
  case ScheduleKind::Linear: return base * (1 - t);
  case ScheduleKind::Cosine: return base * (1 + std::cos(std::numbers::pi * t)) / 2;
  case ScheduleKind::Step: return base * std::pow(0.1, std::floor(std::min(3 * t, 2.0)));
  }
  return base;
}

ScheduleKind parseSchedule(const std::string &name) {
  if (name == "constant")
    return ScheduleKind::Constant;
  if (name == "cosine")
    return ScheduleKind::Cosine;
  if (name == "linear")
    return ScheduleKind::Linear;
  if (name == "step")
    return ScheduleKind::Step;
  throw usageError("--schedule=" + name + " is not known; choose constant, cosine, linear or step");
}

} // namespace gmc::rt
