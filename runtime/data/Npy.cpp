// .npy files (numpy/lib/format.py documents versions 1.0 to 3.0): magic, version, header length, a Python dictionary
// literal with descr, fortran_order and shape, then the elements.
#include "gmc/Error.h"
#include "runtime/data/File.h"
#include "runtime/data/Npy.h"
#include "runtime/data/Source.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace gmc::rt {
namespace {

/// The text after 'key': up to the comma or brace that ends it at depth 0, trimmed; empty when the key is missing.
std::string dictValue(const std::string &header, const std::string &key) {
  size_t at = header.find("'" + key + "'");
  if (at == std::string::npos)
    return "";
  at = header.find(':', at);
  if (at == std::string::npos)
    return "";
  size_t end = ++at;
  for (int depth = 0; end < header.size(); ++end) {
    char c = header[end];
    if (depth == 0 && (c == ',' || c == '}'))
      break;
    depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
  }
  std::string value = header.substr(at, end - at);
  value.erase(0, value.find_first_not_of(" \t"));
  value.erase(value.find_last_not_of(" \t\n") + 1);
  return value;
}

uint32_t dtypeOfDescr(const std::string &descr) {
  static constexpr std::pair<const char *, uint32_t> Types[] = {
      {"f4", GMC_FLOAT}, {"f8", GMC_DOUBLE}, {"f2", GMC_FLOAT16}, {"u1", GMC_UINT8},
      {"i1", GMC_INT8},  {"b1", GMC_BOOL},   {"u2", GMC_UINT16},  {"i2", GMC_INT16},
      {"i4", GMC_INT32}, {"u4", GMC_UINT32}, {"i8", GMC_INT64},   {"u8", GMC_UINT64}};
  for (auto [name, type] : Types)
    if (descr == name)
      return type;
  return 0;
}

class NpySource : public Source {
public:
  NpySource(const std::string &bindings, const SourceOptions &options)
      : slots(options.slots), files(slots.size()), begins(slots.size(), 0) {
    for (size_t at = 0; at <= bindings.size();) {
      size_t comma = std::min(bindings.find(',', at), bindings.size());
      bind(bindings.substr(at, comma - at), options);
      at = comma + 1;
    }
    std::string missing;
    for (size_t s = 0; s < slots.size(); ++s)
      if (!files[s] && (!slots[s].isLabel || options.needLabels))
        missing += std::string(missing.empty() ? "" : ",") + (slots[s].isLabel ? "label" : slots[s].name) + "=FILE.npy";
    if (!missing.empty())
      throw usageError("'" + bindings + "' binds not all that the graph wants; add " + missing);
  }

  int64_t size() const override { return count; }

  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    for (size_t s = 0; s < slots.size(); ++s) {
      if (!files[s])
        continue;
      const NpyFile &npy = *files[s];
      uint64_t bytes = slots[s].elements() * dtypeSize(npy.dtype);
      context.scratch.resize(bytes);
      npy.file.readAt(npy.dataStart + static_cast<uint64_t>(begins[s] + index) * bytes, context.scratch.data(), bytes);
      if (npy.bigEndian)
        npy.swapBytes(context.scratch.data(), bytes);
      try {
        convertElements(context.scratch.data(), npy.dtype, tensors[s], slots[s].dtype, slots[s].elements(),
                        /*scalePixels=*/!slots[s].isLabel);
      } catch (const Error &error) {
        throw SampleError(npy.file.path() + ": " + error.what());
      }
    }
  }

  std::string name(int64_t index) const override { return first + "[" + std::to_string(index) + "]"; }

  std::string fingerprint() const override {
    std::string text = "npy";
    for (size_t s = 0; s < slots.size(); ++s)
      if (files[s])
        text += " " + slots[s].name + " " + dtypeName(files[s]->dtype) +
                shapeString(files[s]->dims.data(), files[s]->dims.size()) +
                (begins[s] ? "+" + std::to_string(begins[s]) : "");
    return text + " " + std::to_string(count);
  }

private:
  void bind(const std::string &binding, const SourceOptions &options) {
    size_t equals = binding.find('=');
    if (equals == std::string::npos)
      throw usageError("'" + binding + "' is no NAME=FILE.npy");
    std::string name = binding.substr(0, equals), path = binding.substr(equals + 1), known;
    size_t s = 0;
    // A graph input of that very name goes before the general word "label".
    auto matches = [&](bool generic) {
      for (s = 0; s < slots.size(); ++s)
        if (generic ? name == "label" && slots[s].isLabel : name == slots[s].name)
          return true;
      return false;
    };
    if (!matches(false) && !matches(true)) {
      if (name == "label" && !options.needLabels)
        return;
      for (const Slot &slot : slots)
        known += " '" + slot.name + "'";
      throw usageError("'" + binding + "': the graph has no input '" + name + "', but" + known);
    }
    if (files[s])
      throw usageError("'" + name + "' is bound twice");
    std::optional<SampleRange> range;
    if (!pathExists(path))
      range = takeRange(path);
    files[s] = std::make_unique<NpyFile>(path);
    NpyFile &npy = *files[s];
    const Slot &slot = slots[s];
    if (npy.fortranOrder && npy.dims.size() > 1)
      throw usageError(path + " is in Fortran order; save it with numpy.ascontiguousarray");
    if (npy.dims.empty())
      throw usageError(path + " holds a single number, its first dimension must count the samples");
    uint64_t elements = 1;
    for (size_t d = 1; d < npy.dims.size(); ++d)
      elements *= static_cast<uint64_t>(npy.dims[d]);
    if (elements != slot.elements())
      throw usageError(path + ": a sample has shape " + shapeString(npy.dims.data() + 1, npy.dims.size() - 1) +
                       ", '" + slot.name + "' wants " + slot.shape());
    if (!convertible(npy.dtype, slot.dtype))
      throw usageError(path + " holds " + dtypeName(npy.dtype) + ", '" + slot.name + "' wants " +
                       dtypeName(slot.dtype));
    int64_t samples = npy.dims[0];
    if (range) {
      auto [begin, end] = range->of(samples, path);
      begins[s] = begin;
      samples = end - begin;
    }
    if (count >= 0 && samples != count)
      throw usageError(path + " has " + std::to_string(samples) + " samples, " + first + " has " +
                       std::to_string(count));
    count = samples;
    if (first.empty())
      first = path;
  }

  std::vector<Slot> slots;
  std::vector<std::unique_ptr<NpyFile>> files;
  std::vector<int64_t> begins; ///< first sample of each file
  int64_t count = -1;
  std::string first;
};

} // namespace

NpyFile::NpyFile(const std::string &path) : file(path) {
  unsigned char head[12];
  size_t got = file.readSome(0, head, sizeof head);
  if (got < 10 || std::memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3)
    throw usageError(path + " is no .npy file of version 1 to 3");
  bool wide = head[6] >= 2;
  uint64_t length = head[8] | head[9] << 8;
  if (wide)
    length |= uint64_t(head[10]) << 16 | uint64_t(head[11]) << 24;
  dataStart = (wide ? 12 : 10) + length;
  if (length > (1 << 20) || dataStart > file.size())
    throw usageError(path + " is truncated inside its header");
  std::string header(length, '\0');
  file.readAt(wide ? 12 : 10, header.data(), length);
  std::string descr = dictValue(header, "descr"), order = dictValue(header, "fortran_order"),
              shape = dictValue(header, "shape");
  if (descr.size() > 3 && (descr[1] == '<' || descr[1] == '|' || descr[1] == '=' || descr[1] == '>')) {
    bigEndian = descr[1] == '>';
    dtype = dtypeOfDescr(descr.substr(2, descr.size() - 3));
  }
  if (!dtype)
    throw usageError(path + ": elements of type " + descr + " are not read; save it as a plain number type");
  fortranOrder = order == "True";
  if (shape.size() < 2 || shape.front() != '(' || shape.back() != ')')
    throw usageError(path + " is damaged: its header has no shape");
  uint64_t bytes = dtypeSize(dtype);
  for (size_t at = 1; at + 1 < shape.size();) {
    size_t comma = std::min(shape.find(',', at), shape.size() - 1);
    size_t from = shape.find_first_not_of(' ', at);
    if (from < comma) {
      int64_t dim = -1;
      auto [end, error] = std::from_chars(shape.data() + from, shape.data() + comma, dim);
      if (error != std::errc() || end != shape.data() + comma || dim < 0 ||
          __builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes))
        throw usageError(path + " is damaged: its shape is " + shape);
      dims.push_back(dim);
    }
    at = comma + 1;
  }
  if (file.size() < dataStart + bytes)
    throw usageError(path + " is truncated: shape " + shape + " takes " + std::to_string(bytes) + " bytes, " +
                     std::to_string(file.size() - dataStart) + " are there");
}

void NpyFile::swapBytes(char *data, uint64_t bytes) const {
  uint64_t width = dtypeSize(dtype);
  for (uint64_t at = 0; width > 1 && at < bytes; at += width)
    std::reverse(data + at, data + at + width);
}

std::unique_ptr<Source> openNpy(const std::string &bindings, const SourceOptions &options) {
  return std::make_unique<NpySource>(bindings, options);
}

} // namespace gmc::rt
