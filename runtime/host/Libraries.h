// Library calls of the host target: GmcStep.library names one, GmcStep.libraryArgs describe it.
#ifndef GMC_HOST_LIBRARIES_H
#define GMC_HOST_LIBRARIES_H

#include "gmc/Abi.h"

#include <string>

namespace gmc::rt {

class ThreadPool;

/// Executes one library step on operands that are addresses inside the arena. Throws Error.
using LibraryFn = void (*)(const GmcStep &step, char *const *operands, ThreadPool &pool);

/// Registers `fn` for library id `id` (> 0). Ids are fixed by the compiler; each is registered once, at start.
void registerLibrary(uint32_t id, const char *name, LibraryFn fn);

/// The function of library id `id`, or null when none is registered.
LibraryFn findLibrary(uint32_t id);

} // namespace gmc::rt

#endif
