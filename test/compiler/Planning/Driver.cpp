//===- Driver.cpp - gmc pack and gmc remat without the rest of gmc --------===//
//
// planning-driver pack FILE.csv [CAPACITY|-] [OUT.csv] [EFFORT]
// planning-driver remat FILE.json BUDGET [OUT.json] [EFFORT]
// For builds without the compiler: the tests against the referee and the sanitizers run this.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/Commands.h"

#include <cstdlib>
#include <iostream>

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
  std::cerr << "usage: planning-driver pack FILE.csv [CAPACITY|-] [OUT.csv] [EFFORT]\n"
               "       planning-driver remat FILE.json BUDGET [OUT.json] [EFFORT]\n";
  return 1;
}
