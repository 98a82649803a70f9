#include "compiler/Import/Diagnostics.h"
#include "llvm/ADT/MapVector.h"
#include <map>

namespace gmc {

ExitCode Diagnostics::exitCode() const {
  ExitCode code = ExitOk;
  for (const Problem &problem : problems) {
    if (problem.kind == ProblemKind::Internal)
      return ExitInternal;
    if (problem.kind == ProblemKind::Unsupported)
      code = ExitUnsupported;
    else if (code == ExitOk)
      code = ExitUsage;
  }
  return code;
}

/// `(Op, domain, opset 17)`
static std::string describe(const Problem &problem) {
  std::string text = problem.op;
  if (!problem.domain.empty())
    text += ", domain " + problem.domain;
  if (problem.opset)
    text += ", opset " + std::to_string(problem.opset);
  return text;
}

void Diagnostics::print(llvm::raw_ostream &os, llvm::StringRef file) const {
  std::string prefix = "gmc: " + (file.empty() ? std::string() : (file + ": ").str());
  for (const std::string &warning : warnings)
    os << prefix << "warning: " << warning << "\n";
  // Two hundred nodes of one unsupported op are one line: its reason, then the nodes.
  using Key = std::pair<std::string, std::string>;
  llvm::MapVector<Key, std::vector<const Problem *>, std::map<Key, unsigned>> groups;
  for (const Problem &problem : problems) {
    if (problem.node.empty())
      os << prefix << "error: " << problem.reason << "\n";
    else
      groups[{describe(problem), problem.reason}].push_back(&problem);
  }
  for (const auto &[key, members] : groups) {
    os << prefix << "error: node '" << members.front()->node << "' (" << key.first << "): " << key.second << "\n";
    if (members.size() == 1)
      continue;
    os << prefix << "  likewise " << members.size() - 1 << " more:";
    for (size_t i = 1; i < members.size(); ++i)
      os << " '" << members[i]->node << "'";
    os << "\n";
  }
}

} // namespace gmc
