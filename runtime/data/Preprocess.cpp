#include "runtime/data/Preprocess.h"
#include "gmc/Error.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace gmc::rt {
namespace {

double number(const std::string &item, const std::string &text, double low, double high) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    throw usageError("--augment: '" + item + "' has no valid value");
  return value;
}

/// Brightness, contrast, saturation in place; [channels][pixels], values kept in [0, 1].
void jitterColors(float *x, int channels, size_t pixels, double strength, Random &random) {
  auto factor = [&] { return static_cast<float>(1 + strength * (2 * random.uniform() - 1)); };
  auto blend = [](float value, float other, float f) { return std::clamp(other + (value - other) * f, 0.0f, 1.0f); };
  auto gray = [&](size_t i) {
    return channels == 1 ? x[i] : 0.299f * x[i] + 0.587f * x[pixels + i] + 0.114f * x[2 * pixels + i];
  };
  float brightness = factor(), contrast = factor(), saturation = factor();
  for (size_t i = 0; i < pixels * static_cast<size_t>(channels); ++i)
    x[i] = blend(x[i], 0, brightness);
  double sum = 0;
  for (size_t i = 0; i < pixels; ++i)
    sum += gray(i);
  auto mean = static_cast<float>(sum / static_cast<double>(pixels));
  for (size_t i = 0; i < pixels * static_cast<size_t>(channels); ++i)
    x[i] = blend(x[i], mean, contrast);
  for (size_t i = 0; i < pixels && channels == 3; ++i) {
    float level = gray(i);
    for (int c = 0; c < 3; ++c)
      x[c * pixels + i] = blend(x[c * pixels + i], level, saturation);
  }
}

} // namespace

Preprocess::Preprocess(const std::string &list, const Slot &slot) : input(slot) {
  if (slot.dims.size() != 3 || (slot.dims[0] != 1 && slot.dims[0] != 3) || !isFloatType(slot.dtype))
    throw usageError("pictures become float [1,H,W] or [3,H,W]; the graph's input '" + slot.name + "' wants " +
                     dtypeName(slot.dtype) + " " + slot.shape());
  channels = static_cast<int>(slot.dims[0]);
  height = static_cast<int>(slot.dims[1]);
  width = static_cast<int>(slot.dims[2]);
  for (size_t at = 0; at < list.size();) {
    size_t comma = std::min(list.find(',', at), list.size());
    parseItem(list.substr(at, comma - at));
    at = comma + 1;
  }
  for (int size : {crop, rrc})
    if (size && (size != height || size != width))
      throw usageError("--augment: pictures of " + std::to_string(size) + " x " + std::to_string(size) +
                       " do not fit the input '" + slot.name + "', which wants " + slot.shape());
  if (resize && resize < std::max(height, width))
    throw usageError("--augment: resize=" + std::to_string(resize) + " is smaller than the input " + slot.shape());
}

void Preprocess::parseItem(const std::string &item) {
  size_t equals = std::min(item.find('='), item.size());
  std::string key = item.substr(0, equals), value = equals < item.size() ? item.substr(equals + 1) : "";
  if (key == "resize") {
    resize = static_cast<int>(number(item, value, 1, 1 << 15));
  } else if (key == "crop") {
    crop = static_cast<int>(number(item, value, 1, 1 << 15));
  } else if (key == "rrc") {
    rrc = static_cast<int>(number(item, value, 1, 1 << 15));
  } else if (item == "flip") {
    flip = true;
  } else if (key == "jitter") {
    jitter = number(item, value, 0, 1);
  } else if (key == "normalize") {
    normalize = value;
    static constexpr float Means[] = {0.485f, 0.456f, 0.406f}, Deviations[] = {0.229f, 0.224f, 0.225f};
    size_t slash = value.find('/');
    if (value != "imagenet" && value != "none" && slash == std::string::npos)
      throw usageError("--augment: '" + item + "' is not known; write normalize=imagenet, none or MEAN/DEVIATION");
    for (int c = 0; c < 3 && value != "none"; ++c) {
      mean[c] = value == "imagenet" ? Means[c] : static_cast<float>(number(item, value.substr(0, slash), -1e6, 1e6));
      deviation[c] = value == "imagenet" ? Deviations[c]
                                         : static_cast<float>(number(item, value.substr(slash + 1), 1e-6, 1e6));
    }
  } else {
    throw usageError("--augment: '" + item +
                     "' is not known; there are resize=N, crop=N, rrc=N, flip, jitter=X, normalize=imagenet|none|M/S");
  }
}

std::string Preprocess::evaluation() const {
  std::string text = resize ? "resize=" + std::to_string(resize) + "," : "";
  return text + (crop ? "crop=" + std::to_string(crop) + "," : "") + "normalize=" + normalize;
}

Window Preprocess::evaluationWindow(ImageSize size) const {
  // One output pixel is this many input pixels.
  double cover = std::min(double(size.width) / width, double(size.height) / height);
  double scale = resize ? double(std::min(size.width, size.height)) / resize : crop ? 1.0 : cover;
  scale = std::min(scale, cover);
  return {(size.width - width * scale) / 2, (size.height - height * scale) / 2, width * scale, height * scale};
}

Window Preprocess::trainingWindow(ImageSize size, Random &random) const {
  Window middle = evaluationWindow(size);
  if (!rrc) {
    if (crop) {
      middle.x = random.uniform() * (size.width - middle.width);
      middle.y = random.uniform() * (size.height - middle.height);
    }
    return middle;
  }
  for (int i = 0; i < 10; ++i) {
    double area = (0.08 + 0.92 * random.uniform()) * size.width * size.height;
    double aspect = std::exp(std::log(3.0 / 4) + random.uniform() * 2 * std::log(4.0 / 3));
    double w = std::round(std::sqrt(area * aspect)), h = std::round(std::sqrt(area / aspect));
    double u = random.uniform(), v = random.uniform();
    if (w >= 1 && h >= 1 && w <= size.width && h <= size.height)
      return {std::floor(u * (size.width - w + 1)), std::floor(v * (size.height - h + 1)), w, h};
  }
  return middle;
}

void Preprocess::load(const ImageBytes &image, int64_t sample, char *dst, LoadContext &context) const {
  Random random(keyOf(context.seed ^ 0xa06e57, static_cast<uint64_t>(context.epoch), static_cast<uint64_t>(sample)));
  size_t pixels = static_cast<size_t>(height) * width, elements = pixels * static_cast<size_t>(channels);
  context.scratch.resize(elements * sizeof(float));
  auto *x = reinterpret_cast<float *>(context.scratch.data());
  ImageReader().read(image, channels, width, height, x, [&](ImageSize size) {
    return context.training ? trainingWindow(size, random) : evaluationWindow(size);
  });
  if (context.training && flip && random.uniform() < 0.5)
    for (size_t row = 0; row < elements / width; ++row)
      std::reverse(x + row * width, x + (row + 1) * width);
  if (context.training && jitter > 0)
    jitterColors(x, channels, pixels, jitter, random);
  for (int c = 0; c < channels; ++c)
    for (size_t i = 0; i < pixels; ++i)
      x[c * pixels + i] = (x[c * pixels + i] - mean[c]) / deviation[c];
  convertElements(x, GMC_FLOAT, dst, input.dtype, elements);
}

} // namespace gmc::rt
