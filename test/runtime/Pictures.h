// Writes small JPEG, PNG and tar files for the tests.
#ifndef GMC_TEST_RUNTIME_PICTURES_H
#define GMC_TEST_RUNTIME_PICTURES_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <jpeglib.h>
#include <png.h>

namespace gmc::test {

using Pixel = std::function<int(int x, int y, int channel)>;

inline void writeJpeg(const std::string &path, int width, int height, const Pixel &pixel, bool progressive = false,
                      bool cmyk = false) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  FILE *file = std::fopen(path.c_str(), "wb");
  jpeg_stdio_dest(&info, file);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  int channels = cmyk ? 4 : 3;
  info.input_components = channels;
  info.in_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (progressive)
    jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<unsigned char> row(static_cast<size_t>(width * channels));
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < width * channels; ++i)
      row[static_cast<size_t>(i)] = static_cast<unsigned char>(pixel(i / channels, y, i % channels));
    unsigned char *line = row.data();
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  std::fclose(file);
  jpeg_destroy_compress(&info);
}

inline void writePng(const std::string &path, int width, int height, const Pixel &pixel, int channels = 3,
                     bool interlaced = false) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  FILE *file = std::fopen(path.c_str(), "wb");
  png_init_io(png, file);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
               channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  std::vector<std::vector<unsigned char>> rows(static_cast<size_t>(height));
  std::vector<unsigned char *> pointers;
  for (int y = 0; y < height; ++y) {
    auto &row = rows[static_cast<size_t>(y)];
    for (int i = 0; i < width * channels; ++i)
      row.push_back(static_cast<unsigned char>(pixel(i / channels, y, i % channels)));
    pointers.push_back(row.data());
  }
  png_write_image(png, pointers.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

/// One ustar member, padded.
inline std::string tarMember(const std::string &name, const std::string &content, char type = '0') {
  std::string head(512, '\0');
  std::memcpy(head.data(), name.data(), std::min<size_t>(name.size(), 100));
  std::snprintf(head.data() + 100, 8, "%07o", 0644);
  std::snprintf(head.data() + 124, 12, "%011o", static_cast<unsigned>(content.size()));
  std::memcpy(head.data() + 257, "ustar\00000", 8);
  head[156] = type;
  std::memset(head.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (unsigned char c : head)
    sum += c;
  std::snprintf(head.data() + 148, 8, "%06o", sum);
  std::string padded = content;
  padded.resize((content.size() + 511) / 512 * 512);
  return head + padded;
}

} // namespace gmc::test

#endif
