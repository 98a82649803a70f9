// WebDataset shards: tar files (POSIX.1-2001 ustar and pax, and GNU long names) read in place. Their headers are
// walked once at the start, into a temporary index file; samples are then read with pread, mostly in order.
#include "gmc/Error.h"
#include "runtime/data/Images.h"
#include "runtime/data/Order.h"
#include "runtime/data/Preprocess.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace gmc::rt {
namespace {

constexpr uint64_t Block = 512;
constexpr uint64_t MaxHeaderText = 64 << 10;

struct Record {
  uint64_t header, data, size; ///< of the picture's member
  uint32_t shard;
  int32_t label;
};

/// "a-{000..012}.tar" to its thirteen names; a pattern without braces is itself.
std::vector<std::string> expandBraces(const std::string &pattern) {
  size_t open = pattern.find('{'), dots = pattern.find("..", open), close = pattern.find('}', open);
  if (open == std::string::npos)
    return {pattern};
  uint64_t from = 0, to = 0;
  auto parse = [&](size_t begin, size_t end, uint64_t &value) {
    auto [at, error] = std::from_chars(pattern.data() + begin, pattern.data() + end, value);
    return begin < end && error == std::errc() && at == pattern.data() + end;
  };
  if (dots == std::string::npos || close == std::string::npos || close < dots || !parse(open + 1, dots, from) ||
      !parse(dots + 2, close, to) || to < from || to - from >= 1000000)
    throw usageError(pattern + ": write the shards' numbers as in shards-{000..099}.tar");
  std::vector<std::string> names;
  for (uint64_t n = from; n <= to; ++n) {
    std::string digits = std::to_string(n);
    digits.insert(0, dots - open - 1 > digits.size() ? dots - open - 1 - digits.size() : 0, '0');
    names.push_back(pattern.substr(0, open) + digits + pattern.substr(close + 1));
  }
  return names;
}

/// A number field: octal digits, or base 256 when the first bit is set.
uint64_t tarNumber(const unsigned char *field, size_t length) {
  uint64_t value = 0;
  if (field[0] & 0x80) {
    for (size_t i = 1; i < length; ++i)
      value = value << 8 | field[i];
    return value;
  }
  for (size_t i = 0; i < length && field[i]; ++i)
    if (field[i] >= '0' && field[i] <= '7')
      value = value * 8 + (field[i] - '0');
  return value;
}

std::string fieldText(const unsigned char *field, size_t length) {
  auto *text = reinterpret_cast<const char *>(field);
  return std::string(text, strnlen(text, length));
}

struct Member {
  std::string name;
  uint64_t header, data, size;
};

/// Walks a tar file member by member.
class TarWalk {
public:
  explicit TarWalk(const File &file) : file(file), end(file.size()) {}

  bool next(Member &member) {
    std::string longName;
    uint64_t longSize = UINT64_MAX;
    for (;;) {
      unsigned char head[Block];
      if (at + Block > end) {
        if (at < end || at == 0)
          fail("it ends inside a header");
        return false;
      }
      file.readAt(at, head, Block);
      if (std::all_of(head, head + Block, [](unsigned char c) { return c == 0; }))
        return false;
      checkSum(head);
      uint64_t size = tarNumber(head + 124, 12), data = at + Block;
      if (longSize != UINT64_MAX && head[156] != 'x')
        size = longSize;
      if (size > end - data)
        fail("the member at byte " + std::to_string(at) + " is cut off");
      uint64_t header = at;
      at = data + (size + Block - 1) / Block * Block;
      char type = static_cast<char>(head[156]);
      if (type == 'L' || type == 'x') {
        std::string text = readText(data, size);
        if (type == 'L')
          longName = text.c_str();
        else
          readPax(text, longName, longSize);
        continue;
      }
      if (type != '0' && type != '\0') {
        longName.clear();
        longSize = UINT64_MAX;
        continue;
      }
      std::string prefix = std::memcmp(head + 257, "ustar", 5) ? "" : fieldText(head + 345, 155);
      member = {!longName.empty() ? longName : (prefix.empty() ? "" : prefix + "/") + fieldText(head, 100), header,
                data, size};
      return true;
    }
  }

private:
  [[noreturn]] void fail(const std::string &why) const {
    throw usageError(file.path() + " is no whole tar file: " + why);
  }

  void checkSum(const unsigned char *head) const {
    uint64_t sum = 8 * ' ';
    for (size_t i = 0; i < Block; ++i)
      if (i < 148 || i >= 156)
        sum += head[i];
    if (sum != tarNumber(head + 148, 8))
      fail("the header at byte " + std::to_string(at) + " has a wrong checksum");
  }

  std::string readText(uint64_t offset, uint64_t size) const {
    if (size > MaxHeaderText)
      fail("an extended header of " + std::to_string(size) + " bytes");
    std::string text(size, '\0');
    file.readAt(offset, text.data(), size);
    return text;
  }

  /// Records "LENGTH KEY=VALUE\n".
  static void readPax(const std::string &text, std::string &name, uint64_t &size) {
    for (size_t from = 0; from < text.size();) {
      uint64_t length = std::strtoull(text.c_str() + from, nullptr, 10);
      size_t space = text.find(' ', from), equals = text.find('=', from);
      if (length == 0 || length > text.size() - from || equals == std::string::npos || equals >= from + length)
        return;
      std::string key = text.substr(space + 1, equals - space - 1);
      std::string value = text.substr(equals + 1, from + length - equals - 2);
      if (key == "path")
        name = value;
      else if (key == "size")
        size = std::strtoull(value.c_str(), nullptr, 10);
      from += length;
    }
  }

  const File &file;
  uint64_t at = 0, end;
};

class ShardSource : public Source {
public:
  ShardSource(const std::string &pattern, const SourceOptions &options)
      : shards(expandBraces(pattern)), pair(singleInputAndLabel(options, "a shard of pictures")),
        preprocess(options.augment, options.slots[pair.input]), index(File::temporary()) {
    if (pair.label >= 0) {
      label = options.slots[pair.label];
      checkClassLabel(label);
    }
    bounds.push_back(0);
    for (size_t s = 0; s < shards.size(); ++s) {
      scan(s, options.needLabels);
      bounds.push_back(count);
    }
    if (count == 0)
      throw usageError(pattern + " holds no sample: members KEY.jpg (or .jpeg, .png) and KEY.cls are expected");
  }

  int64_t size() const override { return count; }
  std::vector<int64_t> groups() const override { return bounds; }

  void load(int64_t i, char *const *tensors, LoadContext &context) const override {
    Record record = recordOf(i);
    File file(shards[record.shard]);
    preprocess.load({&file, record.data, record.size}, i, tensors[pair.input], context);
    if (pair.label >= 0)
      convertElements(&record.label, GMC_INT32, tensors[pair.label], label.dtype, 1);
  }

  std::string name(int64_t i) const override {
    Record record = recordOf(i);
    unsigned char head[Block];
    File(shards[record.shard]).readAt(record.header, head, Block);
    return shards[record.shard] + ":" + fieldText(head, 100);
  }
  std::string fingerprint() const override {
    return "shards " + std::to_string(shards.size()) + " samples " + std::to_string(count) + " content " +
           std::to_string(hash);
  }
  std::string preprocessing() const override { return preprocess.evaluation(); }

private:
  /// Members of a sample stand side by side; the sample is complete when the key changes.
  void scan(size_t shard, bool needLabels) {
    File file(shards[shard]);
    TarWalk walk(file);
    std::string key;
    Record record{0, 0, 0, static_cast<uint32_t>(shard), -1};
    bool hasPicture = false, hasLabel = false;
    auto flush = [&] {
      if (hasPicture && !hasLabel && needLabels)
        throw usageError(shards[shard] + ": the sample '" + key + "' has a picture and no .cls label");
      if (hasPicture) {
        index.append(&record, sizeof record);
        hash = keyOf(hash, record.size, static_cast<uint64_t>(record.label));
        ++count;
      }
      hasPicture = hasLabel = false;
    };
    for (Member member; walk.next(member);) {
      size_t slash = member.name.rfind('/');
      size_t dot = member.name.find('.', slash == std::string::npos ? 0 : slash + 1);
      if (dot == std::string::npos)
        continue;
      std::string memberKey = member.name.substr(0, dot);
      if (memberKey != key)
        flush();
      key = memberKey;
      if (isPictureName(member.name)) {
        hasPicture = true;
        record.header = member.header;
        record.data = member.data;
        record.size = member.size;
      } else if (member.name.substr(dot) == ".cls") {
        hasLabel = true;
        record.label = readLabel(file, member);
      }
    }
    flush();
  }

  static int32_t readLabel(const File &file, const Member &member) {
    char text[16] = {};
    file.readAt(member.data, text, std::min<uint64_t>(member.size, sizeof text - 1));
    int32_t value = 0;
    auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
    if (error != std::errc() || value < 0 || (*end && !std::strchr(" \r\n", *end)))
      throw usageError(file.path() + ": member " + member.name + " is no class number");
    return value;
  }

  Record recordOf(int64_t i) const {
    Record record;
    index.readAt(static_cast<uint64_t>(i) * sizeof record, &record, sizeof record);
    return record;
  }

  std::vector<std::string> shards;
  SlotPair pair;
  Preprocess preprocess;
  Slot label;
  File index;
  std::vector<int64_t> bounds;
  int64_t count = 0;
  uint64_t hash = 0;
};

} // namespace

std::unique_ptr<Source> openShards(const std::string &pattern, const SourceOptions &options) {
  return std::make_unique<ShardSource>(pattern, options);
}

} // namespace gmc::rt
