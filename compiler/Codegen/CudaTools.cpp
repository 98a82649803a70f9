//===- CudaTools.cpp - what of a CUDA toolkit is on this machine ----------------------------------------===//

#include "compiler/Codegen/CudaTools.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace gmc {

CudaTools findCudaTools() {
  CudaTools tools;
  std::vector<std::string> roots;
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"})
    if (auto value = sys::Process::GetEnv(name); value && !value->empty())
      roots.push_back(*value);
  roots.push_back("/usr/local/cuda");
  for (const std::string &root : roots) {
    std::string libdevice = root + "/nvvm/libdevice/libdevice.10.bc", ptxas = root + "/bin/ptxas";
    if (tools.libdevice.empty() && sys::fs::exists(libdevice))
      tools.libdevice = libdevice;
    if (tools.ptxas.empty() && sys::fs::can_execute(ptxas))
      tools.ptxas = ptxas;
  }
  if (tools.ptxas.empty())
    if (auto found = sys::findProgramByName("ptxas"))
      tools.ptxas = *found;
  return tools;
}

Expected<uint32_t> parseSm(StringRef arch) {
  uint32_t sm = 0;
  if (arch.consume_front("sm_") && !arch.getAsInteger(10, sm))
    for (uint32_t known : {75, 80, 86, 89, 90, 100, 120})
      if (sm == known)
        return sm;
  return createStringError(
      "--arch=%s%s: sm_75, sm_80, sm_86, sm_89, sm_90, sm_100 or sm_120 is expected for this target", sm ? "sm_" : "",
      arch.str().c_str());
}

std::string ptxFeature(uint32_t sm) {
  return sm >= 120   ? "+ptx87"
         : sm >= 100 ? "+ptx86"
         : sm >= 89  ? "+ptx78"
         : sm >= 86  ? "+ptx71"
         : sm >= 80  ? "+ptx70"
                     : "+ptx65"; // m16n8k8 of f16
}

Expected<std::vector<char>> assemblePtx(StringRef ptx, uint32_t sm, StringRef ptxas) {
  SmallString<128> paths[3];
  scope_exit cleanup([&] {
    for (auto &path : paths)
      if (!path.empty())
        sys::fs::remove(path);
  });
  const char *suffixes[] = {"ptx", "cubin", "log"};
  for (int i = 0; i < 3; ++i)
    if (std::error_code code = sys::fs::createTemporaryFile("gmc", suffixes[i], paths[i]))
      return createStringError(code, "cannot write a temporary file for ptxas");
  {
    std::error_code code;
    raw_fd_ostream stream(paths[0], code);
    stream << ptx;
    stream.close();
    if (code || stream.has_error()) {
      stream.clear_error();
      return createStringError("cannot write %s", paths[0].c_str());
    }
  }
  std::string arch = "sm_" + std::to_string(sm);
  StringRef args[] = {ptxas, "-arch", arch, "-O3", "-o", paths[1], paths[0]};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(paths[2]), StringRef(paths[2])};
  std::string message;
  int status = sys::ExecuteAndWait(ptxas, args, std::nullopt, redirects, 0, 0, &message);
  if (status) {
    if (auto log = MemoryBuffer::getFile(paths[2]))
      message += (*log)->getBuffer().take_front(2000);
    return createStringError("%s for %s: exit %d: %s", ptxas.str().c_str(), arch.c_str(), status, message.c_str());
  }
  auto cubin = MemoryBuffer::getFile(paths[1], /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!cubin)
    return createStringError(cubin.getError(), "ptxas wrote no %s", paths[1].c_str());
  return std::vector<char>((*cubin)->getBufferStart(), (*cubin)->getBufferEnd());
}

} // namespace gmc
