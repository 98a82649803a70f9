//===- WriteTrainer.cpp - a plan to an executable and its weights ---------------------------------------===//

#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Codegen/HostCodegen.h"
#include "compiler/Codegen/LinkTrainer.h"
#include "compiler/Pipeline/Compiler.h"
#include "runtime/data/File.h"
#include "runtime/train/Safetensors.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace mlir;

namespace gmc {

static const char *optimizerName(OptimizerKind kind) {
  switch (kind) {
  case OptimizerKind::Sgd: return "sgd";
  case OptimizerKind::Momentum: return "momentum";
  case OptimizerKind::Nesterov: return "nesterov";
  case OptimizerKind::Adam: return "adam";
  case OptimizerKind::AdamW: return "adamw";
  case OptimizerKind::Lion: return "lion";
  }
  return "";
}

/// What the trainer is told beside the tables (runtime/train/Metadata.h documents the keys).
static std::string metadataJson(const CompiledPlan &compiled, const CompileRequest &request) {
  const planning::Plan &plan = compiled.plan;
  nlohmann::ordered_json json;
  json["model"] = llvm::sys::path::filename(plan.model).str();
  json["target"] = planning::toString(plan.target);
  json["archs"] = plan.target == planning::PlanTarget::Cuda ? request.archs : std::vector<std::string>{request.arch};
  json["precision"] = plan.precision;
  json["numerics"] = plan.numerics;
  json["batch"] = plan.batch;
  json["micro_batch"] = plan.microBatch;
  json["accumulation"] = plan.accumulation;
  json["eval_batch"] = plan.microBatch;
  json["loss"] = {{"kind", compiled.notes.lossKind},
                  {"output", compiled.notes.lossOutput},
                  {"classes", compiled.notes.labelType ? compiled.notes.classes : 0},
                  {"ignore_index", compiled.notes.ignoreIndex},
                  {"from_file", compiled.notes.lossKind == "output"}};
  json["entries"] = compiled.notes.entries;
  json["optimizer"] = optimizerName(request.training.optimizer);
  json["clip"] = request.training.clip;
  json["ema"] = request.training.ema;
  json["workers_max"] = request.workersMax;
  json["shuffle_buffer_max"] = request.shuffleBufferMax;
  json["reserve"] = compiled.reserve;
  json["budget_bytes"] = plan.budgetBytes;
  json["arena_bytes"] = plan.arenaBytes;
  json["predicted_step_ms"] = plan.predictedStepMs;
  return json.dump();
}

static std::string hex(const std::array<uint64_t, 2> &hash) {
  return llvm::utohexstr(hash[0], true, 16) + llvm::utohexstr(hash[1], true, 16);
}

/// Weights and folded constants under the names of the arena's tensors, in arena order.
static llvm::Error writeWeights(const CompiledPlan &compiled, const std::string &path) {
  std::vector<rt::SafetensorsEntry> entries;
  for (const ImageTensor &tensor : compiled.image.tensors) {
    bool constant = llvm::any_of(compiled.constants, [&](const ArenaConstant &c) { return c.name == tensor.name; });
    if (!constant && !(tensor.flags & GMC_TENSOR_INITIALIZER))
      continue;
    entries.push_back({tensor.name, tensor.dtype, tensor.dims, 0, tensor.bytes});
  }
  llvm::Error failure = llvm::Error::success();
  try {
    rt::writeSafetensors(path, entries, {{"gmc.model", hex(compiled.image.hash)}},
                         [&](size_t i, const std::function<void(const void *, uint64_t)> &sink) {
      const rt::SafetensorsEntry &entry = entries[i];
      for (const ArenaConstant &c : compiled.constants)
        if (c.name == entry.name) {
          std::vector<char> bytes = constantBytes(c.value);
          sink(bytes.data(), bytes.size());
          return;
        }
      uint64_t count = 1;
      for (int64_t dim : entry.shape)
        count *= dim;
      uint64_t size = count ? entry.bytes / count : 0, chunk = (1 << 20);
      std::vector<char> buffer;
      for (uint64_t done = 0; done < count; done += chunk) {
        uint64_t n = std::min(chunk, count - done);
        buffer.assign(n * size, 0);
        if (auto error = compiled.weights.read(entry.name, entry.dtype, done, n, buffer.data()))
          throw std::runtime_error(llvm::toString(std::move(error)));
        sink(buffer.data(), buffer.size());
      }
    });
  } catch (const std::exception &e) {
    failure = inputError(e.what());
  }
  return failure;
}

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
emitTrainerCode(CompiledPlan &compiled, const CompileRequest &request, StringRef kind, PhaseLog &log) {
  log.start("lower");
  compiled.image.threads = request.threads;
  compiled.image.budgetBytes = compiled.plan.budgetBytes;
  compiled.image.reserveBytes = compiled.plan.reserveBytes;
  compiled.image.metadata = metadataJson(compiled, request);
  auto onLowered = [&](ModuleOp lowered) {
    LogicalResult fine = log.finish(lowered);
    log.start("lower"); // to machine code
    return fine;
  };
  if (compiled.image.target == GMC_TARGET_HOST) {
    HostCodegenOptions codegen;
    codegen.arch = request.arch;
    codegen.emitLlvmText = kind == "llvm";
    codegen.onLowered = onLowered;
    return emitHostObject(*compiled.module, compiled.image, codegen);
  }
  GpuCodegenOptions codegen;
  if (compiled.image.target == GMC_TARGET_CUDA) {
    codegen.archs = request.archs;
    codegen.tools = findCudaTools();
  }
  codegen.emit = kind == "llvm"  ? GpuCodegenOptions::Emit::Llvm
                 : kind == "ptx" ? GpuCodegenOptions::Emit::Ptx
                                 : GpuCodegenOptions::Emit::Object;
  codegen.onLowered = onLowered;
  return emitGpuObject(*compiled.module, compiled.image, codegen);
}

llvm::Error writeTrainer(CompiledPlan &compiled, const CompileRequest &request, StringRef kitFolder,
                         StringRef output, PhaseLog &log) {
  auto object = emitTrainerCode(compiled, request, "obj", log);
  if (!object)
    return object.takeError();
  // What can fail comes before the first name appears; the executable's is the last. The model hash in both tells a
  // pair that a crash in between left behind.
  std::string temporary = (output + ".tmp." + llvm::Twine(getpid())).str();
  auto failed = [&](llvm::Error error) {
    llvm::sys::fs::remove(temporary);
    return error;
  };
  if (auto error = linkTrainer((*object)->getMemBufferRef(), kitFolder, temporary))
    return failed(std::move(error));
  log.start("link");
  if (auto error = writeWeights(compiled, (output + ".safetensors").str()))
    return failed(std::move(error));
  if (std::error_code code = llvm::sys::fs::rename(temporary, output))
    return failed(inputError("cannot write " + output.str() + ": " + code.message()));
  return llvm::Error::success();
}

} // namespace gmc
