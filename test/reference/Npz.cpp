#include "test/reference/Npz.h"
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <zlib.h>

namespace gmc::test {

template <typename T> static T at(const std::string &bytes, size_t offset) {
  T value;
  if (offset + sizeof(T) > bytes.size())
    throw std::runtime_error("zip archive is cut off");
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

static std::string inflateRaw(const char *data, size_t size, size_t plainSize) {
  std::string plain(plainSize, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    throw std::runtime_error("zlib does not start");
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(data));
  stream.avail_in = size;
  stream.next_out = reinterpret_cast<Bytef *>(plain.data());
  stream.avail_out = plainSize;
  int code = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (code != Z_STREAM_END || stream.total_out != plainSize)
    throw std::runtime_error("damaged zip member");
  return plain;
}

Npz::Npz(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  std::string bytes = content.str();
  size_t end = bytes.rfind("PK\x05\x06");
  if (end == std::string::npos)
    throw std::runtime_error(path + " is no zip archive");
  size_t entry = at<uint32_t>(bytes, end + 16);
  for (unsigned i = 0, count = at<uint16_t>(bytes, end + 10); i < count; ++i) {
    unsigned method = at<uint16_t>(bytes, entry + 10);
    size_t packed = at<uint32_t>(bytes, entry + 20), plain = at<uint32_t>(bytes, entry + 24);
    unsigned nameSize = at<uint16_t>(bytes, entry + 28);
    std::string name = bytes.substr(entry + 46, nameSize);
    size_t local = at<uint32_t>(bytes, entry + 42);
    size_t data = local + 30 + at<uint16_t>(bytes, local + 26) + at<uint16_t>(bytes, local + 28);
    if (data + packed > bytes.size() || (method != 0 && method != 8))
      throw std::runtime_error(path + ": damaged member " + name);
    if (name.size() > 4 && name.ends_with(".npy"))
      name.resize(name.size() - 4);
    members[name] = method == 0 ? bytes.substr(data, packed) : inflateRaw(bytes.data() + data, packed, plain);
    entry += 46 + nameSize + at<uint16_t>(bytes, entry + 30) + at<uint16_t>(bytes, entry + 32);
  }
}

std::map<std::string, std::string> Npz::withPrefix(const std::string &prefix) const {
  std::map<std::string, std::string> found;
  for (auto &[name, bytes] : members)
    if (name.starts_with(prefix))
      found[name.substr(prefix.size())] = name;
  return found;
}

HostTensor Npz::tensor(const std::string &name) const {
  auto it = members.find(name);
  if (it == members.end())
    throw std::runtime_error("no member " + name);
  auto tensor = parseNpy(it->second);
  if (!tensor)
    throw std::runtime_error(name + ": " + llvm::toString(tensor.takeError()));
  return std::move(*tensor);
}

std::string Npz::text(const std::string &name) const {
  const std::string &bytes = members.at(name);
  std::string body = bytes.substr(10 + at<uint16_t>(bytes, 8));
  body.resize(std::min(body.size(), body.find('\0')));
  return body;
}

} // namespace gmc::test
