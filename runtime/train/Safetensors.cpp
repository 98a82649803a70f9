#include "runtime/train/Safetensors.h"
#include "gmc/Error.h"
#include "runtime/data/DType.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace gmc::rt {
namespace {

using Json = nlohmann::json;

/// The reference implementation's limit; a longer header is damage, not a model.
constexpr uint64_t MaxHeaderBytes = 100'000'000;

/// Parses, refusing duplicate keys, which nlohmann would silently merge.
Json parseStrict(const std::string &text) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  auto callback = [&](int, Json::parse_event_t event, Json &parsed) {
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keys.pop_back();
    else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      duplicate = parsed.get<std::string>();
    return true;
  };
  Json json = Json::parse(text, callback);
  if (!duplicate.empty())
    throw std::runtime_error("'" + duplicate + "' stands in it twice");
  return json;
}

/// shape x element size, or false on overflow or a negative dimension.
bool byteSize(const SafetensorsEntry &entry, uint64_t &bytes) {
  bytes = dtypeSize(entry.dtype);
  for (int64_t dim : entry.shape)
    if (dim < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes))
      return false;
  return true;
}

SafetensorsEntry parseEntry(const std::string &name, const Json &value, uint64_t dataStart, uint64_t dataBytes) {
  auto fail = [&](const std::string &why) -> SafetensorsEntry {
    throw std::runtime_error("tensor '" + name + "': " + why);
  };
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() || !value.contains("shape") ||
      !value["shape"].is_array() || !value.contains("data_offsets") || !value["data_offsets"].is_array() ||
      value["data_offsets"].size() != 2 || value.size() != 3)
    return fail("it must have exactly dtype, shape and data_offsets");
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = dtypeOfSafetensors(value["dtype"].get<std::string>());
  if (!entry.dtype)
    return fail("dtype " + value["dtype"].dump() + " is not known");
  for (const Json &dim : value["shape"]) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > INT64_MAX)
      return fail("dimension " + dim.dump() + " is no size");
    entry.shape.push_back(dim.get<int64_t>());
  }
  const Json &begin = value["data_offsets"][0], &end = value["data_offsets"][1];
  if (!begin.is_number_unsigned() || !end.is_number_unsigned() || begin.get<uint64_t>() > end.get<uint64_t>() ||
      end.get<uint64_t>() > dataBytes)
    return fail("data_offsets " + value["data_offsets"].dump() + " lie outside the " + std::to_string(dataBytes) +
                " bytes of data; the file is truncated or damaged");
  entry.offset = dataStart + begin.get<uint64_t>();
  entry.bytes = end.get<uint64_t>() - begin.get<uint64_t>();
  uint64_t expected;
  if (!byteSize(entry, expected) || expected != entry.bytes)
    return fail("shape " + shapeString(entry.shape.data(), entry.shape.size()) + " of " + dtypeName(entry.dtype) +
                " does not take the " + std::to_string(entry.bytes) + " bytes of its data_offsets");
  return entry;
}

} // namespace

SafetensorsReader::SafetensorsReader(const std::string &path) : file(path) {
  try {
    uint64_t fileBytes = file.size(), headerBytes = 0;
    unsigned char prefix[8] = {};
    if (fileBytes < 8)
      throw std::runtime_error("it is shorter than 8 bytes");
    file.readAt(0, prefix, 8);
    for (int i = 7; i >= 0; --i)
      headerBytes = headerBytes << 8 | prefix[i];
    if (headerBytes > MaxHeaderBytes || headerBytes > fileBytes - 8)
      throw std::runtime_error("its header claims " + std::to_string(headerBytes) + " bytes of a file of " +
                               std::to_string(fileBytes));
    std::string text(headerBytes, '\0');
    file.readAt(8, text.data(), headerBytes);
    if (text.empty() || text[0] != '{')
      throw std::runtime_error("its header does not begin with '{'");
    Json json = parseStrict(text);
    uint64_t dataBytes = fileBytes - 8 - headerBytes;
    for (auto &[name, value] : json.items()) {
      if (name != "__metadata__") {
        entries.push_back(parseEntry(name, value, 8 + headerBytes, dataBytes));
        continue;
      }
      if (!value.is_object())
        throw std::runtime_error("__metadata__ is no object");
      for (auto &[key, text] : value.items()) {
        if (!text.is_string())
          throw std::runtime_error("__metadata__ '" + key + "' is no string");
        meta[key] = text.get<std::string>();
      }
    }
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry &a, const SafetensorsEntry &b) {
      return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
    });
    uint64_t at = 8 + headerBytes;
    for (const SafetensorsEntry &entry : entries) {
      if (entry.offset != at)
        throw std::runtime_error("tensor '" + entry.name + "': its data overlaps another's or leaves a hole");
      at += entry.bytes;
    }
    if (at != fileBytes)
      throw std::runtime_error("its tensors end at byte " + std::to_string(at) + ", the file at " +
                               std::to_string(fileBytes));
  } catch (const Error &) {
    throw;
  } catch (const std::exception &e) {
    throw usageError(path + " is no valid safetensors file: " + e.what());
  }
  for (size_t i = 0; i < entries.size(); ++i)
    byName[entries[i].name] = i;
}

const SafetensorsEntry *SafetensorsReader::find(const std::string &name) const {
  auto it = byName.find(name);
  return it == byName.end() ? nullptr : &entries[it->second];
}

void SafetensorsReader::read(const SafetensorsEntry &entry, uint64_t from, void *dst, uint64_t bytes) const {
  if (from > entry.bytes || bytes > entry.bytes - from)
    throw internalError("read past the end of tensor '" + entry.name + "'");
  file.readAt(entry.offset + from, dst, bytes);
}

void writeSafetensors(const std::string &path, const std::vector<SafetensorsEntry> &entries,
                      const SafetensorsMetadata &metadata, const SafetensorsProducer &produce) {
  nlohmann::ordered_json header;
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const SafetensorsEntry &entry : entries) {
    uint64_t bytes;
    const char *dtype = safetensorsName(entry.dtype);
    if (!dtype || !byteSize(entry, bytes) || entry.name == "__metadata__" || header.contains(entry.name))
      throw internalError("tensor '" + entry.name + "' cannot be written to " + path);
    header[entry.name] = {{"dtype", dtype}, {"shape", entry.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' '); // tensors begin aligned, as the format advises
  unsigned char prefix[8];
  for (int i = 0; i < 8; ++i)
    prefix[i] = static_cast<unsigned char>(text.size() >> (8 * i));
  AtomicFile out(path);
  out.write(prefix, 8);
  out.write(text.data(), text.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    uint64_t expected, written = 0;
    byteSize(entries[i], expected);
    produce(i, [&](const void *data, uint64_t bytes) {
      written += bytes;
      out.write(data, bytes);
    });
    if (written != expected)
      throw internalError("tensor '" + entries[i].name + "' got " + std::to_string(written) + " bytes of " +
                          std::to_string(expected));
  }
  out.commit();
}

} // namespace gmc::rt
