#include "runtime/train/Options.h"
#include "gmc/Error.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>

namespace gmc::rt {
namespace {

void checkCompiledIn(const CLI::App &app, Options &options, const Metadata &metadata) {
  auto given = [&](const char *name) { return app.count(name) > 0; };
  std::string problems;
  auto refuse = [&](const std::string &text) { problems += (problems.empty() ? "" : "\n") + text; };
  if (given("--clip") && !metadata.clip)
    refuse("--clip: this trainer holds no memory for the gradient norm; compile with --clip");
  if (given("--ema") && !metadata.ema)
    refuse("--ema: this trainer holds no memory for averaged weights; compile with --ema");
  if (given("--momentum") && metadata.optimizer == "sgd" && options.hyper[GMC_HYPER_MOMENTUM] != 0)
    refuse("--momentum: this trainer holds no memory for velocities; compile with --optimizer=momentum or nesterov");
  if (options.workers > metadata.workersMax)
    refuse("--workers=" + std::to_string(options.workers) + ": this trainer holds memory for " +
           std::to_string(metadata.workersMax) + "; compile with --workers-max=" + std::to_string(options.workers));
  if (options.shuffleBuffer > metadata.shuffleBufferMax)
    refuse("--shuffle-buffer=" + std::to_string(options.shuffleBuffer) + ": this trainer holds memory for " +
           std::to_string(metadata.shuffleBufferMax) +
           "; compile with --shuffle-buffer-max=" + std::to_string(options.shuffleBuffer));
  for (const char *name : {"--loss-scale", "--loss-scale-interval"})
    if (given(name) && metadata.precision != "fp16")
      refuse(std::string(name) + ": this trainer computes in " + metadata.precision +
             " and scales no loss; compile with --precision=fp16");
  if (!problems.empty())
    throw usageError(problems);
}

void parseBetas(const std::string &text, float *hyper) {
  size_t comma = text.find(',');
  float first = 0, second = 0;
  auto number = [](const char *from, const char *to, float &value) {
    auto [at, error] = std::from_chars(from, to, value);
    return error == std::errc() && at == to;
  };
  if (comma == std::string::npos || !number(text.data(), text.data() + comma, first) ||
      !number(text.data() + comma + 1, text.data() + text.size(), second) || first < 0 || first >= 1 || second < 0 ||
      second >= 1)
    throw usageError("--betas=" + text + ": two numbers in [0, 1) are expected, as in --betas=0.9,0.999");
  hyper[GMC_HYPER_BETA1] = first;
  hyper[GMC_HYPER_BETA2] = second;
}

} // namespace

std::optional<Options> parseOptions(int argc, char **argv, const Metadata &metadata) {
  Options options;
  std::copy(std::begin(metadata.hyper), std::end(metadata.hyper), options.hyper);
  options.hyper[GMC_HYPER_SCALE_INTERVAL] = LossScale::Interval;
  options.workers = static_cast<unsigned>(std::clamp<int64_t>(metadata.workersMax, 1, 2));
  options.shuffleBuffer = metadata.shuffleBufferMax;

  CLI::App app("Trains " + metadata.model + ", compiled by gmc: batch " + std::to_string(metadata.batch) + ", " +
               metadata.optimizer + ", " + metadata.precision + ", target " + metadata.target);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  std::string schedule = "constant", betas;
  int64_t workers = options.workers;
  app.add_option("--data", options.data, "training data: IDX folder or IMAGES,LABELS, text:FILE, tokens.bin, "
                                         "NAME=FILE.npy,...,label=FILE.npy, a folder of class folders, "
                                         "shards-{000..099}.tar; PATH[a:b] selects samples");
  app.add_option("--val", options.val, "validation data, or split:FRACTION of the training data");
  app.add_option("--epochs", options.epochs, "passes over the data (default 1)")->check(CLI::NonNegativeNumber);
  app.add_option("--steps", options.steps, "optimizer steps, instead of epochs")->check(CLI::NonNegativeNumber);
  app.add_option("--lr", options.hyper[GMC_HYPER_LR], "learning rate")->check(CLI::NonNegativeNumber);
  app.add_option("--schedule", schedule, "constant, cosine, linear or step");
  app.add_option("--warmup", options.warmup, "steps of linear warm-up")->check(CLI::NonNegativeNumber);
  app.add_option("--weight-decay", options.hyper[GMC_HYPER_WEIGHT_DECAY])->check(CLI::NonNegativeNumber);
  app.add_option("--momentum", options.hyper[GMC_HYPER_MOMENTUM])->check(CLI::Range(0.0, 1.0));
  app.add_option("--betas", betas, "A,B");
  app.add_option("--clip", options.hyper[GMC_HYPER_CLIP], "largest global gradient norm")->check(CLI::PositiveNumber);
  app.add_option("--ema", options.hyper[GMC_HYPER_EMA_DECAY], "decay of the averaged weights")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--loss-scale", options.lossScale, "fp16: the scale to start with (default 65536)")
      ->check(CLI::Range(1.0, 16777216.0));
  app.add_option("--loss-scale-interval", options.hyper[GMC_HYPER_SCALE_INTERVAL],
                 "fp16: steps without overflow until the scale doubles (default 2000)")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed);
  app.add_option("--shuffle-buffer", options.shuffleBuffer, "samples of the shuffle buffer for shards")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--workers", workers, "decoding threads")->check(CLI::Range(int64_t(1), int64_t(4096)));
  app.add_option("--augment", options.augment,
                 "for images: resize=256,crop=224,rrc=224,flip,jitter=.4,normalize=imagenet|none|M/S");
  app.add_option("--checkpoint", options.checkpoint, "folder for checkpoints");
  app.add_option("--save-every", options.saveEvery, "steps between checkpoints")->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", options.resume, "continue from the last checkpoint");
  app.add_option("--weights", options.weights, "weights to start from");
  app.add_option("--save", options.save, "write the final weights here (safetensors)");
  app.add_option("--log", options.log, "metrics as JSON lines");
  app.add_option("--tensorboard", options.tensorboard, "folder for TensorBoard event files");
  app.add_option("--profile", options.profile, "Chrome trace of the first steps");
  app.add_flag("--info", options.info, "describe this trainer and what is missing here");
  app.add_flag("--eval", options.eval, "evaluate on --val (or --data) and stop");
  app.add_option("--predict", options.predict, "print the outputs for these samples as JSON lines and stop");
  app.add_option("--device", options.device, "device number")->check(CLI::NonNegativeNumber);
  app.add_option("--max-bad-samples", options.maxBadSamples, "damaged samples to skip before giving up (default 0)")
      ->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    std::cout << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError &error) {
    throw usageError(std::string(error.what()) + "\nrun with --help for the flags");
  }
  options.workers = static_cast<unsigned>(workers);
  options.schedule = parseSchedule(schedule);
  if (app.count("--betas"))
    parseBetas(betas, options.hyper);
  if (options.epochs && options.steps)
    throw usageError("--epochs and --steps contradict each other; give one");
  if (!app.count("--clip"))
    options.hyper[GMC_HYPER_CLIP] = 0;
  checkCompiledIn(app, options, metadata);
  return options;
}

} // namespace gmc::rt
