#include "runtime/host/OneDnnCall.h"
#include "gmc/Error.h"
#include "runtime/host/ThreadPool.h"

#include <algorithm>
#include <atomic>

namespace gmc::rt {

OneDnnEngine::~OneDnnEngine() {
  if (attributes)
    dnnl.primitive_attr_destroy(attributes);
  for (dnnl_stream_t stream : streams)
    dnnl.stream_destroy(stream);
  if (engine)
    dnnl.engine_destroy(engine);
}

//===- Layouts and descriptors --------------------------------------------------------------------------===//

dnnl_memory_desc_t stridedLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims,
                                 const std::vector<int64_t> &strides) {
  dnnl_memory_desc_t layout{};
  if (dims.size() > DNNL_MAX_NDIMS ||
      engine.dnnl.memory_desc_init_by_strides(&layout, static_cast<int>(dims.size()), dims.data(), dnnl_f32,
                                              strides.data()) != dnnl_success)
    return dnnl_memory_desc_t{}; // no primitive takes it
  return layout;
}

dnnl_memory_desc_t plainLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;)
    strides[d - 1] = strides[d] * dims[d];
  return stridedLayout(engine, dims, strides);
}

dnnl_memory_desc_t anyLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims) {
  dnnl_memory_desc_t layout{};
  if (dims.size() > DNNL_MAX_NDIMS ||
      engine.dnnl.memory_desc_init_by_tag(&layout, static_cast<int>(dims.size()), dims.data(), dnnl_f32,
                                          dnnl_format_tag_any) != dnnl_success)
    return dnnl_memory_desc_t{};
  return layout;
}

PrimitiveDesc::PrimitiveDesc(const OneDnnEngine &engine, const void *operation, const PrimitiveDesc *hint)
    : engine(engine) {
  if (engine.dnnl.primitive_desc_create(&desc, operation, engine.attributes, engine.engine,
                                        hint ? hint->desc : nullptr) != dnnl_success)
    desc = nullptr;
}

PrimitiveDesc::PrimitiveDesc(const OneDnnEngine &engine, const dnnl_memory_desc_t &from, const dnnl_memory_desc_t &to)
    : engine(engine) {
  if (engine.dnnl.reorder_primitive_desc_create(&desc, &from, engine.engine, &to, engine.engine, engine.attributes) !=
      dnnl_success)
    desc = nullptr;
}

PrimitiveDesc::~PrimitiveDesc() {
  if (desc)
    engine.dnnl.primitive_desc_destroy(desc);
}

dnnl_memory_desc_t PrimitiveDesc::layout(dnnl_query_t what) const {
  const dnnl_memory_desc_t *layout = engine.dnnl.primitive_desc_query_md(desc, what, 0);
  return layout ? *layout : dnnl_memory_desc_t{};
}

std::string PrimitiveDesc::name() const {
  const char *name = nullptr;
  if (engine.dnnl.primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) != dnnl_success || !name)
    return "";
  return name;
}

bool PrimitiveDesc::bounded() const {
  std::string n = name();
  for (const char *fine : {"jit", "brg", "brdgmm", "ncsp_bnorm", "bnorm_jit", "simple_layer_normalization"})
    if (n.starts_with(fine))
      return true;
  return false;
}

//===- Calls --------------------------------------------------------------------------------------------===//

OneDnnCall::~OneDnnCall() {
  for (Primitive &p : primitives) {
    for (dnnl_exec_arg_t &value : p.values)
      if (value.memory)
        engine.dnnl.memory_destroy(value.memory);
    if (p.primitive)
      engine.dnnl.primitive_destroy(p.primitive);
  }
}

static uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

Place OneDnnCall::take(uint64_t bytes, bool lane) {
  uint64_t &end = lane ? laneBytes : sharedBytes;
  Place place{lane ? Place::Lane : Place::Shared, end};
  end += aligned(bytes);
  return place;
}

size_t OneDnnCall::add(const PrimitiveDesc &desc, std::vector<Argument> arguments) {
  Primitive &p = primitives.emplace_back();
  ok &= desc && (!engine.execute || engine.dnnl.primitive_create(&p.primitive, desc.get()) == dnnl_success);
  if (!ok)
    return primitives.size() - 1;
  implementation += (implementation.empty() ? "" : " ") + desc.name();
  if (dnnl_memory_desc_t pad = desc.scratchpad(); uint64_t bytes = engine.dnnl.memory_desc_get_size(&pad)) {
    scratchpadBytes = std::max(scratchpadBytes, bytes);
    arguments.push_back({DNNL_ARG_SCRATCHPAD, pad});
  }
  p.arguments = arguments.size();
  for (unsigned lane = 0; lane < lanes && engine.execute; ++lane)
    for (const Argument &argument : arguments) {
      dnnl_memory_t memory = nullptr;
      ok &= engine.dnnl.memory_create(&memory, &argument.layout, engine.engine, DNNL_MEMORY_NONE) == dnnl_success;
      p.values.push_back({argument.name, memory});
    }
  p.handles.assign(p.values.size(), nullptr);
  return primitives.size() - 1;
}

size_t OneDnnCall::addCopy(const dnnl_memory_desc_t &from, const dnnl_memory_desc_t &to) {
  return add(PrimitiveDesc(engine, from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void OneDnnCall::execute(When when, size_t primitive, std::vector<Place> places) {
  if (primitives[primitive].arguments > places.size())
    places.push_back({Place::Scratchpad});
  list.push_back({Execution::Kind::Primitive, when, primitive, std::move(places)});
}

void OneDnnCall::accumulate(When when, Place to, Place from, int64_t count) {
  list.push_back({Execution::Kind::Accumulate, when, 0, {to, from}, count});
}

void OneDnnCall::addBias(When when, Place to, Place bias, int64_t rows, int64_t channels, int64_t width) {
  list.push_back({Execution::Kind::Bias, when, 0, {to, bias}, rows, channels, width});
}

void OneDnnCall::compute(When when, std::vector<Place> places, std::function<void(char *const *)> body) {
  list.push_back({Execution::Kind::Own, when, 0, std::move(places), 0, 0, 0, std::move(body)});
}

void OneDnnCall::finish() {
  scratchpadAt = laneBytes;
  laneBytes += aligned(scratchpadBytes);
  scratchBytes = sharedBytes + laneBytes * lanes;
  for (const Execution &e : list) {
    bool once = e.when == When::Before || e.when == When::After;
    executions += once ? 1 : static_cast<unsigned>((pieces + lanes - 1) / lanes);
  }
}

namespace {

struct Accumulation {
  float *to;
  const float *from;
};
void accumulatePart(void *context, int64_t begin, int64_t end) {
  auto *a = static_cast<Accumulation *>(context);
  for (int64_t i = begin; i < end; ++i)
    a->to[i] += a->from[i];
}

struct BiasRows {
  float *to;
  const float *bias;
  int64_t channels, width;
};
void biasPart(void *context, int64_t begin, int64_t end) {
  auto *b = static_cast<BiasRows *>(context);
  for (int64_t row = begin; row < end; ++row) {
    float bias = b->bias[row % b->channels], *to = b->to + row * b->width;
    for (int64_t i = 0; i < b->width; ++i)
      to[i] += bias;
  }
}

/// Elements below which a second thread is not worth waking.
constexpr int64_t Grain = 16384;

} // namespace

struct OneDnnCall::Run {
  OneDnnCall &call;
  char *const *operands;
  char *scratch;
  std::atomic<int64_t> next{0}; ///< piece
  std::atomic<bool> failed{false};
};

char *OneDnnCall::address(const Run &run, const Place &place, unsigned lane, int64_t piece) const {
  uint64_t further = place.step * static_cast<uint64_t>(piece);
  if (place.operand >= 0)
    return run.operands[place.operand] + place.offset + further;
  if (place.operand == Place::Shared)
    return run.scratch + place.offset;
  return run.scratch + sharedBytes + laneBytes * lane +
         (place.operand == Place::Scratchpad ? scratchpadAt : place.offset);
}

void OneDnnCall::perform(Run &run, const Execution &e, unsigned lane, int64_t piece) {
  bool alone = e.when == When::Before || e.when == When::After;
  auto each = [&](int64_t extent, int64_t grain, ThreadPool::Body body, void *context) {
    if (alone)
      engine.pool->parallelFor(extent, grain, body, context);
    else
      body(context, 0, extent);
  };
  if (e.kind == Execution::Kind::Accumulate) {
    for (unsigned from = alone ? 1 : lane; from < (alone ? lanes : lane + 1); ++from) {
      Accumulation a{reinterpret_cast<float *>(address(run, e.places[0], lane, piece)),
                     reinterpret_cast<const float *>(address(run, e.places[1], from, piece))};
      each(e.count, Grain, &accumulatePart, &a);
    }
    return;
  }
  if (e.kind == Execution::Kind::Bias) {
    BiasRows b{reinterpret_cast<float *>(address(run, e.places[0], lane, piece)),
               reinterpret_cast<const float *>(address(run, e.places[1], lane, piece)), e.channels, e.width};
    each(e.count, std::max<int64_t>(1, Grain / e.width), &biasPart, &b);
    return;
  }
  if (e.kind == Execution::Kind::Own) {
    char *addresses[8];
    for (size_t i = 0; i < e.places.size(); ++i)
      addresses[i] = address(run, e.places[i], lane, piece);
    e.body(addresses);
    return;
  }
  Primitive &p = primitives[e.primitive];
  dnnl_exec_arg_t *values = &p.values[lane * p.arguments];
  char **handles = &p.handles[lane * p.arguments];
  bool fine = true;
  for (size_t i = 0; i < p.arguments; ++i) {
    // Setting a handle clears the padding of its layout: only where it moves.
    char *at = address(run, e.places[i], lane, piece);
    if (handles[i] != at)
      fine &= engine.dnnl.memory_set_data_handle(values[i].memory, at) == dnnl_success;
    handles[i] = at;
  }
  fine &= engine.dnnl.primitive_execute(p.primitive, engine.streams[lane], static_cast<int>(p.arguments), values) ==
          dnnl_success;
  if (!fine)
    run.failed = true;
}

void OneDnnCall::performLane(Run &run, unsigned lane) {
  int64_t at = fixed ? pieces * lane / lanes : run.next++, end = fixed ? pieces * (lane + 1) / lanes : pieces;
  for (bool first = true; at < end; first = false, at = fixed ? at + 1 : run.next++)
    for (const Execution &e : list)
      if (e.when == When::Each || e.when == (first ? When::First : When::Later))
        perform(run, e, lane, at);
}

void OneDnnCall::run(char *const *operands, char *scratch) {
  Run state{*this, operands, scratch};
  for (const Execution &e : list)
    if (e.when == When::Before)
      perform(state, e, 0, 0);
  auto lanesBody = [](void *context, int64_t begin, int64_t end) {
    auto *run = static_cast<Run *>(context);
    for (int64_t lane = begin; lane < end; ++lane)
      run->call.performLane(*run, static_cast<unsigned>(lane));
  };
  engine.pool->parallelFor(lanes, 1, lanesBody, &state);
  for (const Execution &e : list)
    if (e.when == When::After)
      perform(state, e, 0, 0);
  if (state.failed)
    throw internalError("oneDNN failed to execute " + implementation);
}

} // namespace gmc::rt
