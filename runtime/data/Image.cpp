#include "runtime/data/Image.h"
#include "runtime/data/Loader.h"
#include "runtime/data/Resample.h"
#include "runtime/data/Source.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <optional>

#include <jpeglib.h>
#include <png.h>

namespace gmc::rt {
namespace {

constexpr size_t InputBytes = 16 << 10;

using Chooser = Window (*)(void *, ImageSize);

struct Request {
  const ImageBytes &image;
  int channels, outWidth, outHeight;
  float *out;
  Chooser choose;
  void *context;
};

void checkScratch(uint64_t bytes, const char *kind) {
  if (bytes > ImageScratchBytes)
    throw SampleError(std::string(kind) + " needs " + std::to_string(bytes) + " bytes to decode, a worker has " +
                      std::to_string(ImageScratchBytes) + "; store it as a baseline JPEG or plain PNG");
}

// The C libraries report errors by longjmp, which must not cross C++ objects: everything that has a destructor lives
// in the Decoder objects outside the functions that call setjmp, and their catch-and-carry of exceptions.

struct JpegDecoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
  const ImageBytes *image = nullptr;
  uint64_t at = 0;
  std::exception_ptr failure;
  std::vector<unsigned char> input = std::vector<unsigned char>(InputBytes);
  std::vector<unsigned char> row;
  std::optional<RowResampler> resampler;
  bool created = false, inked = false;
  int channels = 3;

  ~JpegDecoder() {
    if (created)
      jpeg_destroy_decompress(&info);
  }

  static JpegDecoder &of(j_common_ptr info) { return *static_cast<JpegDecoder *>(info->client_data); }

  static void onError(j_common_ptr info) {
    JpegDecoder &self = of(info);
    info->err->format_message(info, self.message);
    std::longjmp(self.jump, 1);
  }
  // Warnings of corrupt data count as errors: half a picture is no sample.
  static void onMessage(j_common_ptr info, int level) {
    if (level < 0)
      onError(info);
  }
  static void onOutput(j_common_ptr) {}
  static void initSource(j_decompress_ptr) {}
  static void termSource(j_decompress_ptr) {}

  static boolean fill(j_decompress_ptr info) {
    JpegDecoder &self = of(reinterpret_cast<j_common_ptr>(info));
    size_t got = 0;
    bool failed = false;
    try {
      size_t want = std::min<uint64_t>(InputBytes, self.image->bytes - self.at);
      got = self.image->file->readSome(self.image->from + self.at, self.input.data(), want);
    } catch (...) {
      self.failure = std::current_exception();
      failed = true;
    }
    if (failed || got == 0) {
      std::strcpy(self.message, "the file ends inside the picture");
      std::longjmp(self.jump, 1);
    }
    self.at += got;
    self.source.next_input_byte = self.input.data();
    self.source.bytes_in_buffer = got;
    return TRUE;
  }

  static void skip(j_decompress_ptr info, long count) {
    JpegDecoder &self = of(reinterpret_cast<j_common_ptr>(info));
    auto buffered = static_cast<long>(self.source.bytes_in_buffer);
    if (count <= 0)
      return;
    if (count <= buffered) {
      self.source.next_input_byte += count;
      self.source.bytes_in_buffer -= static_cast<size_t>(count);
      return;
    }
    self.at = std::min<uint64_t>(self.image->bytes, self.at + static_cast<uint64_t>(count - buffered));
    self.source.bytes_in_buffer = 0;
  }

  /// Chooses window and DCT scaling once the header is read; false when `failure` was set.
  bool prepare(const Request &request) {
    try {
      if (info.progressive_mode || info.buffered_image)
        checkScratch(uint64_t(info.image_width) * info.image_height * static_cast<unsigned>(info.num_components) * 2,
                     "a progressive JPEG of this size");
      Window window = request.choose(request.context,
                                     {static_cast<int>(info.image_width), static_cast<int>(info.image_height)});
      unsigned denominator = 1;
      while (denominator < 8 && window.width >= 2.0 * denominator * request.outWidth &&
             window.height >= 2.0 * denominator * request.outHeight)
        denominator *= 2;
      info.scale_num = 1;
      info.scale_denom = denominator;
      inked = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
      info.out_color_space = inked ? JCS_CMYK : request.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
      info.dct_method = JDCT_ISLOW;
      jpeg_calc_output_dimensions(&info);
      double scaleX = double(info.output_width) / info.image_width,
             scaleY = double(info.output_height) / info.image_height;
      channels = request.channels;
      row.resize(size_t(info.output_width) * static_cast<unsigned>(inked ? 4 : channels));
      resampler.emplace(static_cast<int>(info.output_width), static_cast<int>(info.output_height), request.channels,
                        window.x * scaleX, window.y * scaleY, window.width * scaleX, window.height * scaleY,
                        request.outWidth, request.outHeight, request.out);
      return true;
    } catch (...) {
      failure = std::current_exception();
      return false;
    }
  }

  /// A row of cyan, magenta, yellow and black as red, green and blue, or their brightness. Adobe stores the complement
  /// of the ink, and files from elsewhere that hold ink itself do not say so: the marker decides.
  void inkToLight() {
    for (unsigned x = 0; x < info.output_width; ++x) {
      const unsigned char *ink = &row[4 * size_t(x)];
      unsigned light[4];
      for (int c = 0; c < 4; ++c)
        light[c] = info.saw_Adobe_marker ? ink[c] : 255u - ink[c];
      unsigned rgb[3];
      for (int c = 0; c < 3; ++c)
        rgb[c] = (light[c] * light[3] + 127) / 255;
      unsigned char *out = &row[size_t(x) * static_cast<unsigned>(channels)];
      if (channels == 1)
        out[0] = static_cast<unsigned char>((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
      else
        std::copy(rgb, rgb + 3, out);
    }
  }

  /// Returns false with `message` or `failure` set. Holds no object with a destructor.
  bool decode(const Request &request) {
    if (setjmp(jump))
      return false;
    info.err = jpeg_std_error(&errors);
    errors.error_exit = &onError;
    errors.emit_message = &onMessage;
    errors.output_message = &onOutput;
    info.client_data = this;
    jpeg_create_decompress(&info);
    created = true;
    source.init_source = &initSource;
    source.fill_input_buffer = &fill;
    source.skip_input_data = &skip;
    source.resync_to_restart = &jpeg_resync_to_restart;
    source.term_source = &termSource;
    info.src = &source;
    jpeg_read_header(&info, TRUE);
    if (!prepare(request))
      return false;
    jpeg_start_decompress(&info);
    unsigned char *line = row.data();
    while (static_cast<int>(info.output_scanline) < resampler->endRow()) {
      int y = static_cast<int>(info.output_scanline);
      jpeg_read_scanlines(&info, &line, 1);
      if (inked)
        inkToLight();
      if (y >= resampler->firstRow())
        resampler->addRow(y, line);
    }
    return true;
  }
};

struct PngDecoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const ImageBytes *image = nullptr;
  uint64_t at = 0;
  std::string message;
  std::exception_ptr failure;
  std::vector<unsigned char> row, whole;
  std::vector<unsigned char *> rowPointers;
  std::optional<RowResampler> resampler;

  ~PngDecoder() {
    if (png)
      png_destroy_read_struct(&png, info ? &info : nullptr, nullptr);
  }

  static void onError(png_structp png, png_const_charp text) {
    static_cast<PngDecoder *>(png_get_error_ptr(png))->message = text;
    png_longjmp(png, 1);
  }
  static void onWarning(png_structp, png_const_charp) {}

  static void onRead(png_structp png, png_bytep data, png_size_t bytes) {
    auto *self = static_cast<PngDecoder *>(png_get_io_ptr(png));
    bool ok = false;
    try {
      ok = bytes <= self->image->bytes - self->at &&
           self->image->file->readSome(self->image->from + self->at, data, bytes) == bytes;
    } catch (...) {
      self->failure = std::current_exception();
    }
    if (!ok)
      png_error(png, "the file ends inside the picture");
    self->at += bytes;
  }

  bool prepare(const Request &request) {
    try {
      int width = static_cast<int>(png_get_image_width(png, info));
      int height = static_cast<int>(png_get_image_height(png, info));
      row.resize(png_get_rowbytes(png, info));
      if (row.size() != size_t(width) * static_cast<unsigned>(request.channels))
        throw SampleError("its pixels cannot be brought to " + std::to_string(request.channels) + " channels");
      if (png_get_interlace_type(png, info) != PNG_INTERLACE_NONE) {
        checkScratch(row.size() * static_cast<uint64_t>(height), "an interlaced PNG of this size");
        whole.resize(row.size() * static_cast<size_t>(height));
        for (int y = 0; y < height; ++y)
          rowPointers.push_back(whole.data() + row.size() * static_cast<size_t>(y));
      }
      Window window = request.choose(request.context, {width, height});
      resampler.emplace(width, height, request.channels, window.x, window.y, window.width, window.height,
                        request.outWidth, request.outHeight, request.out);
      return true;
    } catch (...) {
      failure = std::current_exception();
      return false;
    }
  }

  bool decode(const Request &request) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &onError, &onWarning);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info)
      return false;
    if (setjmp(png_jmpbuf(png)))
      return false;
    png_set_read_fn(png, this, &onRead);
    png_read_info(png, info);
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    int color = png_get_color_type(png, info);
    bool gray = color == PNG_COLOR_TYPE_GRAY || color == PNG_COLOR_TYPE_GRAY_ALPHA;
    if (request.channels == 3 && gray)
      png_set_gray_to_rgb(png);
    else if (request.channels == 1 && !gray)
      png_set_rgb_to_gray_fixed(png, PNG_ERROR_ACTION_NONE, PNG_RGB_TO_GRAY_DEFAULT, PNG_RGB_TO_GRAY_DEFAULT);
    if (png_get_interlace_type(png, info) != PNG_INTERLACE_NONE)
      png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (!prepare(request))
      return false;
    if (!whole.empty())
      png_read_image(png, rowPointers.data());
    for (int y = 0; y < resampler->endRow(); ++y) {
      unsigned char *line = whole.empty() ? row.data() : rowPointers[static_cast<size_t>(y)];
      if (whole.empty())
        png_read_row(png, line, nullptr);
      if (y >= resampler->firstRow())
        resampler->addRow(y, line);
    }
    return true;
  }
};

template <typename Decoder> void decodeWith(const Request &request) {
  Decoder decoder;
  decoder.image = &request.image;
  if (decoder.decode(request))
    return;
  if (decoder.failure)
    std::rethrow_exception(decoder.failure);
  throw SampleError(decoder.message);
}

} // namespace

void ImageReader::readWith(const ImageBytes &image, int channels, int outWidth, int outHeight, float *out,
                           Chooser choose, void *context) {
  unsigned char magic[4] = {};
  image.file->readSome(image.from, magic, std::min<uint64_t>(sizeof magic, image.bytes));
  Request request{image, channels, outWidth, outHeight, out, choose, context};
  if (magic[0] == 0xff && magic[1] == 0xd8)
    decodeWith<JpegDecoder>(request);
  else if (!std::memcmp(magic, "\x89PNG", 4))
    decodeWith<PngDecoder>(request);
  else
    throw SampleError("it is neither JPEG nor PNG");
}

} // namespace gmc::rt
