// Runs every step of gmc_model on operands that are allocations of exactly their size, under AddressSanitizer. With the
// argument "short", the first operand of each step lacks its last element: a run that ends well did not look.
#include "gmc/Abi.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

int main(int argc, char **argv) {
  bool lacking = argc > 1 && !std::strcmp(argv[1], "short");
  const GmcProgram &program = gmc_model.programs[0];
  std::map<uint64_t, uint64_t> bytes;
  std::map<uint64_t, char *> memory;
  for (uint32_t i = 0; i < gmc_model.numTensors; ++i)
    bytes[gmc_model.tensors[i].offset] = gmc_model.tensors[i].bytes;
  for (uint32_t s = 0; s < program.numSteps; ++s) {
    const GmcStep &step = program.steps[s];
    std::vector<char *> operands;
    for (uint32_t i = 0; i < step.numOperands; ++i) {
      uint64_t key = step.operands[i], size = bytes[key];
      char *&data = memory[key];
      if (!data || (lacking && i == 0)) {
        data = new char[size - (lacking && i == 0 ? 4 : 0)];
        std::memset(data, 0, size - (lacking && i == 0 ? 4 : 0)); // indices are 0, numbers finite
      }
      operands.push_back(data);
    }
    for (uint32_t l = 0; l < step.numLaunches; ++l)
      step.launches[l].fn(operands.data(), 0, step.launches[l].extent);
  }
  std::printf("%u steps\n", program.numSteps);
  for (auto &[_, data] : memory)
    delete[] data;
  return program.numSteps ? 0 : 1;
}
