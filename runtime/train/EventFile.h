// TensorBoard event files: TFRecords of serialized Event messages (tensorflow/core/util/event.proto, lib/io/
// record_writer: length, masked CRC-32C of the length, data, masked CRC-32C of the data).
#ifndef GMC_TRAIN_EVENTFILE_H
#define GMC_TRAIN_EVENTFILE_H

#include <cstdint>
#include <cstdio>
#include <string>

namespace gmc::rt {

/// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78.
uint32_t crc32c(const void *data, size_t bytes);

class EventFile {
public:
  /// Creates the folder and in it events.out.tfevents.TIME.HOST.PID. Throws Error(ExitIo).
  explicit EventFile(const std::string &folder);
  ~EventFile();
  void scalar(const std::string &tag, int64_t step, double value);

private:
  void record(const std::string &event);
  std::FILE *file;
  std::string path;
};

} // namespace gmc::rt

#endif
