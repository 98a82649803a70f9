// Library calls answered by oneDNN: the only component that knows it. Linked into trainers, which execute calls, and
// into the compiler, which asks what there is and how much workspace it takes.
#ifndef GMC_HOST_ONEDNN_H
#define GMC_HOST_ONEDNN_H

#include "gmc/LibraryCall.h"

#include <memory>
#include <string>

namespace gmc::rt {

class ThreadPool;
struct OneDnnEngine;

class OneDnn {
public:
  static constexpr const char *SharedObject = "libdnnl.so.2";

  /// Calls that are executed, or only described: the compiler needs no code for them.
  enum class Use { Execute, Describe };

  /// Loads the library by name. `isa` limits the instruction set, in the library's numbers, 0 for no limit; it can be
  /// set once in a process. The library computes with the threads of `pool`. Null and `problem` where it is not to be
  /// had.
  static std::unique_ptr<OneDnn> load(ThreadPool &pool, int64_t isa, std::string &problem,
                                      Use use = Use::Execute, const char *object = SharedObject);
  ~OneDnn();

  /// As PlannedCall has it, and as people write it.
  int64_t version() const;
  static std::string versionText(int64_t version);
  /// The instruction set that is used.
  int64_t isa() const;

  /// The number of the largest instruction set that an -march level such as x86-64-v3 has; 0 for no limit, negative
  /// where the library has nothing for it.
  static int64_t isaOfArch(const std::string &arch);

  /// A call ready to be executed.
  class Call;
  /// Null when the library has no implementation in this form whose memory is all in its scratchpad.
  std::unique_ptr<Call> prepare(const LibraryCall &call, CallForm form) const;

private:
  OneDnn();
  std::unique_ptr<OneDnnEngine> engine;
};

class OneDnn::Call {
public:
  virtual ~Call() = default;

  /// Bytes of the workspace, which is aligned to 64.
  uint64_t scratchBytes = 0;
  /// Names of the kernels, in order.
  std::string implementation;
  /// Bytes that packing and unpacking read and write, and by which factor zero channels enlarge the arithmetic.
  uint64_t packedBytes = 0;
  double padding = 1;
  /// Executions of the library's kernels in one call that follow each other.
  unsigned executions = 0;

  int64_t implementationHash() const;
  /// operands[i] is the address of operand i, results coming behind the operands. Throws Error(ExitInternal) on
  /// failure.
  virtual void run(char *const *operands, char *scratch) = 0;
};

} // namespace gmc::rt

#endif
