// --profile: a Chrome trace (chrome://tracing, Perfetto) of the first optimizer steps, kernel by kernel.
#ifndef GMC_TRAIN_PROFILE_H
#define GMC_TRAIN_PROFILE_H

#include "gmc/Abi.h"

#include <chrono>
#include <cstdio>
#include <string>

namespace gmc::rt {

class Profile {
public:
  /// Optimizer steps that are traced; the file would else grow without end.
  static constexpr int64_t TracedSteps = 5;

  /// Throws Error(ExitIo).
  explicit Profile(const std::string &target);
  ~Profile();
  /// Ends the file; throws Error(ExitIo) when not all of it could be written.
  void finish();

  using Clock = std::chrono::steady_clock;
  void event(const char *category, const std::string &name, const std::string &detail, Clock::time_point begin,
             Clock::time_point end);
  /// One plan step; the prediction stands beside the measured time.
  void step(const GmcStep &step, Clock::time_point begin, Clock::time_point end);

private:
  bool close();

  std::string path;
  std::FILE *file;
  Clock::time_point zero;
  bool first = true;
};

} // namespace gmc::rt

#endif
