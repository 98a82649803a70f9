// gmc run, grad and gradcheck as a user calls them.
#include "compiler/Import/TensorFile.h"
#include "gmc/Abi.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/wait.h>

namespace fs = std::filesystem;
using namespace gmc;

namespace {

class Execution : public ::testing::Test {
protected:
  void SetUp() override {
    shared = std::string(GMC_SHARED_DIR) + "/data/onnx/";
    if (!fs::exists(shared))
      GTEST_SKIP() << shared << " is not there";
    folder = fs::temp_directory_path() / ("gmc-execution-" + std::to_string(getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override {
    if (!folder.empty())
      fs::remove_all(folder);
  }
  /// Exit code; stdout and stderr in `out` and `err`.
  int gmc(const std::string &arguments) {
    std::string command = "cd '" + folder.string() + "' && '" GMC_BINARY "' " + arguments + " >out.txt 2>err.txt";
    int status = std::system(command.c_str());
    out = read("out.txt");
    err = read("err.txt");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string read(const std::string &name) {
    std::ifstream file(folder / name, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void save(const std::string &name, const HostTensor &tensor) {
    std::error_code code;
    llvm::raw_fd_ostream os((folder / name).string(), code);
    writeNpy(os, tensor);
  }
  /// Floats 0, 0.1, 0.2... of a shape; or labels 0, 1, 2...
  static HostTensor ramp(std::vector<int64_t> dims, bool labels = false) {
    HostTensor wide{labels ? GMC_INT64 : GMC_DOUBLE, {dims.begin(), dims.end()}, {}};
    wide.data.resize(wide.elements() * 8);
    for (int64_t i = 0; i < wide.elements(); ++i)
      if (labels)
        reinterpret_cast<int64_t *>(wide.data.data())[i] = i;
      else
        reinterpret_cast<double *>(wide.data.data())[i] = .1 * (i % 17);
    return llvm::cantFail(wide.as(labels ? GMC_INT64 : GMC_FLOAT));
  }
  std::string shared, out, err;
  fs::path folder;
};

TEST_F(Execution, RunComparesWithStoredOutputs) {
  std::string model = shared + "real/mnist_8/", data = model + "test_data_set_0/";
  std::string run = "run " + model + "model.onnx --input Input3=" + data + "input_0.pb --expect Plus214_Output_0=";
  EXPECT_EQ(gmc(run + data + "output_0.pb --rtol=1e-4 --atol=1e-4 -o outputs"), 0) << err;
  auto written = readTensorFile((folder / "outputs/Plus214_Output_0.npy").string());
  ASSERT_TRUE(bool(written));
  EXPECT_EQ(written->describe(), "float32[1x10]");
  EXPECT_EQ(gmc(run + model + "test_data_set_1/output_0.pb"), 5);
  EXPECT_NE(err.find("10 of 10 elements differ"), std::string::npos) << err;
}

TEST_F(Execution, SimRunsTheKernelsOfTheGpu) {
  std::string model = shared + "real/mnist_8/", data = model + "test_data_set_0/";
  EXPECT_EQ(gmc("run " + model + "model.onnx --target=sim --input Input3=" + data +
                "input_0.pb --expect Plus214_Output_0=" + data + "output_0.pb --rtol=1e-4 --atol=1e-4"),
            0)
      << err;
  EXPECT_EQ(gmc("run " + model + "model.onnx --target=cuda --input Input3=" + data + "input_0.pb"), 1);
}

TEST_F(Execution, BadInputsAreUsageErrors) {
  std::string model = shared + "reference/mlp_mnist.onnx";
  save("x.npy", ramp({2, 1, 28, 28}));
  save("wrong.npy", ramp({2, 1, 28, 27}));
  save("ints.npy", ramp({2, 1, 28, 28}, true));
  EXPECT_EQ(gmc("run " + model), 1);
  EXPECT_NE(err.find("'x'"), std::string::npos) << err;
  EXPECT_EQ(gmc("run " + model + " --input z=x.npy --input x=x.npy"), 1);
  EXPECT_NE(err.find("no input 'z'; it has 'x'"), std::string::npos) << err;
  EXPECT_EQ(gmc("run " + model + " --input x=wrong.npy"), 1);
  EXPECT_NE(err.find("'x'"), std::string::npos) << err;
  EXPECT_EQ(gmc("run " + model + " --input x=ints.npy"), 1);
  EXPECT_NE(err.find("int64 elements where float32 is wanted"), std::string::npos) << err;
  EXPECT_EQ(gmc("run " + model + " --input x=absent.npy"), 1);
  EXPECT_NE(err.find("absent.npy"), std::string::npos) << err;
  EXPECT_EQ(gmc("run " + model + " --input x=x.npy --expect y=x.npy"), 1);
  EXPECT_NE(err.find("no output 'y'"), std::string::npos) << err;
}

TEST_F(Execution, GradWritesLossAndGradients) {
  std::string model = shared + "reference/mlp_mnist.onnx";
  save("x.npy", ramp({3, 1, 28, 28}));
  save("y.npy", ramp({3}, true));
  ASSERT_EQ(gmc("grad " + model + " --input x=x.npy --label y.npy --input-grads -o g.safetensors"), 0) << err;
  auto json = nlohmann::json::parse(out.substr(out.rfind('{')));
  EXPECT_EQ(json["count"], 3);
  EXPECT_NEAR(json["loss"].get<double>(), json["loss_sum"].get<double>() / 3, 1e-6);
  std::string file = read("g.safetensors");
  uint64_t header = *reinterpret_cast<const uint64_t *>(file.data());
  auto tensors = nlohmann::json::parse(file.substr(8, header));
  EXPECT_EQ(tensors["x"]["shape"], (std::vector<int>{3, 1, 28, 28}));
  EXPECT_EQ(tensors["net.4.bias"]["dtype"], "F32");
  // Softmax minus one-hot sums to zero over the classes.
  auto range = tensors["net.4.bias"]["data_offsets"];
  double sum = 0, largest = 0;
  for (size_t at = range[0]; at < range[1]; at += 4) {
    float g = *reinterpret_cast<const float *>(file.data() + 8 + header + at);
    sum += g;
    largest = std::max<double>(largest, std::abs(g));
  }
  EXPECT_NEAR(sum, 0, 1e-6);
  EXPECT_GT(largest, 1e-3);
}

TEST_F(Execution, GradRefusesWhatDoesNotFit) {
  std::string model = shared + "reference/mlp_mnist.onnx";
  save("x.npy", ramp({3, 1, 28, 28}));
  save("y.npy", ramp({4}, true));
  EXPECT_EQ(gmc("grad " + model + " --input x=x.npy --label y.npy -o g.safetensors"), 1);
  EXPECT_NE(err.find("do not fit output"), std::string::npos) << err;
  EXPECT_EQ(gmc("grad " + model + " --input x=x.npy -o g.safetensors"), 1);
  EXPECT_NE(err.find("pass --label=FILE"), std::string::npos) << err;
  EXPECT_EQ(gmc("grad " + model + " --input x=x.npy --cotangent nothing=x.npy -o g.safetensors"), 1);
  EXPECT_NE(err.find("no output 'nothing'"), std::string::npos) << err;
  EXPECT_FALSE(fs::exists(folder / "g.safetensors"));
}

TEST_F(Execution, CotangentByNameAndByIndexAgree) {
  std::string model = shared + "reference/mlp_mnist.onnx";
  save("x.npy", ramp({2, 1, 28, 28}));
  save("r.npy", ramp({2, 10}));
  ASSERT_EQ(gmc("grad " + model + " --input x=x.npy --cotangent 0=r.npy -o a.safetensors"), 0) << err;
  std::string first = out;
  ASSERT_EQ(gmc("grad " + model + " --input x=x.npy --cotangent out=r.npy -o b.safetensors"), 0) << err;
  EXPECT_EQ(first, out);
  EXPECT_EQ(read("a.safetensors"), read("b.safetensors"));
}

TEST_F(Execution, GradcheckPasses) {
  std::string model = shared + "reference/lenet5.onnx";
  EXPECT_EQ(gmc("gradcheck " + model + " --samples=2"), 0) << out;
  EXPECT_NE(out.find("10 of 10 gradients agree"), std::string::npos) << out;
}

TEST(TensorFile, NpyRoundTripAndDamage) {
  HostTensor tensor{GMC_INT32, {2, 3}, std::vector<char>(24)};
  for (int i = 0; i < 6; ++i)
    reinterpret_cast<int32_t *>(tensor.data.data())[i] = i - 2;
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  writeNpy(os, tensor);
  auto back = parseNpy(bytes);
  ASSERT_TRUE(bool(back));
  EXPECT_EQ(back->describe(), "int32[2x3]");
  EXPECT_EQ(back->data, tensor.data);
  // The same elements in column order, and big-endian.
  std::string fortran = bytes;
  fortran.replace(fortran.find("False"), 5, "True ");
  auto columns = parseNpy(fortran);
  ASSERT_TRUE(bool(columns));
  EXPECT_EQ(columns->at(1), tensor.at(2));
  EXPECT_EQ(columns->at(3), tensor.at(1));
  std::string big = bytes;
  big.replace(big.find("<i4"), 3, ">i4");
  EXPECT_EQ(llvm::cantFail(parseNpy(big)).at(3), 0x01000000);
  for (size_t cut : {3ul, 9ul, 40ul, bytes.size() - 1}) {
    auto damaged = parseNpy(llvm::StringRef(bytes).take_front(cut));
    EXPECT_FALSE(bool(damaged));
    llvm::consumeError(damaged.takeError());
  }
}

} // namespace
