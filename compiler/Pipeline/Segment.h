//===- Segment.h - one function of kernel calls, scheduled with recomputation -----------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_SEGMENT_H
#define GMC_COMPILER_PIPELINE_SEGMENT_H

#include "compiler/Pipeline/HostLibrary.h"
#include "compiler/Planning/Remat.h"

namespace gmc {

/// A scheduled kernel call. Operands and results are buffer instances: a recomputed value is a new instance.
struct SegmentStep {
  int node = 0;
  std::vector<int> operands;  ///< instance, or -1 - storage for an argument or constant
  std::vector<int> results;   ///< instance, or -1 - storage when the result is written over an argument
  std::vector<int> aliases;   ///< per result: operand position whose buffer it overwrites, or -1
  int recomputes = -1;        ///< step of the segment that computed it first; -1: this is the first time
  double micros = 0;
};

/// Contents with one lifetime within the segment's steps.
struct SegmentBuffer {
  int storage = 0;
  int64_t bytes = 0;
  int first = 0, last = 0; ///< steps of the segment
  bool isInput = false;    ///< written by the trainer before the segment runs
  bool kept = false;       ///< read after the segment
  bool merged = false;     ///< it took over another instance's buffer and has none of its own
};

struct SegmentSchedule {
  std::vector<SegmentStep> steps;
  std::vector<SegmentBuffer> buffers; ///< by instance
  std::vector<int> outputs;           ///< per function result: instance, or -1 - storage for an argument or constant
};

/// A function of kernel calls as a rematerialization problem, and schedules of it.
class Segment {
public:
  struct Options {
    int64_t alignment = 64;
    /// carried[r] = argument that result r of the function is the new value of, or -1: then the result is kept.
    std::vector<int> carried;
    /// Arguments that the trainer writes before each run and nobody reads after it.
    std::vector<bool> isInput;
    HostLibrary *library = nullptr; ///< computes kernels where it is faster
  };

  /// `function` must have been rewritten by formKernels. Fails when a carried result cannot be written in place.
  static llvm::FailureOr<Segment> build(mlir::func::FuncOp function, KernelTarget target, Options options,
                                        const DeviceProfile &profile);

  const KernelGraph &graph() const { return kernels; }
  const planning::RematProblem &problem() const { return remat; }
  /// The steps of a schedule of problem(), in-place decisions made from the actual lifetimes.
  SegmentSchedule realize(const planning::RematSchedule &schedule) const;
  /// Proved lower bound of the memory of any schedule, residents apart: some kernel with what it reads and writes, and
  /// the inputs that something after it still reads. Inputs are there from the start and cannot be had again.
  int64_t boundBytes() const;
  double micros(int node) const { return nodeMicros[node]; }

private:
  std::vector<int32_t> writersLast(std::vector<int32_t> order) const;

  KernelGraph kernels;
  Options options;
  planning::RematProblem remat;
  std::vector<double> nodeMicros;
  std::vector<int> carriedTo;   ///< per storage: the argument's storage that it replaces, or -1
  std::vector<int> rematNode;   ///< per storage: node of `remat` whose value it is, or -1
  std::vector<int> kernelOf;    ///< per remat node: kernel it executes, -1 for inputs and secondary results
  std::vector<int> storageOf;   ///< per remat node: storage it holds, -1 for none
};

} // namespace gmc

#endif
