#include "gmc/Error.h"
#include "runtime/data/DType.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Trainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gmc::rt {
namespace {

/// The values of row `row` of an output, "[a,b,...]".
std::string rowValues(const std::vector<double> &values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i)
    text += (i ? "," : "") + jsonNumber(values[i]);
  return text + "]";
}

} // namespace

int Trainer::predict() {
  SignalGuard signals;
  if (!evalProgram)
    throw usageError("this trainer was compiled without an evaluation program");
  auto outputs = executor.tensors(evalProgram, GMC_ROLE_OUTPUT);
  if (outputs.empty())
    throw usageError("this trainer keeps no graph output to predict");
  loadConstants();
  loadWeights();
  slots = programSlots(executor, {evalProgram}, metadata);
  for (Slot &slot : slots)
    slot.classes = 0; // labels, where there are some, are not looked at
  valData = openSource(options.predict, {slots, false, preprocessingFor(weightsPath())});
  prepareEval(*valData);
  checkReserve();
  evalLoader->start(0, 0);
  std::vector<char> raw;
  std::vector<double> values;
  while (const MicroBatch *batch = evalLoader->acquire()) {
    countBad(*batch);
    executor.run(*evalProgram, [&](int64_t micro) { feed(*evalProgram, *batch, micro); });
    for (int64_t row = 0; row < batch->valid; ++row) {
      auto name = nlohmann::json(valData->name(batch->samples[static_cast<size_t>(row)]));
      std::string line =
          "{\"sample\":" + name.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + ",\"outputs\":{";
      std::string chosen;
      for (size_t o = 0; o < outputs.size(); ++o) {
        const GmcTensor &tensor = *outputs[o];
        bool batched = tensor.rank > 0 && tensor.dims[0] == evalProgram->microBatch;
        uint64_t bytes = batched ? tensor.bytes / evalProgram->microBatch : tensor.bytes;
        raw.resize(bytes);
        device->read(tensor.offset + (batched ? static_cast<uint64_t>(row) * bytes : 0), raw.data(), bytes);
        values.resize(bytes / dtypeSize(tensor.dtype));
        convertElements(raw.data(), tensor.dtype, values.data(), GMC_DOUBLE, values.size());
        line += std::string(o ? "," : "") + nlohmann::json(tensor.name).dump() + ":" + rowValues(values);
        bool scored = metadata.lossOutput.empty() ? o == 0 : metadata.lossOutput == tensor.name;
        if (scored && metadata.lossKind == "cross-entropy" && tensor.rank == 2)
          chosen = ",\"class\":" + std::to_string(std::max_element(values.begin(), values.end()) - values.begin());
      }
      std::printf("%s}%s}\n", line.c_str(), chosen.c_str());
    }
    evalLoader->release();
    if (signals.received())
      return 128 + signals.received();
  }
  return ExitDone;
}

} // namespace gmc::rt
