// Every program of a model once on the GPU and once on the CPU, from the same inputs: all that its OUTPUT tensors hold
// is compared. Linked with the objects that `gmc-conformance --device-cases=FOLDER` writes, the one for sim with its
// gmc_model renamed gmc_model_sim.
//
//   opcases CASES.bin [--threads=N]
//
// Integers must be equal; floats may differ by the tolerance of their type, relative to the value or to the tensor's
// root mean square. Prints a JSON object a line: one for each program that differs, and a last one with the sums. Exit
// code 5 when any does.
#include "test/gpu/Main.h"
#include "runtime/cuda/CudaDevice.h"
#include "runtime/data/DType.h"
#include "runtime/sim/SimDevice.h"
#include "runtime/train/Executor.h"

#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

extern "C" const GmcModel gmc_model_sim;

using namespace gmc::rt;
using Json = nlohmann::ordered_json;

namespace {

double toleranceOf(uint32_t dtype) {
  switch (dtype) {
  case GMC_DOUBLE:
    return 1e-9;
  case GMC_FLOAT16:
    return 2e-3;
  case GMC_BFLOAT16:
    return 1.6e-2;
  default:
    return 1e-4;
  }
}

std::vector<double> widened(const GmcTensor &tensor, const std::vector<char> &bytes) {
  std::vector<double> values(tensor.bytes / dtypeSize(tensor.dtype));
  convertElements(bytes.data(), tensor.dtype, reinterpret_cast<char *>(values.data()), GMC_DOUBLE, values.size());
  return values;
}

/// The largest difference of two tensors, relative; infinite where one holds a number and the other none.
double apart(const GmcTensor &tensor, const std::vector<char> &x, const std::vector<char> &y) {
  if (x == y)
    return 0;
  if (!isFloatType(tensor.dtype))
    return INFINITY;
  std::vector<double> a = widened(tensor, x), b = widened(tensor, y);
  double squares = 0, worst = 0;
  size_t finite = 0;
  for (double v : a)
    if (std::isfinite(v)) {
      squares += v * v;
      ++finite;
    }
  double typical = finite ? std::sqrt(squares / double(finite)) : 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))
      continue;
    double relative = std::abs(a[i] - b[i]) / std::max({std::abs(a[i]), std::abs(b[i]), typical});
    worst = std::isnan(relative) ? INFINITY : std::max(worst, relative);
  }
  return worst;
}

int compareAll(const std::string &path, unsigned threads) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw usageError("cannot read " + path);
  CudaDevice gpu(0);
  SimDevice sim(threads);
  Executor onGpu(gmc_model, gpu), onSim(gmc_model_sim, sim);
  if (gmc_model.numPrograms != gmc_model_sim.numPrograms)
    throw usageError("the two objects are of different programs");
  std::set<std::string> kernels, ops;
  uint64_t failed = 0;
  double worst = 0;
  for (uint32_t p = 0; p < gmc_model.numPrograms; ++p) {
    const GmcProgram &program = gmc_model.programs[p], &simulated = gmc_model_sim.programs[p];
    std::vector<const GmcTensor *> outputs;
    for (uint32_t t = 0; t < program.numTensors; ++t) {
      const GmcTensor &tensor = program.tensors[t];
      if (tensor.role == GMC_ROLE_OUTPUT) {
        outputs.push_back(&tensor);
        continue;
      }
      std::vector<char> contents(tensor.bytes);
      if (!file.read(contents.data(), static_cast<std::streamsize>(contents.size())))
        throw usageError(path + " ends early");
      onGpu.write(tensor, contents.data());
      onSim.write(simulated.tensors[t], contents.data());
    }
    gpu.finishWrites();
    onGpu.run(program, [](int64_t) {});
    onSim.run(simulated, [](int64_t) {});
    for (uint32_t s = 0; s < program.numSteps; ++s) {
      ops.insert(program.steps[s].op);
      for (uint32_t l = 0; l < program.steps[s].numLaunches; ++l)
        kernels.insert(program.steps[s].launches[l].name);
    }
    double here = 0;
    bool bad = false;
    for (const GmcTensor *tensor : outputs) {
      std::vector<char> x(tensor->bytes), y(tensor->bytes);
      onGpu.read(*tensor, x.data());
      onSim.read(*tensor, y.data());
      double distance = apart(*tensor, y, x);
      bad |= !(distance <= toleranceOf(tensor->dtype));
      here = std::max(here, distance);
      if (tensor->dtype == GMC_FLOAT && std::isfinite(distance))
        worst = std::max(worst, distance);
    }
    if (bad) {
      ++failed;
      std::cout << Json{{"case", program.name}, {"apart", std::isinf(here) ? -1 : here}}.dump() << std::endl;
    }
  }
  std::cout << Json{{"cases", gmc_model.numPrograms},
                    {"kernels", kernels.size()},
                    {"failed", failed},
                    {"worst_f32", worst},
                    {"ops", ops}}
                   .dump()
            << std::endl;
  return failed ? 5 : 0;
}

} // namespace

int main(int argc, char **argv) {
  return exitCodeOf([&] {
    std::string path;
    unsigned threads = 1;
    for (int i = 1; i < argc; ++i) {
      std::string word = argv[i];
      if (word.rfind("--threads=", 0) == 0)
        threads = static_cast<unsigned>(std::stoul(word.substr(10)));
      else if (path.empty() && word.rfind("--", 0) != 0)
        path = word;
      else
        throw usageError("unknown argument " + word);
    }
    if (path.empty())
      throw usageError("the file of cases is missing");
    return compareAll(path, threads);
  });
}
