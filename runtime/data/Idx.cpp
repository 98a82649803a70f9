// IDX files (Y. LeCun, "The MNIST database", section "File formats"): big-endian magic 0 0 TYPE RANK, then the
// dimensions, then the elements. A .gz is inflated once, piece by piece, into an unlinked temporary file: random
// access then costs one pread, and memory stays that of one piece.
#include "gmc/Error.h"
#include "runtime/data/File.h"
#include "runtime/data/Source.h"

#include <algorithm>
#include <filesystem>
#include <zlib.h>

namespace gmc::rt {
namespace {

constexpr size_t PieceBytes = 64 << 10;

File openMaybeGz(const std::string &path) {
  File file(path);
  unsigned char magic[2];
  if (file.readSome(0, magic, 2) < 2 || magic[0] != 0x1f || magic[1] != 0x8b)
    return file;
  File spool = File::temporary();
  std::vector<unsigned char> in(PieceBytes), out(PieceBytes);
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK)
    throw internalError("zlib does not start");
  struct End {
    z_stream &stream;
    ~End() { inflateEnd(&stream); }
  } atEnd{stream};
  int status = Z_OK;
  for (uint64_t at = 0; status != Z_STREAM_END;) {
    stream.avail_in = static_cast<unsigned>(file.readSome(at, in.data(), in.size()));
    stream.next_in = in.data();
    at += stream.avail_in;
    if (stream.avail_in == 0)
      throw usageError(path + " is truncated: the gzip stream does not end");
    while (stream.avail_in > 0 && status != Z_STREAM_END) {
      stream.next_out = out.data();
      stream.avail_out = static_cast<unsigned>(out.size());
      status = inflate(&stream, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        throw usageError(path + " is damaged: " + (stream.msg ? stream.msg : "the gzip stream is invalid"));
      spool.append(out.data(), out.size() - stream.avail_out);
    }
  }
  return spool;
}

/// One IDX file: header checked against the file's length.
class IdxFile {
public:
  explicit IdxFile(const std::string &path) : path(path), file(openMaybeGz(path)) {
    unsigned char head[4];
    if (file.readSome(0, head, 4) < 4 || head[0] || head[1] || head[3] == 0 || head[3] > 8)
      throw usageError(path + " is no IDX file");
    static constexpr std::pair<int, uint32_t> Types[] = {{0x08, GMC_UINT8}, {0x09, GMC_INT8},  {0x0b, GMC_INT16},
                                                         {0x0c, GMC_INT32}, {0x0d, GMC_FLOAT}, {0x0e, GMC_DOUBLE}};
    for (auto [code, type] : Types)
      if (head[2] == code)
        dtype = type;
    if (!dtype)
      throw usageError(path + " is no IDX file: element type " + std::to_string(head[2]) + " is not known");
    dataStart = 4 + 4 * head[3];
    std::vector<unsigned char> sizes(4 * head[3]);
    if (file.readSome(4, sizes.data(), sizes.size()) < sizes.size())
      throw usageError(path + " is truncated inside its header");
    for (int d = 0; d < head[3]; ++d)
      dims.push_back(int64_t(sizes[4 * d]) << 24 | sizes[4 * d + 1] << 16 | sizes[4 * d + 2] << 8 | sizes[4 * d + 3]);
    elements = 1;
    for (size_t d = 1; d < dims.size(); ++d)
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(dims[d]), &elements))
        throw usageError(path + " is damaged: its dimensions overflow");
    sampleBytes = elements * dtypeSize(dtype);
    uint64_t want = 0;
    if (__builtin_mul_overflow(sampleBytes, static_cast<uint64_t>(dims[0]), &want) ||
        file.size() != dataStart + want)
      throw usageError(path + " is truncated or damaged: its header announces " + std::to_string(dims[0]) +
                       " samples of " + std::to_string(sampleBytes) + " bytes, " +
                       std::to_string(file.size() - std::min<uint64_t>(file.size(), dataStart)) +
                       " bytes of data are there");
  }

  void load(int64_t index, const Slot &slot, char *dst, bool pixels, std::vector<char> &scratch) const {
    scratch.resize(sampleBytes);
    file.readAt(dataStart + static_cast<uint64_t>(index) * sampleBytes, scratch.data(), sampleBytes);
    if (uint64_t width = dtypeSize(dtype); width > 1)
      for (uint64_t at = 0; at < sampleBytes; at += width)
        std::reverse(scratch.data() + at, scratch.data() + at + width);
    convertElements(scratch.data(), dtype, dst, slot.dtype, elements, pixels);
  }

  void checkFits(const Slot &slot) const {
    if (elements != slot.elements())
      throw usageError(path + ": a sample has shape " + shapeString(dims.data() + 1, dims.size() - 1) + ", '" +
                       slot.name + "' wants " + slot.shape());
    if (!convertible(dtype, slot.dtype))
      throw usageError(path + " holds " + dtypeName(dtype) + ", '" + slot.name + "' wants " + dtypeName(slot.dtype));
  }

  std::string path;
  File file;
  uint32_t dtype = 0;
  std::vector<int64_t> dims;
  uint64_t dataStart, elements, sampleBytes;
};

class IdxSource : public Source {
public:
  IdxSource(const std::string &imagePath, const std::string &labelPath, const SourceOptions &options)
      : images(imagePath), slots(options.slots), pair(singleInputAndLabel(options, "an IDX pair")) {
    images.checkFits(slots[pair.input]);
    if (labelPath.empty())
      return;
    labels = std::make_unique<IdxFile>(labelPath);
    if (labels->dims[0] != images.dims[0])
      throw usageError(imagePath + " has " + std::to_string(images.dims[0]) + " samples, " + labelPath + " has " +
                       std::to_string(labels->dims[0]));
    if (pair.label >= 0)
      labels->checkFits(slots[pair.label]);
  }

  int64_t size() const override { return images.dims[0]; }
  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    images.load(index, slots[pair.input], tensors[pair.input], /*pixels=*/true, context.scratch);
    if (labels && pair.label >= 0)
      labels->load(index, slots[pair.label], tensors[pair.label], /*pixels=*/false, context.scratch);
  }
  std::string name(int64_t index) const override { return images.path + "[" + std::to_string(index) + "]"; }
  std::string fingerprint() const override {
    return "idx " + shapeString(images.dims.data(), images.dims.size()) + " " + dtypeName(images.dtype);
  }

private:
  IdxFile images;
  std::unique_ptr<IdxFile> labels;
  std::vector<Slot> slots;
  SlotPair pair;
};

/// Names of the folder's IDX files whose name contains `word`, sorted.
std::vector<std::string> idxFiles(const std::string &folder, const std::string &word) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto &entry : std::filesystem::directory_iterator(folder, error)) {
    std::string name = entry.path().filename().string();
    if (entry.is_regular_file(error) && name.find(word) != std::string::npos &&
        (name.find("idx") != std::string::npos || name.find("ubyte") != std::string::npos))
      found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

} // namespace

bool isIdxFolder(const std::string &path) { return !idxFiles(path, "images").empty(); }

std::unique_ptr<Source> openIdx(const std::string &images, const std::string &labels, const SourceOptions &options) {
  return std::make_unique<IdxSource>(images, labels, options);
}

std::unique_ptr<Source> openIdxFolder(const std::string &path, const SourceOptions &options) {
  auto images = idxFiles(path, "images"), labels = idxFiles(path, "labels");
  if (images.size() != 1 || (labels.size() != 1 && options.needLabels)) {
    std::string list;
    for (const auto &name : images)
      list += "\n  " + name;
    for (const auto &name : labels)
      list += "\n  " + name;
    throw usageError(path + " holds " + std::to_string(images.size()) + " IDX image files and " +
                     std::to_string(labels.size()) + " label files, one of each is expected; name the pair as " +
                     "IMAGES,LABELS:" + list);
  }
  return openIdx(images[0], labels.size() == 1 ? labels[0] : "", options);
}

} // namespace gmc::rt
