#include "gmc/Error.h"
#include "runtime/train/Trainer.h"

#include <csignal>
#include <cstdio>
#include <iostream>
#include <malloc.h>
#include <new>

namespace gmc::rt {
namespace {

int run(const GmcModel &model, int argc, char **argv) {
  validateModel(model);
  Metadata metadata = parseMetadata(model);
  auto options = parseOptions(argc, argv, metadata);
  if (!options)
    return ExitDone;
  if (options->info) {
    std::unique_ptr<Device> device;
    std::string problem;
    try {
      device = createDevice(model, options->device);
    } catch (const Error &error) {
      problem = error.what();
    }
    printInfo(model, metadata, device.get(), problem);
    return ExitDone;
  }
  if (std::string isa = missingIsa(metadata); !isa.empty())
    throw usageError(isa);
  Trainer trainer(model, metadata, *options, argv[0]);
  if (!options->predict.empty())
    return trainer.predict();
  return options->eval ? trainer.evaluateOnly() : trainer.train();
}

} // namespace

int trainerMain(const GmcModel &model, int argc, char **argv) {
#if defined(__GLIBC__)
  // Few malloc arenas and a fixed mmap threshold: what a thread frees goes back, and the peak stays where it was.
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
#endif
  // A closed pipe or a file size limit is an error of the write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(model, argc, argv);
  } catch (const Error &error) {
    std::fflush(stdout);
    std::cerr << "error: " << error.what() << std::endl;
    return error.code();
  } catch (const std::bad_alloc &) {
    std::cerr << "error: out of host memory" << std::endl;
    return ExitMemory;
  } catch (const std::exception &error) {
    std::cerr << "internal error: " << error.what() << std::endl;
    return ExitInternal;
  }
}

} // namespace gmc::rt
