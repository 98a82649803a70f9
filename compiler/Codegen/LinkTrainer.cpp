#include "compiler/Codegen/LinkTrainer.h"
#include "lld/Common/CommonLinkerContext.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace gmc {

Expected<std::string> findLinkKit(StringRef executable) {
  SmallString<256> real;
  if (sys::fs::real_path(executable, real))
    real = executable;
  SmallString<256> kit(sys::path::parent_path(sys::path::parent_path(real)));
  sys::path::append(kit, "lib", "gmc");
  SmallString<256> probe(kit);
  sys::path::append(probe, "libgmc_rt.a");
  if (!sys::fs::exists(probe))
    return createStringError("the trainer's runtime is not installed: %s is missing", probe.c_str());
  return kit.str().str();
}

Error linkTrainer(MemoryBufferRef object, StringRef kitFolder, StringRef output) {
  // lld reads files: the object goes through one beside the output, which is removed in any case.
  SmallString<256> objectPath;
  int fd;
  if (std::error_code code = sys::fs::createUniqueFile(output + ".%%%%%%.o", fd, objectPath))
    return createStringError(code, "cannot write beside %s: %s", output.str().c_str(), code.message().c_str());
  {
    raw_fd_ostream stream(fd, /*shouldClose=*/true);
    stream << object.getBuffer();
    stream.close();
    if (stream.has_error()) {
      std::error_code code = stream.error();
      stream.clear_error();
      sys::fs::remove(objectPath);
      return createStringError(code, "cannot write %s: %s", objectPath.c_str(), code.message().c_str());
    }
  }
  auto kit = [&](const char *name) { return (kitFolder + "/" + name).str(); };
  std::vector<std::string> words = {"ld.lld",
                                    "-o",
                                    output.str(),
                                    "-pie",
                                    "--gc-sections",
                                    "--as-needed",
                                    "--eh-frame-hdr",
                                    "-z",
                                    "relro",
                                    "-z",
                                    "noexecstack",
                                    "--strip-debug",
                                    "-dynamic-linker",
                                    "/lib64/ld-linux-x86-64.so.2",
                                    kit("Scrt1.o"),
                                    kit("crti.o"),
                                    kit("crtbeginS.o"),
                                    objectPath.str().str(),
                                    "--start-group",
                                    kit("libgmc_rt.a"),
                                    kit("libturbojpeg.a"),
                                    kit("libpng16.a"),
                                    kit("libz.a"),
                                    kit("libstdc++.a"),
                                    kit("libgcc.a"),
                                    kit("libgcc_eh.a"),
                                    kit("libc_nonshared.a"),
                                    "--end-group",
                                    kit("libm.so.6"),
                                    kit("libmvec.so.1"),
                                    kit("libc.so.6"),
                                    kit("ld-linux-x86-64.so.2"),
                                    kit("crtendS.o"),
                                    kit("crtn.o")};
  std::vector<const char *> args;
  for (const std::string &word : words)
    args.push_back(word.c_str());
  std::string messages;
  raw_string_ostream stream(messages);
  bool ok = lld::elf::link(args, stream, stream, /*exitEarly=*/false, /*disableOutput=*/false);
  lld::CommonLinkerContext::destroy();
  sys::fs::remove(objectPath);
  if (!ok)
    return createStringError("linking the trainer: %s", messages.c_str());
  return Error::success();
}

} // namespace gmc
