// The safetensors format (https://github.com/huggingface/safetensors, README "Format"): eight bytes of little-endian
// header length N, N bytes of JSON, then the tensors' bytes without holes.
#ifndef GMC_TRAIN_SAFETENSORS_H
#define GMC_TRAIN_SAFETENSORS_H

#include "runtime/data/File.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace gmc::rt {

struct SafetensorsEntry {
  std::string name;
  uint32_t dtype = 0; ///< GMC_FLOAT ...
  std::vector<int64_t> shape;
  uint64_t offset = 0; ///< in the file; set by the reader
  uint64_t bytes = 0;  ///< set by the reader; the writer computes it
};

using SafetensorsMetadata = std::map<std::string, std::string>;

/// Reads a file tensor by tensor with pread, never mapping it. The header is validated whole at opening: JSON without
/// duplicate keys, known dtypes, shape times element size equal to the byte range, ranges that cover the data
/// exactly without overlap or hole, file length. Any violation is Error(ExitUsage) naming the file and tensor.
class SafetensorsReader {
public:
  explicit SafetensorsReader(const std::string &path);

  const std::vector<SafetensorsEntry> &tensors() const { return entries; } ///< in file order
  const SafetensorsMetadata &metadata() const { return meta; }
  const SafetensorsEntry *find(const std::string &name) const;
  const std::string &path() const { return file.path(); }

  /// Copies bytes [from, from + bytes) of the tensor to `dst`.
  void read(const SafetensorsEntry &entry, uint64_t from, void *dst, uint64_t bytes) const;

private:
  File file;
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, size_t> byName;
  SafetensorsMetadata meta;
};

/// Gives the writer the bytes of entry `index`: calls `sink(data, bytes)` with consecutive pieces, together exactly
/// the entry's bytes.
using SafetensorsProducer =
    std::function<void(size_t index, const std::function<void(const void *, uint64_t)> &sink)>;

/// Writes `path` by a synced temporary file and a rename: whole or not at all. Entries keep their order. Throws
/// Error(ExitIo) when the disk refuses, Error(ExitInternal) for entries that are no valid header.
void writeSafetensors(const std::string &path, const std::vector<SafetensorsEntry> &entries,
                      const SafetensorsMetadata &metadata, const SafetensorsProducer &produce);

} // namespace gmc::rt

#endif
