#include "runtime/host/Libraries.h"
#include "gmc/Error.h"
#include "runtime/host/ThreadPool.h"

#include <algorithm>
#include <map>

namespace gmc::rt {

Libraries::Libraries(const GmcModel &model, ThreadPool &pool, const char *oneDnnObject) {
  std::vector<const GmcStep *> steps;
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (uint32_t s = 0; s < model.programs[p].numSteps; ++s)
      if (const GmcStep &step = model.programs[p].steps[s]; step.library) {
        if (step.library != GMC_LIBRARY_ONEDNN)
          throw internalError(std::string("step ") + step.op + " of '" + step.node + "' calls library " +
                              std::to_string(step.library) + ", which this runtime does not know");
        steps.push_back(&step);
      }
  if (steps.empty())
    return;
  PlannedCall first = PlannedCall::decode(steps[0]->libraryArgs, steps[0]->numLibraryArgs);
  std::string planned = "oneDNN " + OneDnn::versionText(first.version), problem;
  oneDnn = OneDnn::load(pool, first.isa, problem, OneDnn::Use::Execute, oneDnnObject);
  if (!oneDnn) {
    text = planned + " is not to be had (" + problem + "): " + std::to_string(steps.size()) +
           " steps run their portable kernels, slower and with other rounding; the package is libdnnl2\n";
    return;
  }
  std::map<std::vector<int64_t>, Prepared *> known; // equal calls are one
  size_t other = 0;
  std::string example;
  for (const GmcStep *step : steps) {
    Prepared *&slot = known[{step->libraryArgs, step->libraryArgs + step->numLibraryArgs}];
    if (!slot) {
      slot = prepared.emplace_back(std::make_unique<Prepared>()).get();
      prepare(*step, *slot);
    }
    bySteps[step] = slot;
    addresses.resize(std::max(addresses.size(), slot->positions.size()));
    PlannedCall call = PlannedCall::decode(step->libraryArgs, step->numLibraryArgs);
    if (!slot->call || slot->call->implementationHash() != call.implementation) {
      ++other;
      if (example.empty())
        example = std::string(step->op) + " of '" + step->node + "' by " +
                  (slot->call ? slot->call->implementation : "its portable kernel");
    }
  }
  if (oneDnn->version() != first.version)
    text += planned + " was planned for, " + OneDnn::versionText(oneDnn->version()) +
            " is here: results may differ in rounding\n";
  if (other)
    text += std::to_string(other) + " of " + std::to_string(steps.size()) + " calls of " + planned +
            " run another kernel here than planned (" + example + "): results may differ in rounding\n";
}

void Libraries::prepare(const GmcStep &step, Prepared &p) {
  PlannedCall planned = PlannedCall::decode(step.libraryArgs, step.numLibraryArgs);
  size_t operands = planned.call.operandCount();
  if (planned.positions.size() < operands)
    throw internalError(std::string("the library call of '") + step.node + "' lacks operands");
  for (int64_t position : planned.positions)
    if (position < 0 || position >= step.numOperands)
      throw internalError(std::string("the library call of '") + step.node + "' names an operand that is not there");
  p.call = oneDnn->prepare(planned.call, planned.form);
  if (!p.call)
    return;
  if (p.call->scratchBytes > static_cast<uint64_t>(planned.scratchBytes))
    throw Error(ExitMemory, std::string("oneDNN ") + OneDnn::versionText(oneDnn->version()) + " needs a workspace of " +
                                std::to_string(p.call->scratchBytes) + " bytes for " + step.op + " of '" + step.node +
                                "', the plan has " + std::to_string(planned.scratchBytes) +
                                ": compile again on this machine, or with --libraries=none");
  p.positions.assign(planned.positions.begin(), planned.positions.begin() + static_cast<int64_t>(operands));
  if (planned.positions.size() > operands)
    p.scratch = planned.positions[operands];
}

bool Libraries::run(const GmcStep &step, char *const *operands) {
  auto it = bySteps.find(&step);
  if (it == bySteps.end() || !it->second->call)
    return false;
  const Prepared &p = *it->second;
  for (size_t i = 0; i < p.positions.size(); ++i)
    addresses[i] = operands[p.positions[i]];
  p.call->run(addresses.data(), p.scratch < 0 ? nullptr : operands[p.scratch]);
  return true;
}

} // namespace gmc::rt
