//===- Diagnostics.h - everything wrong with a request, collected -----------------------------*- C++ -*-===//
//
// Problems are collected over the whole model and printed in one list; the exit code follows from their kinds.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_COMPILER_IMPORT_DIAGNOSTICS_H
#define GMC_COMPILER_IMPORT_DIAGNOSTICS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <string>
#include <vector>

namespace gmc {

/// Exit codes of gmc.
enum ExitCode {
  ExitOk = 0,
  ExitUsage = 1,
  ExitUnsupported = 2,
  ExitDoesNotFit = 3,
  ExitInternal = 4,
  ExitCheckFailed = 5
};

enum class ProblemKind { Input, Unsupported, Internal };

/// One thing that is wrong. Node, op and domain are empty when it concerns no node.
struct Problem {
  ProblemKind kind = ProblemKind::Input;
  std::string reason;
  std::string node = {}, op = {}, domain = {};
  int64_t opset = 0;
};

class Diagnostics {
public:
  void add(Problem problem) { problems.push_back(std::move(problem)); }
  void input(const llvm::Twine &reason) { add({ProblemKind::Input, reason.str()}); }
  void unsupported(const llvm::Twine &reason) { add({ProblemKind::Unsupported, reason.str()}); }
  void warn(const llvm::Twine &text) { warnings.push_back(text.str()); }

  bool hasErrors() const { return !problems.empty(); }
  const std::vector<Problem> &getProblems() const { return problems; }
  const std::vector<std::string> &getWarnings() const { return warnings; }
  /// 0 without problems; else 4 with an internal one, 2 with something unsupported, 1.
  ExitCode exitCode() const;
  /// One line a problem: `gmc: MODEL: node 'N' (Op, opset 17): reason`. Nodes are grouped by what they have in common.
  void print(llvm::raw_ostream &os, llvm::StringRef file) const;

private:
  std::vector<Problem> problems;
  std::vector<std::string> warnings;
};

/// An llvm::Error for bad input.
inline llvm::Error inputError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

} // namespace gmc

#endif
