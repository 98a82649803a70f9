//===- Jit.cpp - runs a pure nn function in this process, on the host target ----------------------------===//

#include "compiler/Codegen/Jit.h"
#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Pipeline/KernelGraph.h"
#include "compiler/Planning/Packing.h"
#include "dialects/NN/Tensor.h"
#include "gmc/Sim.h"
#include "passes/Fusion/FormKernels.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include <cstring>
#include <sys/mman.h>
#include <thread>

using namespace mlir;

namespace gmc {

struct JitProgram::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  const GmcModel *model = nullptr;
  char *arena = nullptr;
  size_t arenaBytes = 0;
  int threads = 1;
  std::vector<std::pair<uint64_t, uint64_t>> arguments, results; ///< offset, bytes
  std::vector<std::vector<char *>> operands;                     ///< per step
  ~Impl() {
    if (arena)
      munmap(arena, arenaBytes);
  }
};

/// Places every storage: arguments, constants and outputs for the whole run, the rest by lifetime; a result overwrites an
/// operand that dies where its kernel allows it.
struct Placement {
  std::vector<uint64_t> offset;                    ///< per storage
  std::vector<std::vector<int>> aliases;           ///< per node, per result: operand position or -1
  std::vector<std::vector<uint64_t>> workspaces;   ///< per node
  uint64_t arenaBytes = 0;
};

static Placement place(const KernelGraph &graph) {
  size_t count = graph.storages.size();
  int end = graph.nodes.size();
  std::vector<int> first(count, 0), last(count, -1), base(count);
  for (size_t s = 0; s < count; ++s) {
    base[s] = s;
    const Storage &storage = graph.storages[s];
    first[s] = storage.kind == Storage::Kind::Result ? storage.producer : 0;
    last[s] = storage.kind == Storage::Kind::Result && !storage.isOutput ? storage.producer : end;
  }
  for (auto [n, node] : llvm::enumerate(graph.nodes))
    for (int s : node.operands)
      last[s] = std::max<int>(last[s], n);
  Placement placement;
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    std::vector<int> aliases(node.results.size(), -1);
    for (size_t r = 0; r < node.results.size(); ++r)
      for (unsigned candidate : node.inPlace[r]) {
        int s = node.operands[candidate];
        bool taken = llvm::count(node.operands, s) > 1 || llvm::is_contained(aliases, static_cast<int>(candidate));
        if (taken || graph.storages[s].kind != Storage::Kind::Result || last[base[s]] != static_cast<int>(n))
          continue;
        aliases[r] = candidate;
        int target = base[s];
        base[node.results[r]] = target;
        last[target] = std::max(last[target], last[node.results[r]]);
        break;
      }
    placement.aliases.push_back(std::move(aliases));
  }
  planning::PackProblem problem;
  auto add = [&](int lower, int upper, int64_t bytes) {
    problem.buffers.push_back({static_cast<int64_t>(problem.buffers.size()), lower, upper, (bytes + 63) / 64 * 64, 64});
    return problem.buffers.size() - 1;
  };
  std::vector<size_t> slot(count);
  for (size_t s = 0; s < count; ++s)
    if (base[s] == static_cast<int>(s))
      slot[s] = add(first[s], last[s] + 1, graph.storages[s].bytes);
  std::vector<std::vector<size_t>> workspaceSlots;
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    auto &slots = workspaceSlots.emplace_back();
    for (int64_t bytes : node.workspaces)
      slots.push_back(add(n, n + 1, bytes));
  }
  planning::PackSolution solution = planning::pack(problem, 1);
  for (size_t s = 0; s < count; ++s)
    placement.offset.push_back(solution.offsets[slot[base[s]]]);
  for (auto &slots : workspaceSlots) {
    auto &offsets = placement.workspaces.emplace_back();
    for (size_t w : slots)
      offsets.push_back(solution.offsets[w]);
  }
  placement.arenaBytes = std::max<int64_t>(solution.height, 64);
  return placement;
}

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
  return jit.getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols)));
}

llvm::Expected<std::unique_ptr<JitProgram>> JitProgram::compile(func::FuncOp function, const JitOptions &options) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  auto copy = cast<func::FuncOp>(b.clone(*function));
  std::string diagnostics;
  {
    ScopedDiagnosticHandler handler(function.getContext(), [&](Diagnostic &d) {
      diagnostics += d.str() + "\n";
      return success();
    });
    if (failed(formKernels(copy, {options.fuse})))
      return llvm::createStringError("forming kernels: " + diagnostics);
  }
  KernelGraph graph = KernelGraph::build(copy, options.sim ? KernelTarget::Gpu : KernelTarget::Host);
  Placement placement = place(graph);

  ModelImage image;
  image.arenaBytes = placement.arenaBytes;
  ImageProgram &program = image.programs.emplace_back();
  program.name = function.getName().str();
  for (auto [n, node] : llvm::enumerate(graph.nodes)) {
    ImageStep &step = program.steps.emplace_back();
    step.use.kernel = node.kernel.getName().str();
    step.use.aliases = placement.aliases[n];
    step.op = node.op;
    step.node = node.nodes.empty() ? "" : node.nodes.front();
    for (int s : node.operands)
      step.operands.push_back(placement.offset[s]);
    for (auto [r, s] : llvm::enumerate(node.results))
      if (placement.aliases[n][r] < 0)
        step.operands.push_back(placement.offset[s]);
    llvm::append_range(step.operands, placement.workspaces[n]);
  }
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
  impl->arenaBytes = placement.arenaBytes;
  void *arena = mmap(nullptr, impl->arenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (arena == MAP_FAILED)
    return llvm::createStringError("cannot allocate an arena of %zu bytes", impl->arenaBytes);
  impl->arena = static_cast<char *>(arena);
  if (impl->arenaBytes >= (8u << 20)) // as a trainer's arena
    madvise(arena, impl->arenaBytes, MADV_HUGEPAGE);
  impl->threads = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  for (int s : graph.arguments)
    impl->arguments.emplace_back(placement.offset[s], graph.storages[s].bytes);
  for (int s : graph.results)
    impl->results.emplace_back(placement.offset[s], graph.storages[s].bytes);
  for (auto [s, storage] : llvm::enumerate(graph.storages))
    if (storage.kind == Storage::Kind::Constant) {
      auto constant = storage.value.getDefiningOp<nn::ConstantOp>();
      std::vector<char> bytes = constantBytes(cast<DenseElementsAttr>(constant.getValue()));
      std::memcpy(impl->arena + placement.offset[s], bytes.data(), bytes.size());
    }
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
size_t JitProgram::argumentBytes(unsigned i) const { return impl->arguments[i].second; }
size_t JitProgram::resultBytes(unsigned i) const { return impl->results[i].second; }
size_t JitProgram::arenaBytes() const { return impl->arenaBytes; }
void *JitProgram::argument(unsigned i) { return impl->arena + impl->arguments[i].first; }
const void *JitProgram::result(unsigned i) const { return impl->arena + impl->results[i].first; }

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
        threads.emplace_back([&, p] { launch.fn(operands, launch.extent * p / parts, launch.extent * (p + 1) / parts); });
      launch.fn(operands, 0, launch.extent / parts);
      for (std::thread &thread : threads)
        thread.join();
    }
  }
}

} // namespace gmc
