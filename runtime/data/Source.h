// Data sources: anything that can load sample i of n into the tensors a graph wants. All are random-access; what is
// not on disk in that form is indexed or spooled when it is opened, in bounded memory.
#ifndef GMC_DATA_SOURCE_H
#define GMC_DATA_SOURCE_H

#include "runtime/data/DType.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <optional>
#include <string>
#include <vector>

namespace gmc::rt {

/// One tensor of one sample: an INPUT or LABEL of the graph without its batch dimension.
struct Slot {
  std::string name;
  uint32_t dtype = 0;
  std::vector<int64_t> dims;
  bool isLabel = false;
  /// Of integer labels: what is neither in [0, classes) nor ignoreIndex makes a sample a damaged one. 0: anything goes.
  int64_t classes = 0, ignoreIndex = -100;
  /// Of integer inputs that choose one of so many entries: what is not in [-entries, entries) makes a sample a damaged
  /// one. 0: anything goes.
  int64_t entries = 0;

  uint64_t elements() const;
  uint64_t bytes() const { return elements() * dtypeSize(dtype); }
  std::string shape() const { return shapeString(dims.data(), dims.size()); }
};

/// A sample that cannot be used: counted, named and skipped, where any other error ends the run.
class SampleError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// What loading may depend on beside the sample's index.
struct LoadContext {
  uint64_t seed = 0;
  int64_t epoch = 0;
  bool training = false;
  std::vector<char> scratch; ///< a worker's own buffer, reused from sample to sample
};

class Source {
public:
  virtual ~Source() = default;

  /// Samples there are.
  virtual int64_t size() const = 0;

  /// Writes sample `index` in [0, size()): tensors[s] points at the bytes of slot s. Thread-safe. Throws SampleError
  /// for a damaged sample, Error for anything that would hit the others too.
  virtual void load(int64_t index, char *const *tensors, LoadContext &context) const = 0;

  /// The sample's name for messages: a file, or file and index.
  virtual std::string name(int64_t index) const = 0;

  /// A text that changes when the data do: sizes and kinds, not where the files lie. Resume compares it.
  virtual std::string fingerprint() const = 0;

  /// The preprocessing of evaluation, `--augment` syntax; empty where samples are used as they are.
  virtual std::string preprocessing() const { return ""; }

  /// Consecutive samples that are cheap to read together: bounds of the groups (shards) that a shuffle keeps together
  /// and permutes, [0, size()] for sources where every sample is equally near.
  virtual std::vector<int64_t> groups() const { return {0, size()}; }
};

struct SourceOptions {
  /// Slots in the graph's order: inputs, then labels.
  std::vector<Slot> slots;
  /// Without labels (prediction), label slots need no data and are left zero.
  bool needLabels = true;
  /// Preprocessing of images, `--augment` syntax.
  std::string augment = "";
};

/// Opens what SPEC names (see docs/Trainer.md), `[a:b]` included. Throws Error(ExitUsage) naming the file, what the
/// graph wants and the way out.
std::unique_ptr<Source> openSource(const std::string &spec, const SourceOptions &options);

/// The `[a:b]` of a SPEC, as Python slices count.
struct SampleRange {
  std::optional<int64_t> first, last;
  /// First sample and the one after the last of `count`; throws Error(ExitUsage) naming `path` unless it is some of
  /// them.
  std::pair<int64_t, int64_t> of(int64_t count, const std::string &path) const;
};
/// Cuts the range off "PATH[a:b]", if there is one. Throws for one that is no range.
std::optional<SampleRange> takeRange(std::string &spec);

/// Samples [begin, end) of `source`, which outlives the view.
std::unique_ptr<Source> rangeOf(std::shared_ptr<Source> source, int64_t begin, int64_t end);

/// Disjoint views of all samples: the second holds round(fraction * n), at least one, drawn pseudo-randomly but always
/// alike, so that folders sorted by class split evenly. Throws Error(ExitUsage) unless both get a sample.
std::pair<std::unique_ptr<Source>, std::unique_ptr<Source>> splitOf(std::shared_ptr<Source> source, double fraction);

// The kinds, each in its own file.
std::unique_ptr<Source> openIdx(const std::string &images, const std::string &labels, const SourceOptions &options);
/// Whether the folder holds IDX files.
bool isIdxFolder(const std::string &path);
std::unique_ptr<Source> openIdxFolder(const std::string &path, const SourceOptions &options);
std::unique_ptr<Source> openNpy(const std::string &bindings, const SourceOptions &options);
std::unique_ptr<Source> openText(const std::string &path, const SourceOptions &options);
std::unique_ptr<Source> openTokens(const std::string &path, const SourceOptions &options);

/// The only input and the only label slot (-1 where labels are not needed and there is none); throws naming `what`
/// when the graph has several inputs.
struct SlotPair {
  int input, label;
};
SlotPair singleInputAndLabel(const SourceOptions &options, const std::string &what);

} // namespace gmc::rt

#endif
