//===- Driver.cpp - gmc pack and gmc remat without the rest of gmc --------===//
//
// planning-driver pack FILE.csv [CAPACITY|-] [OUT.csv] [EFFORT]
// planning-driver remat FILE.json BUDGET [OUT.json] [EFFORT]
// planning-driver frontier FILE.json [POINTS] [EFFORT]    peak and cost of each schedule, one a line
// For builds without the compiler: the tests against the referee and the sanitizers run this.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/AtomicFile.h"
#include "compiler/Planning/Commands.h"
#include "compiler/Planning/RematJson.h"
#include "compiler/Planning/RematValidator.h"

#include <cstdlib>
#include <iostream>

static int runFrontier(const std::string &file, int points, int effort) {
  std::string text, error;
  gmc::planning::RematProblem problem;
  if (!gmc::planning::readWholeFile(file, text, error) || !gmc::planning::rematFromJson(text, problem).empty()) {
    std::cerr << "error: " << file << ": not a rematerialization problem\n";
    return 1;
  }
  std::cout << problem.nodes.size() << " nodes, bound " << gmc::planning::rematBoundBytes(problem) << "\n";
  for (const gmc::planning::RematSchedule &schedule : gmc::planning::rematFrontier(problem, points, effort)) {
    if (gmc::planning::RematCheck check = gmc::planning::validateRemat(problem, schedule); !check) {
      std::cerr << "error: " << file << ": " << check.message << "\n";
      return 4;
    }
    std::cout << schedule.peak << " " << schedule.cost << "\n";
  }
  return 0;
}

int main(int argc, char **argv) {
  auto argument = [&](int i) -> std::optional<std::string> {
    if (i < argc && std::string(argv[i]) != "-")
      return argv[i];
    return std::nullopt;
  };
  std::string command = argc > 2 ? argv[1] : "";
  std::optional<int64_t> bytes;
  if (auto text = argument(3))
    bytes = std::atoll(text->c_str());
  int effort = argument(5) ? std::atoi(argument(5)->c_str()) : 2;
  if (command == "pack")
    return gmc::planning::runPackCommand(argv[2], bytes, argument(4), effort, std::cout, std::cerr);
  if (command == "remat" && bytes)
    return gmc::planning::runRematCommand(argv[2], *bytes, argument(4), effort, std::cout, std::cerr);
  if (command == "frontier")
    return runFrontier(argv[2], bytes.value_or(16), argument(4) ? std::atoi(argument(4)->c_str()) : 2);
  std::cerr << "usage: planning-driver pack FILE.csv [CAPACITY|-] [OUT.csv] [EFFORT]\n"
               "       planning-driver remat FILE.json BUDGET [OUT.json] [EFFORT]\n"
               "       planning-driver frontier FILE.json [POINTS] [EFFORT]\n";
  return 1;
}
