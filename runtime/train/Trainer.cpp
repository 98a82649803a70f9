#include "runtime/train/Trainer.h"
#include "gmc/Error.h"
#include "runtime/data/File.h"
#include "runtime/train/Safetensors.h"
#include "runtime/train/Signals.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gmc::rt {
namespace {
using Clock = std::chrono::steady_clock;
double millis(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}
} // namespace

namespace {
size_t slotOf(const std::vector<Slot> &slots, const GmcTensor &tensor, uint32_t role) {
  auto same = [&](const Slot &slot) { return slot.name == tensor.name && slot.isLabel == (role == GMC_ROLE_LABEL); };
  return static_cast<size_t>(std::find_if(slots.begin(), slots.end(), same) - slots.begin());
}
} // namespace

std::vector<Slot> programSlots(const Executor &executor, const std::vector<const GmcProgram *> &programs,
                               const Metadata &metadata) {
  std::vector<Slot> slots;
  for (uint32_t role : {GMC_ROLE_INPUT, GMC_ROLE_LABEL})
    for (const GmcProgram *program : programs)
      for (const GmcTensor *tensor : executor.tensors(program, role)) {
        if (tensor->rank == 0 || tensor->dims[0] != program->microBatch)
          throw internalError(std::string("input '") + tensor->name + "' has no batch dimension of " +
                              std::to_string(program->microBatch));
        if (slotOf(slots, *tensor, role) == slots.size()) {
          auto entries = metadata.entries.find(tensor->name);
          slots.push_back({tensor->name,
                           tensor->dtype,
                           {tensor->dims + 1, tensor->dims + tensor->rank},
                           role == GMC_ROLE_LABEL,
                           metadata.classes,
                           metadata.ignoreIndex,
                           entries == metadata.entries.end() ? 0 : entries->second});
        }
      }
  return slots;
}

Trainer::Trainer(const GmcModel &model, const Metadata &metadata, const Options &options, const std::string &program)
    : model(model), metadata(metadata), options(options), executable(program),
      device(createDevice(model, options.device)), executor(model, *device), lossScale(executor),
      report(options.log, options.tensorboard, options.resume) {
  evalProgram = executor.program("eval");
  position.seed = options.seed.value_or(0);
  position.numerics = metadata.numerics;
  position.shuffleBuffer = options.shuffleBuffer;
}

std::string Trainer::weightsPath() const {
  return options.weights.empty() ? executable + ".safetensors" : options.weights;
}

void Trainer::loadWeights() {
  bool own = options.weights.empty();
  std::string path = weightsPath();
  if (own && !pathExists(path))
    throw usageError("the weights " + path + " are missing: keep them beside the executable or pass --weights=FILE");
  executor.loadWeights(path, /*checkHash=*/own);
}

/// Other weights and checkpoints hold what is trained; what the compiler folded lies in the executable's own file only.
void Trainer::loadConstants() {
  if (!executor.hasFoldedConstants())
    return;
  std::string path = executable + ".safetensors";
  if (!pathExists(path))
    throw usageError(path + " is missing, which holds the constants of this trainer: keep it beside the executable");
  executor.loadFoldedConstants(path);
}

/// What evaluation does to pictures: as the command line says, else as these weights were trained.
std::string Trainer::preprocessingFor(const std::string &weights) const {
  if (!options.augment.empty() || !pathExists(weights))
    return options.augment;
  SafetensorsReader file(weights);
  auto stored = file.metadata().find("gmc.preprocessing");
  return stored == file.metadata().end() ? "" : stored->second;
}

void Trainer::openData() {
  const GmcProgram *program = executor.program("train");
  if (!program)
    throw internalError("the executable has no program 'train'");
  if (options.data.empty())
    throw usageError("--data is missing: give the training data (see --help)");
  std::vector<const GmcProgram *> programs{program};
  if (evalProgram && !options.val.empty())
    programs.push_back(evalProgram);
  slots = programSlots(executor, programs, metadata);
  trainData = openSource(options.data, {slots, true, options.augment});
  if (options.val.rfind("split:", 0) == 0) {
    char *end = nullptr;
    double fraction = std::strtod(options.val.c_str() + 6, &end);
    auto [train, val] = splitOf(trainData, *end || end == options.val.c_str() + 6 ? -1 : fraction);
    trainData = std::move(train);
    valData = std::move(val);
  } else if (!options.val.empty()) {
    valData = openSource(options.val, {slots, true, options.augment});
  }
  position.data = trainData->fingerprint();
  position.preprocessing = trainData->preprocessing();
}

void Trainer::prepareEval(const Source &source) {
  if (!evalProgram)
    throw usageError("this trainer was compiled without an evaluation program");
  LoaderOptions loading;
  loading.workers = options.workers;
  loading.microBatch = evalProgram->microBatch;
  evalLoader = std::make_unique<Loader>(source, slots, *device, loading);
}

void Trainer::checkReserve() {
  MemoryReport now = device->memory();
  if (!now.promised || now.used <= now.promised)
    return;
  // What another start may take more, e.g. pages and pools rounded up.
  uint64_t margin = model.target == GMC_TARGET_CUDA ? 8 << 20 : 1 << 20;
  uint64_t reserve = now.used - std::min(now.used, model.arenaBytes) + margin;
  throw Error(ExitMemory, "the reserve is short: " + std::to_string(now.used) + " bytes are in use before training (" +
                              now.source + "), " + std::to_string(now.promised) +
                              " were promised; compile with --reserve=" + std::to_string(reserve) +
                              ", keeping this plan with --vram=" + std::to_string(model.arenaBytes + reserve) +
                              (model.target == GMC_TARGET_HOST ? ", or use fewer --workers" : "") +
                              (now.note.empty() ? "" : "; " + now.note));
}

void Trainer::countBad(const MicroBatch &batch) {
  for (const std::string &bad : batch.bad) {
    ++position.badSamples;
    report.warn("skipped: " + bad);
    if (position.badSamples > options.maxBadSamples)
      throw usageError(std::to_string(position.badSamples) + " damaged samples, --max-bad-samples allows " +
                       std::to_string(options.maxBadSamples) + ": repair or remove them, or allow more");
  }
}

void Trainer::feed(const GmcProgram &program, const MicroBatch &batch, int64_t micro) {
  for (uint32_t role : {GMC_ROLE_INPUT, GMC_ROLE_LABEL})
    for (const GmcTensor *tensor : executor.tensors(&program, role))
      executor.write(*tensor, batch.tensors[slotOf(slots, *tensor, role)]);
  if (const GmcTensor *tensor = executor.single(&program, GMC_ROLE_VALID_SAMPLES))
    executor.write(*tensor, &batch.valid);
  if (const GmcTensor *tensor = executor.single(&program, GMC_ROLE_RNG)) {
    int64_t rng[GMC_RNG_COUNT] = {};
    rng[GMC_RNG_SEED] = static_cast<int64_t>(position.seed);
    rng[GMC_RNG_STEP] = position.step;
    rng[GMC_RNG_MICRO] = micro;
    executor.write(*tensor, rng);
  }
}

void Trainer::trainStep(double rate) {
  const GmcProgram &program = *executor.program("train");
  if (const GmcTensor *tensor = executor.single(&program, GMC_ROLE_HYPER)) {
    float hyper[GMC_HYPER_COUNT];
    std::copy(std::begin(options.hyper), std::end(options.hyper), hyper);
    hyper[GMC_HYPER_LR] = static_cast<float>(rate);
    executor.write(*tensor, hyper);
  }
  // A micro-batch goes back to the ring when the device has read it, which it does while the next one is awaited.
  bool held = false;
  auto giveBack = [&] {
    if (held) {
      device->finishWrites();
      loader->release();
    }
    held = false;
  };
  executor.run(program, [&](int64_t micro) {
    giveBack();
    const MicroBatch *batch = loader->acquire();
    held = true;
    countBad(*batch);
    feed(program, *batch, micro);
  });
  giveBack();
}

Trainer::EvalResult Trainer::evaluate() {
  EvalResult result;
  double loss = 0, count = 0, correct = 0;
  const GmcTensor *lossSum = executor.single(evalProgram, GMC_ROLE_LOSS_SUM);
  const GmcTensor *validCount = executor.single(evalProgram, GMC_ROLE_VALID_COUNT);
  const GmcTensor *correctCount = executor.single(evalProgram, GMC_ROLE_CORRECT_COUNT);
  if (!lossSum || !validCount)
    throw usageError("this trainer's evaluation program computes no loss");
  evalLoader->start(0, 0);
  int64_t badBefore = position.badSamples;
  while (const MicroBatch *batch = evalLoader->acquire()) {
    countBad(*batch);
    executor.run(*evalProgram, [&](int64_t micro) { feed(*evalProgram, *batch, micro); });
    evalLoader->release();
    loss += executor.readScalar(*lossSum);
    count += executor.readScalar(*validCount);
    if (correctCount)
      correct += executor.readScalar(*correctCount);
  }
  // Bad validation samples come again in every evaluation: they must not add up.
  position.badSamples = badBefore;
  result.loss = count > 0 ? loss / count : 0;
  if (correctCount)
    result.accuracy = count > 0 ? correct / count : 0;
  return result;
}

std::string Trainer::checkpointFolder() const {
  return options.checkpoint.empty() ? executable + ".checkpoints" : options.checkpoint;
}

void Trainer::checkpoint() {
  if (lastCheckpoint == position.step)
    return;
  writeCheckpoint(checkpointFolder(), executor, position);
  lastCheckpoint = position.step;
}

void Trainer::resume() {
  std::string path;
  auto found = readCheckpoint(checkpointFolder(), executor, path, [&](const auto &text) { report.warn(text); });
  if (!found) {
    report.line("nothing to resume in " + checkpointFolder() + ": starting from the beginning");
    return;
  }
  std::string differences;
  auto differs = [&](const char *what, const std::string &was, const std::string &is) {
    if (was != is)
      differences += std::string(differences.empty() ? "" : "; ") + what + " was " + was + " and is " + is;
  };
  differs("numerics", found->numerics, position.numerics);
  differs("data", found->data, position.data);
  differs("preprocessing", found->preprocessing, position.preprocessing);
  if (options.seed)
    differs("seed", std::to_string(found->seed), std::to_string(*options.seed));
  differs("shuffle buffer", std::to_string(found->shuffleBuffer), std::to_string(position.shuffleBuffer));
  Position now = *found;
  now.numerics = position.numerics;
  now.data = position.data;
  now.preprocessing = position.preprocessing;
  now.shuffleBuffer = position.shuffleBuffer;
  if (options.seed)
    now.seed = *options.seed;
  if (now.sample % metadata.batch) {
    differences += std::string(differences.empty() ? "" : "; ") + "the batch size differs, some samples come again";
    now.sample -= now.sample % metadata.batch;
  }
  if (now.sample >= trainData->size()) {
    ++now.epoch;
    now.sample = 0;
  }
  position = now;
  lastCheckpoint = position.step;
  report.line("resumed from " + path + " at step " + std::to_string(position.step));
  if (!differences.empty())
    report.warn("note: not a bit for bit continuation: " + differences);
}

int Trainer::train() {
  SignalGuard signals;
  openData();
  loadConstants();
  if (options.resume)
    resume();
  if (position.step == 0)
    loadWeights();
  lossScale.start(position.step != 0, options.lossScale);

  const GmcProgram &program = *executor.program("train");
  LoaderOptions loading;
  loading.workers = options.workers;
  loading.microBatch = program.microBatch;
  loading.microPerStep = Executor::microSteps(program);
  loading.seed = position.seed;
  loading.training = true;
  loading.shuffleBuffer = trainData->groups().size() > 2 ? options.shuffleBuffer : 0;
  loader = std::make_unique<Loader>(*trainData, slots, *device, loading);
  if (valData)
    prepareEval(*valData);
  if (!options.profile.empty())
    profile = std::make_unique<Profile>(options.profile);
  checkReserve();

  stepsPerEpoch = loader->stepsPerEpoch();
  totalSteps = options.steps ? *options.steps : options.epochs.value_or(1) * stepsPerEpoch;
  schedule = {options.schedule, options.hyper[GMC_HYPER_LR], options.warmup, totalSteps};
  report.setTotal(totalSteps, stepsPerEpoch);
  loader->start(position.epoch, position.sample / metadata.batch);

  const GmcTensor *lossSum = executor.single(&program, GMC_ROLE_LOSS_SUM);
  const GmcTensor *validCount = executor.single(&program, GMC_ROLE_VALID_COUNT);
  if (!lossSum || !validCount)
    throw internalError("program 'train' has no loss");
  int64_t evaluatedAt = -1;
  double waitedBefore = 0;
  auto runEval = [&] {
    auto begin = Clock::now();
    EvalResult result = evaluate();
    report.eval(position.step, result.loss, result.accuracy);
    if (profile)
      profile->event("eval", "evaluation", "", begin, Clock::now());
    evaluatedAt = position.step;
  };

  std::string reason = "done";
  int64_t firstStep = position.step;
  while (position.step < totalSteps) {
    if (signals.received()) {
      reason = signals.received() == SIGINT ? "SIGINT" : "SIGTERM";
      break;
    }
    auto begin = Clock::now();
    executor.setProfile(profile && position.step - firstStep < Profile::TracedSteps ? profile.get() : nullptr);
    double rate = schedule.rate(position.step);
    trainStep(rate);
    double count = executor.readScalar(*validCount), sum = executor.readScalar(*lossSum);
    double loss = count > 0 ? sum / count : sum;
    auto end = Clock::now();
    double waited = loader->waited() * 1e3;
    int64_t used = std::min<int64_t>(metadata.batch, trainData->size() - position.sample);
    int64_t epoch = position.epoch;
    ++position.step;
    position.sample += used;
    bool skipped = lossScale.skipped();
    if (!skipped || std::isfinite(loss))
      position.epochLoss += loss;
    StepReport step{position.step, epoch + 1, loss, rate, millis(begin, end), waited - waitedBefore,
                    static_cast<double>(used) / (millis(begin, end) / 1e3)};
    if (lossScale.active())
      step.lossScale = lossScale.value();
    step.skipped = skipped;
    report.step(step);
    waitedBefore = waited;
    if (lossScale.exhausted()) {
      report.end("nan");
      throw Error(ExitNaN,
                  "gradients overflow fp16 at the smallest loss scale at step " + std::to_string(position.step) +
                      ": try --precision=bf16 (compiled in), a smaller --lr or --warmup; the last checkpoint is whole");
    }
    if (!std::isfinite(loss) && !skipped) {
      report.end("nan");
      throw Error(ExitNaN, "the loss is not a number at step " + std::to_string(position.step) +
                               ": try a smaller --lr, --warmup or (compiled in) --clip; the last checkpoint is whole");
    }
    bool epochEnd = position.sample >= trainData->size();
    if (epochEnd) {
      report.line("epoch " + std::to_string(epoch + 1) + ": mean loss " +
                  std::to_string(position.epochLoss / static_cast<double>(stepsPerEpoch)));
      ++position.epoch;
      position.sample = 0;
      position.epochLoss = 0;
    }
    bool due = options.saveEvery > 0 && position.step % options.saveEvery == 0;
    if (due || (epochEnd && !options.checkpoint.empty()))
      checkpoint();
    if (valData && epochEnd)
      runEval();
  }
  if (reason == "done") {
    if (valData && evaluatedAt != position.step)
      runEval();
    if (!options.checkpoint.empty())
      checkpoint();
    if (!options.save.empty()) {
      executor.saveWeights(options.save, {{"gmc.preprocessing", position.preprocessing}});
      report.line("weights written to " + options.save);
    } else if (options.checkpoint.empty() && options.saveEvery == 0) {
      report.line("note: the trained weights were not kept; pass --save=FILE.safetensors or --checkpoint=DIR");
    }
  } else {
    checkpoint();
    report.line(reason + ": checkpoint written to " + checkpointFolder() + "; continue with --resume");
  }
  if (profile) {
    executor.setProfile(nullptr);
    profile->finish();
  }
  if (position.badSamples > 0)
    report.line(std::to_string(position.badSamples) + " damaged samples were skipped");
  report.memory(device->memory());
  report.end(reason);
  return signals.received() && reason != "done" ? 128 + signals.received() : ExitDone;
}

int Trainer::evaluateOnly() {
  SignalGuard signals;
  const std::string &spec = options.val.empty() ? options.data : options.val;
  if (spec.empty() || spec.rfind("split:", 0) == 0)
    throw usageError("--eval wants data: give --val=SPEC");
  if (!evalProgram)
    throw usageError("this trainer was compiled without an evaluation program");
  loadConstants();
  std::string weights;
  if (options.resume)
    if (auto found =
            readCheckpoint(checkpointFolder(), executor, weights, [&](const auto &text) { report.warn(text); })) {
      position.step = found->step;
      report.line("weights of " + weights);
    }
  if (weights.empty()) {
    weights = weightsPath();
    loadWeights();
  }
  slots = programSlots(executor, {evalProgram}, metadata);
  valData = openSource(spec, {slots, true, preprocessingFor(weights)});
  prepareEval(*valData);
  checkReserve();
  EvalResult result = evaluate();
  report.eval(position.step, result.loss, result.accuracy);
  report.memory(device->memory());
  report.end("done");
  return ExitDone;
}

} // namespace gmc::rt
