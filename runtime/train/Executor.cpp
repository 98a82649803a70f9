#include "runtime/train/Executor.h"
#include "gmc/Error.h"
#include "runtime/data/DType.h"
#include "runtime/train/Profile.h"
#include "runtime/train/Safetensors.h"

#include <algorithm>
#include <cstdio>

namespace gmc::rt {
namespace {

/// Piece size of copies between a file and a device that is not host memory.
constexpr uint64_t CopyBytes = 1 << 20;

void validateTensors(const GmcModel &model, const GmcTensor *tensors, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const GmcTensor &tensor = tensors[i];
    if (tensor.offset > model.arenaBytes || tensor.bytes > model.arenaBytes - tensor.offset)
      throw internalError(std::string("tensor '") + tensor.name + "' lies outside the arena");
    uint64_t bytes = dtypeSize(tensor.dtype);
    for (uint32_t d = 0; d < tensor.rank; ++d)
      bytes *= static_cast<uint64_t>(tensor.dims[d]);
    if (bytes == 0 && tensor.bytes == 0)
      continue;
    if (bytes != tensor.bytes)
      throw internalError(std::string("tensor '") + tensor.name + "' of " + dtypeName(tensor.dtype) + " " +
                          shapeString(tensor.dims, tensor.rank) + " claims " + std::to_string(tensor.bytes) +
                          " bytes");
  }
}

void validateProgram(const GmcModel &model, const GmcProgram &program) {
  std::string where = std::string("program '") + program.name + "': ";
  uint32_t next = 0;
  for (uint32_t l = 0; l < program.numLoops; ++l) {
    const GmcLoop &loop = program.loops[l];
    if (loop.first < next || loop.last < loop.first || loop.last >= program.numSteps || loop.count == 0)
      throw internalError(where + "loop " + std::to_string(l) + " is empty, out of order or outside the steps");
    next = loop.last + 1;
  }
  for (uint32_t s = 0; s < program.numSteps; ++s)
    for (uint32_t o = 0; o < program.steps[s].numOperands; ++o)
      if (program.steps[s].operands[o] > model.arenaBytes)
        throw internalError(where + "operand " + std::to_string(o) + " of step " + std::to_string(s) +
                            " lies outside the arena");
  validateTensors(model, program.tensors, program.numTensors);
}

} // namespace

bool isWeight(const GmcTensor &tensor) {
  return tensor.role == GMC_ROLE_PARAMETER || (tensor.flags & GMC_TENSOR_INITIALIZER);
}

bool isFoldedConstant(const GmcTensor &tensor) { return tensor.role == GMC_ROLE_CONSTANT && !isWeight(tensor); }

void validateModel(const GmcModel &model) {
  if (model.magic != GMC_ABI_MAGIC)
    throw internalError("the generated object does not begin with a gmc model");
  if (model.version != GMC_ABI_VERSION)
    throw usageError("this executable was compiled for ABI version " + std::to_string(model.version) +
                     ", its runtime is version " + std::to_string(GMC_ABI_VERSION) + ": compile the model again");
  validateTensors(model, model.tensors, model.numTensors);
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    validateProgram(model, model.programs[p]);
}

Executor::Executor(const GmcModel &model, Device &device) : theModel(model), theDevice(device) {
  validateModel(model);
  device.allocate(model);
}

const GmcProgram *Executor::program(const std::string &name) const {
  for (uint32_t p = 0; p < theModel.numPrograms; ++p)
    if (name == theModel.programs[p].name)
      return &theModel.programs[p];
  return nullptr;
}

std::vector<const GmcTensor *> Executor::tensors(const GmcProgram *program, uint32_t role) const {
  std::vector<const GmcTensor *> found;
  for (uint32_t i = 0; program && i < program->numTensors; ++i)
    if (program->tensors[i].role == role)
      found.push_back(&program->tensors[i]);
  for (uint32_t i = 0; i < theModel.numTensors; ++i)
    if (theModel.tensors[i].role == role)
      found.push_back(&theModel.tensors[i]);
  return found;
}

const GmcTensor *Executor::single(const GmcProgram *program, uint32_t role) const {
  auto found = tensors(program, role);
  if (found.size() > 1)
    throw internalError("role " + std::to_string(role) + " belongs to " + std::to_string(found.size()) + " tensors");
  return found.empty() ? nullptr : found[0];
}

void Executor::write(const GmcTensor &tensor, const void *src) { theDevice.write(tensor.offset, src, tensor.bytes); }

void Executor::read(const GmcTensor &tensor, void *dst) { theDevice.read(tensor.offset, dst, tensor.bytes); }

double Executor::readScalar(const GmcTensor &tensor) {
  char buffer[8] = {};
  if (tensor.bytes != dtypeSize(tensor.dtype) || tensor.bytes > sizeof buffer)
    throw internalError(std::string("tensor '") + tensor.name + "' is no scalar");
  read(tensor, buffer);
  double value;
  convertElements(buffer, tensor.dtype, &value, GMC_DOUBLE, 1);
  return value;
}

int64_t Executor::microSteps(const GmcProgram &program) {
  int64_t count = 0;
  for (uint32_t l = 0; l < program.numLoops; ++l)
    count += program.loops[l].count;
  return count ? count : 1;
}

void Executor::runSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  if (!profile) {
    theDevice.runSteps(program, first, last);
    return;
  }
  theDevice.synchronize(); // of what was submitted before, nothing counts as the first step's time
  for (uint32_t s = first; s <= last; ++s) {
    auto begin = Profile::Clock::now();
    auto micros = theDevice.timeSteps(program, s, s);
    auto end = micros ? begin + std::chrono::duration_cast<Profile::Clock::duration>(
                                    std::chrono::duration<double, std::micro>(*micros))
                      : Profile::Clock::now();
    profile->step(program.steps[s], begin, end);
  }
}

void Executor::run(const GmcProgram &program, const std::function<void(int64_t)> &beforeMicro) {
  const char zero[8] = {};
  for (uint32_t role : {GMC_ROLE_LOSS_SUM, GMC_ROLE_VALID_COUNT, GMC_ROLE_CORRECT_COUNT})
    if (const GmcTensor *sum = single(&program, role))
      if (sum->bytes <= sizeof zero)
        write(*sum, zero);
  int64_t micro = 0;
  if (program.numLoops == 0)
    beforeMicro(micro++);
  for (const StepRange &range : stepRanges(program))
    for (uint32_t i = 0; i < range.count; ++i) {
      if (range.loop)
        beforeMicro(micro++);
      runSteps(program, range.first, range.last);
    }
  theDevice.synchronize();
}

std::string Executor::hashString() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(theModel.hash[0]),
                static_cast<unsigned long long>(theModel.hash[1]));
  return text;
}

void Executor::loadTensor(const GmcTensor &tensor, const SafetensorsReader &file, const SafetensorsEntry &entry) {
  if (void *target = theDevice.direct(tensor.offset)) {
    file.read(entry, 0, target, tensor.bytes);
    return;
  }
  std::vector<char> buffer(std::min(CopyBytes, tensor.bytes));
  for (uint64_t at = 0; at < tensor.bytes; at += CopyBytes) {
    uint64_t piece = std::min(CopyBytes, tensor.bytes - at);
    file.read(entry, at, buffer.data(), piece);
    theDevice.write(tensor.offset + at, buffer.data(), piece);
  }
}

void Executor::saveTensor(const GmcTensor &tensor, const std::function<void(const void *, uint64_t)> &sink) {
  if (const void *source = theDevice.direct(tensor.offset)) {
    sink(source, tensor.bytes);
    return;
  }
  std::vector<char> buffer(std::min(CopyBytes, tensor.bytes));
  for (uint64_t at = 0; at < tensor.bytes; at += CopyBytes) {
    uint64_t piece = std::min(CopyBytes, tensor.bytes - at);
    theDevice.read(tensor.offset + at, buffer.data(), piece);
    sink(buffer.data(), piece);
  }
}

void Executor::loadWeights(const std::string &path, bool checkHash) { load(path, checkHash, &isWeight); }

bool Executor::hasFoldedConstants() const {
  return std::any_of(theModel.tensors, theModel.tensors + theModel.numTensors, &isFoldedConstant);
}

void Executor::loadFoldedConstants(const std::string &path) { load(path, /*checkHash=*/true, &isFoldedConstant); }

void Executor::load(const std::string &path, bool checkHash, bool (*wanted)(const GmcTensor &)) {
  SafetensorsReader file(path);
  auto hash = file.metadata().find("gmc.model");
  if (checkHash && (hash == file.metadata().end() || hash->second != hashString()))
    throw usageError(path + " belongs to another model (hash " +
                     (hash == file.metadata().end() ? "missing" : hash->second) + ", this executable has " +
                     hashString() + "): pass the weights written beside it, or others with --weights=FILE");
  std::string problems;
  for (uint32_t i = 0; i < theModel.numTensors; ++i) {
    const GmcTensor &tensor = theModel.tensors[i];
    if (!wanted(tensor))
      continue;
    const SafetensorsEntry *entry = file.find(tensor.name);
    if (!entry) {
      problems += std::string("\n  '") + tensor.name + "' is missing";
      continue;
    }
    std::vector<int64_t> shape(tensor.dims, tensor.dims + tensor.rank);
    if (entry->dtype != tensor.dtype || entry->shape != shape)
      problems += std::string("\n  '") + tensor.name + "' is " + dtypeName(entry->dtype) + " " +
                  shapeString(entry->shape.data(), entry->shape.size()) + ", the model has " +
                  dtypeName(tensor.dtype) + " " + shapeString(tensor.dims, tensor.rank);
    else
      loadTensor(tensor, file, *entry);
  }
  if (!problems.empty())
    throw usageError("the weights in " + path + " do not fit this model:" + problems);
}

void Executor::saveWeights(const std::string &path, std::map<std::string, std::string> metadata) {
  metadata["format"] = "pt";
  metadata["gmc.model"] = hashString();
  std::vector<SafetensorsEntry> entries;
  std::vector<const GmcTensor *> sources;
  for (uint32_t i = 0; i < theModel.numTensors; ++i) {
    const GmcTensor &tensor = theModel.tensors[i];
    if (!isWeight(tensor))
      continue;
    entries.push_back({tensor.name, tensor.dtype, {tensor.dims, tensor.dims + tensor.rank}});
    sources.push_back(&tensor);
  }
  writeSafetensors(path, entries, metadata,
                   [&](size_t index, const auto &sink) { saveTensor(*sources[index], sink); });
}

} // namespace gmc::rt
