#include "runtime/host/Libraries.h"
#include "gmc/Error.h"

#include <map>

namespace gmc::rt {
namespace {
std::map<uint32_t, std::pair<std::string, LibraryFn>> &table() {
  static std::map<uint32_t, std::pair<std::string, LibraryFn>> entries;
  return entries;
}
} // namespace

void registerLibrary(uint32_t id, const char *name, LibraryFn fn) {
  if (id == 0 || !table().emplace(id, std::pair{name, fn}).second)
    throw internalError("library id " + std::to_string(id) + " (" + name + ") is registered twice or is 0");
}

LibraryFn findLibrary(uint32_t id) {
  auto it = table().find(id);
  return it == table().end() ? nullptr : it->second.second;
}

} // namespace gmc::rt
