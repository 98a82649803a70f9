// Files read by pread into bounded buffers (never mapped: touched mappings count in VmHWM) and written whole or not
// at all.
#ifndef GMC_DATA_FILE_H
#define GMC_DATA_FILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace gmc::rt {

/// A file descriptor that closes itself.
class File {
public:
  File() = default;
  /// Opens for reading; throws Error(ExitUsage) when it does not exist or may not be read.
  explicit File(const std::string &path);
  File(File &&other) noexcept;
  File &operator=(File &&other) noexcept;
  ~File();

  /// An unlinked file in $TMPDIR (or /tmp) for spilling an index or a decompressed stream.
  static File temporary();

  /// Reads exactly `bytes` at `offset`; throws Error(ExitIo) naming the file when they are not there. Thread-safe.
  void readAt(uint64_t offset, void *dst, size_t bytes) const;
  /// Reads up to `bytes` at `offset`; returns how many there were.
  size_t readSome(uint64_t offset, void *dst, size_t bytes) const;
  /// Appends; throws Error(ExitIo).
  void append(const void *src, size_t bytes);

  uint64_t size() const;
  int fd() const { return handle; }
  const std::string &path() const { return name; }
  explicit operator bool() const { return handle >= 0; }

private:
  int handle = -1;
  std::string name;
};

/// A file that appears under its name by rename, complete and synced, or not at all.
class AtomicFile {
public:
  /// Opens `path`.tmp.PID beside `path`; throws Error(ExitIo).
  explicit AtomicFile(const std::string &path);
  ~AtomicFile();
  AtomicFile(const AtomicFile &) = delete;
  AtomicFile &operator=(const AtomicFile &) = delete;

  void write(const void *src, size_t bytes);
  /// Syncs the file, renames it into place and syncs the folder. Throws Error(ExitIo); the old file then stays.
  void commit();

private:
  std::string path, temporary;
  int handle;
};

bool pathExists(const std::string &path);
bool isDirectory(const std::string &path);

} // namespace gmc::rt

#endif
