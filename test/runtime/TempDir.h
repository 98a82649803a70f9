// A folder that lives as long as a test, and small file helpers.
#ifndef GMC_TEST_RUNTIME_TEMPDIR_H
#define GMC_TEST_RUNTIME_TEMPDIR_H

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace gmc::test {

struct TempDir {
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gmc-test-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(const std::string &name) const { return (path / name).string(); }
  std::filesystem::path path;
};

inline void writeFile(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string readFile(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline std::string mnist(const std::string &name) { return std::string(GMC_SHARED_DIR "/data/mnist/") + name; }
inline const std::string MnistPair =
    mnist("t10k-images-idx3-ubyte.gz") + "," + mnist("t10k-labels-idx1-ubyte.gz");
inline bool haveMnist() { return std::filesystem::exists(mnist("t10k-images-idx3-ubyte.gz")); }

} // namespace gmc::test

#endif
