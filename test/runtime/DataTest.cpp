#include "TempDir.h"
#include "gmc/Error.h"
#include "runtime/data/Source.h"

#include <cstring>
#include <gtest/gtest.h>
#include <zlib.h>

using namespace gmc::rt;
using namespace gmc::test;

namespace {

const Slot Pixels4 = {"x", GMC_FLOAT, {1, 2, 2}, false};
const Slot ClassLabel = {"label", GMC_INT64, {}, true};

/// The message of the Error that opening throws, "" when it opens.
std::string openError(const std::string &spec, const SourceOptions &options) {
  try {
    openSource(spec, options);
    return "";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), ExitUsage) << error.what();
    return error.what();
  }
}

void expectError(const std::string &spec, const SourceOptions &options, const std::string &part) {
  EXPECT_NE(openError(spec, options).find(part), std::string::npos) << openError(spec, options);
}

template <typename T> std::string raw(std::initializer_list<T> values) {
  std::vector<T> copy(values);
  return std::string(reinterpret_cast<const char *>(copy.data()), copy.size() * sizeof(T));
}

std::string npy(const std::string &descr, const std::string &shape, const std::string &data, int version = 1,
                const char *order = "False") {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  std::string text = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    text += static_cast<char>(header.size() >> (8 * i));
  return text + header + data;
}

std::string idx(int type, std::vector<uint32_t> dims, const std::string &data) {
  std::string text = {0, 0, static_cast<char>(type), static_cast<char>(dims.size())};
  for (uint32_t dim : dims)
    for (int shift = 24; shift >= 0; shift -= 8)
      text += static_cast<char>(dim >> shift);
  return text + data;
}

void writeGz(const std::string &path, const std::string &content) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
}

TEST(Idx, ReadsPlainAndGzipped) {
  TempDir dir;
  std::string images = idx(8, {3, 2, 2}, std::string("\0\x33\xff\0\1\2\3\4\5\6\7\x08", 12));
  std::string labels = idx(8, {3}, "\3\1\2");
  writeFile(dir / "train-images-idx3-ubyte", images);
  writeGz(dir / "train-labels-idx1-ubyte.gz", labels);
  auto source = openSource(dir.path.string(), {{Pixels4, ClassLabel}});
  EXPECT_EQ(source->size(), 3);
  float x[4];
  int64_t y;
  char *tensors[] = {reinterpret_cast<char *>(x), reinterpret_cast<char *>(&y)};
  LoadContext context;
  source->load(0, tensors, context);
  EXPECT_EQ(x[1], 0.2f);
  EXPECT_EQ(x[2], 1.0f);
  EXPECT_EQ(y, 3);
  auto range = openSource(dir.path.string() + "[1:]", {{Pixels4, ClassLabel}});
  EXPECT_EQ(range->size(), 2);
  range->load(1, tensors, context);
  EXPECT_EQ(y, 2);
  EXPECT_EQ(openSource(dir.path.string() + "[-1:]", {{Pixels4, ClassLabel}})->size(), 1);
  expectError(dir.path.string() + "[2:9]", {{Pixels4, ClassLabel}}, "has 3 samples");
  expectError(dir.path.string() + "[2:2]", {{Pixels4, ClassLabel}}, "none of them");
  expectError(dir.path.string() + "[a:2]", {{Pixels4, ClassLabel}}, "no sample range");
  expectError(dir.path.string(), {{{"x", GMC_FLOAT, {5}, false}, ClassLabel}},
              "a sample has shape [2,2], 'x' wants [5]");
  expectError(dir.path.string(), {{Pixels4, Pixels4, ClassLabel}}, "NAME=FILE.npy");
}

TEST(Idx, RefusesDamage) {
  TempDir dir;
  std::string images = idx(8, {3, 2, 2}, std::string(12, 'a')), labels = idx(8, {3}, "\1\2\3");
  writeFile(dir / "l", labels);
  SourceOptions options{{Pixels4, ClassLabel}};
  auto tryImages = [&](const std::string &content, const std::string &part) {
    writeFile(dir / "i", content);
    expectError((dir / "i") + "," + (dir / "l"), options, part);
  };
  tryImages(images.substr(0, 27), "truncated or damaged");
  tryImages(images.substr(0, 9), "truncated inside its header");
  tryImages("PNG", "no IDX file");
  tryImages(idx(7, {3, 2, 2}, std::string(12, 'a')), "element type 7");
  tryImages(idx(8, {2, 2, 2}, std::string(8, 'a')), "has 2 samples");
  tryImages(idx(8, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 2}, ""), "damaged");
  writeGz(dir / "z", images);
  std::string packed = readFile(dir / "z");
  tryImages(packed.substr(0, packed.size() - 9), "truncated");
  packed[14] ^= 0x55;
  EXPECT_NE((writeFile(dir / "i", packed), openError((dir / "i") + "," + (dir / "l"), options)), "");
  expectError((dir / "gone") + "," + (dir / "l"), options, "cannot open");
  TempDir empty;
  expectError(empty.path.string(), options, empty.path.string());
}

TEST(Npy, BindsAndConverts) {
  TempDir dir;
  SourceOptions options{{Pixels4, {"mask", GMC_FLOAT16, {2}, false}, ClassLabel}};
  writeFile(dir / "x.npy", npy("|u1", "(2, 4)", raw<uint8_t>({0, 51, 255, 0, 1, 2, 3, 4})));
  writeFile(dir / "m.npy", npy("<f8", "(2, 2)", raw<double>({1, 0.5, -2, 65504}), 2));
  writeFile(dir / "y.npy", npy(">i4", "(2,)", std::string("\0\0\0\7\xff\xff\xff\x9c", 8), 3));
  std::string spec = "x=" + (dir / "x.npy") + ",mask=" + (dir / "m.npy") + ",label=" + (dir / "y.npy");
  auto source = openSource(spec, options);
  EXPECT_EQ(source->size(), 2);
  float x[4];
  uint16_t m[2];
  int64_t y;
  char *tensors[] = {reinterpret_cast<char *>(x), reinterpret_cast<char *>(m), reinterpret_cast<char *>(&y)};
  LoadContext context;
  source->load(0, tensors, context);
  EXPECT_EQ(x[1], 0.2f);
  EXPECT_EQ(m[0], 0x3c00);
  EXPECT_EQ(y, 7);
  source->load(1, tensors, context);
  EXPECT_EQ(m[1], 0x7bff);
  EXPECT_EQ(y, -100);
  EXPECT_EQ(openSource(spec + "[1:2]", options)->size(), 1);
  // Ranges of their own: sample 0 is the pixels' second, the mask's first and the label's last.
  auto own = openSource(
      "x=" + (dir / "x.npy") + "[1:2],mask=" + (dir / "m.npy") + "[:1],label=" + (dir / "y.npy") + "[-1:]", options);
  ASSERT_EQ(own->size(), 1);
  own->load(0, tensors, context);
  EXPECT_EQ(x[3], 4 / 255.0f);
  EXPECT_EQ(m[0], 0x3c00);
  EXPECT_EQ(y, -100);
  expectError("x=" + (dir / "x.npy") + "[0:1],mask=" + (dir / "m.npy") + ",label=" + (dir / "y.npy"), options,
              "has 2 samples");
  expectError("x=" + (dir / "x.npy") + "[0:3],mask=" + (dir / "m.npy"), options, "has 2 samples");
  expectError("x=" + (dir / "x.npy"), options, "add mask=FILE.npy,label=FILE.npy");
  expectError(spec + ",zzz=" + (dir / "x.npy"), options, "no input 'zzz'");
  expectError(spec + ",x=" + (dir / "x.npy"), options, "bound twice");
}

TEST(Npy, RefusesDamage) {
  TempDir dir;
  SourceOptions options{{Pixels4}, false};
  auto tryFile = [&](const std::string &content, const std::string &part) {
    writeFile(dir / "x.npy", content);
    expectError("x=" + (dir / "x.npy"), options, part);
  };
  std::string data(32, '\0'), good = npy("<f4", "(2, 4)", data);
  tryFile(good.substr(0, good.size() - 1), "truncated: shape (2, 4)");
  tryFile(good.substr(0, 30), "truncated inside its header");
  tryFile("hello world, no numbers here", "no .npy file");
  tryFile(npy("<f4", "(2, 4)", data, 4), "no .npy file");
  tryFile(npy("<f4", "(2, 4)", data, 1, "True"), "Fortran order");
  tryFile(npy("<c8", "(2, 4)", data), "elements of type");
  tryFile(npy("<f4", "(2, x)", data), "damaged");
  tryFile(npy("<f4", "(99999999999, 99999999999)", data), "damaged");
  tryFile(npy("<f4", "()", data), "single number");
  tryFile(npy("<f4", "(2, 3)", data), "'x' wants [1,2,2]");
  tryFile(npy("<f4", "(0, 4)", data), "no sample");
  writeFile(dir / "x.npy", npy("<f8", "(2, 4)", data + data));
  expectError("x=" + (dir / "x.npy"), {{{"x", GMC_INT64, {4}, false}}, false}, "holds float64");
}

TEST(Text, WindowsAreShiftedByOne) {
  TempDir dir;
  SourceOptions options{{{"ids", GMC_INT64, {4}, false}, {"label", GMC_INT64, {4}, true}}};
  writeFile(dir / "t.txt", "abcdefghij");
  auto source = openSource("text:" + (dir / "t.txt"), options);
  EXPECT_EQ(source->size(), 2);
  int64_t x[4], y[4];
  char *tensors[] = {reinterpret_cast<char *>(x), reinterpret_cast<char *>(y)};
  LoadContext context;
  source->load(1, tensors, context);
  EXPECT_EQ(x[0], 'e');
  EXPECT_EQ(y[0], 'f');
  EXPECT_EQ(y[3], 'i');
  writeFile(dir / "t.txt", "abcd");
  expectError("text:" + (dir / "t.txt"), options, "one sample takes 5");
  expectError("text:" + (dir / "gone"), options, "cannot open");
  writeFile(dir / "t.txt", "abcdefghij");
  expectError("text:" + (dir / "t.txt"), {{Pixels4, ClassLabel}}, "tokens are integers");
}

TEST(Tokens, WidthByNameElseByContent) {
  TempDir dir;
  SourceOptions options{{{"ids", GMC_INT64, {2}, false}, {"label", GMC_INT64, {2}, true}}};
  std::string narrow, wide;
  for (uint32_t i = 0; i < 100; ++i) {
    uint32_t token = i * 500;
    narrow.append(reinterpret_cast<const char *>(&token), 2);
    wide.append(reinterpret_cast<const char *>(&token), 4);
  }
  writeFile(dir / "a.bin", narrow);
  writeFile(dir / "b.bin", wide);
  writeFile(dir / "c.u16.bin", wide);
  EXPECT_EQ(openSource(dir / "a.bin", options)->size(), 49);
  EXPECT_EQ(openSource(dir / "b.bin", options)->size(), 49);
  EXPECT_EQ(openSource(dir / "c.u16.bin", options)->size(), 99);
  int64_t x[2], y[2];
  char *tensors[] = {reinterpret_cast<char *>(x), reinterpret_cast<char *>(y)};
  LoadContext context;
  for (const char *name : {"a.bin", "b.bin"}) {
    openSource(dir / name, options)->load(3, tensors, context);
    EXPECT_EQ(x[0], 3000);
    EXPECT_EQ(y[1], 4000);
  }
  writeFile(dir / "d.bin", narrow + "x");
  expectError(dir / "d.bin", options, "no whole number");
}

TEST(Split, IsDisjointAndComplete) {
  TempDir dir;
  std::string data;
  for (uint8_t i = 0; i < 100; ++i)
    data += static_cast<char>(i);
  writeFile(dir / "x.npy", npy("|u1", "(100, 1)", data));
  SourceOptions options{{{"x", GMC_INT64, {1}, false}}, false};
  std::shared_ptr<Source> all = openSource("x=" + (dir / "x.npy"), options);
  auto [train, val] = splitOf(all, 0.25);
  EXPECT_EQ(train->size(), 75);
  EXPECT_EQ(val->size(), 25);
  std::vector<int> seen(100);
  int64_t value, high = 0;
  char *tensors[] = {reinterpret_cast<char *>(&value)};
  LoadContext context;
  for (auto *part : {train.get(), val.get()})
    for (int64_t i = 0; i < part->size(); ++i) {
      part->load(i, tensors, context);
      ++seen[static_cast<size_t>(value)];
      high += part == val.get() && value >= 50;
    }
  for (int count : seen)
    EXPECT_EQ(count, 1);
  EXPECT_GT(high, 4);
  EXPECT_LT(high, 21);
  EXPECT_THROW(splitOf(all, 0), Error);
  EXPECT_THROW(splitOf(all, 1), Error);
}

} // namespace
