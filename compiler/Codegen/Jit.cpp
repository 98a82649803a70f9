//===- Jit.cpp - runs a pure nn function in this process, on the host target ----------------------------===//

#include "compiler/Codegen/Jit.h"
#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Codegen/PlaceFunction.h"
#include "gmc/Sim.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include <cstring>
#include <sys/mman.h>
#include <thread>

using namespace mlir;

/// runtime/sim/BFloat16.cpp: a C library may lack it.
extern "C" __bf16 __truncsfbf2(float);

namespace gmc {

struct JitProgram::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  const GmcModel *model = nullptr;
  char *arena = nullptr;
  size_t arenaBytes = 0;
  int threads = 1;
  std::vector<ArenaRange> arguments, results;
  std::vector<std::vector<char *>> operands;                     ///< per step
  ~Impl() {
    if (arena)
      munmap(arena, arenaBytes);
  }
};

llvm::Error defineSimRuntime(llvm::orc::LLJIT &jit) {
  llvm::orc::SymbolMap symbols;
  auto define = [&](StringRef name, auto *function) {
    symbols[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(function), llvm::JITSymbolFlags::Exported};
  };
  define("gmc_sim_run", &gmc_sim_run);
  define("gmc_sim_barrier", &gmc_sim_barrier);
  define("gmc_sim_sync_warp", &gmc_sim_sync_warp);
  define("gmc_sim_shuffle", &gmc_sim_shuffle);
  define("gmc_sim_ballot", &gmc_sim_ballot);
  define("gmc_sim_mma", &gmc_sim_mma);
  define("gmc_sim_load_matrices", &gmc_sim_load_matrices);
  define("__truncsfbf2", &__truncsfbf2);
  return jit.getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols)));
}

llvm::Expected<std::unique_ptr<JitProgram>> JitProgram::compile(func::FuncOp function, const JitOptions &options) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  auto copy = cast<func::FuncOp>(b.clone(*function));
  auto placed = placeFunction(copy, options.sim ? KernelTarget::Gpu : KernelTarget::Host, options.fuse);
  if (!placed)
    return placed.takeError();
  ModelImage image;
  image.arenaBytes = placed->arenaBytes;
  image.programs.push_back(std::move(placed->program));
  if (options.sim)
    image.target = GMC_TARGET_SIM;
  auto object = options.sim ? emitGpuObject(*module, image, {}) : emitHostObject(*module, image, options.codegen);
  if (!object)
    return object.takeError();
  auto impl = std::make_unique<Impl>();
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  impl->jit = std::move(*jit);
  auto process = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
      impl->jit->getDataLayout().getGlobalPrefix());
  if (!process)
    return process.takeError();
  impl->jit->getMainJITDylib().addGenerator(std::move(*process));
  if (options.sim)
    if (auto error = defineSimRuntime(*impl->jit))
      return error;
  if (auto error = impl->jit->addObjectFile(std::move(*object)))
    return error;
  auto symbol = impl->jit->lookup("gmc_model");
  if (!symbol)
    return symbol.takeError();
  impl->model = symbol->toPtr<const GmcModel *>();
  impl->arenaBytes = placed->arenaBytes;
  void *arena = mmap(nullptr, impl->arenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (arena == MAP_FAILED)
    return llvm::createStringError("cannot allocate an arena of %zu bytes", impl->arenaBytes);
  impl->arena = static_cast<char *>(arena);
  if (impl->arenaBytes >= (8u << 20)) // as a trainer's arena
    madvise(arena, impl->arenaBytes, MADV_HUGEPAGE);
  impl->threads = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  impl->arguments = std::move(placed->arguments);
  impl->results = std::move(placed->results);
  for (auto &[offset, bytes] : placed->constants)
    std::memcpy(impl->arena + offset, bytes.data(), bytes.size());
  const GmcProgram &compiled = impl->model->programs[0];
  for (uint32_t i = 0; i < compiled.numSteps; ++i) {
    auto &pointers = impl->operands.emplace_back();
    for (uint32_t k = 0; k < compiled.steps[i].numOperands; ++k)
      pointers.push_back(impl->arena + compiled.steps[i].operands[k]);
  }
  return std::unique_ptr<JitProgram>(new JitProgram(std::move(impl)));
}

JitProgram::JitProgram(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
JitProgram::~JitProgram() = default;

size_t JitProgram::numArguments() const { return impl->arguments.size(); }
size_t JitProgram::numResults() const { return impl->results.size(); }
size_t JitProgram::argumentBytes(unsigned i) const { return impl->arguments[i].bytes; }
size_t JitProgram::resultBytes(unsigned i) const { return impl->results[i].bytes; }
size_t JitProgram::arenaBytes() const { return impl->arenaBytes; }
void *JitProgram::argument(unsigned i) { return impl->arena + impl->arguments[i].offset; }
const void *JitProgram::result(unsigned i) const { return impl->arena + impl->results[i].offset; }

void JitProgram::setArgument(unsigned i, const void *data, size_t bytes) {
  if (bytes != argumentBytes(i))
    llvm::report_fatal_error("gmc: argument of the wrong size");
  std::memcpy(argument(i), data, bytes);
}

void JitProgram::getResult(unsigned i, void *data) const { std::memcpy(data, result(i), resultBytes(i)); }

void JitProgram::run() {
  const GmcProgram &program = impl->model->programs[0];
  for (uint32_t i = 0; i < program.numSteps; ++i) {
    const GmcStep &step = program.steps[i];
    char *const *operands = impl->operands[i].data();
    for (uint32_t l = 0; l < step.numLaunches; ++l) {
      const GmcLaunch &launch = step.launches[l];
      int64_t parts = std::min<int64_t>(impl->threads, launch.extent / std::max<int64_t>(1, launch.grain));
      if (parts <= 1) {
        launch.fn(operands, 0, launch.extent);
        continue;
      }
      std::vector<std::thread> threads;
      for (int64_t p = 1; p < parts; ++p)
        threads.emplace_back(
            [&, p] { launch.fn(operands, launch.extent * p / parts, launch.extent * (p + 1) / parts); });
      launch.fn(operands, 0, launch.extent / parts);
      for (std::thread &thread : threads)
        thread.join();
    }
  }
}

} // namespace gmc
