// A compiled model on a device: its tensors by name and role, its programs step by step.
#ifndef GMC_TRAIN_EXECUTOR_H
#define GMC_TRAIN_EXECUTOR_H

#include "gmc/Device.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace gmc::rt {

/// Checks the ABI: magic, version, tensors and operands inside the arena, loops disjoint and inside their program.
/// Throws Error(ExitInternal), or Error(ExitUsage) for another ABI version.
void validateModel(const GmcModel &model);

class Executor {
public:
  /// Validates the model and makes the device's one allocation.
  Executor(const GmcModel &model, Device &device);

  const GmcModel &model() const { return theModel; }
  Device &device() const { return theDevice; }

  /// The program called `name`, or null.
  const GmcProgram *program(const std::string &name) const;

  /// Tensors of a role: the program's own first, then the model's. `program` may be null.
  std::vector<const GmcTensor *> tensors(const GmcProgram *program, uint32_t role) const;
  /// The only tensor of a role, or null. Throws Error(ExitInternal) when there are several.
  const GmcTensor *single(const GmcProgram *program, uint32_t role) const;

  void write(const GmcTensor &tensor, const void *src);
  void read(const GmcTensor &tensor, void *dst);
  double readScalar(const GmcTensor &tensor); ///< float[1] or int64[1]

  /// Runs the program once, its loops included. `beforeMicro(i)` is called before micro-step i = 0, 1, ... and writes
  /// its inputs; a program without loops is one micro-step. LOSS_SUM, VALID_COUNT and CORRECT_COUNT are zeroed
  /// first. Returns when the results can be read.
  void run(const GmcProgram &program, const std::function<void(int64_t micro)> &beforeMicro);

  /// While set, every plan step is run and timed alone and told to the profile. Not owned.
  void setProfile(class Profile *observer) { profile = observer; }

  /// Micro-steps of one run.
  static int64_t microSteps(const GmcProgram &program);

  /// Loads PARAMETER tensors and every tensor flagged INITIALIZER from a safetensors file straight into the arena. All
  /// missing, misshapen and mistyped tensors are listed in one Error(ExitUsage). With `checkHash`, the file's
  /// "gmc.model" must be this model's.
  void loadWeights(const std::string &path, bool checkHash);

  /// The CONSTANT tensors that the compiler computed, from the file that it wrote; wanted whatever weights are loaded.
  bool hasFoldedConstants() const;
  void loadFoldedConstants(const std::string &path);

  /// Writes the PARAMETER tensors and every tensor flagged INITIALIZER under their names, atomically. `metadata` is
  /// added to the file's.
  void saveWeights(const std::string &path, std::map<std::string, std::string> metadata = {});

  /// The model hash as 32 hexadecimal digits.
  std::string hashString() const;

  /// Copies a tensor between arena and file position, through a bounded buffer where the device needs one.
  void loadTensor(const GmcTensor &tensor, const class SafetensorsReader &file, const struct SafetensorsEntry &entry);
  void saveTensor(const GmcTensor &tensor, const std::function<void(const void *, uint64_t)> &sink);

private:
  void load(const std::string &path, bool checkHash, bool (*wanted)(const GmcTensor &));
  void runSteps(const GmcProgram &program, uint32_t first, uint32_t last);

  const GmcModel &theModel;
  Device &theDevice;
  Profile *profile = nullptr;
};

/// Whether the tensor stands in a weights file: parameters and everything flagged INITIALIZER.
bool isWeight(const GmcTensor &tensor);
/// Whether it was computed by the compiler: no weights file but the one written beside the executable holds it.
bool isFoldedConstant(const GmcTensor &tensor);

} // namespace gmc::rt

#endif
