// Runs the hand-written trainer as a user would: as a process, judged by its exit code, files and output.
#ifndef GMC_TEST_RUNTIME_TRAINERFIXTURE_H
#define GMC_TEST_RUNTIME_TRAINERFIXTURE_H

#include "Pictures.h"
#include "TempDir.h"
#include "runtime/data/DType.h"
#include "runtime/train/Safetensors.h"

#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>


namespace gmc::test {

inline constexpr const char *Hash = "0123456789abcdeffedcba9876543210";

using namespace gmc::rt;
using Json = nlohmann::json;

struct Result {
  int code;
  std::string out; ///< stdout and stderr
};

class TrainerTest : public testing::Test {
protected:
  void SetUp() override {
    if (!haveMnist())
      GTEST_SKIP() << "MNIST is not there: " << mnist("");
    writeSafetensors(dir / "w.safetensors", {{"fc.weight", GMC_FLOAT, {784, 10}}, {"fc.bias", GMC_FLOAT, {10}}},
                     {{"gmc.model", Hash}}, [](size_t index, const auto &sink) {
                       std::vector<float> zeros(index == 0 ? 7840 : 10);
                       sink(zeros.data(), zeros.size() * 4);
                     });
  }

  pid_t spawn(std::vector<std::string> args, const std::string &output, rlim_t fileLimit = RLIM_INFINITY) {
    args.insert(args.begin(), trainer);
    pid_t pid = fork();
    if (pid == 0) {
      rlimit limit{fileLimit, fileLimit};
      setrlimit(RLIMIT_FSIZE, &limit);
      int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      dup2(fd, 1);
      dup2(fd, 2);
      std::vector<char *> argv;
      for (auto &arg : args)
        argv.push_back(arg.data());
      argv.push_back(nullptr);
      execv(trainer.c_str(), argv.data());
      _exit(127);
    }
    return pid;
  }

  static int wait(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

  Result run(std::vector<std::string> args) {
    int code = wait(spawn(std::move(args), dir / "out"));
    return {code, readFile(dir / "out")};
  }

  std::vector<std::string> training(std::vector<std::string> more) {
    std::vector<std::string> args = {"--data=" + MnistPair + "[0:9000]", "--weights=" + (dir / "w.safetensors"),
                                     "--lr=0.05"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  std::vector<Json> events(const std::string &path) {
    std::vector<Json> lines;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
      lines.push_back(Json::parse(line));
    return lines;
  }

  /// The bytes of every tensor in the file.
  std::string tensors(const std::string &path) {
    SafetensorsReader file(path);
    std::string all;
    for (const auto &entry : file.tensors()) {
      std::string bytes(entry.bytes, 0);
      file.read(entry, 0, bytes.data(), entry.bytes);
      all += entry.name + bytes;
    }
    return all;
  }

  TempDir dir;
  std::string trainer = GMC_TRAINER;
};

} // namespace gmc::test

#endif
