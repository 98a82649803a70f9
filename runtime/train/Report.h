// What the trainer says while it runs: progress on the terminal, --log, --tensorboard.
#ifndef GMC_TRAIN_REPORT_H
#define GMC_TRAIN_REPORT_H

#include "gmc/Device.h"
#include "runtime/train/EventFile.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace gmc::rt {

struct StepReport {
  int64_t step, epoch; ///< both counted from 1
  double loss, lr, stepMs, waitMs, samplesPerSecond;
  std::optional<double> lossScale{}; ///< after the step, where the loss is scaled
  bool skipped = false;              ///< a gradient overflowed: the step changed nothing
};

class Report {
public:
  /// `append`: the log continues an earlier run's. Throws Error(ExitIo).
  Report(const std::string &log, const std::string &tensorboard, bool append);
  ~Report();

  /// The run's length, for the time left.
  void setTotal(int64_t steps, int64_t stepsPerEpoch);
  void step(const StepReport &report);
  void eval(int64_t step, double loss, std::optional<double> accuracy);
  void memory(const MemoryReport &report);
  void end(const std::string &reason);

  /// A line of text, between progress lines.
  void line(const std::string &text);
  /// Likewise on stderr.
  void warn(const std::string &text);

private:
  void log(const std::string &json);
  void clearProgress();

  std::FILE *logFile = nullptr;
  std::string logPath;
  std::unique_ptr<EventFile> events;
  int64_t totalSteps = 0, stepsPerEpoch = 0;
  bool tty, progressShown = false;
  double smoothMs = 0;
  std::chrono::steady_clock::time_point lastShown{};
};

/// The shortest decimal that reads back as `value`; null for what JSON has no number for.
std::string jsonNumber(double value);

} // namespace gmc::rt

#endif
