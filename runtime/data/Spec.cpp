#include "gmc/Error.h"
#include "runtime/data/File.h"
#include "runtime/data/Images.h"
#include "runtime/data/Order.h"
#include "runtime/data/Source.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace gmc::rt {
namespace {

class Range : public Source {
public:
  Range(std::shared_ptr<Source> source, int64_t begin, int64_t end)
      : source(std::move(source)), begin(begin), end(end) {}

  int64_t size() const override { return end - begin; }
  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    source->load(begin + index, tensors, context);
  }
  std::string name(int64_t index) const override { return source->name(begin + index); }
  std::string fingerprint() const override {
    return source->fingerprint() + "[" + std::to_string(begin) + ":" + std::to_string(end) + "]";
  }
  std::string preprocessing() const override { return source->preprocessing(); }
  std::vector<int64_t> groups() const override {
    std::vector<int64_t> bounds = {0};
    for (int64_t bound : source->groups())
      if (bound > begin && bound < end)
        bounds.push_back(bound - begin);
    bounds.push_back(size());
    return bounds;
  }

private:
  std::shared_ptr<Source> source;
  int64_t begin, end;
};

/// Samples order(begin) ... order(end - 1) of a fixed permutation.
class Permuted : public Source {
public:
  Permuted(std::shared_ptr<Source> source, int64_t begin, int64_t end)
      : source(std::move(source)), order(static_cast<uint64_t>(this->source->size()), /*key=*/0x5b117), begin(begin),
        end(end) {}

  int64_t size() const override { return end - begin; }
  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    source->load(at(index), tensors, context);
  }
  std::string name(int64_t index) const override { return source->name(at(index)); }
  std::string fingerprint() const override {
    return source->fingerprint() + " split " + std::to_string(begin) + ":" + std::to_string(end);
  }

private:
  int64_t at(int64_t index) const { return static_cast<int64_t>(order(static_cast<uint64_t>(begin + index))); }

  std::shared_ptr<Source> source;
  Permutation order;
  int64_t begin, end;
};

bool endsWith(const std::string &text, const std::string &suffix) {
  return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

/// Refuses preprocessing that would silently not happen.
void refuseAugment(const std::string &spec, const SourceOptions &options) {
  if (!options.augment.empty())
    throw usageError("--augment works on pictures (folders and shards), not on " + spec);
}

std::unique_ptr<Source> openUnranged(const std::string &spec, const SourceOptions &options) {
  if (spec.empty())
    throw usageError("no data given");
  if (isDirectory(spec) && !isIdxFolder(spec))
    return openFolder(spec, options);
  if (endsWith(spec, ".tar"))
    return openShards(spec, options);
  if (!options.needLabels && isPictureName(spec))
    return openPicture(spec, options);
  refuseAugment(spec, options);
  if (spec.rfind("text:", 0) == 0)
    return openText(spec.substr(5), options);
  if (isDirectory(spec))
    return openIdxFolder(spec, options);
  if (spec.find('=') != std::string::npos && !pathExists(spec))
    return openNpy(spec, options);
  auto comma = spec.find(',');
  if (comma != std::string::npos && !pathExists(spec))
    return openIdx(spec.substr(0, comma), spec.substr(comma + 1), options);
  if (endsWith(spec, ".bin"))
    return openTokens(spec, options);
  if (!pathExists(spec))
    throw usageError("cannot open " + spec + ": it does not exist");
  if (!options.needLabels)
    return openIdx(spec, "", options);
  throw usageError(spec + ": its kind is not known. Data may be a folder of class folders of JPEG/PNG, "
                          "shards-{000..099}.tar, a folder with IDX files, IMAGES,LABELS in IDX, text:FILE, tokens.bin "
                          "or NAME=FILE.npy,...,label=FILE.npy");
}

/// Whether a list of NAME=FILE.npy has ranges of its own, which then are the last one's as well.
bool hasRangesWithin(const std::string &spec) {
  return spec.find('=') != std::string::npos && spec.find("],") != std::string::npos;
}

} // namespace

std::optional<SampleRange> takeRange(std::string &spec) {
  SampleRange range;
  if (spec.empty() || spec.back() != ']')
    return std::nullopt;
  auto open = spec.rfind('[');
  auto colon = spec.find(':', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || colon == std::string::npos)
    return std::nullopt;
  auto number = [&](size_t from, size_t to) -> std::optional<int64_t> {
    if (from == to)
      return std::nullopt;
    int64_t value = 0;
    auto [at, error] = std::from_chars(spec.data() + from, spec.data() + to, value);
    if (error != std::errc() || at != spec.data() + to)
      throw usageError("'" + spec + "': '" + spec.substr(open) + "' is no sample range; write PATH[first:end]");
    return value;
  };
  range.first = number(open + 1, colon);
  range.last = number(colon + 1, spec.size() - 1);
  spec.resize(open);
  return range;
}

std::pair<int64_t, int64_t> SampleRange::of(int64_t count, const std::string &path) const {
  int64_t begin = first.value_or(0), end = last.value_or(count);
  begin += begin < 0 ? count : 0;
  end += end < 0 ? count : 0;
  if (begin < 0 || end > count || begin >= end)
    throw usageError("'" + path + "[" + (first ? std::to_string(*first) : "") + ":" +
                     (last ? std::to_string(*last) : "") + "]': " + path + " has " + std::to_string(count) +
                     " samples, the range selects " + (begin >= end ? "none of them" : "others than those"));
  return {begin, end};
}

uint64_t Slot::elements() const {
  uint64_t count = 1;
  for (int64_t dim : dims)
    count *= static_cast<uint64_t>(dim);
  return count;
}

std::unique_ptr<Source> rangeOf(std::shared_ptr<Source> source, int64_t begin, int64_t end) {
  return std::make_unique<Range>(std::move(source), begin, end);
}

std::pair<std::unique_ptr<Source>, std::unique_ptr<Source>> splitOf(std::shared_ptr<Source> source, double fraction) {
  int64_t count = source->size();
  auto second = std::max<int64_t>(1, std::llround(static_cast<double>(count) * fraction));
  if (!(fraction > 0 && fraction < 1) || second >= count)
    throw usageError("--val=split:" + std::to_string(fraction) + " of " + std::to_string(count) +
                     " samples leaves none on one side; give a fraction between 0 and 1");
  return {std::make_unique<Permuted>(source, 0, count - second),
          std::make_unique<Permuted>(source, count - second, count)};
}

std::unique_ptr<Source> openSource(const std::string &spec, const SourceOptions &options) {
  std::string path = spec;
  std::optional<SampleRange> range;
  if (!pathExists(spec) && !hasRangesWithin(spec))
    range = takeRange(path);
  auto source = openUnranged(path, options);
  if (range) {
    auto [begin, end] = range->of(source->size(), path);
    return rangeOf(std::move(source), begin, end);
  }
  if (source->size() == 0)
    throw usageError(spec + " holds no sample");
  return source;
}

SlotPair singleInputAndLabel(const SourceOptions &options, const std::string &what) {
  SlotPair pair{-1, -1};
  std::string inputs;
  int numInputs = 0, numLabels = 0;
  for (size_t s = 0; s < options.slots.size(); ++s) {
    bool isLabel = options.slots[s].isLabel;
    (isLabel ? pair.label : pair.input) = static_cast<int>(s);
    ++(isLabel ? numLabels : numInputs);
    inputs += (inputs.empty() ? "'" : ", '") + options.slots[s].name + "'";
  }
  if (numInputs != 1 || numLabels > 1 || (options.needLabels && numLabels != 1))
    throw usageError(what + " gives one input and one label; the graph wants " + inputs +
                     ": bind each with NAME=FILE.npy,...");
  return pair;
}

} // namespace gmc::rt
