// The header of a .npy file, versions 1 to 3.
#ifndef GMC_DATA_NPY_H
#define GMC_DATA_NPY_H

#include "runtime/data/File.h"

#include <vector>

namespace gmc::rt {

/// Parsed and checked against the file's length; Error(ExitUsage) names what is wrong.
struct NpyFile {
  explicit NpyFile(const std::string &path);

  /// Reverses the bytes of each element in place.
  void swapBytes(char *data, uint64_t bytes) const;

  File file;
  uint32_t dtype = 0; ///< GMC_FLOAT ...
  bool fortranOrder = false, bigEndian = false;
  std::vector<int64_t> dims;
  uint64_t dataStart = 0;
};

} // namespace gmc::rt

#endif
