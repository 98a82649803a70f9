//===- Commands.cpp - gmc pack and gmc remat ------------------------------===//
#include "compiler/Planning/Commands.h"

#include "compiler/Planning/AtomicFile.h"
#include "compiler/Planning/PackCsv.h"
#include "compiler/Planning/PackValidator.h"
#include "compiler/Planning/RematJson.h"
#include "compiler/Planning/RematValidator.h"

#include <cstdio>

namespace gmc::planning {

namespace {

constexpr size_t maxListed = 50;

/// "file: reason" for each offender.
int reportAll(const std::string &file, const std::vector<std::string> &reasons, std::ostream &err) {
  for (size_t i = 0; i < reasons.size() && i < maxListed; ++i)
    err << "error: " << file << ": " << reasons[i] << "\n";
  if (reasons.size() > maxListed)
    err << "error: " << file << ": and " << reasons.size() - maxListed << " more\n";
  return 1;
}

} // namespace

int runPackCommand(const std::string &file, std::optional<int64_t> capacity, const std::optional<std::string> &output,
                   int effort, std::ostream &out, std::ostream &err) {
  std::string text, error;
  if (!readWholeFile(file, text, error)) {
    err << "error: " << error << "\n";
    return 1;
  }
  PackFile input;
  if (std::vector<std::string> bad = packFromCsv(text, input); !bad.empty())
    return reportAll(file, bad, err);
  input.problem.capacity = capacity;
  PackSolution solution = pack(input.problem, effort);
  if (PackCheck check = validatePacking(input.problem, solution); !check) {
    err << "internal error: " << file << ": the packing found is not valid: " << check.message << "\n";
    return 4;
  }
  if (!solution.found) {
    err << "error: " << file << ": no packing within " << *capacity << " bytes "
        << (solution.provedInfeasible ? "exists" : "found") << "; the lowest found has height " << solution.height
        << ", the most bytes live at once are " << solution.lowerBound << "\n";
    return 3;
  }
  char summary[160];
  std::snprintf(summary, sizeof summary, "%zu buffers  height %lld  max live %lld  ratio %.4f\n", input.ids.size(),
                static_cast<long long>(solution.height), static_cast<long long>(solution.lowerBound),
                solution.lowerBound ? double(solution.height) / double(solution.lowerBound) : 1.0);
  std::string csv = packToCsv(input, solution);
  if (!output) {
    out << csv << std::flush;
    err << summary;
    return out ? 0 : 1;
  }
  if (!writeFileAtomically(*output, csv, error)) {
    err << "error: " << error << "\n";
    return 1;
  }
  out << summary;
  return 0;
}

int runRematCommand(const std::string &file, int64_t budgetBytes, const std::optional<std::string> &output, int effort,
                    std::ostream &out, std::ostream &err) {
  std::string text, error;
  if (!readWholeFile(file, text, error)) {
    err << "error: " << error << "\n";
    return 1;
  }
  RematProblem problem;
  if (std::vector<std::string> bad = rematFromJson(text, problem); !bad.empty())
    return reportAll(file, bad, err);
  RematResult result = solveRemat(problem, budgetBytes, effort);
  if (result.found)
    if (RematCheck check = validateRemat(problem, result, budgetBytes); !check) {
      err << "internal error: " << file << ": the schedule found is not valid: " << check.message << "\n";
      return 4;
    }
  std::string json = rematResultToJson(problem, result);
  if (!output) {
    out << json << std::flush;
    if (!out)
      return 1;
  } else if (!writeFileAtomically(*output, json, error)) {
    err << "error: " << error << "\n";
    return 1;
  }
  if (result.found)
    return 0;
  err << "error: " << file << ": no schedule within " << budgetBytes << " bytes "
      << (result.provedInfeasible ? "exists" : "found") << "; at least " << result.boundBytes << " are needed\n";
  return 3;
}

} // namespace gmc::planning
