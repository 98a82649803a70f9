// The trainer's command line.
#ifndef GMC_TRAIN_OPTIONS_H
#define GMC_TRAIN_OPTIONS_H

#include "runtime/train/LossScale.h"
#include "runtime/train/Metadata.h"
#include "runtime/train/Schedule.h"

#include <optional>
#include <string>

namespace gmc::rt {

struct Options {
  std::string data, val, augment, checkpoint, weights, save, log, tensorboard, profile, predict;
  std::optional<int64_t> epochs, steps;
  ScheduleKind schedule = ScheduleKind::Constant;
  int64_t warmup = 0, saveEvery = 0, maxBadSamples = 0, shuffleBuffer = 0;
  std::optional<uint64_t> seed;
  unsigned workers = 1;
  bool resume = false, info = false, eval = false;
  int device = 0;
  float lossScale = LossScale::Initial;
  float hyper[GMC_HYPER_COUNT] = {}; ///< the rate in GMC_HYPER_LR is the schedule's base
};

/// Parses and checks the command line against what was compiled in. Throws Error(ExitUsage); a flag that the plan
/// holds no memory for names the compile flag. Returns nothing when the help was printed.
std::optional<Options> parseOptions(int argc, char **argv, const Metadata &metadata);

} // namespace gmc::rt

#endif
