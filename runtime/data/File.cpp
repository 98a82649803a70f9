#include "runtime/data/File.h"
#include "gmc/Error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace gmc::rt {
namespace {
std::string reason() { return std::strerror(errno); }

void writeAll(int fd, const void *src, size_t bytes, const std::string &path) {
  auto *at = static_cast<const char *>(src);
  while (bytes > 0) {
    ssize_t written = ::write(fd, at, bytes);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      throw ioError("writing " + path + ": " + reason());
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}
} // namespace

File::File(const std::string &path) : name(path) {
  handle = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (handle < 0)
    throw usageError("cannot open " + path + ": " + reason());
  struct stat info;
  if (fstat(handle, &info) == 0 && S_ISDIR(info.st_mode)) {
    close(handle);
    handle = -1;
    throw usageError("cannot read " + path + ": it is a folder, a file is expected");
  }
}

File::File(File &&other) noexcept : handle(std::exchange(other.handle, -1)), name(std::move(other.name)) {}

File &File::operator=(File &&other) noexcept {
  std::swap(handle, other.handle);
  std::swap(name, other.name);
  return *this;
}

File::~File() {
  if (handle >= 0)
    close(handle);
}

File File::temporary() {
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder && *folder ? folder : "/tmp") + "/gmc-XXXXXX";
  File file;
  file.handle = mkostemp(path.data(), O_CLOEXEC);
  if (file.handle < 0)
    throw ioError("cannot create a temporary file " + path + ": " + reason() + "; set TMPDIR to a writable folder");
  unlink(path.c_str());
  file.name = path + " (temporary)";
  return file;
}

size_t File::readSome(uint64_t offset, void *dst, size_t bytes) const {
  size_t done = 0;
  while (done < bytes) {
    ssize_t got = pread(handle, static_cast<char *>(dst) + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      throw ioError("reading " + name + ": " + reason());
    if (got == 0)
      break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void File::readAt(uint64_t offset, void *dst, size_t bytes) const {
  size_t got = readSome(offset, dst, bytes);
  if (got != bytes)
    throw ioError("reading " + name + ": it ends at byte " + std::to_string(offset + got) + ", bytes up to " +
                  std::to_string(offset + bytes) + " are expected; the file is truncated");
}

void File::append(const void *src, size_t bytes) { writeAll(handle, src, bytes, name); }

uint64_t File::size() const {
  struct stat info;
  if (fstat(handle, &info))
    throw ioError("reading " + name + ": " + reason());
  return static_cast<uint64_t>(info.st_size);
}

AtomicFile::AtomicFile(const std::string &target)
    : path(target), temporary(target + ".tmp." + std::to_string(getpid())) {
  handle = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (handle < 0)
    throw ioError("cannot write " + path + ": " + reason());
}

AtomicFile::~AtomicFile() {
  if (handle < 0)
    return;
  close(handle);
  unlink(temporary.c_str());
}

void AtomicFile::write(const void *src, size_t bytes) { writeAll(handle, src, bytes, path); }

void AtomicFile::commit() {
  if (fsync(handle))
    throw ioError("writing " + path + ": " + reason());
  int closing = std::exchange(handle, -1);
  if (close(closing) || rename(temporary.c_str(), path.c_str())) {
    std::string why = reason();
    unlink(temporary.c_str());
    throw ioError("writing " + path + ": " + why);
  }
  // The rename itself lasts only once the folder is on disk; file systems that cannot sync a folder are let pass.
  auto slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    fsync(dir);
    close(dir);
  }
}

bool pathExists(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

bool isDirectory(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

} // namespace gmc::rt
