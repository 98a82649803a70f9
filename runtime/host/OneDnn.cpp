#include "runtime/host/OneDnn.h"
#include "gmc/Error.h"
#include "runtime/host/OneDnnCall.h"
#include "runtime/host/ThreadPool.h"

namespace gmc::rt {

OneDnn::OneDnn() : engine(std::make_unique<OneDnnEngine>()) {}
OneDnn::~OneDnn() = default;

std::unique_ptr<OneDnn> OneDnn::load(ThreadPool &pool, int64_t isa, std::string &problem, Use use,
                                     const char *object) {
  if (!pool.usesOpenMP()) {
    problem = "libgomp.so.1 is not installed";
    return nullptr;
  }
  std::unique_ptr<OneDnn> library(new OneDnn);
  OneDnnEngine &e = *library->engine;
  OneDnnSymbols &dnnl = e.dnnl;
  if (!dnnl.load(object, problem))
    return nullptr;
  e.pool = &pool;
  e.execute = use == Use::Execute;
  if (int64_t version = library->version(); version / 1000000 != DNNL_VERSION_MAJOR) {
    problem = std::string(object) + " is version " + versionText(version) + ", " + std::to_string(DNNL_VERSION_MAJOR) +
              ".x is needed";
    return nullptr;
  }
  // The limit counts from the first primitive on: a second one that differs is refused.
  if (isa && library->isa() != isa && dnnl.set_max_cpu_isa(static_cast<dnnl_cpu_isa_t>(isa)) != dnnl_success) {
    problem = std::string(object) + " is in use with another instruction set";
    return nullptr;
  }
  // Calls are kept here; a cache of them in the library would only grow.
  dnnl.set_primitive_cache_capacity(0);
  if (dnnl.engine_create(&e.engine, dnnl_cpu, 0) != dnnl_success ||
      dnnl.primitive_attr_create(&e.attributes) != dnnl_success ||
      dnnl.primitive_attr_set_scratchpad_mode(e.attributes, dnnl_scratchpad_mode_user) != dnnl_success) {
    problem = std::string(object) + " does not start on this machine";
    return nullptr;
  }
  for (unsigned lane = 0; lane < pool.threads(); ++lane)
    if (dnnl_stream_t stream; dnnl.stream_create(&stream, e.engine, dnnl_stream_in_order) == dnnl_success) {
      e.streams.push_back(stream);
    } else {
      problem = std::string(object) + " does not start on this machine";
      return nullptr;
    }
  return library;
}

int64_t OneDnn::version() const {
  const dnnl_version_t *v = engine->dnnl.version();
  return v->major * 1000000 + v->minor * 1000 + v->patch;
}

std::string OneDnn::versionText(int64_t version) {
  return std::to_string(version / 1000000) + "." + std::to_string(version / 1000 % 1000) + "." +
         std::to_string(version % 1000);
}

int64_t OneDnn::isa() const { return engine->dnnl.get_effective_cpu_isa(); }

int64_t OneDnn::isaOfArch(const std::string &arch) {
  if (arch == "x86-64-v4")
    return dnnl_cpu_isa_avx512_core;
  if (arch == "x86-64-v3")
    return dnnl_cpu_isa_avx2;
  return arch == "native" ? 0 : -1;
}

std::unique_ptr<OneDnn::Call> OneDnn::prepare(const LibraryCall &call, CallForm form) const {
  std::unique_ptr<OneDnnCall> prepared;
  switch (call.kind) {
  case CallKind::Conv:
  case CallKind::ConvInputGrad:
  case CallKind::ConvWeightGrad:
    prepared = prepareConv(*engine, call.kind, call.conv(), form);
    break;
  case CallKind::Matmul:
    if (form == CallForm::Direct) {
      std::vector<Place> places;
      for (size_t i = 0; i <= call.operandCount(); ++i)
        places.push_back({static_cast<int>(i)});
      prepared = prepareMatmul(*engine, call.matmul(), places);
    }
    break;
  case CallKind::Pool:
  case CallKind::PoolGrad:
    if (form == CallForm::Direct)
      prepared = preparePool(*engine, call.kind, call.pool());
    break;
  case CallKind::BatchNorm:
  case CallKind::BatchNormGrad:
  case CallKind::LayerNorm:
  case CallKind::LayerNormGrad:
    if (form == CallForm::Direct)
      prepared = prepareNorm(*engine, call.kind, call.norm());
    break;
  }
  if (!prepared || !prepared->ok)
    return nullptr;
  prepared->finish();
  return prepared;
}

int64_t OneDnn::Call::implementationHash() const {
  uint64_t hash = 14695981039346656037u; // FNV-1a
  for (unsigned char c : implementation)
    hash = (hash ^ c) * 1099511628211u;
  return static_cast<int64_t>(hash);
}

} // namespace gmc::rt
