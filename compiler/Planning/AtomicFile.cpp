//===- AtomicFile.cpp - Outputs appear whole or not at all ----------------===//
#include "compiler/Planning/AtomicFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gmc::planning {

namespace {

bool writeAll(int fd, const std::string &contents) {
  for (size_t at = 0; at < contents.size();) {
    ssize_t wrote = ::write(fd, contents.data() + at, contents.size() - at);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0)
      return false;
    at += size_t(wrote);
  }
  return true;
}

} // namespace

bool writeFileAtomically(const std::string &path, const std::string &contents, std::string &error) {
  auto fail = [&](const char *what) {
    error = path + ": " + what + ": " + std::strerror(errno);
    return false;
  };
  struct stat info;
  bool special = ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  if (special && S_ISDIR(info.st_mode)) {
    error = path + ": is a directory";
    return false;
  }
  if (special) {
    int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return fail("cannot be opened for writing");
    bool ok = writeAll(fd, contents);
    return (::close(fd) == 0 && ok) || fail("cannot be written");
  }
  std::string temporary = path + ".tmp." + std::to_string(::getpid());
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return fail("cannot be created");
  bool ok = writeAll(fd, contents) && ::fsync(fd) == 0;
  ok = ::close(fd) == 0 && ok;
  if (ok && ::rename(temporary.c_str(), path.c_str()) == 0)
    return true;
  fail("cannot be written");
  ::unlink(temporary.c_str());
  return false;
}

bool readWholeFile(const std::string &path, std::string &contents, std::string &error) {
  auto fail = [&] {
    error = path + ": cannot be read: " + std::strerror(errno);
    return false;
  };
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail();
  contents.clear();
  char block[1 << 16];
  for (;;) {
    ssize_t got = ::read(fd, block, sizeof block);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      fail();
      ::close(fd);
      return false;
    }
    if (got == 0)
      break;
    contents.append(block, size_t(got));
  }
  ::close(fd);
  return true;
}

} // namespace gmc::planning
