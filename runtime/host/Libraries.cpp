#include "runtime/host/Libraries.h"
#include "gmc/Error.h"
#include "runtime/host/ThreadPool.h"

#include <algorithm>

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
  size_t other = 0;
  std::string example;
  for (const GmcStep *step : steps) {
    PlannedCall planned = PlannedCall::decode(step->libraryArgs, step->numLibraryArgs);
    Step prepared = prepare(*step, planned);
    addresses.resize(std::max(addresses.size(), prepared.positions.size()));
    if (!prepared.call || prepared.call->implementationHash() != planned.implementation) {
      ++other;
      if (example.empty())
        example = std::string(step->op) + " of '" + step->node + "' by " +
                  (prepared.call ? prepared.call->implementation : "its portable kernel");
    }
    if (prepared.call)
      bySteps[step] = std::move(prepared);
  }
  if (oneDnn->version() != first.version)
    text += planned + " was planned for, " + OneDnn::versionText(oneDnn->version()) +
            " is here: results may differ in rounding\n";
  if (other)
    text += std::to_string(other) + " of " + std::to_string(steps.size()) + " calls of " + planned +
            " run another kernel here than planned (" + example + "): results may differ in rounding\n";
}

Libraries::Step Libraries::prepare(const GmcStep &step, const PlannedCall &planned) {
  Step prepared;
  size_t count = planned.call.operandCount() + planned.call.resultCount();
  if (planned.positions.size() < count)
    throw internalError(std::string("the library call of '") + step.node + "' lacks operands");
  for (int64_t position : planned.positions)
    if (position < 0 || position >= step.numOperands)
      throw internalError(std::string("the library call of '") + step.node + "' names an operand that is not there");
  prepared.positions.assign(planned.positions.begin(), planned.positions.begin() + static_cast<int64_t>(count));
  if (planned.positions.size() > count)
    prepared.scratch = planned.positions[count];
  auto [it, isNew] = calls.try_emplace(planned.shape());
  if (isNew)
    it->second = oneDnn->prepare(planned.call, planned.form);
  prepared.call = it->second.get();
  if (prepared.call && prepared.call->scratchBytes > static_cast<uint64_t>(planned.scratchBytes))
    throw Error(ExitMemory, std::string("oneDNN ") + OneDnn::versionText(oneDnn->version()) + " needs a workspace of " +
                                std::to_string(prepared.call->scratchBytes) + " bytes for " + step.op + " of '" +
                                step.node + "', the plan has " + std::to_string(planned.scratchBytes) +
                                ": compile again on this machine, or with --libraries=none");
  return prepared;
}

bool Libraries::run(const GmcStep &step, char *const *operands) {
  auto it = bySteps.find(&step);
  if (it == bySteps.end())
    return false;
  const Step &p = it->second;
  for (size_t i = 0; i < p.positions.size(); ++i)
    addresses[i] = operands[p.positions[i]];
  p.call->run(addresses.data(), p.scratch < 0 ? nullptr : operands[p.scratch]);
  return true;
}

} // namespace gmc::rt
