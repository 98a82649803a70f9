#include "runtime/train/Checkpoint.h"
#include "gmc/Error.h"
#include "runtime/data/DType.h"
#include "runtime/train/Report.h"
#include "runtime/train/Safetensors.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace gmc::rt {
namespace {

namespace fs = std::filesystem;
constexpr size_t Kept = 2;

bool inCheckpoint(const GmcTensor &tensor) {
  return isWeight(tensor) || tensor.role == GMC_ROLE_STATE || tensor.role == GMC_ROLE_STEP_COUNT;
}

std::string entryName(const GmcTensor &tensor) {
  return isWeight(tensor) ? tensor.name : std::string("gmc.state/") + tensor.name;
}

/// Checkpoints of the folder, newest first.
std::vector<fs::path> listCheckpoints(const std::string &folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(folder, error)) {
    long long step;
    int length = 0;
    std::string name = entry.path().filename().string();
    if (std::sscanf(name.c_str(), "step-%lld.safetensors%n", &step, &length) == 1 &&
        static_cast<size_t>(length) == name.size())
      found.emplace_back(step, entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> paths;
  for (auto &[step, path] : found)
    paths.push_back(path);
  return paths;
}

int64_t integer(const SafetensorsReader &file, const char *key) {
  auto it = file.metadata().find(key);
  if (it == file.metadata().end())
    throw usageError(file.path() + " is no checkpoint: it has no '" + key + "'");
  return static_cast<int64_t>(std::strtoull(it->second.c_str(), nullptr, 10));
}

std::string text(const SafetensorsReader &file, const char *key) {
  auto it = file.metadata().find(key);
  return it == file.metadata().end() ? "" : it->second;
}

} // namespace

std::string writeCheckpoint(const std::string &folder, Executor &executor, const Position &position) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw ioError("cannot make the folder " + folder + ": " + error.message());
  const GmcModel &model = executor.model();
  std::vector<SafetensorsEntry> entries;
  std::vector<const GmcTensor *> sources;
  for (uint32_t i = 0; i < model.numTensors; ++i) {
    const GmcTensor &tensor = model.tensors[i];
    if (!inCheckpoint(tensor))
      continue;
    entries.push_back({entryName(tensor), tensor.dtype, {tensor.dims, tensor.dims + tensor.rank}});
    sources.push_back(&tensor);
  }
  SafetensorsMetadata metadata = {{"format", "pt"},
                                  {"gmc.kind", "checkpoint"},
                                  {"gmc.model", executor.hashString()},
                                  {"gmc.step", std::to_string(position.step)},
                                  {"gmc.epoch", std::to_string(position.epoch)},
                                  {"gmc.sample", std::to_string(position.sample)},
                                  {"gmc.seed", std::to_string(position.seed)},
                                  {"gmc.bad_samples", std::to_string(position.badSamples)},
                                  {"gmc.epoch_loss", jsonNumber(position.epochLoss)},
                                  {"gmc.shuffle_buffer", std::to_string(position.shuffleBuffer)},
                                  {"gmc.numerics", position.numerics},
                                  {"gmc.data", position.data},
                                  {"gmc.preprocessing", position.preprocessing}};
  char name[64];
  std::snprintf(name, sizeof name, "/step-%08lld.safetensors", static_cast<long long>(position.step));
  std::string path = folder + name;
  writeSafetensors(path, entries, metadata,
                   [&](size_t index, const auto &sink) { executor.saveTensor(*sources[index], sink); });
  auto all = listCheckpoints(folder);
  for (size_t i = Kept; i < all.size(); ++i)
    fs::remove(all[i], error);
  // What a killed process left half-written under a temporary name is of no use to anybody.
  for (const auto &entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().find(".safetensors.tmp.") != std::string::npos)
      fs::remove(entry.path(), error);
  return path;
}

std::optional<Position> readCheckpoint(const std::string &folder, Executor &executor, std::string &path,
                                       const std::function<void(const std::string &)> &warn) {
  std::unique_ptr<SafetensorsReader> file;
  for (const fs::path &candidate : listCheckpoints(folder)) {
    try {
      file = std::make_unique<SafetensorsReader>(candidate.string());
      break;
    } catch (const Error &error) {
      warn(std::string(error.what()) + "; the checkpoint before it is tried");
    }
  }
  if (!file)
    return std::nullopt;
  path = file->path();
  if (text(*file, "gmc.model") != executor.hashString())
    throw usageError(path + " belongs to another model; give another --checkpoint folder");
  const GmcModel &model = executor.model();
  std::string problems;
  for (int pass = 0; pass < 2 && problems.empty(); ++pass)
    for (uint32_t i = 0; i < model.numTensors; ++i) {
      const GmcTensor &tensor = model.tensors[i];
      if (!inCheckpoint(tensor))
        continue;
      const SafetensorsEntry *entry = file->find(entryName(tensor));
      std::vector<int64_t> shape(tensor.dims, tensor.dims + tensor.rank);
      // The first pass only looks, so that a misfit changes nothing.
      if (!entry || entry->dtype != tensor.dtype || entry->shape != shape)
        problems += "\n  '" + entryName(tensor) + "'" + (entry ? " has another shape or type" : " is missing");
      else if (pass == 1)
        executor.loadTensor(tensor, *file, *entry);
    }
  if (!problems.empty())
    throw usageError(path + " does not fit this trainer (compiled with another optimizer or options?):" + problems);
  Position position;
  position.step = integer(*file, "gmc.step");
  position.epoch = integer(*file, "gmc.epoch");
  position.sample = integer(*file, "gmc.sample");
  position.seed = static_cast<uint64_t>(integer(*file, "gmc.seed"));
  position.badSamples = integer(*file, "gmc.bad_samples");
  position.epochLoss = std::strtod(text(*file, "gmc.epoch_loss").c_str(), nullptr);
  position.shuffleBuffer = integer(*file, "gmc.shuffle_buffer");
  position.numerics = text(*file, "gmc.numerics");
  position.data = text(*file, "gmc.data");
  position.preprocessing = text(*file, "gmc.preprocessing");
  return position;
}

} // namespace gmc::rt
