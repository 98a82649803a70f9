#include "runtime/train/EventFile.h"
#include "gmc/Error.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace gmc::rt {
namespace {

double wallTime() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

template <typename T> void fixed(std::string &out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value); // little endian, as every target of ours is
  out.append(bytes, sizeof value);
}

void varint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

/// A field of wire type 2.
void bytesField(std::string &out, int number, const std::string &value) {
  varint(out, static_cast<uint64_t>(number) << 3 | 2);
  varint(out, value.size());
  out += value;
}

std::string eventHead(int64_t step) {
  std::string event;
  varint(event, 1 << 3 | 1); // wall_time
  fixed(event, wallTime());
  varint(event, 2 << 3 | 0); // step
  varint(event, static_cast<uint64_t>(step));
  return event;
}

uint32_t masked(const std::string &data) {
  uint32_t crc = crc32c(data.data(), data.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

} // namespace

uint32_t crc32c(const void *data, size_t bytes) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= static_cast<const unsigned char *>(data)[i];
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

EventFile::EventFile(const std::string &folder) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  char host[64] = "host";
  gethostname(host, sizeof host - 1);
  path = folder + "/events.out.tfevents." + std::to_string(static_cast<int64_t>(wallTime())) + "." + host + "." +
         std::to_string(getpid());
  file = std::fopen(path.c_str(), "wbe");
  if (!file)
    throw ioError("cannot write " + path + ": " + std::strerror(errno));
  std::string event = eventHead(0);
  bytesField(event, 3, "brain.Event:2"); // file_version
  record(event);
}

EventFile::~EventFile() { std::fclose(file); }

void EventFile::record(const std::string &event) {
  std::string length, out;
  fixed(length, static_cast<uint64_t>(event.size()));
  out = length;
  fixed(out, masked(length));
  out += event;
  fixed(out, masked(event));
  if (std::fwrite(out.data(), 1, out.size(), file) != out.size() || std::fflush(file))
    throw ioError("writing " + path + ": " + std::strerror(errno));
}

void EventFile::scalar(const std::string &tag, int64_t step, double number) {
  std::string value, summary, event = eventHead(step);
  bytesField(value, 1, tag);
  varint(value, 2 << 3 | 5); // simple_value
  fixed(value, static_cast<float>(number));
  bytesField(summary, 1, value);
  bytesField(event, 5, summary);
  record(event);
}

} // namespace gmc::rt
