// .npz files: zip archives of .npy members, stored or deflated (APPNOTE.TXT 6.3, numpy.lib.format).
#ifndef GMC_TEST_REFERENCE_NPZ_H
#define GMC_TEST_REFERENCE_NPZ_H

#include "compiler/Import/TensorFile.h"
#include <map>
#include <optional>
#include <string>

namespace gmc::test {

class Npz {
public:
  /// Reads every member; throws std::runtime_error when the archive is damaged.
  explicit Npz(const std::string &path);

  /// Members whose name begins with `prefix`, under the rest of the name.
  std::map<std::string, std::string> withPrefix(const std::string &prefix) const;
  bool has(const std::string &name) const { return members.count(name); }
  HostTensor tensor(const std::string &name) const;
  /// Element 0 of a member.
  double number(const std::string &name) const { return tensor(name).at(0); }
  /// A member of byte strings, as text without padding.
  std::string text(const std::string &name) const;

private:
  std::map<std::string, std::string> members; ///< name without .npy -> bytes of the .npy
};

} // namespace gmc::test

#endif
