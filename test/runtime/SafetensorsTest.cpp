#include "TempDir.h"
#include "gmc/Error.h"
#include "runtime/data/DType.h"
#include "runtime/train/EventFile.h"
#include "runtime/train/Safetensors.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace gmc::rt;
using namespace gmc::test;

namespace {

std::string file(const std::string &header, size_t dataBytes) {
  std::string text(8, '\0');
  for (int i = 0; i < 8; ++i)
    text[i] = static_cast<char>(header.size() >> (8 * i));
  return text + header + std::string(dataBytes, 'x');
}

TEST(Safetensors, RoundTrip) {
  TempDir dir;
  std::vector<float> a = {1, 2, 3, 4, 5, 6};
  std::vector<int64_t> b = {-7};
  writeSafetensors(dir / "f",
                   {{"a/w", GMC_FLOAT, {2, 3}}, {"empty", GMC_FLOAT16, {0, 4}}, {"b \"q\" é", GMC_INT64, {}}},
                   {{"k", "v"}}, [&](size_t i, const auto &sink) {
                     if (i == 0) {
                       sink(a.data(), 8);
                       sink(a.data() + 2, 16);
                     } else if (i == 2) {
                       sink(b.data(), 8);
                     }
                   });
  SafetensorsReader reader(dir / "f");
  ASSERT_EQ(reader.tensors().size(), 3u);
  EXPECT_EQ(reader.metadata().at("k"), "v");
  const auto *entry = reader.find("a/w");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->offset % 8, 0u);
  std::vector<float> back(6);
  reader.read(*entry, 0, back.data(), 24);
  EXPECT_EQ(back, a);
  EXPECT_EQ(reader.find("b \"q\" é")->shape.size(), 0u);
  EXPECT_EQ(reader.find("nothing"), nullptr);
}

TEST(Safetensors, FailedWriteLeavesTheOldFile) {
  TempDir dir;
  writeFile(dir / "f", "old");
  EXPECT_THROW(writeSafetensors(dir / "f", {{"a", GMC_FLOAT, {2}}}, {},
                                [](size_t, const auto &sink) { sink("1234", 4); }),
               Error);
  EXPECT_EQ(readFile(dir / "f"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path), {}), 1);
}

TEST(Safetensors, RefusesInvalidHeaders) {
  TempDir dir;
  const std::pair<const char *, size_t> bad[] = {
      {"", 0},
      {"[]", 0},
      {"{", 0},
      {"{\"a\":1}", 0},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4},
      {"{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8},
      {"{\"__metadata__\":{\"a\":1}}", 0},
      {"{\"__metadata__\":[]}", 0}};
  for (auto [header, bytes] : bad) {
    writeFile(dir / "f", file(header, bytes));
    EXPECT_THROW(SafetensorsReader(dir / "f"), Error) << header;
  }
  writeFile(dir / "f", "short");
  EXPECT_THROW(SafetensorsReader(dir / "f"), Error);
  writeFile(dir / "f", std::string(8, '\xff') + "{}");
  EXPECT_THROW(SafetensorsReader(dir / "f"), Error);
  EXPECT_THROW(SafetensorsReader(dir / "missing"), Error);
  EXPECT_THROW(SafetensorsReader(dir.path.string()), Error);
}

TEST(Safetensors, TruncationsAndBitFlipsNeverCrash) {
  TempDir dir;
  std::vector<float> data(16, 1.5f);
  writeSafetensors(dir / "f", {{"a", GMC_FLOAT, {4, 2}}, {"b", GMC_FLOAT, {8}}}, {{"m", "n"}},
                   [&](size_t, const auto &sink) { sink(data.data(), 32); });
  std::string good = readFile(dir / "f");
  for (size_t length = 0; length < good.size(); ++length) {
    writeFile(dir / "g", good.substr(0, length));
    EXPECT_THROW(SafetensorsReader(dir / "g"), Error) << length;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 400; ++i) {
    std::string flipped = good;
    flipped[random() % (good.size() - 64)] ^= static_cast<char>(1 << random() % 8);
    writeFile(dir / "g", flipped);
    try {
      SafetensorsReader reader(dir / "g"); // a changed name or metadata letter is still a valid file
      for (const auto &entry : reader.tensors())
        EXPECT_LE(entry.offset + entry.bytes, flipped.size());
    } catch (const Error &) {
    }
  }
}

TEST(DType, HalfRoundsToNearestEven) {
  // Reference: the compiler's own conversion.
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    uint32_t bits = random();
    if (i < 65536)
      bits = (i % 2 ? 0x38800000u : 0x33000000u) + static_cast<uint32_t>(i) * 977u; // around the smallest halves
    float value;
    std::memcpy(&value, &bits, 4);
    uint16_t ours;
    convertElements(&value, GMC_FLOAT, &ours, GMC_FLOAT16, 1);
    _Float16 theirs = static_cast<_Float16>(value);
    uint16_t expected;
    std::memcpy(&expected, &theirs, 2);
    if (std::isnan(value)) {
      EXPECT_GT(ours & 0x7fff, 0x7c00);
      continue;
    }
    ASSERT_EQ(ours, expected) << value;
    float back;
    convertElements(&ours, GMC_FLOAT16, &back, GMC_FLOAT, 1);
    ASSERT_EQ(back, static_cast<float>(theirs));
  }
}

TEST(DType, IntegersThatDoNotFitAreRefused) {
  int64_t big = int64_t(1) << 40, negative = -1;
  int32_t out;
  uint8_t small;
  EXPECT_THROW(convertElements(&big, GMC_INT64, &out, GMC_INT32, 1), Error);
  EXPECT_THROW(convertElements(&negative, GMC_INT64, &small, GMC_UINT8, 1), Error);
  float f = 1;
  EXPECT_THROW(convertElements(&f, GMC_FLOAT, &out, GMC_INT32, 1), Error);
  uint8_t pixel = 51;
  float scaled;
  convertElements(&pixel, GMC_UINT8, &scaled, GMC_FLOAT, 1, true);
  EXPECT_EQ(scaled, 0.2f);
}

TEST(EventFile, Crc32cOfTheStandardsExample) {
  // RFC 3720, B.4: 32 bytes of zeros, and "123456789" from the CRC catalogue.
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8a9136aau);
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);
}

} // namespace
