// Learning rate schedules.
#ifndef GMC_TRAIN_SCHEDULE_H
#define GMC_TRAIN_SCHEDULE_H

#include <cstdint>
#include <string>

namespace gmc::rt {

enum class ScheduleKind { Constant, Cosine, Linear, Step };

struct Schedule {
  ScheduleKind kind = ScheduleKind::Constant;
  double base = 1e-3;      ///< the rate after warm-up
  int64_t warmup = 0;      ///< optimizer steps of linear warm-up: step s < warmup has base * (s + 1) / warmup
  int64_t totalSteps = 0;  ///< of the run, warm-up included

  /// The rate of step `step`, counted from 0. With t = (step - warmup) / (totalSteps - warmup) in [0, 1]:
  /// constant base; linear base * (1 - t); cosine base * (1 + cos(pi t)) / 2 (Loshchilov, Hutter: SGDR, 2017, eq. 5,
  /// one cycle down to 0); step base * 0.1^floor(3 t), that is /10 after one third and again after two thirds.
  double rate(int64_t step) const;
};

/// Parses constant|cosine|linear|step; throws Error(ExitUsage).
ScheduleKind parseSchedule(const std::string &name);

} // namespace gmc::rt

#endif
