#include "compiler/Pipeline/HostLibrary.h"
#include "passes/Lowering/EmitKernels.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace gmc {

std::unique_ptr<HostLibrary> HostLibrary::open(int threads, StringRef arch, std::string &problem) {
  int64_t isa = rt::OneDnn::isaOfArch(arch.str());
  if (isa < 0) {
    problem = "it has nothing for " + arch.str();
    return nullptr;
  }
  std::unique_ptr<HostLibrary> host(new HostLibrary(threads));
  host->library = rt::OneDnn::load(host->pool, isa, problem, rt::OneDnn::Use::Describe);
  return host->library ? std::move(host) : nullptr;
}

std::string HostLibrary::name() const { return "oneDNN " + rt::OneDnn::versionText(library->version()); }

/// Positions of the op's operands among the kernel's arguments; nullopt when one is made inside the kernel (a splat constant).
static std::optional<std::vector<int64_t>> operandPositions(Operation *op) {
  std::vector<int64_t> positions;
  for (Value operand : op->getOperands()) {
    auto argument = dyn_cast<BlockArgument>(operand);
    if (!argument)
      return std::nullopt;
    positions.push_back(argument.getArgNumber());
  }
  return positions;
}

std::optional<HostLibrary::Offer> HostLibrary::offer(const LibraryCall &call, const KernelNode &node,
                                                     const DeviceProfile &profile) {
  auto [it, isNew] = known.try_emplace({call.kind, call.sizes});
  if (!isNew)
    return it->second;
  for (CallForm form : {CallForm::Direct, CallForm::Packed}) {
    std::unique_ptr<rt::OneDnn::Call> described = library->prepare(call, form);
    if (!described)
      continue;
    double rate = profile.libraryFlopsPerSecond;
    if (call.kind != CallKind::Matmul)
      if (ConvCall conv = call.conv(); conv.groups > 1 && std::min(conv.channels, conv.filters) < 16 * conv.groups)
        rate *= 0.2; // few channels a group leave most of a vector's lanes idle
    double compute = std::max(node.flops * described->padding / rate, node.bytes / profile.bytesPerSecond);
    double copies = static_cast<double>(described->packedBytes) / profile.copyBytesPerSecond;
    Offer next{form, described->executions * profile.launchMicros + (compute + copies) * 1e6, described->scratchBytes,
               described->implementation, described->implementationHash()};
    if (!it->second || next.micros < it->second->micros)
      it->second = next;
  }
  return it->second;
}

void HostLibrary::assign(KernelNode &node, const DeviceProfile &profile) {
  Operation *op = kernelRoot(node.kernel);
  auto callable = dyn_cast<LibraryOpInterface>(op);
  if (!callable || llvm::any_of(node.inPlace, [](auto &operands) { return !operands.empty(); }))
    return;
  auto call = callable.getLibraryCall();
  auto positions = operandPositions(op);
  if (!call || !positions)
    return;
  auto best = offer(*call, node, profile);
  if (!best || best->micros >= predictMicros(profile, node))
    return;
  PlannedCall planned{*call, best->form};
  planned.version = library->version();
  planned.isa = library->isa();
  planned.implementation = best->implementationHash;
  planned.positions = *positions;
  planned.positions.push_back(static_cast<int64_t>(node.operands.size()));
  if (best->scratchBytes) {
    // One workspace serves the call and the kernel that stands in for it.
    int64_t bytes = static_cast<int64_t>(best->scratchBytes);
    if (node.workspaces.empty())
      node.workspaces.push_back(bytes);
    node.workspaces[0] = std::max(node.workspaces[0], bytes);
    planned.scratchBytes = node.workspaces[0];
    planned.positions.push_back(static_cast<int64_t>(node.operands.size() + node.results.size()));
  }
  node.library = KernelNode::Library{planned.encode(), name() + " " + best->implementation, best->micros};
}

} // namespace gmc
