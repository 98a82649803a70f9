#include "runtime/train/Metadata.h"
#include "gmc/Error.h"
#include "runtime/train/Executor.h"

#include <cstring>
#include <nlohmann/json.hpp>

namespace gmc::rt {

Metadata parseMetadata(const GmcModel &model) {
  Metadata m;
  for (uint32_t p = 0; p < model.numPrograms; ++p) {
    const GmcProgram &program = model.programs[p];
    if (!std::strcmp(program.name, "train")) {
      m.microBatch = program.microBatch;
      m.accumulation = Executor::microSteps(program);
      m.batch = m.microBatch * m.accumulation;
    } else if (!std::strcmp(program.name, "eval")) {
      m.evalBatch = program.microBatch;
    }
  }
  m.budgetBytes = model.budgetBytes;
  m.arenaBytes = model.arenaBytes;
  m.hyper[GMC_HYPER_LR] = 1e-3f;
  m.hyper[GMC_HYPER_WEIGHT_DECAY] = 0.01f;
  m.hyper[GMC_HYPER_MOMENTUM] = 0.9f;
  m.hyper[GMC_HYPER_BETA1] = 0.9f;
  m.hyper[GMC_HYPER_BETA2] = 0.999f;
  m.hyper[GMC_HYPER_EPSILON] = 1e-8f;
  m.hyper[GMC_HYPER_EMA_DECAY] = 0.999f;
  if (!model.metadata || !*model.metadata)
    return m;
  try {
    auto json = nlohmann::json::parse(model.metadata);
    auto take = [](const nlohmann::json &from, const char *key, auto &value) {
      if (auto it = from.find(key); it != from.end() && !it->is_null())
        it->get_to(value);
    };
    take(json, "model", m.model);
    take(json, "target", m.target);
    take(json, "archs", m.archs);
    take(json, "libraries", m.libraries);
    take(json, "precision", m.precision);
    take(json, "numerics", m.numerics);
    take(json, "optimizer", m.optimizer);
    take(json, "batch", m.batch);
    take(json, "micro_batch", m.microBatch);
    take(json, "accumulation", m.accumulation);
    take(json, "eval_batch", m.evalBatch);
    take(json, "clip", m.clip);
    take(json, "ema", m.ema);
    take(json, "workers_max", m.workersMax);
    take(json, "shuffle_buffer_max", m.shuffleBufferMax);
    take(json, "reserve", m.reserve);
    take(json, "entries", m.entries);
    take(json, "budget_bytes", m.budgetBytes);
    take(json, "arena_bytes", m.arenaBytes);
    take(json, "predicted_step_ms", m.predictedStepMs);
    if (auto loss = json.find("loss"); loss != json.end() && loss->is_object()) {
      take(*loss, "kind", m.lossKind);
      take(*loss, "output", m.lossOutput);
      take(*loss, "class_axis", m.classAxis);
      take(*loss, "classes", m.classes);
      take(*loss, "ignore_index", m.ignoreIndex);
      take(*loss, "from_file", m.lossFromFile);
    }
    if (auto hyper = json.find("hyper"); hyper != json.end()) {
      take(*hyper, "lr", m.hyper[GMC_HYPER_LR]);
      take(*hyper, "weight_decay", m.hyper[GMC_HYPER_WEIGHT_DECAY]);
      take(*hyper, "momentum", m.hyper[GMC_HYPER_MOMENTUM]);
      take(*hyper, "beta1", m.hyper[GMC_HYPER_BETA1]);
      take(*hyper, "beta2", m.hyper[GMC_HYPER_BETA2]);
      take(*hyper, "epsilon", m.hyper[GMC_HYPER_EPSILON]);
      take(*hyper, "ema_decay", m.hyper[GMC_HYPER_EMA_DECAY]);
    }
  } catch (const nlohmann::json::exception &error) {
    throw internalError(std::string("the model's metadata: ") + error.what());
  }
  return m;
}

uint64_t processReserve(unsigned threads, uint64_t tensors) {
  return (5u << 20) + uint64_t(threads) * (96 << 10) + tensors * 1024;
}

uint64_t libraryReserve(uint64_t calls, unsigned threads) {
  return (17u << 19) + uint64_t(threads) * (64 << 10) + calls * (80 << 10);
}

} // namespace gmc::rt
