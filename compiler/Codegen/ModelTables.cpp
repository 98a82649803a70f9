#include "compiler/Codegen/ModelTables.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/Constants.h"
#include <map>

using namespace llvm;

namespace gmc {

namespace {

/// Builds constant structs field by field. Fields are appended in the order of the C declaration; LLVM's unpacked
/// struct layout puts them where the C compiler does.
class TableBuilder {
public:
  explicit TableBuilder(Module &module) : module(module), context(module.getContext()) {}

  Constant *i32(uint32_t v) { return ConstantInt::get(Type::getInt32Ty(context), v); }
  Constant *i64(uint64_t v) { return ConstantInt::get(Type::getInt64Ty(context), v); }
  Constant *f32(float v) { return ConstantFP::get(Type::getFloatTy(context), v); }
  Constant *null() { return ConstantPointerNull::get(PointerType::get(context, 0)); }
  Constant *record(ArrayRef<Constant *> fields) { return ConstantStruct::getAnon(context, fields); }

  Constant *global(Constant *value, Align align = Align(8)) {
    auto *g = new GlobalVariable(module, value->getType(), true, GlobalValue::PrivateLinkage, value, ".gmc");
    g->setUnnamedAddr(GlobalValue::UnnamedAddr::Global);
    g->setAlignment(align);
    return g;
  }
  Constant *text(StringRef s) {
    Constant *&slot = strings[s];
    if (!slot)
      slot = global(ConstantDataArray::getString(context, s), Align(1));
    return slot;
  }
  Constant *bytes(StringRef s) {
    return global(ConstantDataArray::getString(context, s, /*AddNull=*/false), Align(64));
  }
  template <typename T> Constant *numbers(ArrayRef<T> values) {
    return values.empty() ? null() : global(ConstantDataArray::get(context, values));
  }
  Constant *array(ArrayRef<Constant *> records) {
    if (records.empty())
      return null();
    return global(ConstantArray::get(ArrayType::get(records[0]->getType(), records.size()), records));
  }

private:
  Module &module;
  LLVMContext &context;
  StringMap<Constant *> strings;
};

Constant *tensorTable(TableBuilder &t, ArrayRef<ImageTensor> tensors) {
  SmallVector<Constant *> records;
  for (const ImageTensor &x : tensors)
    records.push_back(t.record({t.text(x.name), t.numbers<int64_t>(x.dims), t.i64(x.offset), t.i64(x.bytes),
                                t.i32(x.dims.size()), t.i32(x.dtype), t.i32(x.role), t.i32(x.flags)}));
  return t.array(records);
}

} // namespace

void emitModelTables(Module &module, const ModelImage &image,
                     const std::function<const std::vector<LaunchEntry> &(const KernelUse &)> &launches,
                     StringRef deviceImage) {
  TableBuilder t(module);
  std::map<const std::vector<LaunchEntry> *, Constant *> launchTables;
  auto launchTable = [&](const std::vector<LaunchEntry> &entries) {
    Constant *&table = launchTables[&entries];
    if (!table) {
      SmallVector<Constant *> records;
      for (const LaunchEntry &entry : entries)
        records.push_back(t.record({entry.function ? static_cast<Constant *>(entry.function) : t.null(),
                                    t.text(entry.name), t.i64(entry.extent), t.i64(entry.grain),
                                    t.i64(entry.shared)}));
      table = t.array(records);
    }
    return table;
  };
  SmallVector<Constant *> programs;
  for (const ImageProgram &program : image.programs) {
    SmallVector<Constant *> steps, loops;
    for (const ImageStep &step : program.steps) {
      const std::vector<LaunchEntry> &entries = launches(step.use);
      steps.push_back(t.record({t.text(step.op), t.text(step.node), launchTable(entries),
                                t.numbers<uint64_t>(step.operands), t.i32(entries.size()),
                                t.i32(step.operands.size()), t.i32(step.stage), t.i32(step.library),
                                t.numbers<int64_t>(step.libraryArgs), t.i32(step.libraryArgs.size()),
                                t.f32(step.predictedMicros)}));
    }
    for (const GmcLoop &loop : program.loops)
      loops.push_back(t.record({t.i32(loop.first), t.i32(loop.last), t.i32(loop.count)}));
    programs.push_back(t.record({t.text(program.name), t.array(steps), t.array(loops),
                                 tensorTable(t, program.tensors), t.i32(steps.size()), t.i32(loops.size()),
                                 t.i32(program.tensors.size()), t.i32(program.microBatch)}));
  }
  Constant *hash = ConstantDataArray::get(module.getContext(), ArrayRef<uint64_t>(image.hash.data(), 2));
  Constant *model = t.record(
      {t.i32(GMC_ABI_MAGIC), t.i32(GMC_ABI_VERSION), t.i32(image.target), t.i32(image.threads), t.i64(image.arenaBytes),
       t.i64(image.alignment), t.i64(image.budgetBytes), t.i64(image.reserveBytes), hash, t.text(image.metadata),
       tensorTable(t, image.tensors), t.array(programs), deviceImage.empty() ? t.null() : t.bytes(deviceImage),
       t.i64(deviceImage.size()), t.i32(image.tensors.size()), t.i32(image.programs.size())});
  auto *global = new GlobalVariable(module, model->getType(), true, GlobalValue::ExternalLinkage, model, "gmc_model");
  global->setAlignment(Align(8));
}

} // namespace gmc
