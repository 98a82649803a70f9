#include "runtime/cuda/DeviceImage.h"
#include "gmc/Error.h"

#include <algorithm>
#include <utility>

namespace gmc::rt {
namespace {

std::vector<const GmcImageEntry *> allEntries(const GmcModel &model) {
  auto *header = static_cast<const GmcImageHeader *>(model.image);
  if (!header || model.imageBytes < sizeof *header || header->magic != GMC_IMAGE_MAGIC ||
      header->version != GMC_IMAGE_VERSION ||
      (model.imageBytes - sizeof *header) / sizeof(GmcImageEntry) < header->count)
    throw internalError("the executable's device code is damaged");
  auto *entries = reinterpret_cast<const GmcImageEntry *>(header + 1);
  std::vector<const GmcImageEntry *> found;
  for (uint32_t i = 0; i < header->count; ++i) {
    const GmcImageEntry &entry = entries[i];
    if (entry.offset > model.imageBytes || entry.size > model.imageBytes - entry.offset ||
        (entry.kind == GMC_IMAGE_PTX &&
         (!entry.size || static_cast<const char *>(model.image)[entry.offset + entry.size - 1])))
      throw internalError("the executable's device code is damaged");
    found.push_back(&entry);
  }
  return found;
}

} // namespace

std::vector<const GmcImageEntry *> runnableEntries(const GmcModel &model, int major, int minor) {
  uint32_t sm = static_cast<uint32_t>(10 * major + minor);
  std::vector<const GmcImageEntry *> found = allEntries(model);
  std::erase_if(found, [&](const GmcImageEntry *e) {
    return e->sm > sm ||
           (e->kind != GMC_IMAGE_PTX && (e->kind != GMC_IMAGE_CUBIN || e->sm / 10 != static_cast<uint32_t>(major)));
  });
  std::stable_sort(found.begin(), found.end(), [](const GmcImageEntry *a, const GmcImageEntry *b) {
    auto rank = [](const GmcImageEntry *e) { return std::pair(e->kind == GMC_IMAGE_CUBIN, e->sm); };
    return rank(a) > rank(b);
  });
  return found;
}

std::string entryName(const GmcImageEntry &entry) {
  return (entry.kind == GMC_IMAGE_PTX ? "PTX for sm_" : "sm_") + std::to_string(entry.sm);
}

std::string wrongArchitecture(const GmcModel &model, int major, int minor) {
  std::string held;
  for (const GmcImageEntry *entry : allEntries(model))
    held += (held.empty() ? "" : ", ") + entryName(*entry);
  uint32_t sm = static_cast<uint32_t>(10 * major + minor), best = 0;
  for (uint32_t known : {75u, 80u, 86u, 89u, 90u, 100u, 120u})
    if (known <= sm)
      best = known;
  return "this trainer holds " + held + "; " +
         (best ? "compile with --arch=sm_" + std::to_string(best)
               : "code can be generated for sm_75 and later: use another device, or compile with --target=host");
}

} // namespace gmc::rt
