#include "Pictures.h"
#include "TempDir.h"
#include "gmc/Error.h"
#include "runtime/data/Resample.h"
#include "runtime/data/Source.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

using namespace gmc::rt;
using namespace gmc::test;

namespace {

SourceOptions picturesOf(int64_t channels, int64_t size, const std::string &augment = "") {
  return {{{"x", GMC_FLOAT, {channels, size, size}, false}, {"label", GMC_INT64, {}, true}}, true, augment};
}

struct Sample {
  std::vector<float> x;
  int64_t label = -1;
};

Sample load(const Source &source, int64_t index, size_t elements, LoadContext context = {}) {
  Sample sample;
  sample.x.resize(elements);
  char *tensors[] = {reinterpret_cast<char *>(sample.x.data()), reinterpret_cast<char *>(&sample.label)};
  source.load(index, tensors, context);
  return sample;
}

int gradient(int x, int y, int channel) { return channel == 0 ? x : channel == 1 ? y : (x + y) / 2; }

TEST(Folder, PngOfTheInputsSizeIsExact) {
  TempDir dir;
  for (const char *name : {"cat", "ant", "empty"})
    std::filesystem::create_directory(dir / name);
  writePng(dir / "cat/1.png", 64, 64, gradient);
  writePng(dir / "cat/2.PNG", 64, 64, gradient, 3, /*interlaced=*/true);
  writePng(dir / "ant/1.png", 64, 64, [](int x, int y, int) { return x + y; }, 1);
  writeFile(dir / "ant/notes.txt", "no picture");
  auto source = openSource(dir.path.string(), picturesOf(3, 64));
  ASSERT_EQ(source->size(), 3);
  Sample gray = load(*source, 0, 3 * 64 * 64), color = load(*source, 1, 3 * 64 * 64);
  EXPECT_EQ(gray.label, 0);
  EXPECT_EQ(color.label, 1);
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 64; ++y)
      for (int x = 0; x < 64; ++x) {
        size_t at = static_cast<size_t>((c * 64 + y) * 64 + x);
        ASSERT_FLOAT_EQ(color.x[at], gradient(x, y, c) / 255.0f);
        ASSERT_FLOAT_EQ(gray.x[at], (x + y) / 255.0f);
      }
  EXPECT_EQ(load(*source, 2, 3 * 64 * 64).x, color.x);
  EXPECT_EQ(source->name(1), dir / "cat/1.png");
}

TEST(Folder, JpegIsReducedToTheRightPlace) {
  TempDir dir;
  std::filesystem::create_directory(dir / "c");
  // A smooth ramp survives JPEG and any reduction: the output is the ramp at the window's pixel centers.
  writeJpeg(dir / "c/1.jpg", 500, 300, [](int x, int y, int c) { return (c ? y / 2 : x / 2) + 2; });
  auto whole = load(*openSource(dir.path.string(), picturesOf(3, 32)), 0, 3 * 32 * 32);
  auto resized = load(*openSource(dir.path.string(), picturesOf(3, 32, "resize=40,crop=32")), 0, 3 * 32 * 32);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x) {
      size_t at = static_cast<size_t>(y * 32 + x);
      double cover = 300 / 32.0, smaller = 300 / 40.0;
      EXPECT_NEAR(whole.x[at] * 255, (100 + (x + .5) * cover - .5) / 2 + 2, 3.0);
      EXPECT_NEAR(whole.x[1024 + at] * 255, ((y + .5) * cover - .5) / 2 + 2, 3.0);
      EXPECT_NEAR(resized.x[at] * 255, (130 + (x + .5) * smaller - .5) / 2 + 2, 3.0);
      EXPECT_NEAR(resized.x[1024 + at] * 255, (30 + (y + .5) * smaller - .5) / 2 + 2, 3.0);
    }
}

TEST(Folder, CmykBecomesLight) {
  TempDir dir;
  std::filesystem::create_directory(dir / "c");
  // libjpeg marks its CMYK files as Adobe's: samples are the complement of ink. The black plane darkens all others.
  writeJpeg(
      dir / "c/1.jpg", 32, 32, [](int x, int y, int c) { return c == 0   ? 4 * x
                                                                : c == 1 ? 4 * y
                                                                : c == 2 ? 255
                                                                         : 128; },
      /*progressive=*/false, /*cmyk=*/true);
  auto color = load(*openSource(dir.path.string(), picturesOf(3, 32)), 0, 3 * 32 * 32);
  auto gray = load(*openSource(dir.path.string(), picturesOf(1, 32)), 0, 32 * 32);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x) {
      size_t at = static_cast<size_t>(y * 32 + x);
      EXPECT_NEAR(color.x[at] * 255, 4 * x * 128 / 255.0, 3.0);
      EXPECT_NEAR(color.x[1024 + at] * 255, 4 * y * 128 / 255.0, 3.0);
      EXPECT_NEAR(color.x[2048 + at] * 255, 128, 3.0);
      EXPECT_NEAR(gray.x[at] * 255, (.299 * 4 * x + .587 * 4 * y + .114 * 255) * 128 / 255, 3.0);
    }
}

TEST(Folder, AugmentationIsAFunctionOfSeedEpochAndSample) {
  TempDir dir;
  std::filesystem::create_directory(dir / "c");
  writeJpeg(dir / "c/1.jpg", 100, 80, gradient);
  writeJpeg(dir / "c/2.jpg", 100, 80, gradient);
  auto source = openSource(dir.path.string(), picturesOf(3, 24, "rrc=24,flip,jitter=.4,normalize=imagenet"));
  LoadContext context;
  context.training = true;
  auto a = load(*source, 0, 1728, context);
  EXPECT_EQ(load(*source, 0, 1728, context).x, a.x);
  EXPECT_NE(load(*source, 1, 1728, context).x, a.x);
  context.epoch = 1;
  EXPECT_NE(load(*source, 0, 1728, context).x, a.x);
  context = {};
  auto eval = load(*source, 0, 1728, context);
  EXPECT_EQ(load(*source, 1, 1728, context).x, eval.x);
  EXPECT_EQ(source->preprocessing(), "normalize=imagenet");
  auto plain = load(*openSource(dir.path.string(), picturesOf(3, 24)), 0, 1728);
  EXPECT_NEAR(eval.x[5], (plain.x[5] - .485) / .229, 1e-5);
}

TEST(Folder, DamagedPicturesAreSampleErrors) {
  TempDir dir;
  std::filesystem::create_directory(dir / "c");
  writeJpeg(dir / "good.jpg", 100, 80, gradient);
  writePng(dir / "good.png", 100, 80, gradient);
  std::string jpeg = readFile(dir / "good.jpg"), png = readFile(dir / "good.png");
  auto source = [&](const std::string &name, const std::string &content) {
    std::filesystem::remove_all(dir / "c");
    std::filesystem::create_directory(dir / "c");
    writeFile(dir / ("c/" + name), content);
    return openSource(dir.path.string(), picturesOf(3, 24));
  };
  for (double part : {0.0, 0.01, 0.3, 0.7, 0.95}) {
    auto cut = [part](const std::string &text) { return text.substr(0, static_cast<size_t>(part * text.size())); };
    EXPECT_THROW(load(*source("a.jpg", cut(jpeg)), 0, 1728), SampleError) << part;
    EXPECT_THROW(load(*source("a.png", cut(png)), 0, 1728), SampleError) << part;
  }
  for (size_t at = 0; at < jpeg.size(); at += 37) {
    std::string flipped = jpeg;
    flipped[at] ^= 0x24;
    try {
      load(*source("a.jpg", flipped), 0, 1728); // changed pixels may still decode
    } catch (const SampleError &) {
    }
  }
  EXPECT_THROW(load(*source("a.jpg", "no picture at all"), 0, 1728), SampleError);
  auto gone = source("a.jpg", jpeg);
  std::filesystem::remove(dir / "c/a.jpg");
  EXPECT_THROW(load(*gone, 0, 1728), SampleError);
  // A progressive picture needs its coefficients whole: small ones pass, larger ones would break the promise.
  writeJpeg(dir / "p.jpg", 100, 80, gradient, true);
  EXPECT_NO_THROW(load(*source("a.jpg", readFile(dir / "p.jpg")), 0, 1728));
  writeJpeg(dir / "p.jpg", 2000, 1500, gradient, true);
  EXPECT_THROW(load(*source("a.jpg", readFile(dir / "p.jpg")), 0, 1728), SampleError);
}

TEST(Folder, RefusesWhatCannotFit) {
  TempDir dir;
  auto error = [&](const SourceOptions &options) {
    try {
      openSource(dir.path.string(), options);
    } catch (const Error &e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(error(picturesOf(3, 24)).find("holds no pictures"), std::string::npos);
  EXPECT_NE(error(picturesOf(2, 24)).find("[1,H,W] or [3,H,W]"), std::string::npos);
  EXPECT_NE(error(picturesOf(3, 24, "crop=32")).find("do not fit"), std::string::npos);
  EXPECT_NE(error(picturesOf(3, 24, "resize=20")).find("smaller"), std::string::npos);
  EXPECT_NE(error(picturesOf(3, 24, "sharpen")).find("'sharpen' is not known"), std::string::npos);
  EXPECT_NE(error(picturesOf(3, 24, "jitter=x")).find("no valid value"), std::string::npos);
}

TEST(Shards, AreReadInPlace) {
  TempDir dir;
  writePng(dir / "a.png", 8, 8, [](int, int, int) { return 10; });
  writePng(dir / "b.png", 8, 8, [](int, int, int) { return 20; });
  std::string a = readFile(dir / "a.png"), b = readFile(dir / "b.png"), end(1024, '\0');
  std::string longName = std::string(150, 'n') + ".png";
  writeFile(dir / "s-00.tar", tarMember("d/", "", '5') + tarMember("d/k1.cls", "3") + tarMember("d/k1.png", a) +
                                  tarMember("d/k2.png", b) + tarMember("d/k2.json", "{}") +
                                  tarMember("d/k2.cls", "4\n") + end);
  std::string pax = "12 path=x.y\n"; // GNU long name and a pax path
  writeFile(dir / "s-01.tar", tarMember("././@LongLink", longName + '\0', 'L') + tarMember("short.png", b) +
                                  tarMember("././@LongLink", std::string(150, 'n') + ".cls" + '\0', 'L') +
                                  tarMember("short.cls", "7") + tarMember("pax", pax, 'x') + tarMember("z.txt", "") +
                                  end);
  auto source = openSource(dir / "s-{00..01}.tar", picturesOf(3, 8));
  ASSERT_EQ(source->size(), 3);
  EXPECT_EQ(source->groups(), (std::vector<int64_t>{0, 2, 3}));
  const std::pair<int64_t, float> expected[] = {{3, 10}, {4, 20}, {7, 20}};
  for (int64_t i = 0; i < 3; ++i) {
    Sample sample = load(*source, i, 192);
    EXPECT_EQ(sample.label, expected[i].first);
    EXPECT_FLOAT_EQ(sample.x[100], expected[i].second / 255);
  }
  EXPECT_NE(source->name(1).find("s-00.tar:d/k2.png"), std::string::npos);
  EXPECT_THROW(openSource(dir / "s-{00..02}.tar", picturesOf(3, 8)), Error);
  EXPECT_THROW(openSource(dir / "s-{x..02}.tar", picturesOf(3, 8)), Error);
  std::string whole = readFile(dir / "s-00.tar");
  for (size_t cut : {size_t(0), size_t(100), size_t(700), size_t(2100)}) {
    writeFile(dir / "t.tar", whole.substr(0, cut));
    EXPECT_THROW(openSource(dir / "t.tar", picturesOf(3, 8)), Error) << cut;
  }
  whole[5] ^= 1;
  writeFile(dir / "t.tar", whole);
  EXPECT_THROW(openSource(dir / "t.tar", picturesOf(3, 8)), Error);
  writeFile(dir / "t.tar", tarMember("k.png", a) + end);
  EXPECT_THROW(openSource(dir / "t.tar", picturesOf(3, 8)), Error);
}

TEST(Resample, WeightsSumToOneAndAreLocal) {
  for (auto [in, start, length, out] : {std::tuple{100, 0.0, 100.0, 7}, {10, 2.5, 4.0, 16}, {5, 0.0, 5.0, 5}}) {
    auto taps = triangleTaps(in, start, length, out);
    for (const auto &tap : taps) {
      float sum = 0;
      for (float weight : tap.weights)
        sum += weight;
      EXPECT_NEAR(sum, 1.0f, 1e-6);
      EXPECT_GE(tap.first, 0);
      EXPECT_LE(tap.first + static_cast<int>(tap.weights.size()), in);
    }
  }
}

} // namespace
