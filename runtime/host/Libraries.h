// Library calls of the host target: the steps of a model that a library executes instead of their launches.
#ifndef GMC_HOST_LIBRARIES_H
#define GMC_HOST_LIBRARIES_H

#include "gmc/Abi.h"
#include "runtime/host/OneDnn.h"

#include <map>
#include <unordered_map>

namespace gmc::rt {

class Libraries {
public:
  /// Prepares every library call of the model, before its arena is there. Steps keep their launches when the library
  /// does not load or has no such call; notes() says so. Throws Error(ExitMemory) when a call needs more workspace than
  /// the plan has for it, Error(ExitInternal) for an unknown library.
  Libraries(const GmcModel &model, ThreadPool &pool, const char *oneDnn = OneDnn::SharedObject);

  /// Executes `step` on its operands' addresses. False when its launches are to be executed.
  bool run(const GmcStep &step, char *const *operands);

  /// One line per thing that is not as planned here; empty when all is.
  const std::string &notes() const { return text; }

private:
  /// What a step executes, and where in its operands the call's operands, results and workspace are.
  struct Step {
    OneDnn::Call *call = nullptr;
    std::vector<int64_t> positions;
    int64_t scratch = -1;
  };

  Step prepare(const GmcStep &step, const PlannedCall &planned);

  std::unique_ptr<OneDnn> oneDnn;
  std::unordered_map<const GmcStep *, Step> bySteps; ///< without those that keep their launches
  std::map<std::vector<int64_t>, std::unique_ptr<OneDnn::Call>> calls; ///< null: the launches
  std::vector<char *> addresses;
  std::string text;
};

} // namespace gmc::rt

#endif
