//===- PackRemat.cpp - gmc pack and gmc remat ---------------------------------------------------------===//

#include "compiler/Planning/Commands.h"
#include "tools/gmc/Options.h"
#include <iostream>

namespace gmc {

namespace {
struct PlanningOptions {
  std::string file, size;
  std::optional<std::string> output;
  int effort = 2;

  /// -o - is stdout, as for every subcommand.
  std::optional<std::string> target() const { return output == "-" ? std::nullopt : output; }
};
} // namespace

static void addCommonOptions(CLI::App &command, PlanningOptions &options, const char *stdoutHolds) {
  command.add_option("-o", options.output, std::string("output file (default: ") + stdoutHolds + " on stdout)");
  command.add_option("--effort", options.effort, "1..5: how much work the search may do")->check(CLI::Range(1, 5));
}

void registerPackRemat(CLI::App &app, int &exitCode) {
  auto pack = std::make_shared<PlanningOptions>();
  CLI::App *command = app.add_subcommand("pack", "The offset packer alone; without a capacity it minimizes the height");
  command->add_option("FILE", pack->file, "CSV of id,lower,upper,size; live in [lower, upper)")->required();
  command->add_option("--capacity", pack->size, "find a packing of at most this height")->type_name("BYTES");
  addCommonOptions(*command, *pack, "the CSV");
  command->callback([pack, &exitCode] {
    std::optional<int64_t> capacity;
    if (!pack->size.empty()) {
      auto bytes = parseSize(pack->size);
      if (!bytes) {
        exitCode = usageError("--capacity: " + llvm::toString(bytes.takeError()));
        return;
      }
      capacity = *bytes;
    }
    exitCode = planning::runPackCommand(pack->file, capacity, pack->target(), pack->effort, std::cout, std::cerr);
  });

  auto remat = std::make_shared<PlanningOptions>();
  command = app.add_subcommand("remat", "The rematerialization solver alone");
  command->add_option("FILE", remat->file, "JSON of the problem")->required();
  command->add_option("--budget", remat->size, "bytes that the schedule may use")->required()->type_name("BYTES");
  addCommonOptions(*command, *remat, "the JSON");
  command->callback([remat, &exitCode] {
    auto bytes = parseSize(remat->size);
    if (!bytes) {
      exitCode = usageError("--budget: " + llvm::toString(bytes.takeError()));
      return;
    }
    exitCode = planning::runRematCommand(remat->file, *bytes, remat->target(), remat->effort, std::cout, std::cerr);
  });
}

} // namespace gmc
