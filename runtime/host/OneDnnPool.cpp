// Pools, on the operands as they lie: lanes go through the samples. The gradient of a maximum wants to know where each
// maximum was. Nothing is kept from the forward pass for it, as with the portable kernel: a lane takes the maxima of
// its samples again, which leaves their places in its part of the workspace, and then spreads the gradient.

#include "runtime/host/OneDnnCall.h"
#include "runtime/host/ThreadPool.h"

namespace gmc::rt {
namespace {

class PoolBuilder {
public:
  using When = OneDnnCall::When;

  PoolBuilder(const OneDnnEngine &engine, CallKind kind, const PoolCall &pool)
      : engine(engine), kind(kind), pool(pool) {}

  std::unique_ptr<OneDnnCall> build() {
    unsigned threads = engine.pool->threads();
    if (pool.batch < 1)
      return nullptr;
    unsigned lanes = pool.batch >= threads ? threads : 1;
    describeLayouts(1);
    auto sample = static_cast<int64_t>(std::max<uint64_t>(1, bytes(x) + bytes(y)));
    samples = largestDivisor(pool.batch, std::min(static_cast<int64_t>(PieceBytes) / sample, pool.batch / lanes));
    describeLayouts(samples);
    engine.pool->setLibraryThreads(lanes > 1 ? 1 : threads);
    call = std::make_unique<OneDnnCall>(engine, pool.batch / samples, lanes);
    emit();
    engine.pool->setLibraryThreads(threads);
    return std::move(call);
  }

private:
  uint64_t bytes(const dnnl_memory_desc_t &layout) const { return engine.dnnl.memory_desc_get_size(&layout); }

  void describeLayouts(int64_t count) {
    x = plainLayout(engine, joined({count, pool.channels}, pool.in));
    y = plainLayout(engine, joined({count, pool.channels}, pool.out));
  }

  /// The pieces of an operand follow each other.
  Place pieces(int operand, const dnnl_memory_desc_t &layout) const { return {operand, 0, bytes(layout)}; }

  void emit() {
    auto &dnnl = engine.dnnl;
    bool backward = kind == CallKind::PoolGrad, maxima = pool.result == PoolCall::Max;
    dnnl_alg_kind_t algorithm = maxima                            ? dnnl_pooling_max
                                : pool.result == PoolCall::Mean ? dnnl_pooling_avg_exclude_padding
                                                                : dnnl_pooling_avg_include_padding;
    const int64_t *strides = pool.strides.data(), *kernel = pool.kernel.data(), *low = pool.padBegin.data(),
                  *high = pool.padEnd.data();
    dnnl_pooling_desc_t operation;
    call->ok = dnnl.pooling_forward_desc_init(&operation, backward ? dnnl_forward_training : dnnl_forward_inference,
                                              algorithm, &x, &y, strides, kernel, low, high) == dnnl_success;
    if (!call->ok)
      return;
    PrimitiveDesc forward(engine, &operation);
    call->ok = forward && forward.bounded();
    if (!call->ok)
      return;
    call->padding = static_cast<double>((pool.channels + 15) / 16 * 16) / static_cast<double>(pool.channels);
    if (!backward) {
      size_t primitive = call->add(forward, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
      call->execute(When::Each, primitive, {pieces(0, x), pieces(1, y)});
      return;
    }
    call->ok =
        dnnl.pooling_backward_desc_init(&operation, algorithm, &x, &y, strides, kernel, low, high) == dnnl_success;
    if (!call->ok)
      return;
    PrimitiveDesc gradient(engine, &operation, &forward);
    call->ok = gradient && gradient.bounded();
    if (!call->ok)
      return;
    std::vector<OneDnnCall::Argument> arguments{{DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_DIFF_SRC, x}};
    int dy = maxima ? 1 : 0;
    std::vector<Place> places{pieces(dy, y), pieces(dy + 1, x)};
    if (maxima) {
      dnnl_memory_desc_t where = forward.layout(dnnl_query_workspace_md);
      Place maximum = call->take(bytes(y), true), position = call->take(bytes(where), true);
      size_t again = call->add(forward, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_WORKSPACE, where}});
      call->execute(When::Each, again, {pieces(0, x), maximum, position});
      arguments.push_back({DNNL_ARG_WORKSPACE, where});
      places.push_back(position);
    }
    size_t primitive = call->add(gradient, std::move(arguments));
    call->execute(When::Each, primitive, std::move(places));
  }

  const OneDnnEngine &engine;
  CallKind kind;
  const PoolCall &pool;
  std::unique_ptr<OneDnnCall> call;
  dnnl_memory_desc_t x, y;
  int64_t samples = 1;
};

} // namespace

std::unique_ptr<OneDnnCall> preparePool(const OneDnnEngine &engine, CallKind kind, const PoolCall &pool) {
  return PoolBuilder(engine, kind, pool).build();
}

} // namespace gmc::rt
