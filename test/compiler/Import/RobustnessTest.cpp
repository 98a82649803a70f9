//===- RobustnessTest.cpp - wrong nodes are reported, whatever is wrong with them ------------------------===//
//
// Every node of the files in opset_compliance (each operator at the opset that introduced it) and of some networks is
// broken in turn: an input left out, an attribute dropped, emptied or given an absurd value. The importer may accept or
// refuse the result; it must not crash.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/Importer.h"
#include "mlir/IR/MLIRContext.h"
#include "onnx/onnx_pb.h"
#include "gtest/gtest.h"
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace gmc;
namespace fs = std::filesystem;

namespace {

#if __has_feature(address_sanitizer)
constexpr int everyNth = 5; // of the broken nodes: sanitizers take their time
#else
constexpr int everyNth = 1;
#endif

class RobustnessTest : public ::testing::Test {
protected:
  RobustnessTest() : context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED) {
    scratch = fs::temp_directory_path() / ("gmc-robustness-" + std::to_string(getpid()) + ".onnx");
  }
  ~RobustnessTest() override { fs::remove(scratch); }
  static mlir::DialectRegistry makeRegistry() {
    mlir::DialectRegistry registry;
    registerImportDialects(registry);
    return registry;
  }

  /// Imports in a child process, so that one crash does not hide the others.
  void import(const onnx::ModelProto &proto, const std::string &what) {
    if (tried++ % everyNth)
      return;
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      _exit(importHere(proto) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << what << ": ended by signal " << WTERMSIG(status);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : 0, 0) << what << ": neither a result nor a reason";
  }

  bool importHere(const onnx::ModelProto &proto) {
    std::ofstream(scratch, std::ios::binary) << proto.SerializeAsString();
    auto model = OnnxModel::load(scratch.string());
    if (!model) {
      llvm::consumeError(model.takeError());
      return true;
    }
    ImportOptions options;
    options.defaultDim = 2;
    options.needWeights = false;
    Diagnostics diagnostics;
    ImportedModel imported = importModel(context, **model, options, diagnostics);
    return (imported.module || diagnostics.hasErrors()) && diagnostics.exitCode() != ExitInternal;
  }

  /// Imports the file with each node of it broken in every way.
  void breakNodes(const fs::path &path) {
    onnx::ModelProto original;
    std::ifstream file(path, std::ios::binary);
    ASSERT_TRUE(original.ParseFromIstream(&file)) << path;
    for (int n = 0; n < original.graph().node_size(); ++n) {
      const auto &node = original.graph().node(n);
      std::string where = path.filename().string() + " " + node.op_type() + " " + nodeName(node);
      auto with = [&](const std::string &what, llvm::function_ref<void(onnx::NodeProto &)> change) {
        onnx::ModelProto broken = original;
        change(*broken.mutable_graph()->mutable_node(n));
        import(broken, where + ": " + what);
      };
      for (int i = 0; i < node.input_size(); ++i) {
        with("input " + std::to_string(i) + " is empty", [&](auto &b) { b.set_input(i, ""); });
        with("only " + std::to_string(i) + " inputs",
             [&](auto &b) { b.mutable_input()->DeleteSubrange(i, b.input_size() - i); });
        for (int j = 0; j < node.input_size(); ++j)
          if (i != j)
            with("input " + std::to_string(i) + " takes the place of " + std::to_string(j),
                 [&](auto &b) { b.set_input(j, b.input(i)); });
      }
      for (int a = 0; a < node.attribute_size(); ++a) {
        std::string name = node.attribute(a).name();
        with("without " + name, [&](auto &b) { b.mutable_attribute()->DeleteSubrange(a, 1); });
        for (int64_t value : {int64_t(-1), int64_t(0), int64_t(1000), INT64_MAX, INT64_MIN})
          with(name + " = " + std::to_string(value), [&](auto &b) {
            auto &attribute = *b.mutable_attribute(a);
            attribute.set_i(value);
            for (auto &x : *attribute.mutable_ints())
              x = value;
          });
        with(name + " shorter", [&](auto &b) {
          auto &attribute = *b.mutable_attribute(a);
          if (attribute.ints_size())
            attribute.mutable_ints()->RemoveLast();
          attribute.clear_s();
          attribute.clear_t();
        });
        with(name + " longer", [&](auto &b) { b.mutable_attribute(a)->add_ints(1); });
      }
    }
  }

  mlir::MLIRContext context;
  fs::path scratch;
  int tried = 0;
};

TEST_F(RobustnessTest, EveryOperatorOfEveryOpset) {
  fs::path folder = fs::path(GMC_SHARED_DIR) / "data/onnx/real/opset_compliance";
  if (!fs::exists(folder))
    GTEST_SKIP() << "the shared data is not there";
  for (const auto &entry : fs::directory_iterator(folder))
    breakNodes(entry.path());
  EXPECT_GT(tried, 1000);
}

TEST_F(RobustnessTest, Networks) {
  fs::path folder = fs::path(GMC_SHARED_DIR) / "data/onnx";
  if (!fs::exists(folder))
    GTEST_SKIP() << "the shared data is not there";
  for (const char *name : {"reference/lenet5.onnx", "reference/unet_tiny.onnx", "modern/mobilenetv3_tiny.onnx"})
    breakNodes(folder / name);
  EXPECT_GT(tried, 100);
}

} // namespace
