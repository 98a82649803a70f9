//===- LinkTrainer.h - object and runtime archive to an executable ----------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_LINKTRAINER_H
#define GMC_COMPILER_CODEGEN_LINKTRAINER_H

#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

namespace gmc {

/// Links `object` (which defines gmc_model) with the trainer's runtime into an executable at `output`, in this process:
/// no compiler or linker is needed. `kitFolder` holds the archives and start files (lib/gmc beside bin/gmc). The
/// executable depends on libc alone. It is written under `output` itself: callers give a temporary name and rename.
llvm::Error linkTrainer(llvm::MemoryBufferRef object, llvm::StringRef kitFolder, llvm::StringRef output);

/// lib/gmc of the installation that `executable` (argv[0] or /proc/self/exe) belongs to; an error when it is not there.
llvm::Expected<std::string> findLinkKit(llvm::StringRef executable);

} // namespace gmc

#endif
