#include "runtime/host/OneDnnSymbols.h"

#include <dlfcn.h>

namespace gmc::rt {

bool OneDnnSymbols::load(const char *object, std::string &problem) {
  void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    problem = reason ? reason : std::string("cannot load ") + object;
    return false;
  }
#define GMC_DNNL_LOOKUP(name)                                                                                          \
  if (!(this->name = reinterpret_cast<decltype(this->name)>(dlsym(handle, "dnnl_" #name)))) {                         \
    problem = std::string(object) + " has no function dnnl_" #name;                                                    \
    return false;                                                                                                      \
  }
  GMC_DNNL_FUNCTIONS(GMC_DNNL_LOOKUP)
#undef GMC_DNNL_LOOKUP
  return true;
}

} // namespace gmc::rt
