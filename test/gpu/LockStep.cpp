// Two builds of one model in one process: for cuda, on the GPU, and for sim, the same kernels on the CPU. They take
// every step from the same arena, whose every word is compared afterwards, so that each kernel is judged alone. Linked
// with the object that `gmc compile --target=cuda --emit=obj` writes, and the one for sim with its gmc_model renamed
// gmc_model_sim.
//
//   lockstep WEIGHTS.safetensors [--constants=FILE] [--ids=K] [--tolerance=X] [--threads=N]
//
// Inputs are pseudo-random; integers and labels are below K. What the compiler computed of the weights comes from FILE
// where the plan is not the one that WEIGHTS was written with. Prints a JSON object a line: one for each kernel, with
// the largest difference relative to the value or to the step's root mean square, and a last one with the sums. Exit
// code 5 when a kernel differs by more than X. Sums in another order round to a neighbouring bf16 or f16 now and then:
// such pairs are counted, and are at most MostRounded of what a step writes.
#include "test/gpu/Main.h"
#include "runtime/cuda/CudaDevice.h"
#include "runtime/sim/SimDevice.h"
#include "runtime/data/DType.h"
#include "runtime/train/Executor.h"
#include "runtime/train/Metadata.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

extern "C" const GmcModel gmc_model_sim;

using namespace gmc::rt;
using Json = nlohmann::ordered_json;

namespace {

struct Settings {
  std::string weights, constants;
  int64_t ids = 2;
  double tolerance = 1e-4;
  unsigned threads = 1;
};

/// A repeatable stream of numbers in [0, 1).
struct Noise {
  uint64_t state = 0x9e3779b97f4a7c15u;
  double next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<double>(state >> 11) / 9007199254740992.0;
  }
};

struct Difference {
  double worst = 0;     ///< of pairs of numbers, relative
  uint64_t changed = 0; ///< words that the step wrote
  uint64_t other = 0;   ///< words that are no such pair: integers, or a number against none
  uint64_t rounded = 0; ///< words of two bf16 or f16 of which one is the neighbour of what it should be
};

constexpr double MostRounded = 0.02;

float asFloat(uint32_t word) {
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

/// Whether a word can be a float that a network holds, and not an integer, a flag or part of one.
bool isNumber(uint32_t word) { return word == 0 || word == 0x80000000u || std::isnormal(asFloat(word)); }

/// bfloat16 and float16 come in pairs.
double halfValue(uint16_t bits, uint32_t dtype) {
  double value;
  convertElements(&bits, dtype, &value, GMC_DOUBLE, 1);
  return value;
}

/// Both are numbers, and none lies between them.
bool areNeighbours(uint16_t a, uint16_t b) {
  auto ordinal = [](uint16_t bits) { return bits & 0x8000 ? -int(bits & 0x7fff) : int(bits); };
  return std::abs(ordinal(a) - ordinal(b)) == 1;
}

Difference compare(const std::vector<uint32_t> &before, const std::vector<uint32_t> &sim,
                   const std::vector<uint32_t> &gpu, uint32_t halfType, double tolerance) {
  Difference d;
  double squares = 0;
  uint64_t numbers = 0;
  for (size_t i = 0; i < sim.size(); ++i) {
    if (sim[i] == before[i] && gpu[i] == before[i])
      continue;
    ++d.changed;
    if (isNumber(sim[i]) && sim[i]) {
      squares += double(asFloat(sim[i])) * asFloat(sim[i]);
      ++numbers;
    }
  }
  double typical = numbers ? std::sqrt(squares / double(numbers)) : 0;
  auto relative = [&](double a, double b) {
    double scale = std::max({std::abs(a), std::abs(b), typical});
    return a == b ? 0 : scale > 0 ? std::abs(a - b) / scale : INFINITY;
  };
  for (size_t i = 0; i < sim.size(); ++i) {
    if (sim[i] == gpu[i])
      continue;
    float a = asFloat(sim[i]), b = asFloat(gpu[i]);
    if (std::isnan(a) && std::isnan(b))
      continue;
    double apart = isNumber(sim[i]) && isNumber(gpu[i]) ? relative(a, b) : INFINITY;
    if (halfType && !(apart <= tolerance)) {
      double pair = 0;
      bool rounded = false;
      for (int shift : {0, 16}) {
        auto x = static_cast<uint16_t>(sim[i] >> shift), y = static_cast<uint16_t>(gpu[i] >> shift);
        double halves = x == y ? 0 : relative(halfValue(x, halfType), halfValue(y, halfType));
        if (halves > tolerance && areNeighbours(x, y)) {
          rounded = true;
          halves = 0;
        }
        pair = std::isnan(halves) ? INFINITY : std::max(pair, halves);
      }
      if (pair < apart) {
        apart = pair;
        d.rounded += rounded;
      }
    }
    if (std::isinf(apart))
      ++d.other;
    else
      d.worst = std::max(d.worst, apart);
  }
  return d;
}

class LockStep {
public:
  LockStep(const Settings &settings)
      : settings(settings), gpu(0), sim(settings.threads), onGpu(gmc_model, gpu), onSim(gmc_model_sim, sim) {
    const GmcModel &a = gmc_model, &b = gmc_model_sim;
    bool same = a.arenaBytes == b.arenaBytes && a.numPrograms == b.numPrograms && a.hash[0] == b.hash[0];
    for (uint32_t p = 0; same && p < a.numPrograms; ++p) {
      same = a.programs[p].numSteps == b.programs[p].numSteps;
      for (uint32_t s = 0; same && s < a.programs[p].numSteps; ++s) {
        const GmcStep &x = a.programs[p].steps[s], &y = b.programs[p].steps[s];
        same = x.numOperands == y.numOperands && x.numLaunches == y.numLaunches &&
               (!x.numOperands || !std::memcmp(x.operands, y.operands, x.numOperands * sizeof *x.operands));
      }
    }
    if (!same)
      throw usageError("the two objects are of different plans");
    std::string precision = parseMetadata(gmc_model).precision;
    halfType = precision == "bf16" ? GMC_BFLOAT16 : precision == "fp16" ? GMC_FLOAT16 : 0;
    words = (a.arenaBytes + 3) / 4;
    onSim.loadWeights(settings.weights, /*checkHash=*/false);
    if (onSim.hasFoldedConstants())
      onSim.loadFoldedConstants(settings.constants.empty() ? settings.weights : settings.constants);
  }

  int run() {
    for (uint32_t p = 0; p < gmc_model_sim.numPrograms; ++p)
      runProgram(p);
    Json sums{{"kernels", kernels.size()}, {"steps", steps}, {"failed", failed}, {"worst", worst},
              {"rounded", rounded}, {"ops", ops}};
    std::cout << sums.dump() << std::endl;
    return failed ? 5 : 0;
  }

private:
  void fill(const GmcTensor &tensor) {
    std::vector<char> data(tensor.bytes);
    uint64_t size = dtypeSize(tensor.dtype), count = tensor.bytes / size;
    for (uint64_t i = 0; i < count; ++i) {
      double real = 2 * noise.next() - 1;
      auto whole = static_cast<int64_t>(noise.next() * double(settings.ids));
      if (isFloatType(tensor.dtype))
        convertElements(&real, GMC_DOUBLE, data.data() + i * size, tensor.dtype, 1);
      else
        convertElements(&whole, GMC_INT64, data.data() + i * size, tensor.dtype, 1);
    }
    onSim.write(tensor, data.data());
  }

  void prepare(const GmcProgram &program) {
    for (uint32_t role : {GMC_ROLE_INPUT, GMC_ROLE_LABEL})
      for (const GmcTensor *tensor : onSim.tensors(&program, role))
        fill(*tensor);
    int64_t valid = program.microBatch, rng[GMC_RNG_COUNT] = {1, 2, 3, 0};
    float hyper[GMC_HYPER_COUNT] = {0.05f, 0.01f, 0.9f, 0.9f, 0.999f, 1e-8f, 0, 0.99f};
    if (const GmcTensor *tensor = onSim.single(&program, GMC_ROLE_VALID_SAMPLES))
      onSim.write(*tensor, &valid);
    if (const GmcTensor *tensor = onSim.single(&program, GMC_ROLE_RNG))
      onSim.write(*tensor, rng);
    if (const GmcTensor *tensor = onSim.single(&program, GMC_ROLE_HYPER))
      onSim.write(*tensor, hyper);
  }

  void read(Device &device, std::vector<uint32_t> &arena) {
    arena.assign(words, 0);
    device.read(0, arena.data(), gmc_model.arenaBytes);
  }

  void runProgram(uint32_t p) {
    const GmcProgram &program = gmc_model_sim.programs[p], &device = gmc_model.programs[p];
    prepare(program);
    std::vector<uint32_t> before, fromSim, fromGpu;
    read(sim, before);
    for (uint32_t s = 0; s < program.numSteps; ++s) {
      gpu.write(0, before.data(), gmc_model.arenaBytes);
      auto micros = gpu.timeSteps(device, s, s);
      sim.runSteps(program, s, s);
      read(sim, fromSim);
      read(gpu, fromGpu);
      report(program, s, compare(before, fromSim, fromGpu, halfType, settings.tolerance), micros.value_or(0));
      std::swap(before, fromSim);
    }
  }

  void report(const GmcProgram &program, uint32_t s, const Difference &d, double micros) {
    const GmcStep &step = program.steps[s];
    bool bad = d.other || !(d.worst <= settings.tolerance) || double(d.rounded) > MostRounded * double(d.changed) + 1;
    ++steps;
    failed += bad;
    worst = std::max(worst, d.worst);
    rounded += d.rounded;
    ops.insert(step.op);
    bool fresh = false;
    std::vector<std::string> names;
    for (uint32_t l = 0; l < step.numLaunches; ++l) {
      names.push_back(step.launches[l].name);
      fresh |= kernels.insert(names.back()).second;
    }
    if (!fresh && !bad)
      return;
    Json line{{"program", program.name}, {"step", s}, {"op", step.op}, {"node", step.node}, {"kernels", names},
              {"words", d.changed}, {"worst", d.worst}, {"other", d.other},
              {"rounded", d.rounded}, {"us", micros}, {"ok", !bad}};
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }

  Settings settings;
  CudaDevice gpu;
  SimDevice sim;
  Executor onGpu, onSim;
  Noise noise;
  uint32_t halfType = 0;
  size_t words = 0;
  std::set<std::string> kernels, ops;
  uint64_t steps = 0, failed = 0, rounded = 0;
  double worst = 0;
};

} // namespace

int main(int argc, char **argv) {
  return exitCodeOf([&] {
    Settings settings;
    for (int i = 1; i < argc; ++i) {
      std::string word = argv[i], value = word.substr(word.find('=') + 1);
      if (word.rfind("--constants=", 0) == 0)
        settings.constants = value;
      else if (word.rfind("--ids=", 0) == 0)
        settings.ids = std::stoll(value);
      else if (word.rfind("--tolerance=", 0) == 0)
        settings.tolerance = std::stod(value);
      else if (word.rfind("--threads=", 0) == 0)
        settings.threads = static_cast<unsigned>(std::stoul(value));
      else if (word.rfind("--", 0) != 0 && settings.weights.empty())
        settings.weights = word;
      else
        throw usageError("unknown argument " + word);
    }
    if (settings.weights.empty())
      throw usageError("the weights file is missing");
    return LockStep(settings).run();
  });
}
