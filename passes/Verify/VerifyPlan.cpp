//===- VerifyPlan.cpp - what the plan phase promises ----------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Lowering/EmitKernels.h"
#include "passes/Verify/IllegalOps.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_VERIFYPLANPASS
#include "passes/Passes.h.inc"

namespace {
struct VerifyPlanPass : impl::VerifyPlanPassBase<VerifyPlanPass> {
  using Base::Base;

  void runOnOperation() override {
    IllegalOps illegal("plan");
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    plan::ArenaOp arena;
    for (Operation &op : *module.getBody()) {
      if (auto function = dyn_cast<func::FuncOp>(op)) {
        requireKernel(illegal, function);
      } else if (auto found = dyn_cast<plan::ArenaOp>(op)) {
        if (arena) {
          auto error = illegal.error(found, "is the second arena", "a process has one, which holds every tensor");
          error.attachNote(arena.getLoc()) << "the first one";
        }
        arena = found;
      } else {
        illegal.add(&op, "a module holds one plan.arena and the kernels it launches", "the planner");
      }
    }
    if (!arena)
      illegal.error(module, "has no plan.arena", "the planner writes it");
    llvm::StringSet<> launched;
    module.walk([&](plan::LaunchOp launch) {
      launched.insert(launch.getKernel());
      requireLaunch(illegal, launch, symbols.lookup<func::FuncOp>(launch.getKernel()));
    });
    for (auto function : module.getOps<func::FuncOp>())
      if (function->hasAttr(plan::kKernelAttr) && !launched.contains(function.getName()))
        illegal.add(function, "every kernel is launched", "the planner");
    if (failed(illegal.result()))
      signalPassFailure();
  }

  /// Tensors live in kernels only, and kernels hold nothing that would become an allocation or a copy.
  static void requireKernel(IllegalOps &illegal, func::FuncOp function) {
    if (!function->hasAttr(plan::kKernelAttr))
      illegal.add(function, "tensors live in " + plan::kKernelAttr + " functions only",
                  "the planner, which turned calls into launches,");
    else
      illegal.requireNN(function, "form-kernels");
  }

  /// What the type check of plan.launch cannot see: whether the kernel may work in place, and its scratch.
  static void requireLaunch(IllegalOps &illegal, plan::LaunchOp launch, func::FuncOp kernel) {
    if (kernel.isExternal() || !isa_and_nonnull<KernelOpInterface>(kernelRoot(kernel)))
      return; // reported already
    for (auto [r, alias] : llvm::enumerate(launch.getAliases()))
      if (alias >= 0 && !llvm::is_contained(kernelInPlaceOperands(kernel, r), static_cast<unsigned>(alias))) {
        auto error = illegal.error(launch, "puts result " + Twine(r) + " over operand " + Twine(alias) +
                                               ", which the kernel may still read",
                                   "the planner asks getInPlaceOperands");
        error.attachNote(kernel.getLoc()) << "the kernel";
      }
    if (launch.getLibrary())
      return; // its scratch is what the library asked for
    auto target = launch->getParentOfType<plan::ArenaOp>().getTarget();
    SmallVector<int64_t> wanted =
        kernelWorkspaces(kernel, target == plan::Target::Host ? KernelTarget::Host : KernelTarget::Gpu);
    SmallVector<int64_t> given;
    for (Value view : launch.getWorkspaces())
      given.push_back(byteSize(view.getType()));
    if (wanted == given)
      return;
    auto error =
        illegal.error(launch, "gives scratch of [" + join(given) + "] bytes, the kernel wants [" + join(wanted) + "]",
                      "the planner asks getWorkspaceBytes");
    error.attachNote(kernel.getLoc()) << "the kernel";
  }

  static std::string join(ArrayRef<int64_t> numbers) {
    std::string text;
    for (int64_t n : numbers)
      text += (text.empty() ? "" : ", ") + std::to_string(n);
    return text;
  }
};
} // namespace

} // namespace gmc
