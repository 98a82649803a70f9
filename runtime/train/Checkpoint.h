// Checkpoints: DIR/step-NNNNNNNN.safetensors, each holding weights, state and where the run stands.
#ifndef GMC_TRAIN_CHECKPOINT_H
#define GMC_TRAIN_CHECKPOINT_H

#include "runtime/train/Executor.h"

#include <optional>

namespace gmc::rt {

/// Where a run stands between two optimizer steps.
struct Position {
  int64_t step = 0;       ///< optimizer steps done
  int64_t epoch = 0;      ///< of the next step, from 0
  int64_t sample = 0;     ///< samples of that epoch already used
  uint64_t seed = 0;
  int64_t badSamples = 0; ///< skipped so far
  double epochLoss = 0;   ///< sum of the step losses of the epoch so far
  int64_t shuffleBuffer = 0;
  std::string numerics, data, preprocessing;
};

/// Writes a checkpoint atomically into `folder` (made if missing), then removes all but the newest two. Initializers
/// stand under their ONNX names, so that a checkpoint is a weights file too; other state under "gmc.state/NAME".
/// Returns the path. Throws Error(ExitIo); checkpoints written before stay whole.
std::string writeCheckpoint(const std::string &folder, Executor &executor, const Position &position);

/// Loads the newest readable checkpoint of `folder` into the arena; a damaged one is reported through `warn` and the
/// one before is taken. Nothing when there is none. Throws Error(ExitUsage) when it belongs to another model.
std::optional<Position> readCheckpoint(const std::string &folder, Executor &executor, std::string &path,
                                       const std::function<void(const std::string &)> &warn);

} // namespace gmc::rt

#endif
