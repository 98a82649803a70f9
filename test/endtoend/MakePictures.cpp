//===- MakePictures.cpp - a folder of class folders of JPEG files ---------------------------------------===//
//
// make-pictures FOLDER CLASSES COUNT WIDTH HEIGHT: COUNT pictures in all. A class is the place and hue of a disc on
// noise, which a network can learn; the files are a function of the arguments only.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "test/runtime/Pictures.h"
#include <cstdlib>
#include <filesystem>

int main(int argc, char **argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: make-pictures FOLDER CLASSES COUNT WIDTH HEIGHT\n");
    return 1;
  }
  std::string folder = argv[1];
  int classes = std::atoi(argv[2]), count = std::atoi(argv[3]), width = std::atoi(argv[4]), height = std::atoi(argv[5]);
  for (int i = 0; i < count; ++i) {
    int label = i % classes;
    char name[64];
    std::snprintf(name, sizeof name, "/class-%04d", label);
    std::filesystem::create_directories(folder + name);
    uint32_t state = static_cast<uint32_t>(i) * 2654435761u + 1;
    auto noise = [&] { return static_cast<int>((state = state * 1664525u + 1013904223u) >> 27); };
    int x0 = width * (1 + label % 4) / 5 + noise() - 16, y0 = height * (1 + label / 4 % 4) / 5 + noise() - 16;
    int radius = std::max(2, std::min(width, height) / 8);
    gmc::test::writeJpeg(folder + name + "/" + std::to_string(i) + ".jpg", width, height,
                         [&](int x, int y, int channel) {
                           bool inside = (x - x0) * (x - x0) + (y - y0) * (y - y0) < radius * radius;
                           return noise() + (inside ? (label * 37 + channel * 85) % 200 + 20 : 30);
                         });
  }
  return 0;
}
