#include "compiler/Pipeline/HostLibrary.h"
#include "passes/Lowering/EmitKernels.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace gmc {

std::unique_ptr<HostLibrary> HostLibrary::open(int threads, StringRef arch, Use use, std::string &problem) {
  int64_t isa = rt::OneDnn::isaOfArch(arch.str());
  if (isa < 0) {
    problem = "it has nothing for " + arch.str();
    return nullptr;
  }
  std::unique_ptr<HostLibrary> host(new HostLibrary(threads, use));
  host->library = rt::OneDnn::load(host->pool, isa, problem, rt::OneDnn::Use::Describe);
  return host->library ? std::move(host) : nullptr;
}

std::string HostLibrary::name() const { return "oneDNN " + rt::OneDnn::versionText(library->version()); }

/// Positions of the op's operands among the kernel's arguments; nullopt when one is made inside the kernel (a splat
/// constant).
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

/// Predicted seconds of a call, without what its executions cost by themselves.
static double predictSeconds(const LibraryCall &call, const rt::OneDnn::Call &described, const KernelNode &node,
                             const DeviceProfile &profile) {
  const DeviceProfile::Library &library = profile.library;
  double flops = static_cast<double>(node.flops), bytes = static_cast<double>(node.bytes);
  switch (call.kind) {
  case CallKind::Pool:
  case CallKind::PoolGrad: // channels that fill no vector are padded to one, in both
    return std::max(flops / library.tapsPerSecond, bytes / profile.bytesPerSecond) * described.padding;
  case CallKind::BatchNorm:
  case CallKind::BatchNormGrad:
  case CallKind::LayerNorm:
  case CallKind::LayerNormGrad:
    return bytes / library.normBytesPerSecond;
  case CallKind::Matmul:
  case CallKind::Conv:
  case CallKind::ConvInputGrad:
  case CallKind::ConvWeightGrad:
    break;
  }
  double rate = library.flopsPerSecond;
  if (call.kind != CallKind::Matmul)
    if (ConvCall conv = call.conv(); conv.groups > 1 && std::min(conv.channels, conv.filters) < 16 * conv.groups)
      rate *= 0.2; // few channels a group leave most of a vector's lanes idle
  return std::max(flops * described.padding / rate, bytes / profile.bytesPerSecond) +
         static_cast<double>(described.packedBytes) / library.copyBytesPerSecond;
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
    Offer next{form,
               described->executions * profile.launchMicros + predictSeconds(call, *described, node, profile) * 1e6,
               described->scratchBytes, described->implementation, described->implementationHash()};
    if (!it->second || next.micros < it->second->micros)
      it->second = next;
  }
  return it->second;
}

void HostLibrary::assign(KernelNode &node, const DeviceProfile &profile) {
  Operation *op = kernelRoot(node.kernel);
  auto callable = dyn_cast<LibraryOpInterface>(op);
  if (!callable)
    return;
  auto call = callable.getLibraryCall();
  auto positions = operandPositions(op);
  if (!call || !positions)
    return;
  auto best = offer(*call, node, profile);
  if (!best || (use == Use::Faster && best->micros >= predictMicros(profile, node)))
    return;
  PlannedCall planned{*call, best->form};
  planned.version = library->version();
  planned.isa = library->isa();
  planned.implementation = best->implementationHash;
  planned.positions = *positions;
  for (size_t result = 0; result < node.results.size(); ++result)
    planned.positions.push_back(static_cast<int64_t>(node.operands.size() + result));
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
