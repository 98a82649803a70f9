#include "compiler/Import/Importer.h"
#include "google/protobuf/text_format.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "onnx/onnx_pb.h"
#include "gtest/gtest.h"
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace gmc;
namespace fs = std::filesystem;

namespace {

const char *scaleAndShift = R"(
ir_version: 8 opset_import { version: 17 }
graph { name: "g"
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_param: "N" } dim { dim_param: "M" } dim { dim_value: 4 } } } } }
  output { name: "y" }
  node { op_type: "BatchNormalization" input: "x2" input: "w" input: "v" input: "mean" input: "var" output: "b" }
  node { op_type: "Transpose" input: "x" output: "x2" attribute { name: "perm" type: INTS ints: 0 ints: 2 ints: 1 } }
  node { op_type: "Transpose" input: "b" output: "b2" attribute { name: "perm" type: INTS ints: 0 ints: 2 ints: 1 } }
  node { op_type: "Add" input: "b2" input: "table" output: "y" }
  initializer { name: "w" data_type: 1 dims: 4 data_location: EXTERNAL
    external_data { key: "location" value: "weights.bin" } external_data { key: "offset" value: "8" } external_data { key: "length" value: "16" } }
  initializer { name: "v" data_type: 1 dims: 4 }
  initializer { name: "mean" data_type: 1 dims: 4 float_data: 1 float_data: 2 float_data: 3 float_data: 4 }
  initializer { name: "var" data_type: 1 dims: 4 }
  initializer { name: "table" data_type: 1 dims: 1 dims: 4 float_data: 5 float_data: 6 float_data: 7 float_data: 8 }
})";

class ImporterTest : public ::testing::Test {
protected:
  ImporterTest() : context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED) {
    folder = fs::temp_directory_path() / ("gmc-importer-" + std::to_string(getpid()));
    fs::create_directories(folder);
  }
  ~ImporterTest() override { fs::remove_all(folder); }
  static mlir::DialectRegistry makeRegistry() {
    mlir::DialectRegistry registry;
    registerImportDialects(registry);
    return registry;
  }

  std::unique_ptr<OnnxModel> load(const char *text) {
    onnx::ModelProto proto;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &proto));
    std::ofstream(folder / "m.onnx", std::ios::binary) << proto.SerializeAsString();
    return llvm::cantFail(OnnxModel::load((folder / "m.onnx").string()));
  }

  std::vector<float> floats(const ImportedModel &imported, const char *name) {
    auto bytes = llvm::cantFail(imported.weights.readAll(name, GMC_FLOAT));
    std::vector<float> values(bytes.size() / 4);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  mlir::MLIRContext context;
  fs::path folder;
};

ImportOptions sized() {
  ImportOptions options;
  options.batch = 2;
  options.dims["M"] = 3;
  return options;
}

TEST_F(ImporterTest, MissingWeightsAreAllListed) {
  auto model = load(scaleAndShift);
  Diagnostics diagnostics;
  EXPECT_FALSE(importModel(context, *model, sized(), diagnostics).module);
  EXPECT_EQ(diagnostics.exitCode(), ExitUsage);
  ASSERT_EQ(diagnostics.getProblems().size(), 1u);
  const std::string &reason = diagnostics.getProblems()[0].reason;
  for (const char *part :
       {"3 weights are missing", "'w': file", "weights.bin' does not exist", "'v': it has no data", "'var'", "--init"})
    EXPECT_NE(reason.find(part), std::string::npos) << part << " in " << reason;
  EXPECT_EQ(reason.find("'mean'"), std::string::npos);
}

TEST_F(ImporterTest, InitFillsWhatTheFileLacksAndRemakesMatrices) {
  auto model = load(scaleAndShift);
  ImportOptions options = sized();
  options.init = llvm::cantFail(InitOptions::parse("normal:0.1"));
  Diagnostics diagnostics;
  ImportedModel imported = importModel(context, *model, options, diagnostics);
  ASSERT_TRUE(imported.module);
  EXPECT_EQ(floats(imported, "w"), std::vector<float>(4, 1.0f));   // scale of a normalization
  EXPECT_EQ(floats(imported, "v"), std::vector<float>(4, 0.0f));   // other vectors
  EXPECT_EQ(floats(imported, "var"), std::vector<float>(4, 1.0f)); // running variance
  EXPECT_EQ(floats(imported, "mean"), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_NE(floats(imported, "table"), (std::vector<float>{5, 6, 7, 8})); // trainable, rank 2: made anew
}

TEST_F(ImporterTest, ExternalDataIsReadAtItsOffsetAndConverted) {
  std::vector<float> data = {-1, -2, 10, 20, 30, 40};
  std::ofstream(folder / "weights.bin", std::ios::binary)
      .write(reinterpret_cast<char *>(data.data()), static_cast<std::streamsize>(data.size() * 4));
  auto model = load(scaleAndShift);
  ImportOptions options = sized();
  options.needWeights = false;
  options.promoteToF64 = true;
  Diagnostics diagnostics;
  ImportedModel imported = importModel(context, *model, options, diagnostics);
  ASSERT_TRUE(imported.module);
  EXPECT_EQ(floats(imported, "w"), (std::vector<float>{10, 20, 30, 40}));
  double part[2];
  ASSERT_FALSE(imported.weights.read("w", GMC_DOUBLE, 1, 2, reinterpret_cast<char *>(part)));
  EXPECT_EQ(part[0], 20.0);
  EXPECT_EQ(part[1], 30.0);
  llvm::Error past = imported.weights.read("w", GMC_DOUBLE, 3, 2, reinterpret_cast<char *>(part));
  EXPECT_TRUE(static_cast<bool>(past));
  llvm::consumeError(std::move(past));
  auto function = imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
  for (mlir::Type type : function.getArgumentTypes())
    EXPECT_TRUE(llvm::cast<mlir::RankedTensorType>(type).getElementType().isF64());
}

TEST_F(ImporterTest, ShortExternalDataIsMissing) {
  std::ofstream(folder / "weights.bin", std::ios::binary) << "short";
  auto model = load(scaleAndShift);
  EXPECT_EQ(model->findInitializer("w")->kind, TensorSource::Missing);
  EXPECT_NE(model->findInitializer("w")->missingReason.find("ends before byte 24"), std::string::npos);
}

TEST_F(ImporterTest, GivenTensorsBindSymbolsAndContradictionsAreErrors) {
  auto model = load(scaleAndShift);
  ImportOptions options;
  options.needWeights = false;
  options.inputShapes["x"] = {5, 7, 4};
  Diagnostics fine;
  ImportedModel imported = importModel(context, *model, options, fine);
  ASSERT_TRUE(imported.module);
  auto function = imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
  EXPECT_EQ(llvm::cast<mlir::RankedTensorType>(function.getArgumentTypes()[0]).getShape(),
            llvm::ArrayRef<int64_t>({5, 7, 4}));
  options.dims["M"] = 6;
  Diagnostics conflict;
  EXPECT_FALSE(importModel(context, *model, options, conflict).module);
  options.dims.clear();
  options.inputShapes["x"] = {5, 7, 3};
  Diagnostics fixed;
  EXPECT_FALSE(importModel(context, *model, options, fixed).module);
  EXPECT_EQ(conflict.exitCode(), ExitUsage);
  EXPECT_EQ(fixed.exitCode(), ExitUsage);
}

TEST_F(ImporterTest, HashIsOfStructureAndShapes) {
  std::string text = scaleAndShift;
  std::string first = load(text.c_str())->hashText();
  EXPECT_EQ(first.size(), 32u);
  std::string otherValues = text, otherOp = text;
  otherValues.replace(otherValues.find("float_data: 5"), 13, "float_data: 9");
  otherOp.replace(otherOp.find("\"Add\""), 5, "\"Sub\"");
  EXPECT_EQ(first, load(otherValues.c_str())->hashText());
  EXPECT_NE(first, load(otherOp.c_str())->hashText());
}

} // namespace
