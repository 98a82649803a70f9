// Token streams: text files read as bytes, and binary files of uint16 or uint32. Sample i is tokens [iT, iT + T], the
// input its first T, the label its last T.
#include "gmc/Error.h"
#include "runtime/data/File.h"
#include "runtime/data/Source.h"

#include <algorithm>

namespace gmc::rt {
namespace {

class WindowSource : public Source {
public:
  WindowSource(const std::string &path, uint32_t dtype, const SourceOptions &options)
      : file(path), dtype(dtype), slots(options.slots), pair(singleInputAndLabel(options, "a token stream")) {
    uint64_t width = dtypeSize(dtype), bytes = file.size();
    if (bytes % width)
      throw usageError(path + " is truncated: " + std::to_string(bytes) + " bytes are no whole number of " +
                       dtypeName(dtype) + " tokens");
    const Slot &input = slots[pair.input];
    length = static_cast<int64_t>(input.elements());
    for (const Slot &slot : slots) {
      if (isFloatType(slot.dtype) || slot.elements() != input.elements())
        throw usageError(path + ": tokens are integers in windows of " + input.shape() + ", '" + slot.name +
                         "' wants " + dtypeName(slot.dtype) + " " + slot.shape());
    }
    tokens = static_cast<int64_t>(bytes / width);
    if (tokens < length + 1)
      throw usageError(path + " has " + std::to_string(tokens) + " tokens, one sample takes " +
                       std::to_string(length + 1));
  }

  int64_t size() const override { return (tokens - 1) / length; }

  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    uint64_t width = dtypeSize(dtype);
    context.scratch.resize((length + 1) * width);
    file.readAt(static_cast<uint64_t>(index * length) * width, context.scratch.data(), context.scratch.size());
    try {
      convertElements(context.scratch.data(), dtype, tensors[pair.input], slots[pair.input].dtype, length);
      if (pair.label >= 0)
        convertElements(context.scratch.data() + width, dtype, tensors[pair.label], slots[pair.label].dtype, length);
    } catch (const Error &error) {
      throw SampleError(error.what());
    }
  }

  std::string name(int64_t index) const override { return file.path() + "[" + std::to_string(index) + "]"; }
  std::string fingerprint() const override { return "tokens " + dtypeName(dtype) + " " + std::to_string(tokens); }

private:
  File file;
  uint32_t dtype;
  std::vector<Slot> slots;
  SlotPair pair;
  int64_t length = 0, tokens = 0;
};

bool contains(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

/// uint16 or uint32, by name (`x.u32.bin`, `x.uint16.bin`), else by content: token ids are far below 2^20, so in a
/// uint32 file every second 16-bit half is nearly zero, and in a uint16 file it is not.
uint32_t tokenType(const std::string &path) {
  if (contains(path, ".u32.") || contains(path, ".uint32."))
    return GMC_UINT32;
  if (contains(path, ".u16.") || contains(path, ".uint16."))
    return GMC_UINT16;
  File file(path);
  std::vector<unsigned char> head(64 << 10);
  size_t got = file.readSome(0, head.data(), head.size());
  if (got < 64 || file.size() % 4)
    return GMC_UINT16;
  bool lowHalvesVary = false;
  for (size_t at = 0; at + 4 <= got; at += 4) {
    if (head[at + 3] || head[at + 2] > 15)
      return GMC_UINT16;
    lowHalvesVary |= head[at + 1] || head[at] > 15;
  }
  return lowHalvesVary ? GMC_UINT32 : GMC_UINT16;
}

} // namespace

std::unique_ptr<Source> openText(const std::string &path, const SourceOptions &options) {
  return std::make_unique<WindowSource>(path, GMC_UINT8, options);
}

std::unique_ptr<Source> openTokens(const std::string &path, const SourceOptions &options) {
  return std::make_unique<WindowSource>(path, tokenType(path), options);
}

} // namespace gmc::rt
