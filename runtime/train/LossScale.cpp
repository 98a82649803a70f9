#include "runtime/train/LossScale.h"
#include "gmc/Error.h"

#include <cstring>

namespace gmc::rt {

LossScale::LossScale(Executor &executor) : executor(executor) {
  for (const GmcTensor *tensor : executor.tensors(nullptr, GMC_ROLE_STATE))
    if (std::strcmp(tensor->name, "loss_scale") == 0)
      scale = tensor;
  stepCount = executor.single(nullptr, GMC_ROLE_STEP_COUNT);
  if (scale && !stepCount)
    throw internalError("a loss scale without a step count");
}

void LossScale::start(bool resumed, float initial) {
  if (!active())
    return;
  if (!resumed)
    executor.write(*scale, &initial);
  current = executor.readScalar(*scale);
  applied = executor.readScalar(*stepCount);
}

bool LossScale::skipped() {
  if (!active())
    return false;
  double before = applied, scaleBefore = current;
  applied = executor.readScalar(*stepCount);
  current = executor.readScalar(*scale);
  hopeless = applied == before && scaleBefore <= 1;
  return applied == before;
}

} // namespace gmc::rt
