// The trainer's main loop.
#ifndef GMC_TRAIN_TRAINER_H
#define GMC_TRAIN_TRAINER_H

#include "runtime/data/Loader.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/LossScale.h"
#include "runtime/train/Options.h"
#include "runtime/train/Profile.h"
#include "runtime/train/Report.h"

namespace gmc::rt {

/// A trainer executable's main(): parses flags, trains, evaluates or predicts; returns the exit code. Errors are
/// printed on stderr. Usable in-process: it installs its signal handlers and restores the earlier ones.
int trainerMain(const GmcModel &model, int argc, char **argv);

/// The INPUT and then LABEL tensors that any of the programs reads, without their batch dimension: an input that only
/// other outputs than the loss need is one of evaluation, not of training. Throws Error(ExitInternal) for one whose
/// first dimension is not the micro-batch.
std::vector<Slot> programSlots(const Executor &executor, const std::vector<const GmcProgram *> &programs,
                               const Metadata &metadata);

/// `--info`: on stdout, what this trainer is and what is missing here.
void printInfo(const GmcModel &model, const Metadata &metadata, Device *device, const std::string &deviceProblem);

/// What this CPU lacks of the instruction set that host code was compiled for, empty when nothing.
std::string missingIsa(const Metadata &metadata);

class Trainer {
public:
  Trainer(const GmcModel &model, const Metadata &metadata, const Options &options, const std::string &program);

  /// Trains to the end or a signal; returns the exit code.
  int train();
  /// --eval
  int evaluateOnly();
  /// --predict: a JSON line per sample on stdout.
  int predict();

private:
  struct EvalResult {
    double loss = 0;
    std::optional<double> accuracy;
  };

  void openData();
  std::string weightsPath() const;
  void loadWeights();
  void loadConstants();
  std::string preprocessingFor(const std::string &weights) const;
  void resume();
  void checkReserve();
  void prepareEval(const Source &source);
  EvalResult evaluate();
  void trainStep(double rate);
  void feed(const GmcProgram &program, const MicroBatch &batch, int64_t micro);
  void countBad(const MicroBatch &batch);
  void checkpoint();
  std::string checkpointFolder() const;

  const GmcModel &model;
  const Metadata &metadata;
  const Options &options;
  std::string executable;
  std::unique_ptr<Device> device;
  Executor executor;
  LossScale lossScale;
  Report report;
  Position position;
  std::shared_ptr<Source> trainData, valData;
  std::vector<Slot> slots; ///< of the programs this run uses
  std::unique_ptr<Loader> loader, evalLoader;
  std::unique_ptr<Profile> profile;
  const GmcProgram *evalProgram = nullptr;
  int64_t stepsPerEpoch = 0, totalSteps = 0, lastCheckpoint = -1;
  Schedule schedule;
};

} // namespace gmc::rt

#endif
