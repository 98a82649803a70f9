// Worker threads that decode ahead into a bounded ring of micro-batches. What is delivered, and in which order, does
// not depend on the number of workers.
#ifndef GMC_DATA_LOADER_H
#define GMC_DATA_LOADER_H

#include "gmc/Device.h"
#include "runtime/data/Source.h"

#include <memory>

namespace gmc::rt {

struct LoaderOptions {
  unsigned workers = 1;       ///< >= 1
  int64_t microBatch = 1;     ///< rows of a micro-batch
  int64_t microPerStep = 1;   ///< micro-batches of an optimizer step; an epoch ends with a whole step
  uint64_t seed = 0;
  bool training = false;      ///< shuffled and augmented, epoch after epoch; else one ordered pass
  int64_t shuffleBuffer = 0;  ///< 0: full permutation; else see Order
};

/// One micro-batch. Rows from `valid` on repeat others: they hold usable data and weigh nothing.
struct MicroBatch {
  std::vector<char *> tensors; ///< per slot of the graph, [microBatch, ...] contiguous
  int64_t valid = 0;
  std::vector<int64_t> samples; ///< the sample in each valid row
  std::vector<std::string> bad; ///< samples skipped, in order: "NAME: reason"
};

/// Micro-batches the ring holds: one being read by the trainer, one ready, and as many as the workers fill at once.
unsigned ringSlots(int64_t microBatch, unsigned workers);

/// Host bytes of a loader: the ring's slots of `batchBytes` = micro-batch x sample bytes (each tensor rounded up to
/// 64), and each worker's touched stack and scratch. `imageLike` adds the decoder's scratch (ImageScratchBytes).
uint64_t ringBytes(uint64_t batchBytes, int64_t microBatch, unsigned workers, bool imageLike);

/// Touched stack, buffers and bookkeeping of one worker thread (measured: see test/runtime/MemoryTest.cpp).
constexpr uint64_t WorkerBytes = 128 << 10;
/// Rows, coefficients and zlib windows of one image being decoded; an image that needs more is refused.
constexpr uint64_t ImageScratchBytes = 4 << 20;

class Loader {
public:
  /// The ring is allocated here, once, from the device's staging memory. `source` and `device` outlive the loader.
  Loader(const Source &source, const std::vector<Slot> &slots, Device &device, const LoaderOptions &options);
  ~Loader();
  Loader(const Loader &) = delete;
  Loader &operator=(const Loader &) = delete;

  /// Starts (again) at optimizer step `step` of `epoch`; whatever was read ahead is dropped.
  void start(int64_t epoch, int64_t step);

  /// Steps of one epoch: ceil(samples / (microBatch * microPerStep)).
  int64_t stepsPerEpoch() const;

  /// The next micro-batch; waits for it. Null when an evaluation pass is over. Errors of the workers surface here, at
  /// the micro-batch they happened in. Valid until release().
  const MicroBatch *acquire();
  void release();

  /// Seconds acquire() has waited since start().
  double waited() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace gmc::rt

#endif
