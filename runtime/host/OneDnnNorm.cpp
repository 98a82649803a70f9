// Normalizations, on the operands as they lie. The library's statistics are variances where ours are 1 / sqrt(variance
// + epsilon), and it does not move running ones: what that takes is computed here, a few numbers for each channel or
// row.

#include "runtime/host/OneDnnCall.h"
#include "runtime/host/ThreadPool.h"

#include <cmath>

namespace gmc::rt {
namespace {

using When = OneDnnCall::When;

float *floats(char *address) { return reinterpret_cast<float *>(address); }

/// i = 1 / sqrt(v + epsilon) at places {v, i}.
std::function<void(char *const *)> inverseOf(int64_t count, double epsilon) {
  return [=](char *const *at) {
    const float *variance = floats(at[0]);
    float *inverse = floats(at[1]);
    for (int64_t k = 0; k < count; ++k)
      inverse[k] = 1 / std::sqrt(variance[k] + static_cast<float>(epsilon));
  };
}

/// v = 1 / i^2 - epsilon at places {i, v}: what the library adds epsilon to again.
std::function<void(char *const *)> varianceOf(int64_t count, double epsilon) {
  return [=](char *const *at) {
    const float *inverse = floats(at[0]);
    float *variance = floats(at[1]);
    for (int64_t k = 0; k < count; ++k) {
      double i = inverse[k];
      variance[k] = static_cast<float>(1 / (i * i) - epsilon);
    }
  };
}

class NormBuilder {
public:
  NormBuilder(const OneDnnEngine &engine, CallKind kind, const NormCall &norm)
      : engine(engine), kind(kind), norm(norm), call(std::make_unique<OneDnnCall>(engine)) {}

  std::unique_ptr<OneDnnCall> build() {
    switch (kind) {
    case CallKind::BatchNorm:
      batchNorm();
      break;
    case CallKind::BatchNormGrad:
      batchNormGrad();
      break;
    case CallKind::LayerNorm:
      layerNorm();
      break;
    default:
      layerNormGrad();
      break;
    }
    return std::move(call);
  }

private:
  /// The descriptor when `status` is success and the library has it without allocating; else null, and the call is
  /// none.
  std::unique_ptr<PrimitiveDesc> describe(dnnl_status_t status, const void *operation,
                                          const PrimitiveDesc *hint = nullptr) {
    std::unique_ptr<PrimitiveDesc> desc;
    if (status == dnnl_success)
      desc = std::make_unique<PrimitiveDesc>(engine, operation, hint);
    if (desc && *desc && desc->bounded())
      return desc;
    call->ok = false;
    return nullptr;
  }

  std::unique_ptr<PrimitiveDesc> batchForward(unsigned flags) {
    dnnl_batch_normalization_desc_t operation;
    dnnl_status_t status = engine.dnnl.batch_normalization_forward_desc_init(
        &operation, norm.training ? dnnl_forward_training : dnnl_forward_inference, &x,
        static_cast<float>(norm.epsilon), flags);
    return describe(status, &operation);
  }

  void batchNorm() {
    auto desc = batchForward(norm.training ? scaleAndShift : scaleAndShift | dnnl_use_global_stats);
    if (!desc)
      return;
    enum { X, Scale, Bias, Mean, Variance, Y, UsedMean, UsedInverse, NewMean, NewVariance };
    size_t primitive = call->add(*desc, {{DNNL_ARG_SRC, x}, {DNNL_ARG_SCALE, channel}, {DNNL_ARG_SHIFT, channel},
                                         {DNNL_ARG_MEAN, channel}, {DNNL_ARG_VARIANCE, channel}, {DNNL_ARG_DST, x}});
    int64_t count = norm.channels;
    auto copy = [=](char *const *at) { std::copy_n(floats(at[0]), count, floats(at[1])); };
    if (!norm.training) {
      call->execute(When::Each, primitive, {{X}, {Scale}, {Bias}, {Mean}, {Variance}, {Y}});
      call->compute(When::After, {{Variance}, {UsedInverse}}, inverseOf(count, norm.epsilon));
      call->compute(When::After, {{Mean}, {UsedMean}}, copy);
      call->compute(When::After, {{Mean}, {NewMean}}, copy);
      call->compute(When::After, {{Variance}, {NewVariance}}, copy);
      return;
    }
    Place variance = call->take(static_cast<uint64_t>(count) * sizeof(float), false);
    call->execute(When::Each, primitive, {{X}, {Scale}, {Bias}, {UsedMean}, variance, {Y}});
    call->compute(When::After, {variance, {UsedInverse}}, inverseOf(count, norm.epsilon));
    auto move = [count, momentum = static_cast<float>(norm.momentum)](char *const *at) {
      const float *batch = floats(at[0]), *old = floats(at[1]);
      float *moved = floats(at[2]);
      for (int64_t c = 0; c < count; ++c)
        moved[c] = old[c] * momentum + batch[c] * (1 - momentum);
    };
    call->compute(When::After, {{UsedMean}, {Mean}, {NewMean}}, move);
    call->compute(When::After, {variance, {Variance}, {NewVariance}}, move);
  }

  void batchNormGrad() {
    unsigned flags = norm.training ? scaleAndShift : scaleAndShift | dnnl_use_global_stats;
    auto forward = batchForward(flags);
    if (!forward)
      return;
    dnnl_batch_normalization_desc_t operation;
    dnnl_status_t status = engine.dnnl.batch_normalization_backward_desc_init(&operation, dnnl_backward, &x, &x,
                                                                              static_cast<float>(norm.epsilon), flags);
    auto desc = describe(status, &operation, forward.get());
    if (!desc)
      return;
    enum { X, Scale, Mean, Inverse, Dy, Dx, DScale, DBias };
    Place variance = call->take(static_cast<uint64_t>(norm.channels) * sizeof(float), false);
    call->compute(When::Before, {{Inverse}, variance}, varianceOf(norm.channels, norm.epsilon));
    // The shift is asked for, but what it holds has no part in the gradients.
    size_t primitive = call->add(*desc, {{DNNL_ARG_SRC, x},
                                         {DNNL_ARG_SCALE, channel},
                                         {DNNL_ARG_SHIFT, channel},
                                         {DNNL_ARG_MEAN, channel},
                                         {DNNL_ARG_VARIANCE, channel},
                                         {DNNL_ARG_DIFF_DST, x},
                                         {DNNL_ARG_DIFF_SRC, x},
                                         {DNNL_ARG_DIFF_SCALE, channel},
                                         {DNNL_ARG_DIFF_SHIFT, channel}});
    call->execute(When::Each, primitive,
                  {{X}, {Scale}, {Scale}, {Mean}, variance, {Dy}, {Dx}, {DScale}, {DBias}});
  }

  unsigned rowFlags() const { return (norm.scale ? dnnl_use_scale : 0u) | (norm.bias ? dnnl_use_shift : 0u); }

  std::unique_ptr<PrimitiveDesc> rowForward() {
    dnnl_layer_normalization_desc_t operation;
    dnnl_status_t status = engine.dnnl.layer_normalization_forward_desc_init(
        &operation, dnnl_forward_training, &x, &row, static_cast<float>(norm.epsilon), rowFlags());
    return describe(status, &operation);
  }

  void layerNorm() {
    auto desc = rowForward();
    if (!desc)
      return;
    int y = static_cast<int>(1 + norm.scale + norm.bias);
    std::vector<OneDnnCall::Argument> arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, x}, {DNNL_ARG_MEAN, row},
                                                {DNNL_ARG_VARIANCE, row}};
    Place variance = call->take(static_cast<uint64_t>(norm.batch) * sizeof(float), false);
    std::vector<Place> places{{0}, {y}, {y + 1}, variance};
    if (norm.scale) {
      arguments.push_back({DNNL_ARG_SCALE, channel});
      places.push_back({1});
    }
    if (norm.bias) {
      arguments.push_back({DNNL_ARG_SHIFT, channel});
      places.push_back({y - 1});
    }
    call->execute(When::Each, call->add(*desc, arguments), places);
    call->compute(When::After, {variance, {y + 2}}, inverseOf(norm.batch, norm.epsilon));
  }

  void layerNormGrad() {
    auto forward = rowForward();
    if (!forward)
      return;
    dnnl_layer_normalization_desc_t operation;
    // With a scale the library has no gradient of x alone: that of the scale goes into the workspace.
    dnnl_status_t status = engine.dnnl.layer_normalization_backward_desc_init(
        &operation, norm.scale ? dnnl_backward : dnnl_backward_data, &x, &x, &row, static_cast<float>(norm.epsilon),
        rowFlags());
    auto desc = describe(status, &operation, forward.get());
    if (!desc)
      return;
    enum { X, Mean, Inverse, Dy, Scale };
    Place variance = call->take(static_cast<uint64_t>(norm.batch) * sizeof(float), false);
    call->compute(When::Before, {{Inverse}, variance}, varianceOf(norm.batch, norm.epsilon));
    std::vector<OneDnnCall::Argument> arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, x}, {DNNL_ARG_DIFF_SRC, x},
                                                {DNNL_ARG_MEAN, row}, {DNNL_ARG_VARIANCE, row}};
    std::vector<Place> places{{X}, {Dy}, {static_cast<int>(Scale + norm.scale)}, {Mean}, variance};
    if (norm.scale) {
      arguments.insert(arguments.end(), {{DNNL_ARG_SCALE, channel}, {DNNL_ARG_DIFF_SCALE, channel}});
      places.insert(places.end(), {{Scale}, call->take(static_cast<uint64_t>(norm.channels) * sizeof(float), false)});
    }
    call->execute(When::Each, call->add(*desc, arguments), places);
  }

  static constexpr unsigned scaleAndShift = dnnl_use_scale | dnnl_use_shift;

  const OneDnnEngine &engine;
  CallKind kind;
  const NormCall &norm;
  std::unique_ptr<OneDnnCall> call;
  bool rows = kind == CallKind::LayerNorm || kind == CallKind::LayerNormGrad;
  dnnl_memory_desc_t x = plainLayout(engine, rows ? std::vector<int64_t>{norm.batch, norm.channels}
                                                  : std::vector<int64_t>{norm.batch, norm.channels, 1, norm.inner}),
                     channel = plainLayout(engine, {norm.channels}), row = plainLayout(engine, {norm.batch});
};

} // namespace

std::unique_ptr<OneDnnCall> prepareNorm(const OneDnnEngine &engine, CallKind kind, const NormCall &norm) {
  return NormBuilder(engine, kind, norm).build();
}

} // namespace gmc::rt
