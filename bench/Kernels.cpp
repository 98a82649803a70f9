//===- Kernels.cpp - bandwidth of generated kernels against STREAM copy ----------------------------------===//
//
// bench-kernels [--threads=N] [--mb=N] [--rounds=N] [--only=NAME] [-o PAGE]: runs memory-bound kernels on tensors of N
// MB through the code that trainers run, and a STREAM copy between each two of them. What is printed is the best of the
// rounds, in GB/s of bytes that a kernel has to read and write once, and its share of the copy's. Kernels and copies
// take turns, so that both see the same machine.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Codegen/Jit.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/Format.h"
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <optional>
#include <sys/mman.h>
#include <thread>

using namespace mlir;

static int threads = 2, megabytes = 64, rounds = 15;
static bool cpuTime = false;
static std::string only, page;

namespace {

/// Wall time, or the processor time of a single thread, which other processes on the machine disturb less.
double now() {
  if (!cpuTime)
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

double seconds(llvm::function_ref<void()> body) {
  double begin = now();
  body();
  return now() - begin;
}

/// The loop of STREAM's copy, c[i] = a[i], in both forms that compilers make of it: ordinary stores, and the C
/// library's copy, whose stores bypass the caches. The faster of the two counts.
class Stream {
public:
  explicit Stream(size_t bytes) : bytes(bytes), from(allocate(bytes)), to(allocate(bytes)) {}
  double copy() { return std::min(onThreads(&plain), onThreads(&library)); }

private:
  using Copy = void (*)(float *, const float *, size_t);
  static float *allocate(size_t bytes) {
    void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(data, bytes, MADV_HUGEPAGE);
    std::fill_n(static_cast<float *>(data), bytes / 4, 1.f);
    return static_cast<float *>(data);
  }
  static void plain(float *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      to[i] = from[i];
      asm volatile("" ::: "memory"); // keeps it from becoming a call
    }
  }
  static void library(float *to, const float *from, size_t n) { __builtin_memcpy(to, from, n * 4); }
  double onThreads(Copy copy) {
    size_t n = bytes / 4;
    return seconds([&] {
      std::vector<std::thread> pool;
      for (int t = 1; t < threads; ++t)
        pool.emplace_back(
            [=, this] { copy(to + n * t / threads, from + n * t / threads, n * (t + 1) / threads - n * t / threads); });
      copy(to, from, n / threads);
      for (std::thread &thread : pool)
        thread.join();
    });
  }

  size_t bytes;
  float *from, *to;
};

struct Kernel {
  const char *name;
  std::string text; ///< of the function; a capital letter is a type of kernels()
};

std::vector<Kernel> kernels(int64_t rows) {
  std::vector<Kernel> list = {
      {"relu", "func.func @f(%x: T) -> T {\n %0 = nn.relu %x : T\n return %0 : T }"},
      {"add", "func.func @f(%x: T, %y: T) -> T {\n %0 = nn.add %x, %y : T, T\n return %0 : T }"},
      {"bias, gelu-like chain", "func.func @f(%x: T, %b: R) -> T {\n %0 = nn.add %x, %b : T, R\n %1 = nn.tanh %0 : T\n"
                                " %2 = nn.mul %1, %0 : T, T\n return %2 : T }"},
      {"exp", "func.func @f(%x: T) -> T {\n %0 = nn.exp %x : T\n return %0 : T }"},
      {"sum of everything",
       "func.func @f(%x: T) -> tensor<f32> {\n %0 = \"nn.reduce_sum\"(%x) <{axes = array<i64: 0, 1>}> : (T) -> tensor<f32>\n"
       " return %0 : tensor<f32> }"},
      {"mean of rows",
       "func.func @f(%x: T) -> C {\n %0 = \"nn.reduce_mean\"(%x) <{axes = array<i64: 1>}> : (T) -> C\n return %0 : C }"},
      {"max of rows",
       "func.func @f(%x: T) -> C {\n %0 = \"nn.reduce_max\"(%x) <{axes = array<i64: 1>}> : (T) -> C\n return %0 : C }"},
      {"sum of columns",
       "func.func @f(%x: T) -> R {\n %0 = \"nn.reduce_sum\"(%x) <{axes = array<i64: 0>}> : (T) -> R\n return %0 : R }"},
      {"sum of planes (bias of NCHW)",
       "func.func @f(%x: P) -> tensor<64xf32> {\n"
       " %0 = \"nn.reduce_sum\"(%x) <{axes = array<i64: 0, 2>}> : (P) -> tensor<64xf32>\n return %0 : tensor<64xf32> }"},
      {"softmax of rows",
       "func.func @f(%x: T) -> T {\n %0 = nn.softmax %x {axis = 1 : i64} : (T) -> T\n return %0 : T }"},
      {"softmax gradient",
       "func.func @f(%y: T, %g: T) -> T {\n %0 = \"nn.softmax_grad\"(%y, %g) <{axis = 1 : i64}> : (T, T) -> T\n return %0 : T }"},
      {"layer norm",
       "func.func @f(%x: T, %s: R, %b: R) -> T {\n %0:3 = nn.layer_norm %x scale %s bias %b {axis = 1 : i64} : (T, R, R)"
       " -> (T, C, C)\n return %0#0 : T }"},
      {"layer norm gradient",
       "func.func @f(%x: T, %m: C, %i: C, %g: T, %s: R) -> T {\n %0 = nn.layer_norm_grad %x, %m, %i, %g scale %s"
       " {axis = 1 : i64} : (T, C, C, T, R) -> T\n return %0 : T }"},
      {"transpose",
       "func.func @f(%x: T) -> X {\n %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (T) -> X\n return %0 : X }"},
      {"NCHW to NHWC",
       "func.func @f(%x: P) -> Q {\n %0 = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (P) -> Q\n return %0 : Q }"},
  };
  std::string r = std::to_string(rows), planes = std::to_string(rows / 64);
  std::pair<char, std::string> types[] = {{'T', "tensor<" + r + "x1024xf32>"},
                                          {'R', "tensor<1024xf32>"},
                                          {'C', "tensor<" + r + "xf32>"},
                                          {'X', "tensor<1024x" + r + "xf32>"},
                                          {'P', "tensor<" + planes + "x64x1024xf32>"},
                                          {'Q', "tensor<" + planes + "x1024x64xf32>"}};
  for (Kernel &kernel : list)
    for (auto &[letter, type] : types)
      for (size_t at = 0; (at = kernel.text.find(letter, at)) != std::string::npos; at += type.size())
        kernel.text.replace(at, 1, type);
  return list;
}

/// What a measurement found of one kernel, in GB/s.
struct Rates {
  std::string name;
  double kernel, copy;
};

/// Measures the kernels as the options say, printing each; nothing when one does not compile.
std::optional<std::vector<Rates>> measure(MLIRContext &context) {
  size_t bytes = size_t(megabytes) << 20;
  Stream stream(bytes);
  std::vector<Rates> table;
  llvm::outs() << "tensors of " << megabytes << " MiB, " << threads << " threads, best of " << rounds << "\n";
  llvm::outs() << "kernel                               GB/s   copy GB/s   share\n";
  for (const Kernel &kernel : kernels(bytes / 4096)) {
    if (!llvm::StringRef(kernel.name).contains(only))
      continue;
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(kernel.text, &context);
    if (!module)
      return std::nullopt;
    gmc::JitOptions options;
    options.threads = threads;
    auto program = gmc::JitProgram::compile(*module->getOps<func::FuncOp>().begin(), options);
    if (!program) {
      llvm::errs() << kernel.name << ": " << llvm::toString(program.takeError()) << "\n";
      return std::nullopt;
    }
    double moved = 0;
    for (unsigned i = 0; i < (*program)->numArguments(); ++i) {
      moved += (*program)->argumentBytes(i);
      auto *data = static_cast<float *>((*program)->argument(i));
      for (size_t k = 0; k < (*program)->argumentBytes(i) / 4; ++k)
        data[k] = float(k * 7919 % 1009) / 1009 - .5f;
    }
    for (unsigned i = 0; i < (*program)->numResults(); ++i)
      moved += (*program)->resultBytes(i);
    double best = 1e9, copy = 1e9;
    for (int round = 0; round < rounds; ++round) {
      copy = std::min(copy, stream.copy());
      best = std::min(best, seconds([&] { (*program)->run(); }));
    }
    table.push_back({kernel.name, moved / best / 1e9, 2 * double(bytes) / copy / 1e9});
    llvm::outs() << llvm::format("%-34s %6.1f %10.1f %8.2f\n", kernel.name, table.back().kernel, table.back().copy,
                                 table.back().kernel / table.back().copy);
    llvm::outs().flush();
  }
  return table;
}

/// The first line that a command prints.
std::string firstLine(const char *command) {
  FILE *pipe = popen(command, "r");
  char line[256] = "";
  if (pipe && !fgets(line, sizeof line, pipe))
    line[0] = 0;
  if (pipe)
    pclose(pipe);
  return llvm::StringRef(line).trim().str();
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (llvm::StringRef(line).starts_with("model name"))
      return llvm::StringRef(line).split(':').second.trim().str();
  return "unknown processor";
}

void writeTable(llvm::raw_ostream &out, llvm::ArrayRef<Rates> table) {
  out << "| kernel | GB/s | copy GB/s | share |\n|---|---:|---:|---:|\n";
  std::string below;
  for (const Rates &r : table) {
    out << llvm::format("| %s | %.1f | %.1f | %.2f |\n", r.name.c_str(), r.kernel, r.copy, r.kernel / r.copy);
    if (r.kernel / r.copy < 0.7)
      below += (below.empty() ? "" : ", ") + r.name;
  }
  out << "\n" << (below.empty() ? "No kernel is below 0.70." : "Below 0.70: " + below + ".") << "\n";
}

/// The page of docs/results: all threads by the clock, then one thread in its processor time.
bool writePage(MLIRContext &context) {
  auto clock = measure(context);
  int allThreads = std::exchange(threads, 1);
  cpuTime = true;
  auto alone = clock ? measure(context) : std::nullopt;
  if (!alone)
    return false;
  std::error_code error;
  llvm::raw_fd_ostream out(page, error);
  if (error) {
    llvm::errs() << page << ": " << error.message() << "\n";
    return false;
  }
  std::string commit = firstLine("git rev-parse --short HEAD 2>/dev/null");
  out << "# Memory-bound kernels against STREAM copy\n\n"
      << firstLine("date +%F") << (commit.empty() ? "" : ", commit " + commit) << ", " << processor() << ", tensors of "
      << megabytes << " MiB, best of " << rounds
      << ". Written by\n\n```\ncmake --build build --target bench-kernels\nbuild/bin/bench-kernels --rounds=" << rounds
      << " -o docs/results/kernels.md\n```\n\n"
      << "GB/s are of bytes that a kernel has to read and write once. The copy is `c[i] = a[i]` as a loop or as the C library does it,\n"
         "whichever is faster; kernels and copies take turns.\n\n## "
      << allThreads << " threads, by the clock\n\n";
  writeTable(out, *clock);
  out << "\n## One thread, in its processor time\n\nOther processes disturb this less.\n\n";
  writeTable(out, *alone);
  return true;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("bandwidth of generated kernels against STREAM copy");
  app.add_option("--threads", threads, "threads")->check(CLI::PositiveNumber);
  app.add_option("--mb", megabytes, "size of a tensor in MiB")->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds, "measurements of each kernel")->check(CLI::PositiveNumber);
  app.add_option("--only", only, "kernels whose name contains this");
  auto *alone = app.add_flag("--cpu-time", cpuTime,
                             "one thread, and its processor time: for a machine that does other things as well");
  app.add_option("-o", page, "writes both measurements as a page of Markdown")->excludes(alone);
  CLI11_PARSE(app, argc, argv);
  if (cpuTime)
    threads = 1;
  MLIRContext context;
  context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                      memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  return (page.empty() ? measure(context).has_value() : writePage(context)) ? 0 : 1;
}
