//===- CommandsTest.cpp ---------------------------------------------------===//
#include "compiler/Planning/Commands.h"

#include "compiler/Planning/AtomicFile.h"
#include "compiler/Planning/RematJson.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

using namespace gmc::planning;
namespace fs = std::filesystem;

namespace {

class Commands : public ::testing::Test {
protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("gmc-commands-test-" + std::to_string(::getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string put(const std::string &name, const std::string &text) {
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  }
  static std::string slurp(const fs::path &path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  size_t files() const { return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator())); }

  int packText(const std::string &text, std::optional<int64_t> capacity = {}) {
    out.str("");
    err.str("");
    return runPackCommand(put("in.csv", text), capacity, {}, 1, out, err);
  }
  int rematText(const std::string &text, int64_t budget = 1000) {
    out.str("");
    err.str("");
    return runRematCommand(put("in.json", text), budget, {}, 1, out, err);
  }
  bool said(const std::string &what) const { return err.str().find(what) != std::string::npos; }

  fs::path folder;
  std::ostringstream out, err;
};

} // namespace

TEST_F(Commands, PackWritesTheSameFourAndAnOffset) {
  EXPECT_EQ(packText("id,lower,upper,size\na,0,4,10\nb,4,8,10\n"), 0);
  EXPECT_EQ(out.str(), "id,lower,upper,size,offset\na,0,4,10,0\nb,4,8,10,0\n");
  // Other order of columns, further ones, carriage returns, no newline at the end.
  EXPECT_EQ(packText("size,color,upper,lower,id\r\n7,red,9,-3,q\r\n\r\n8,blue,2,1,r"), 0) << err.str();
  EXPECT_EQ(out.str(), "id,lower,upper,size,offset\nq,-3,9,7,0\nr,1,2,8,7\n");
  EXPECT_EQ(packText("id,lower,upper,size\n"), 0);
}

TEST_F(Commands, PackWritesByRename) {
  std::string in = put("in.csv", "id,lower,upper,size\n0,0,4,10\n1,2,8,10\n");
  std::string target = (folder / "out.csv").string();
  EXPECT_EQ(runPackCommand(in, 20, target, 1, out, err), 0) << err.str();
  EXPECT_NE(slurp(target).find("id,lower,upper,size,offset\n"), std::string::npos);
  EXPECT_EQ(files(), 2u);
  fs::remove(target);
  EXPECT_EQ(runPackCommand(in, 19, target, 1, out, err), 3);
  EXPECT_TRUE(said("max") || said("most bytes live at once are 20"));
  EXPECT_FALSE(fs::exists(target));
  EXPECT_EQ(runPackCommand(in, {}, (folder / "none/out.csv").string(), 1, out, err), 1);
  EXPECT_EQ(runPackCommand(in, {}, folder.string(), 1, out, err), 1);
  EXPECT_EQ(files(), 1u);
}

TEST_F(Commands, PackErrorsNameFileLineAndReason) {
  EXPECT_EQ(packText("id,lower,upper,size\n0,0,4,-10\n0,5,4,1\n1,x,2,3\n2,1\n3,0,1,99999999999999999999\n"), 1);
  EXPECT_TRUE(said("in.csv: line 2: negative size"));
  EXPECT_TRUE(said("line 3: lower 5 is after upper 4"));
  EXPECT_TRUE(said("line 3: id 0 was used in line 2"));
  EXPECT_TRUE(said("line 4: lower 'x' is not an integer"));
  EXPECT_TRUE(said("line 5: upper is missing"));
  EXPECT_TRUE(said("line 6: size '99999999999999999999' does not fit"));
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(packText(""), 1);
  EXPECT_EQ(packText("id,start,end,size\n"), 1);
  EXPECT_TRUE(said("lacks lower, upper"));
  EXPECT_EQ(packText("id,lower,upper,size\n0,0,1,9223372036854775807\n1,0,1,9223372036854775807\n"), 1);
  EXPECT_TRUE(said("2^60"));
  EXPECT_EQ(runPackCommand((folder / "absent.csv").string(), {}, {}, 1, out, err), 1);
  EXPECT_TRUE(said("No such file"));
}

TEST_F(Commands, RematSolvesWithIdsThatAreNotDense) {
  std::string problem = R"({"version":1,"nodes":[
    {"id":70,"name":"b","cost":5,"size":10,"workspace":0,"deps":[7]},
    {"id":7,"cost":1.5,"size":10,"deps":[]},
    {"id":9,"cost":5,"size":10,"deps":[70]},{"id":11,"cost":5,"size":0,"deps":[9,7]}],"keep":[11],"fixed_bytes":100})";
  EXPECT_EQ(rematText(problem, 130), 0) << err.str();
  EXPECT_EQ(out.str(), "{\"order\":[7,70,9,11],\"drop_after\":[[],[],[70],[7,9]],\"cost\":16.5,\"peak_bytes\":130,"
                       "\"bound\":16.5}\n");
  EXPECT_EQ(rematText(problem, 120), 0) << err.str();
  EXPECT_NE(out.str().find("\"cost\":18.0"), std::string::npos) << out.str();
  EXPECT_EQ(rematText(problem, 119), 3);
  EXPECT_EQ(out.str(), "{\"found\":false,\"proved_infeasible\":true,\"bound_bytes\":120}\n");
  RematProblem read, again;
  ASSERT_TRUE(rematFromJson(problem, read).empty());
  ASSERT_TRUE(rematFromJson(rematToJson(read), again).empty());
  EXPECT_EQ(rematToJson(read), rematToJson(again));
}

TEST_F(Commands, RematErrorsNameEveryOffender) {
  EXPECT_EQ(
      rematText(R"({"version":1,"nodes":[{"id":0,"cost":-1,"size":1,"deps":[5]},{"id":0,"cost":1,"size":-2,"deps":[]},
    {"id":-3,"cost":1,"size":1,"deps":[]},{"id":4,"cost":1,"size":1.5,"deps":{}}],"keep":[8],"fixed_bytes":-1})"),
      1);
  for (const char *what : {"in.json: fixed_bytes -1", "node 0: cost", "node 0: depends on 5, which is no node",
                           "node 0: the id is used twice", "node 0: size", "nodes[2]: id", "node 4: size",
                           "node 4: deps", "keep lists 8"})
    EXPECT_TRUE(said(what)) << what << "\n" << err.str();
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(rematText(R"({"nodes":[{"id":1,"cost":1,"size":1,"deps":[2]},{"id":2,"cost":1,"size":1,"deps":[1]}]})"), 1);
  EXPECT_TRUE(said("cycle")) << err.str();
  EXPECT_EQ(rematText(R"({"nodes":[{"id":1,"cost":1,"size":1,"deps":[1]}]})"), 1);
  EXPECT_TRUE(said("cycle"));
  for (const char *text : {"", "{", "[]", "{}", "{\"nodes\":3}", "{\"version\":2,\"nodes\":[]}", "\xff\xfe",
                           R"({"nodes":[{"id":1,"cost":1e999,"size":1,"deps":[]}]})",
                           R"({"nodes":[{"id":1,"cost":1,"size":9223372036854775807,"deps":[]}]})",
                           R"({"nodes":[{"id":1,"cost":1,"size":99999999999999999999,"deps":[]}]})"}) {
    EXPECT_EQ(rematText(text), 1) << text;
    EXPECT_NE(err.str(), "") << text;
  }
  EXPECT_EQ(rematText(R"({"nodes":[],"keep":[],"fixed_bytes":10})", 9), 3);
  EXPECT_EQ(rematText(R"({"nodes":[],"keep":[],"fixed_bytes":10})", 10), 0) << err.str();
}

TEST_F(Commands, RematWritesByRename) {
  std::string in = put("in.json", R"({"nodes":[{"id":1,"cost":1,"size":4,"deps":[]}],"keep":[1]})");
  std::string target = (folder / "out.json").string();
  EXPECT_EQ(runRematCommand(in, 4, target, 1, out, err), 0);
  EXPECT_NE(slurp(target).find("\"peak_bytes\":4"), std::string::npos);
  EXPECT_EQ(runRematCommand(in, 3, target, 1, out, err), 3);
  EXPECT_NE(slurp(target).find("\"found\":false"), std::string::npos);
  EXPECT_EQ(files(), 2u);
  EXPECT_EQ(runRematCommand(in, 4, (folder / "none/out").string(), 1, out, err), 1);
}

TEST(AtomicFile, LeavesTheOldFileWhenItCannotWrite) {
  std::string error;
  EXPECT_TRUE(writeFileAtomically("/dev/null", "text", error)) << error;
  EXPECT_TRUE(fs::exists("/dev/null") && !fs::is_regular_file("/dev/null"));
  EXPECT_FALSE(writeFileAtomically("/nowhere/at/all", "text", error));
  EXPECT_NE(error.find("/nowhere/at/all"), std::string::npos);
}
