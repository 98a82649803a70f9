// The loss scale of fp16 training, as the trainer sees it: the device moves it, the trainer starts and reports it.
#ifndef GMC_TRAIN_LOSSSCALE_H
#define GMC_TRAIN_LOSSSCALE_H

#include "runtime/train/Executor.h"

namespace gmc::rt {

class LossScale {
public:
  static constexpr float Initial = 65536, Interval = 2000;

  explicit LossScale(Executor &executor);

  /// Whether this trainer scales its loss.
  bool active() const { return scale != nullptr; }
  /// Before the first step of this process: sets the scale to `initial` unless a checkpoint brought one.
  void start(bool resumed, float initial);
  /// After a step, whose sums have been read: whether the device skipped it because a gradient overflowed.
  bool skipped();
  /// Whether that was at the smallest scale: it cannot halve again.
  bool exhausted() const { return hopeless; }
  double value() const { return current; }

private:
  Executor &executor;
  const GmcTensor *scale = nullptr, *stepCount = nullptr;
  double current = 0, applied = 0;
  bool hopeless = false;
};

} // namespace gmc::rt

#endif
